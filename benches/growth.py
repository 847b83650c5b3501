#!/usr/bin/env python3
"""How the costs of kefu grow: with the messages of a day, the days of history, and the number of accounts.

    python3 benches/growth.py [--only messages,days,accounts,troubled] [--messages 1000,10000,100000] [--days 10,100] [--accounts 1,10,100]
                                [--latency-ms 0] [--at-once 16] [--rounds 3]

Prints Markdown, medians. `slope` compares a row with the one before it: the logarithm of the ratio of processor seconds, divided by that of
the sizes. 1 is linear, and 0 is constant. `µs more` is the processor time of each message more than in the row before, without what
every run costs: for linear work, it is the same in each row. `--latency-ms` (the simulator waits before each page)
and `--at-once` (accounts side by side, several values make several tables) are for `accounts` and `troubled` alone, and so is `open files`: the
most that kefu had open, sampled every 10 ms. The default sizes take some minutes. `--messages 10000000`, `--days 3650` and
`--accounts 10000` take long.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

from compare import KEFU, measure

FIRST = datetime.date(2015, 5, 15)
SECRET_FILE = "secret"


class Server:
    """`kefu simulate`. Its pages are generated as they are asked for."""

    def __init__(self, days, messages, *arguments):
        generate = ["--first-day", str(FIRST), "--days", str(days), "--messages-per-day", str(messages)]
        self.process = subprocess.Popen([KEFU, "simulate", *generate, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        hello = json.loads(self.process.stdout.readline())
        self.secret = hello["secret"]
        self.settings = {"KEFU_BASE_URL": hello["base_url"], "KEFU_APPID": hello["appid"], "KEFU_SECRET": hello["secret"]}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def day(number):
    return str(FIRST + datetime.timedelta(number))


def folder():
    return tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER"))


def files(place):
    return sum(1 for path in pathlib.Path(place, "data/lake").rglob("*.parquet") if "_kefu" not in path.parts)


def requests(place):
    """The calls of `getmsglist`, by the latest record in the history of each account's runs."""
    total = 0
    for runs in pathlib.Path(place, "data/lake/_kefu/accounts").glob("*/runs"):
        latest = max(runs.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        total += json.loads(latest.read_text())["requests"]
    return total


def repeated(rounds, run):
    """The median wall seconds, processor seconds and peak MiB of some runs, and the requests and files of the last one."""
    figures = [run() for _ in range(rounds)]
    return [statistics.median(figure[place] for figure in figures) for place in range(3)] + list(figures[-1][3:])


class Growth:
    """A table whose rows grow. `more` are the names of more columns."""

    def __init__(self, what, *more):
        self.before = None
        columns = [what, "seconds", "processor s", "µs each", "µs more", "slope", "peak MiB", "requests", "files", *more]
        print(f"| {' | '.join(columns)} |\n|---{'|---:' * (len(columns) - 1)}|")

    def row(self, name, size, of, figures):
        """`size` is the number of messages, days or accounts, and `of` the number of messages that the work is about."""
        wall, processor, peak, calls, written, *more_figures = figures
        slope = more = ""
        if self.before:
            size_before, of_before, processor_before = self.before
            slope = f"{math.log(processor / processor_before) / math.log(size / size_before):.2f}"
            more = f"{(processor - processor_before) / (of - of_before) * 1e6:.2f}" if of > of_before else ""
        self.before = (size, of, processor)
        print(f"| {name} | {wall:.2f} | {processor:.2f} | {processor / of * 1e6:.2f} | {more} | {slope} | {peak:.0f} | {calls:,} | {written:,} |{''.join(f' {figure:,} |' for figure in more_figures)}", flush=True)


def measured(command, place, server):
    wall, processor, peak, _ = measure(command, place, server.settings)
    return wall, processor, peak, requests(place), files(place)


def messages(options):
    """One day, by its messages: `kefu run` from nothing. Linear."""
    growth = Growth("messages of the day")
    for size in options.messages:
        with Server(1, size, "--keep-pages", str(size // 5_000 + 10)) as server:

            def run():
                with folder() as place:
                    return measured([KEFU, "run", "--date", day(0)], place, server)

            run()
            growth.row(f"{size:,}", size, size, repeated(options.rounds, run))
    print()


def days(options):
    """History, 200 messages a day: the first run of all days (linear), then the night after (constant)."""
    rows = []
    each = 200
    first = Growth("first run, days")
    for size in options.days:
        with Server(size + 1, each) as server, folder() as place:
            all_days = [KEFU, "run", "--from", day(0), "--to", day(size - 1)]
            first.row(f"{size:,}", size, size * each, measured(all_days, place, server))

            def night():
                with folder() as copy:
                    # Hard links: kefu replaces files and never writes into them.
                    shutil.copytree(place, copy, copy_function=os.link, dirs_exist_ok=True)
                    return measured([KEFU, "run", "--date", day(size)], copy, server)

            rows.append((size, repeated(options.rounds, night)))
    print()
    nights = Growth("the night after, days of history")
    for size, figures in rows:
        nights.row(f"{size:,}", size, each, figures)
    print()


class OpenFiles:
    """The most files that a process had open, sampled until it ends."""

    def __init__(self):
        self.most = 0

    def watch(self, process):
        def sample():
            while True:
                try:
                    self.most = max(self.most, len(os.listdir(f"/proc/{process}/fd")))
                except OSError:  # It has ended.
                    return
                time.sleep(0.01)

        threading.Thread(target=sample, daemon=True).start()


def account_list(place, size, server):
    """Settings with a list of the accounts that the server has."""
    path = pathlib.Path(place)
    (path / SECRET_FILE).write_text(server.secret)
    (path / SECRET_FILE).chmod(0o600)
    lines = [json.dumps({"name": f"account{number}", "appid": f"wx{number:016x}", "secret_file": SECRET_FILE}) for number in range(1, size + 1)]
    (path / "accounts.jsonl").write_text("\n".join(lines))
    (path / "kefu.toml").write_text('accounts_file = "accounts.jsonl"\n')


def accounts(options):
    """One night of many accounts, each with 1,000 messages (linear), and the same run again, with nothing to do."""
    each = 1_000
    for at_once in options.at_once:
        rows = []
        growth = Growth(f"accounts, {at_once} at once", "open files")
        for size in options.accounts:
            with Server(3, each, "--accounts", str(size), "--latency-ms", str(options.latency_ms)) as server:
                repeats = []

                def run_once(place):
                    command = [KEFU, "run", "--date", day(1), "--accounts", str(at_once)]
                    opened = OpenFiles()
                    settings = {"KEFU_BASE_URL": server.settings["KEFU_BASE_URL"]}
                    wall, processor, peak, _ = measure(command, place, settings, started=opened.watch)
                    return wall, processor, peak, requests(place), files(place), opened.most

                def run():
                    with folder() as place:
                        account_list(place, size, server)
                        figures = run_once(place)
                        repeats.append(run_once(place))
                        return figures

                growth.row(f"{size:,}", size, size * each, repeated(options.rounds, run))
                rows.append((size, repeated(len(repeats), iter(repeats).__next__)))
        print()
        again = Growth(f"again, {at_once} at once", "open files")
        for size, figures in rows:
            again.row(f"{size:,}", size, size * each, figures)
        print()


def troubled(options):
    """Accounts with 1,000 messages each: seconds until all are done but three, which are troubled in the second row: a wrong secret, an API
    that always answers 503, and a million messages. Each run is stopped once the others are done."""
    size, at_once = options.accounts[-1], options.at_once[-1]
    print(f"| {size:,} accounts, {at_once} at once | seconds until the others are done | peak MiB |\n|---|---:|---:|")
    large, refused, unavailable = 1, size // 3, size // 2
    others = {f"account{number}" for number in range(1, size + 1)} - {f"account{number}" for number in (large, refused, unavailable)}
    troubles = ["--large-account", "1000000", "--fault", f"account={unavailable}/status:503", "--fault", f"account={refused}/token/errcode:40125"]
    for name, arguments in [("without trouble", []), ("three are troubled", troubles)]:
        with Server(3, 1_000, "--accounts", str(size), "--latency-ms", str(options.latency_ms), *arguments) as server:
            rounds = []
            for _ in range(options.rounds):
                with folder() as place:
                    account_list(place, size, server)
                    rounds.append(until_done(place, server, at_once, others))
            seconds, peak = (statistics.median(figures) for figures in zip(*rounds))
            print(f"| {name} | {seconds:.2f} | {peak:.0f} |", flush=True)
    print()


def until_done(place, server, at_once, accounts):
    """Seconds until the runs of these accounts have ended well, and the peak MiB of the process, which is stopped then."""
    command = [KEFU, "run", "--date", day(1), "--accounts", str(at_once), "--log-format", "json"]
    settings = {"PATH": os.environ["PATH"], "HOME": place, "KEFU_BASE_URL": server.settings["KEFU_BASE_URL"]}
    begin, left = time.perf_counter(), set(accounts)
    process = subprocess.Popen(command, cwd=place, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "run_ended" and event["account"] in left:
            if event["exit_code"] != 0:
                raise SystemExit(f"{event['account']} ended with {event['exit_code']}")
            left.remove(event["account"])
            if not left:
                break
    seconds = time.perf_counter() - begin
    process.terminate()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if left:
        raise SystemExit(f"{len(left)} accounts have not ended")
    return seconds, usage.ru_maxrss / 1024


PARTS = {part.__name__: part for part in (messages, days, accounts, troubled)}


def main():
    sizes = lambda text: [int(size) for size in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="messages,days,accounts")
    parser.add_argument("--messages", type=sizes, default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--days", type=sizes, default=[10, 100, 365, 1_096])
    parser.add_argument("--accounts", type=sizes, default=[1, 10, 100, 1_000])
    parser.add_argument("--latency-ms", type=int, default=0)
    parser.add_argument("--at-once", type=sizes, default=[16])
    options = parser.parse_args()
    if not KEFU.exists():
        raise SystemExit("build kefu first: cargo build --release")
    for name in options.only.split(","):
        print(f"### {PARTS[name].__doc__}\n", flush=True)
        PARTS[name](options)


if __name__ == "__main__":
    main()
