"""A lake in a bucket of moto beside one in a folder: seconds and requests.

    KEFU=target/release/kefu python benches/bucket.py [days] [night]

`days`: a run of ten days of 100,000 messages into each. `night`: the requests of a night of an account
with 1,000 messages a day. Needs the packages of tests/bucket/requirements.txt.
"""

import collections
import datetime
import os
import pathlib
import re
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/bucket"))
from test_bucket import Server, bucket_settings, kefu, simulator  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
DAYS = ["--from", "2024-05-13", "--to", "2024-05-22"]


def days(folder, server):
    with simulator("--first-day", "2024-05-13", "--days", "10", "--messages-per-day", "100000") as settings:
        seconds, requests = {"warm-up": [], "folder": [], "bucket": []}, []
        for number in range(ROUNDS):
            server.client().create_bucket(Bucket=f"round-{number}")
            lakes = {
                "folder": {"KEFU_LAKE": f"lake-{number}"},
                "bucket": bucket_settings(server, f"round-{number}", TMPDIR=str(folder)),
            }
            if number == 0:
                lakes = {"warm-up": {"KEFU_LAKE": "warm-up"}} | lakes
            for name, lake in lakes.items():
                server.requests()
                begun = time.monotonic()
                kefu(folder, settings | lake, "run", *DAYS)
                seconds[name].append(time.monotonic() - begun)
            requests.append(len(server.requests()))
    for name in ("folder", "bucket"):
        print(f"{name}: {statistics.median(seconds[name]):.2f} s")
    print(f"requests: {statistics.median(requests):.0f}")


def night(folder, server):
    """After a week, the nightly run: it fetches yesterday and computes the metrics of four days."""
    server.client().create_bucket(Bucket="night")
    today = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8))).date()
    day = lambda before: str(today - datetime.timedelta(before))
    with simulator("--first-day", day(8), "--days", "8", "--messages-per-day", "1000") as settings:
        settings |= bucket_settings(server, "night", TMPDIR=str(folder))
        kefu(folder, settings, "run", "--from", day(8), "--to", day(2))
        for what in ["the nightly run", "again, with nothing to do"]:
            server.requests()
            kefu(folder, settings, "run")
            kinds = collections.Counter(kind(request) for request in server.requests())
            print(f"{what}: {sum(kinds.values())} requests:", ", ".join(f"{count} {name}" for name, count in kinds.most_common()))


def kind(request):
    return "LIST" if "list-type" in request else re.search("[A-Z]{3,}", request)[0]


PARTS = {part.__name__: part for part in (days, night)}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        server = Server(pathlib.Path(temporary))
        try:
            for name in sys.argv[1:] or PARTS:
                PARTS[name](pathlib.Path(temporary), server)
        finally:
            server.process.terminate()
            server.process.wait()
