"""Generated lakes to try notebooks on: `python generated_lake.py KEFU FOLDER [tiny]`, KEFU being the program.

A month of three accounts that has, beside what the demo's lake has, missing days, business hours, and workers of the same name under several accounts;
or a tiny one, of one day with hardly anything in it. Simulators are started on free ports, and stopped.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

FIRST, LAST = "2024-05-01", "2024-05-31"
# Account, messages per day, and the days to fetch.
ACCOUNTS = [
    ("flagship", 1_200, [(FIRST, LAST)]),
    ("outlet", 500, [(FIRST, "2024-05-11"), ("2024-05-14", LAST)]),
    ("hotline", 150, [("2024-05-06", LAST)]),
]
SETTINGS = """
[metrics.business_hours]
monday = ["09:00-21:00"]
tuesday = ["09:00-21:00"]
wednesday = ["09:00-21:00"]
thursday = ["09:00-21:00"]
friday = ["09:00-21:00"]
saturday = ["10:00-18:00"]

[metrics.business_hours.dates]
2024-05-01 = []
2024-05-02 = []
2024-05-03 = []
2024-05-11 = ["09:00-21:00"]
"""


# A nearly empty day: one answer, one customer without an answer, and texts that must stay plain
# text.
TINY = [
    ("asks", 2003, "<script>alert(1)</script>", 0),
    ("waits", 2003, "</div><img src='https://example.com/x'> $5 & $6", 60),
    ("asks", 2002, "</pre>**bold**", 4_000),
]


def main():
    kefu, lake = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[3:] == ["tiny"]:
            tiny(kefu, lake, folder)
        else:
            month(kefu, lake, folder)


def month(kefu, lake, folder):
    (Path(folder) / "kefu.toml").write_text(SETTINGS, encoding="utf-8")
    for seed, (account, messages, ranges) in enumerate(ACCOUNTS, start=1):
        generator = ["--first-day", FIRST, "--days", "31", "--messages-per-day", str(messages), "--seed", str(seed)]
        with simulator(kefu, folder, *generator) as access:
            # Each account is a separate app. The simulator knows ten apps, whose ids differ in the
            # last digit.
            access["KEFU_APPID"] = f"{access['KEFU_APPID'][:-1]}{seed}"
            for first, last in ranges:
                run(kefu, lake, folder, access, account, first, last)


def tiny(kefu, lake, folder):
    records = Path(folder) / "records.jsonl"
    noon = 1_715_572_800  # 2024-05-13 12:00:00 in Shanghai
    lines = [
        json.dumps({"openid": openid, "opercode": opercode, "text": text, "time": noon + seconds, "worker": "<b>$kf$@tiny"})
        for openid, opercode, text, seconds in TINY
    ]
    records.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    with simulator(kefu, folder, "--records", records) as access:
        run(kefu, lake, folder, access, "tiny", "2024-05-13", "2024-05-13")


def run(kefu, lake, folder, access, account, first, last):
    command = [kefu, "run", "--lake", lake, "--from", first, "--to", last, "--log-level", "error"]
    subprocess.run(command, cwd=folder, env=access | {"KEFU_ACCOUNT": account}, stdout=subprocess.DEVNULL, check=True)


@contextmanager
def simulator(kefu, folder, *arguments):
    """A running `kefu simulate`: the settings that a kefu needs to talk to it."""
    process = subprocess.Popen([kefu, "simulate", *arguments], cwd=folder, env={}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        hello = json.loads(process.stdout.readline())
        yield {"KEFU_BASE_URL": hello["base_url"], "KEFU_APPID": hello["appid"], "KEFU_SECRET": hello["secret"]}
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    main()
