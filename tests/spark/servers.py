"""kefu, its simulator of WeChat, and a bucket. Needs KEFU, the path of the binary."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import boto3

KEFU = pathlib.Path(os.environ.get("KEFU", "kefu")).absolute()
KEY = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE0000", "AWS_SECRET_ACCESS_KEY": "s3cr3t/of+the=bucket"}
# moto checks the condition of a PUT and stores the object in two steps. Only one request at a time
# makes that atomic, as it is in a real store.
MOTO = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until(is_true, seconds=120):
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


def answers(url):
    try:
        urllib.request.urlopen(url, timeout=1)
        return True
    except OSError:
        return False


class Store:
    """A bucket in moto, and the log of its requests."""

    def __init__(self, folder):
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.log = folder / "moto.log"
        self.process = subprocess.Popen([sys.executable, "-c", MOTO, str(port)], stdout=subprocess.DEVNULL, stderr=open(self.log, "w"))
        wait_until(lambda: answers(f"{self.endpoint}/moto-api/"))
        self.client = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id=KEY["AWS_ACCESS_KEY_ID"], aws_secret_access_key=KEY["AWS_SECRET_ACCESS_KEY"],
        )

    def lake(self, bucket):
        self.client.create_bucket(Bucket=bucket)
        return f's3://{bucket}/lake"\n[lake_options]\nendpoint = "{self.endpoint}'

    def keys(self, bucket):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [entry["Key"] for page in pages for entry in page.get("Contents", []) if entry["Key"].endswith(".parquet") and "/workers/" not in entry["Key"]]

    def content(self, bucket):
        """Each file of the lake with its bytes."""
        get = lambda key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return {key.removeprefix("lake/"): get(key) for key in self.keys(bucket)}

    def puts(self, bucket):
        """The PUTs of tables since the server was started, as (key, status)."""
        lines = [line.split('"') for line in self.log.read_text().splitlines() if line.count('"') >= 2]
        asked = [(parts[1].split(), int(parts[2].split()[0])) for parts in lines]
        puts = [(request[1], status) for request, status in asked if request[0].endswith("PUT")]
        return [(path, status) for path, status in puts if path.startswith(f"/{bucket}/") and ".parquet" in path and "/workers/" not in path]

    def close(self):
        self.process.terminate()
        self.process.wait()


@contextmanager
def simulator(*arguments):
    """Gives the address of a running `kefu simulate`, and the secret of its accounts."""
    process = subprocess.Popen([KEFU, "simulate", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        hello = json.loads(process.stdout.readline())
        yield hello["base_url"], hello["secret"]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def name(number):
    return f"shop-{number:02}"


def settings(folder, lake, accounts, base_url, secrets):
    """Writes kefu.toml and what it names, to be shipped with a job. Returns the files."""
    folder.mkdir(exist_ok=True)
    for file, secret in secrets.items():
        (folder / file).write_text(secret)
    bad = "wrong" if "wrong" in secrets else "secret"
    lines = [
        json.dumps({"name": name(number), "appid": f"wx{number:016x}", "secret_file": bad if number == 2 else "secret"})
        for number in range(1, accounts + 1)
    ]
    (folder / "accounts.jsonl").write_text("\n".join(lines))
    (folder / "kefu.toml").write_text(f'base_url = "{base_url}"\naccounts_file = "accounts.jsonl"\nlake = "{lake}"\n')
    return [folder / file for file in ["kefu.toml", "accounts.jsonl", *secrets]]


def kefu(folder, *arguments, environment=()):
    """Runs kefu in a folder. Returns its result."""
    command = [KEFU, *arguments, "--output", "json"]
    done = subprocess.run(command, cwd=folder, env=KEY | dict(environment), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def files(lake):
    """Each file of a lake in a folder with its bytes."""
    files = {str(path.relative_to(lake)): path.read_bytes() for path in lake.rglob("*.parquet")}
    return {path: content for path, content in files.items() if not path.startswith("workers/")}
