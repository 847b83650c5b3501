"""A month of generated conversations of three accounts, as a lake: `python generated_lake.py KEFU FOLDER`, KEFU being the program.

Beside what the demo's has, it has missing days, business hours, and workers of the same name under several accounts. It starts its own simulators, on
free ports, and stops them.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

FIRST, LAST = "2024-05-01", "2024-05-31"
# Account, messages a day, and the days that are fetched.
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


def main():
    kefu, lake = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kefu.toml").write_text(SETTINGS, encoding="utf-8")
        for seed, (account, messages, ranges) in enumerate(ACCOUNTS, start=1):
            with simulator(kefu, folder, messages, seed) as access:
                for first, last in ranges:
                    command = [kefu, "run", "--lake", lake, "--from", first, "--to", last, "--log-level", "error"]
                    subprocess.run(command, cwd=folder, env=access | {"KEFU_ACCOUNT": account}, stdout=subprocess.DEVNULL, check=True)


@contextmanager
def simulator(kefu, folder, messages, seed):
    """A running `kefu simulate`: the settings that a kefu needs to talk to it."""
    command = [kefu, "simulate", "--first-day", FIRST, "--days", "31", "--messages-per-day", str(messages), "--seed", str(seed)]
    process = subprocess.Popen(command, cwd=folder, env={}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        hello = json.loads(process.stdout.readline())
        yield {"KEFU_BASE_URL": hello["base_url"], "KEFU_APPID": hello["appid"], "KEFU_SECRET": hello["secret"]}
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    main()
