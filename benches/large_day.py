#!/usr/bin/env python3
"""One large generated day: time and peak memory of `kefu fetch` and `kefu metrics`, as whole processes.

    cargo build --release && python3 benches/large_day.py [--messages 1000000] [--rounds 5]

The simulator runs beside them on the same cores; its own time is reported too. Medians of the rounds.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

TARGET = os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).parent.parent / "target")
KEFU = os.environ.get("KEFU", str(pathlib.Path(TARGET) / "release" / "kefu"))


def measure(command, folder, settings):
    """Wall and processor seconds and peak MiB of a command."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, f"{command} ended with {status}"
    return time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def report(what, figures):
    """One line of medians for what `measure` gave."""
    seconds, processor, memory = zip(*figures)
    print(
        f"{what:14} {statistics.median(seconds):6.2f} s ({min(seconds):.2f}–{max(seconds):.2f})"
        f"   processor {statistics.median(processor):6.2f} s   peak {statistics.median(memory):6.0f} MiB"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    simulate = [KEFU, "simulate", "--days", "1", "--messages-per-day", str(options.messages)]
    simulator = subprocess.Popen(simulate, stdout=subprocess.PIPE)
    hello = json.loads(simulator.stdout.readline())
    settings = {"KEFU_BASE_URL": hello["base_url"], "KEFU_APPID": hello["appid"], "KEFU_SECRET": hello["secret"]}
    rounds = {"fetch": [], "metrics": []}
    size = 0
    try:
        for number in range(options.rounds + 1):
            with tempfile.TemporaryDirectory() as folder:
                for stage in rounds:
                    figures = measure([KEFU, stage, "--date", "2024-05-13"], folder, settings)
                    # The first round lets the simulator make its plan of the day.
                    if number > 0:
                        rounds[stage].append(figures)
                size = sum(path.stat().st_size for path in pathlib.Path(folder, "data/lake/messages").rglob("*.parquet"))
    finally:
        simulator.terminate()
        _, _, usage = os.wait4(simulator.pid, 0)
        simulator.stdout.close()
    print(f"{options.messages:,} messages, {options.rounds} rounds, medians (min–max); messages file {size / 2**20:.1f} MiB")
    for stage, figures in rounds.items():
        report(stage, figures)
    each = (usage.ru_utime + usage.ru_stime) / (options.rounds + 1)
    print(f"simulator, beside each fetch: processor {each:.2f} s")


if __name__ == "__main__":
    main()
