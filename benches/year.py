#!/usr/bin/env python3
"""A generated year (365 days × 20,000 messages): time and peak memory of computing every metric, and of finding nothing to do.

    cargo build --release && python3 benches/year.py [--days 365] [--messages-per-day 20000] [--rounds 5]

Whole processes, medians of the rounds. The year is fetched once; each round computes all of its partitions anew.
"""

import argparse
import datetime
import json
import pathlib
import shutil
import subprocess
import tempfile

from large_day import KEFU, measure, report

METRICS = ["response_pairs", "sessions", "worker_daily", "worker_hourly", "account_daily"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--messages-per-day", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    first = datetime.date(2024, 1, 1)
    last = first + datetime.timedelta(days=options.days - 1)
    generate = ["--first-day", str(first), "--days", str(options.days), "--messages-per-day", str(options.messages_per_day)]
    simulator = subprocess.Popen([KEFU, "simulate", *generate], stdout=subprocess.PIPE)
    try:
        hello = json.loads(simulator.stdout.readline())
        settings = {"KEFU_BASE_URL": hello["base_url"], "KEFU_APPID": hello["appid"], "KEFU_SECRET": hello["secret"]}
        with tempfile.TemporaryDirectory() as folder:
            figures = {"fetch": [measure([KEFU, "fetch", "--from", str(first), "--to", str(last)], folder, settings)]}
            for _ in range(options.rounds):
                for table in METRICS:
                    shutil.rmtree(pathlib.Path(folder, "data/lake", table), ignore_errors=True)
                figures.setdefault("metrics", []).append(measure([KEFU, "metrics"], folder, settings))
                figures.setdefault("nothing to do", []).append(measure([KEFU, "metrics"], folder, settings))
    finally:
        simulator.terminate()
        simulator.wait()
        simulator.stdout.close()
    print(f"{options.days} days of {options.messages_per_day:,} messages, {options.rounds} rounds, medians (min–max)")
    for what, rounds in figures.items():
        report(what, rounds)


if __name__ == "__main__":
    main()
