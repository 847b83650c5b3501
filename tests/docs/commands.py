"""Runs the commands of README and of the pages, in order, each page in a folder of its own.

    python tests/docs/commands.py KEFU

The folder has the demo's lake and two months in data/lake. kefu calls the simulator in place of
WeChat. A block of settings becomes kefu.toml. Needs duckdb and polars.
"""

import collections
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
PAGES = ["README.md", "README.zh-CN.md", "docs/guide/*.md", "docs/design/*.md", "docs/reference/*.md"]
# Lines that are not run, by the reason.
NOT_RUN = {
    "changes the machine": r"^sudo|/var/lib|kefu completions|kefu man",
    "builds kefu": r"^(cargo|INSTA|rustup|deploy/build-static\.sh)|maturin build",
    "needs a network": r"^export (HTTPS_PROXY|RUSTUP_)|^curl ",
    "needs a bucket": r"s3://|s3a://|^export AWS_|^duckdb -init views\.sql",
    "needs Spark": r"^spark-submit",
    "runs until it is stopped": r"kefu simulate|^kill %1",
}
# What a page writes for a real account, and what the simulator knows.
STAND_INS = {
    "wx0123456789abcdef": "wx5ec0de51mu1a70",
    "wxfedcba9876543210": "wx5ec0de51mu1a71",
    "/usr/local/bin/wechat-token": "./wechat-token",
    "/srv/kefu/lake": "data/lake",
    "http://127.0.0.1:8765": "$KEFU_BASE_URL",
    "/tmp/sample": "sample",
    "kefu run --last 31": "kefu run --from 2024-05-01 --to 2024-05-31",
    "kefu init   ": 'echo "$KEFU_SECRET" | kefu init --appid wx5ec0de51mu1a70 --account shop --secret-stdin ',
}
# In place of the programs of these names.
PROGRAMS = {
    "duckdb": """#!{python}
import sys, duckdb
arguments = sys.argv[1:]
query = arguments.pop(arguments.index("-c") + 1) if "-c" in arguments else sys.stdin.read()
files = [argument for argument in arguments if not argument.startswith("-")]
with duckdb.connect(*files, read_only="-readonly" in arguments) as connection:
    for statement in duckdb.extract_statements(query):
        connection.execute(statement)
""",
    "python": """#!/bin/sh
exec {python} "$@"
""",
}
TOKEN = """#!{python}
import json, os, urllib.request
asked = {{"grant_type": "client_credential", "appid": "wx5ec0de51mu1a72", "secret": os.environ["FLAGSHIP_SECRET"]}}
answer = urllib.request.urlopen(os.environ["KEFU_BASE_URL"] + "/cgi-bin/stable_token", json.dumps(asked).encode())
print(json.load(answer)["access_token"])
"""


def program(path, text):
    path.write_text(text.format(python=sys.executable))
    path.chmod(0o755)


def simulator(kefu, first_day, days):
    command = [kefu, "simulate", "--first-day", first_day, "--days", str(days), "--messages-per-day", "100"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def steps(text):
    """The blocks of a page, as (language, code). A block that leaves its folder stays together."""
    for language, code in re.findall(r"^```(sh|toml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        code = code.replace("\\\n", " ")
        for written, stand_in in STAND_INS.items():
            code = code.replace(written, stand_in)
        if language == "toml" or re.search(r"^\(?cd |&& cd |^export ", code, re.MULTILINE):
            yield language, code
        else:
            yield from ((language, line) for line in code.splitlines())


def reason_not_to_run(line):
    return next((reason for reason, pattern in NOT_RUN.items() if re.search(pattern, line)), None)


def run_page(page, folder, environment, left_out):
    text = page.read_text()
    ran = 0
    for language, code in steps(text):
        if language == "toml":
            # Other programs have such settings, too, and there is no bucket.
            if "registry" not in code and "s3://" not in code:
                (folder / "kefu.toml").write_text(code)
            continue
        lines = [line for line in code.splitlines() if line.strip()]
        left_out.update(reason for reason in map(reason_not_to_run, lines) if reason)
        code = "\n".join(line for line in lines if not reason_not_to_run(line))
        if not code:
            continue
        done = subprocess.run(["bash", "-o", "pipefail", "-ec", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise SystemExit(f"{page.relative_to(ROOT)}: exit code {done.returncode}\n\n{code}\n\n{done.stdout}{done.stderr}")
        ran += 1
    return ran


def main():
    kefu = str(pathlib.Path(sys.argv[1]).absolute())
    # Days of the pages, and the last days for commands that name none.
    recent = (datetime.date.today() - datetime.timedelta(days=10)).isoformat()
    served = [simulator(kefu, "2024-04-01", 61), simulator(kefu, recent, 10)]
    try:
        facts, facts_of_recent = [json.loads(one.stdout.readline()) for one in served]
        with tempfile.TemporaryDirectory() as temporary:
            temporary = pathlib.Path(temporary)
            programs = temporary / "bin"
            programs.mkdir()
            (programs / "kefu").symlink_to(kefu)
            for name, source in PROGRAMS.items():
                program(programs / name, source)
            environment = {
                "PATH": f"{programs}:{os.environ['PATH']}",
                "KEFU_BASE_URL": facts["base_url"],
                "FLAGSHIP_SECRET": facts["secret"],
            }
            account = {"KEFU_APPID": facts["appid"], "KEFU_SECRET": facts["secret"]}
            prepared = temporary / "prepared"
            (prepared / "secrets").mkdir(parents=True)
            (prepared / "secrets/outlet").write_text(facts["secret"])
            (prepared / "names.txt").write_text("oKf0Nst7Ch5PGrzDA4XGb72cAAAL\n")
            program(prepared / "wechat-token", TOKEN)
            (prepared / "data").mkdir()
            shutil.copy(ROOT / "data/sample.jsonl", prepared / "data")
            for command in [["demo"], ["run", "--from", "2024-04-01", "--to", "2024-05-31"]]:
                subprocess.run(
                    [kefu, *command, "--log-level", "error"],
                    cwd=prepared, env=environment | account, stdout=subprocess.DEVNULL, check=True,
                )
            pages = [page for pattern in PAGES for page in sorted(ROOT.glob(pattern))]
            ran, left_out = 0, collections.Counter()
            for number, page in enumerate(pages):
                folder = temporary / str(number)
                shutil.copytree(prepared, folder)
                own = {"HOME": str(folder)}
                if "[[accounts]]\n" in page.read_text() and page.parent.name == "guide":
                    # The page begins a lake, with the last days.
                    shutil.rmtree(folder / "data/lake")
                    own["KEFU_BASE_URL"] = facts_of_recent["base_url"]
                else:
                    own |= account
                ran += run_page(page, folder, environment | own, left_out)
        print(f"docs: {ran} commands of {len(pages)} pages ran")
        for reason, lines in left_out.items():
            print(f"docs: not run, {reason}: {lines} lines")
    finally:
        for one in served:
            one.terminate()


main()
