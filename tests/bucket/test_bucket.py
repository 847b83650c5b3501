"""A lake in a bucket, on moto's S3 server. Needs KEFU, the path of the binary."""

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
import duckdb
import duckdb_extension_aws
import duckdb_extension_httpfs
import polars
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest

KEFU = os.environ.get("KEFU", "kefu")
KEY, SECRET = "AKIDEXAMPLE0000", "s3cr3t/of+the=bucket"
DAYS = ["--from", "2024-05-13", "--to", "2024-05-15"]

TABLES = ["messages", "response_pairs", "sessions", "worker_daily", "worker_hourly", "account_daily"]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """moto, and the log of its requests."""

    def __init__(self, folder, environment=()):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = folder / "moto.log"
        arguments = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=open(self.log, "w"), env=os.environ | dict(environment))
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=1)
                break
            except OSError:
                time.sleep(0.1)

    def client(self):
        return boto3.client("s3", endpoint_url=self.endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1")

    def requests(self):
        """The requests since the last call, like `PUT /records/lake/…`."""
        text = self.log.read_text()
        self.log.write_text("")
        return [line.split('"')[1] for line in text.splitlines() if line.count('"') >= 2]


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("moto"))
    yield server
    server.process.terminate()
    server.process.wait()


@contextmanager
def simulator(*arguments):
    process = subprocess.Popen([KEFU, "simulate", *arguments], stdout=subprocess.PIPE)
    try:
        hello = json.loads(process.stdout.readline())
        yield {"KEFU_BASE_URL": hello["base_url"], "KEFU_APPID": hello["appid"], "KEFU_SECRET": hello["secret"], "KEFU_ACCOUNT": "客服"}
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def bucket_settings(server, bucket, **more):
    return {
        "KEFU_LAKE": f"s3://{bucket}/lake/中国",
        "AWS_ENDPOINT_URL_S3": server.endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    } | more


def run(folder, settings, *arguments):
    result = subprocess.run([KEFU, *arguments], cwd=folder, env=settings, capture_output=True, text=True, timeout=120)
    for output in (result.stdout, result.stderr):
        assert SECRET not in output and KEY not in output and settings.get("KEFU_SECRET", SECRET) not in output, output
    return result


