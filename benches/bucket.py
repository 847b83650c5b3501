"""A run of ten days into moto beside the same run into a folder: seconds and requests.

Needs the packages of tests/bucket/requirements.txt, and KEFU, the path of the binary.
"""

import os
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests/bucket"))
from test_bucket import Server, bucket_settings, kefu, simulator  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "3"))
DAYS = ["--from", "2024-05-13", "--to", "2024-05-22"]

with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(temporary)
    server = Server(folder)
    try:
        with simulator("--first-day", "2024-05-13", "--days", "10", "--messages-per-day", "100000") as settings:
            seconds, requests = {"warm-up": [], "folder": [], "bucket": []}, []
            for number in range(ROUNDS):
                server.client().create_bucket(Bucket=f"round-{number}")
                lakes = {
                    "folder": {"KEFU_LAKE": f"lake-{number}"},
                    "bucket": bucket_settings(server, f"round-{number}", TMPDIR=temporary),
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
    finally:
        server.process.terminate()
        server.process.wait()