def kefu(folder, settings, *arguments):
    result = run(folder, settings, *arguments, "--output", "json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def objects(server, bucket):
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {entry["Key"]: entry["ETag"] for page in pages for entry in page.get("Contents", [])}


def files_of(lake):
    """Each partition of a folder with its bytes, without the lists of workers."""
    files = {str(path.relative_to(lake)): path.read_bytes() for path in lake.rglob("*.parquet")}
    return {path: content for path, content in files.items() if not path.startswith("workers/")}


def content(server, bucket):
    """Each partition of the bucket with its bytes, without the lists of workers: a killed run may leave them to a later one."""
    client = server.client()
    keys = [key for key in objects(server, bucket) if key.endswith(".parquet") and "/workers/" not in key]
    return {key.removeprefix("lake/中国/"): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


@pytest.fixture(scope="session")
def lakes(server, tmp_path_factory):
    """The same records in a folder and in a bucket."""
    folder = tmp_path_factory.mktemp("lakes")
    server.client().create_bucket(Bucket="records")
    with simulator("--first-day", "2024-05-11", "--days", "8", "--messages-per-day", "300", "--fault", "cut@3") as settings:
        in_folder = settings | {"KEFU_LAKE": "lake"}
        in_bucket = settings | bucket_settings(server, "records")
        kefu(folder, in_folder, "run", *DAYS)
        kefu(folder, in_bucket, "run", *DAYS)
        yield folder, in_folder, in_bucket


def test_a_bucket_has_the_bytes_of_a_folder(server, lakes):
    folder, _, _ = lakes
    files = files_of(folder / "lake")
    there = content(server, "records")
    assert sorted(there) == sorted(files)
    assert len(files) == 3 * len(TABLES)
    assert there == files
    keys = objects(server, "records")
    assert not any("lock" in key or "staging" in key or "probe" in key for key in keys), keys


def test_a_second_run_puts_no_table(server, lakes):
    folder, _, in_bucket = lakes
    before = objects(server, "records")
    server.requests()
    kefu(folder, in_bucket, "run", *DAYS)
    requests = server.requests()
    puts = [request for request in requests if "PUT" in request.split()[0] and ".parquet" in request]
    print(len(requests), "requests of a run with nothing to do")
    assert not puts, puts
    after = objects(server, "records")
    assert {key: tag for key, tag in after.items() if ".parquet" in key} == {key: tag for key, tag in before.items() if ".parquet" in key}


@pytest.mark.parametrize("command", [["status"], ["verify"], ["report", "--from", "2024-05-13", "--to", "2024-05-14"]])
def test_commands_that_read_say_the_same_of_both(lakes, command):
    folder, in_folder, in_bucket = lakes
    said = [kefu(folder, settings, *command) for settings in (in_folder, in_bucket)]
    for answer in said:
        answer.pop("lake")
    if command[0] == "status":
        assert len(said[1]["days"]) == 3
    if command[0] == "verify":
        assert said[1]["broken"] == 0
    assert said[0] == said[1]


def test_sql_names_the_bucket_and_a_secret(lakes):
    folder, _, in_bucket = lakes
    script = run(folder, in_bucket, "sql").stdout
    assert "CREATE OR REPLACE SECRET kefu_lake (TYPE s3, PROVIDER credential_chain, SCOPE 's3://records/lake/中国'" in script
    assert "read_parquet('s3://records/lake/中国/messages/*/*.parquet'" in script


def test_doctor_checks_the_bucket(lakes):
    folder, _, in_bucket = lakes
    checks = {check["check"]: check for check in kefu(folder, in_bucket, "doctor")["checks"]}
    assert checks["bucket"]["state"] == "ok" and "conditions" in checks["bucket"]["finding"]


def test_a_redaction_and_retention_change_both_in_the_same_way(server, tmp_path):
    server.client().create_bucket(Bucket="changed")
    with simulator("--first-day", "2024-05-11", "--days", "8", "--messages-per-day", "100") as settings:
        both = [settings | {"KEFU_LAKE": "lake"}, settings | bucket_settings(server, "changed")]
        for settings in both:
            kefu(tmp_path, settings, "run", *DAYS)
        openid = "o-nobody"
        for settings in both:
            kefu(tmp_path, settings, "forget", "--openid", openid, "--yes")
        (tmp_path / "kefu.toml").write_text('[privacy]\ntext = "drop"\n')
        for settings in both:
            kefu(tmp_path, settings, "redact", "--yes")
        (tmp_path / "kefu.toml").unlink()
        for settings in both:
            pruned = kefu(tmp_path, settings, "prune", "--before", "2024-05-14", "--yes")
            assert pruned["deleted"] and pruned["tables"][0]["files"] == 1
    files = files_of(tmp_path / "lake")
    assert content(server, "changed") == files
    for settings in both:
        assert kefu(tmp_path, settings, "verify")["broken"] == 0


def test_the_demo_fills_a_bucket(server, tmp_path):
    server.client().create_bucket(Bucket="demo")
    settings = bucket_settings(server, "demo")
    lake = settings.pop("KEFU_LAKE")
    result = run(tmp_path, settings, "demo", "--lake", lake)
    assert result.returncode == 0, result.stderr
    assert f"{lake}/" in result.stdout
    assert len(content(server, "demo")) == 7 * len(TABLES)


def test_errors_have_their_exit_codes(server, lakes, tmp_path):
    _, _, in_bucket = lakes
    missing = in_bucket | {"KEFU_LAKE": "s3://no-such-bucket/lake"}
    closed = in_bucket | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{free_port()}"}
    for settings, code, words in [(missing, 78, "NoSuchBucket"), (closed, 69, "cannot be reached")]:
        for command in (["run", *DAYS], ["status"], ["verify"]):
            result = run(tmp_path, settings, *command)
            assert result.returncode == code and words in result.stderr, (command, result.stderr)
            assert "hint:" in result.stderr


def test_a_wrong_key_is_refused(tmp_path):
    guarded = Server(tmp_path, {"INITIAL_NO_AUTH_ACTION_COUNT": "1"}.items())
    try:
        guarded.client().create_bucket(Bucket="records")
        with simulator("--first-day", "2024-05-11", "--days", "3", "--messages-per-day", "10") as settings:
            settings = settings | bucket_settings(guarded, "records")
            for command in (["run", "--date", "2024-05-12"], ["status"]):
                result = run(tmp_path, settings, *command)
                assert result.returncode == 77, result.stderr
                assert "hint:" in result.stderr
    finally:
        guarded.process.terminate()
        guarded.process.wait()


def test_without_credentials_nothing_is_done(server, lakes, tmp_path):
    _, _, in_bucket = lakes
    settings = {name: value for name, value in in_bucket.items() if name not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    # Nobody gives credentials there.
    settings["AWS_METADATA_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    result = run(tmp_path, settings, "status")
    assert result.returncode == 77 and "no credentials" in result.stderr, result.stderr
    profile = tmp_path / "credentials"
    profile.write_text(f"[shop]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    settings |= {"AWS_PROFILE": "shop", "AWS_SHARED_CREDENTIALS_FILE": str(profile)}
    assert len(kefu(tmp_path, settings, "status")["days"]) == 3


def test_a_killed_run_is_finished_by_the_next_one(server, tmp_path):
    """`KEFU_BUCKET_KILLS` sets the number of kills. An issue asked for 100."""
    kills = int(os.environ.get("KEFU_BUCKET_KILLS", "6"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    arguments = ["--first-day", "2024-05-11", "--days", "8", "--messages-per-day", "200"]
    with simulator(*arguments) as settings:
        kefu(tmp_path, settings | {"KEFU_LAKE": "lake"}, "run", *DAYS)
        files = files_of(tmp_path / "lake")
        server.client().create_bucket(Bucket="calm")
        objects = lambda bucket: server.client().list_objects_v2(Bucket=bucket)["KeyCount"]
        kefu(tmp_path, settings | bucket_settings(server, "calm", TMPDIR=str(scratch)), "run", *DAYS)
        whole = objects("calm")
        killed = 0
        for number in range(kills):
            bucket = f"killed-{number}"
            server.client().create_bucket(Bucket=bucket)
            in_bucket = settings | bucket_settings(server, bucket, TMPDIR=str(scratch))
            process = subprocess.Popen([KEFU, "run", *DAYS], cwd=tmp_path, env=in_bucket, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while process.poll() is None and objects(bucket) < whole * number / kills:
                pass
            process.kill()
            killed += process.wait() != 0
            for name, bytes in content(server, bucket).items():
                assert not name.startswith("messages") or files[name] == bytes, (number, name)
            kefu(tmp_path, in_bucket, "run", *DAYS)
            assert content(server, bucket) == files, number
    assert killed > kills / 2
    assert not [path for path in scratch.rglob("*") if path.is_file()]


def test_overlapping_runs_lose_no_day(server, tmp_path):
    server.client().create_bucket(Bucket="overlap")
    with simulator("--first-day", "2024-05-11", "--days", "8", "--messages-per-day", "200") as settings:
        kefu(tmp_path, settings | {"KEFU_LAKE": "lake"}, "run", *DAYS)
        in_bucket = settings | bucket_settings(server, "overlap")
        runs = [subprocess.Popen([KEFU, "run", *DAYS], cwd=tmp_path, env=in_bucket, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(3)]
        for process in runs:
            _, said = process.communicate(timeout=120)
            assert process.returncode in (0, 3, 75), said
        kefu(tmp_path, in_bucket, "run", *DAYS)
    files = files_of(tmp_path / "lake")
    assert content(server, "overlap") == files


def test_moto_keeps_the_contract_of_a_store(server):
    """The unit tests of the lake have the contract. Here they run it against this server."""
    server.client().create_bucket(Bucket="contract")
    name = "lake::store::bucket::tests::the_server_of_the_environment_keeps_the_contract"
    result = subprocess.run(
        [os.environ["KEFU_TESTS"], name, "--exact", "--ignored"],
        env={"KEFU_CONTRACT_ENDPOINT": server.endpoint},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0 and "1 passed" in result.stdout, result.stdout + result.stderr
    assert objects(server, "contract") == {}
    assert "Uploads" not in server.client().list_multipart_uploads(Bucket="contract")


@pytest.fixture
def aws(server, monkeypatch):
    """The environment that other programs read the bucket with."""
    for name, value in {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)


def messages_per_day(folder):
    """By kefu itself, from the lake in the folder."""
    footers = {path.parent.name.removeprefix("date="): pyarrow.parquet.read_metadata(path) for path in (folder / "lake/messages").rglob("*.parquet")}
    return {date: footer.num_rows for date, footer in sorted(footers.items())}


def test_duckdb_reads_the_bucket_with_the_script_of_kefu_sql(lakes, aws, tmp_path):
    folder, _, in_bucket = lakes
    script = run(folder, in_bucket, "sql").stdout
    for name, package in [("httpfs", duckdb_extension_httpfs), ("aws", duckdb_extension_aws)]:
        [path] = pathlib.Path(package.__file__).parent.rglob(f"{name}.duckdb_extension")
        # Installed from the wheel, without network.
        script = script.replace(f"INSTALL {name};", f"INSTALL '{path}';")
    connection = duckdb.connect(config={"extension_directory": str(tmp_path)})
    connection.execute(script)
    counted = connection.execute("SELECT date::text, count(*) FROM messages GROUP BY 1 ORDER BY 1").fetchall()
    assert dict(counted) == messages_per_day(folder)
    (answered,) = connection.execute("SELECT sum(answered) FROM worker_daily").fetchone()
    assert answered > 0


def test_polars_reads_the_bucket(server, lakes, aws):
    folder, _, in_bucket = lakes
    options = {"aws_endpoint_url": server.endpoint, "aws_allow_http": "true", "aws_region": "us-east-1"}
    # A pattern behind letters that are not ASCII finds nothing.
    messages = polars.scan_parquet(f"{in_bucket['KEFU_LAKE']}/messages/", hive_partitioning=True, storage_options=options)
    counted = messages.group_by(polars.col("date").cast(polars.String)).len().sort("date").collect()
    assert dict(counted.iter_rows()) == messages_per_day(folder)


def test_pyarrow_reads_the_bucket(server, lakes, aws):
    folder, _, in_bucket = lakes
    store = pyarrow.fs.S3FileSystem(endpoint_override=server.endpoint, region="us-east-1")
    path = in_bucket["KEFU_LAKE"].removeprefix("s3://") + "/messages"
    messages = pyarrow.dataset.dataset(path, filesystem=store, partitioning="hive").to_table()
    assert messages.num_rows == sum(messages_per_day(folder).values())
