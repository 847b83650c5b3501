#!/usr/bin/env python3
"""kefu beside what a user would pick instead, in one run: on the same server and files, in turn, several rounds, as whole processes.

    python3 benches/compare.py [--rounds 5] [--only fetch,latency,metrics,verify,size,growth,idle,nightly]

Builds kefu and the floor program, and makes a virtual environment with the pinned rivals beside cargo's target folder. Prints Markdown: medians
(minimum–maximum), the ratio of the medians to kefu's, peak memory, and what the server cost beside each. The server keeps its pages
ready from the first round on, which is not counted.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

BENCHES = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", BENCHES.parent / "target"))
KEFU = TARGET / "release/kefu"
FLOOR = TARGET / "floor/release/floor"
PYTHON = TARGET / "bench-venv/bin/python"
FIRST = datetime.date(2023, 5, 15)
METRICS = ["response_pairs", "sessions", "worker_daily", "worker_hourly", "account_daily"]


def prepare():
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=BENCHES.parent, check=True)
    subprocess.run(["cargo", "build", "--release", "--quiet", "--target-dir", TARGET / "floor"], cwd=BENCHES / "floor", check=True)
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", PYTHON.parent.parent], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "-r", BENCHES / "rivals/requirements.txt"], check=True)


class Server:
    """`kefu simulate`, which keeps its pages ready."""

    def __init__(self, days, messages, latency=0, first=FIRST):
        self.first = first
        generate = ["--first-day", str(first), "--days", str(days), "--messages-per-day", str(messages)]
        command = [KEFU, "simulate", *generate, "--latency-ms", str(latency), "--keep-pages", "2000"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        hello = json.loads(self.process.stdout.readline())
        self.last = first + datetime.timedelta(days - 1)
        self.arguments = [hello["base_url"], hello["appid"], hello["secret"]]
        self.settings = {"KEFU_BASE_URL": hello["base_url"], "KEFU_APPID": hello["appid"], "KEFU_SECRET": hello["secret"]}

    def seconds(self):
        """Processor time so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def fetch(self, *arguments):
        return [KEFU, "fetch", "--from", str(self.first), "--to", str(self.last), *arguments]


def measure(command, folder, settings=None, server=None, started=None):
    """Wall and processor seconds and peak MiB of a command, and processor seconds of the server meanwhile. `started` gets its process id."""
    served = server.seconds() if server else 0
    begin = time.perf_counter()
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", folder), **(settings or {})}
    with open(pathlib.Path(folder, "errors"), "wb") as errors:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
        if started:
            started(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
    wall = time.perf_counter() - begin
    if status != 0:
        raise SystemExit(f"{command} ended with {status}: {pathlib.Path(folder, 'errors').read_text()[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, (server.seconds() - served if server else 0)


def in_turn(contenders, rounds, warm=1):
    """Runs each contender in turn; each is a function of a new folder that gives what `measure` does."""
    figures = {name: [] for name in contenders}
    for number in range(warm + rounds):
        for name, run in contenders.items():
            with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
                figure = run(folder)
            if number >= warm:
                figures[name].append(figure)
    return figures


def table(figures, against):
    base = statistics.median(figure[0] for figure in figures[against])
    memory = statistics.median(figure[2] for figure in figures[against])
    print("| | seconds | × kefu | processor s | peak MiB | × kefu | server s |\n|---|---:|---:|---:|---:|---:|---:|")
    for name, rounds in figures.items():
        wall, processor, peak, served = zip(*rounds)
        median, peak = statistics.median(wall), statistics.median(peak)
        spread = f"{median:.2f} ({min(wall):.2f}–{max(wall):.2f})"
        print(f"| {name} | {spread} | {median / base:.2f} | {statistics.median(processor):.2f} | {peak:.0f} | {peak / memory:.2f} | {statistics.median(served):.2f} |")
    print(flush=True)


def fetch(options):
    """10 days × 100,000 messages, no latency: all of them as zstd Parquet by day (for dlt, in DuckDB)."""
    with Server(10, 100_000) as server:
        days = [str(FIRST), str(server.last)]
        start = int(datetime.datetime.combine(FIRST, datetime.time(), datetime.timezone(datetime.timedelta(hours=8))).timestamp())

        def script(name):
            command = [PYTHON, BENCHES / "rivals" / name, *server.arguments, *days]
            return lambda folder: measure([*command, str(pathlib.Path(folder, "out"))], folder, server=server)

        contenders = {
            "kefu fetch": lambda folder: measure(server.fetch(), folder, server.settings, server),
            "kefu run (metrics too)": lambda folder: measure([KEFU, "run", *server.fetch()[2:]], folder, server.settings, server),
            "floor program": lambda folder: measure([FLOOR, *server.arguments, str(start), "10", "4"], folder, server=server),
            "strong script: threads, orjson, polars": script("strong.py"),
            "strong script, and simpler metrics": script("strong_job.py"),
            "plain script: requests, pandas": script("plain.py"),
        }
        figures = in_turn(contenders, options.rounds)
        figures |= in_turn({"dlt into DuckDB": script("dlt_duckdb.py")}, min(options.rounds, 2), warm=0)
        table(figures, "kefu fetch")


def latency(options):
    """200 ms before each answer, 8 connections."""
    for days, messages, ideal in [(1, 1_000_000, 101 * 0.2), (365, 200, 365 / 8 * 0.2)]:
        with Server(days, messages, 200) as server:
            figures = in_turn({f"{days} × {messages:,}": lambda folder: measure(server.fetch("--concurrency", "8"), folder, server.settings, server)}, options.rounds, warm=0)
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run(server.fetch("--concurrency", "8", "--output", "json"), cwd=folder, env=server.settings, capture_output=True, check=True)
            requests = sum(day["requests"] for day in json.loads(done.stdout)["fetch"]["fetched"])
            median = statistics.median(figure[0] for figures in figures.values() for figure in figures)
            what = "the calls in a row" if days == 1 else "the calls, eight at a time"
            print(f"- {days} × {messages:,} messages: {median:.2f} s, {requests} requests; {what} {ideal:.2f} s, ratio {median / ideal:.2f}", flush=True)
    print()


@contextlib.contextmanager
def lake(days, messages, first=FIRST):
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        with Server(days, messages, first=first) as server:
            measure(server.fetch(), folder, server.settings)
            yield pathlib.Path(folder), server.settings


def compute(folder, settings):
    for name in METRICS:
        shutil.rmtree(folder / "data/lake" / name, ignore_errors=True)
    return measure([KEFU, "metrics"], folder, settings)


def metrics(options):
    """10 million messages of six days."""
    with lake(6, 1_666_667) as (folder, settings):

        def script(name):
            return lambda out: measure([PYTHON, BENCHES / "rivals" / name, str(folder / "data/lake"), str(pathlib.Path(out, "out"))], out)

        contenders = {
            "kefu metrics": lambda _: compute(folder, settings),
            "DuckDB SQL, 2 threads": script("metrics_duckdb.py"),
            "polars Python, 2 threads": script("metrics_polars.py"),
        }
        table(in_turn(contenders, options.rounds, warm=0), "kefu metrics")


def verify(options):
    """408,000 messages of 609 days: `verify` beside `metrics`."""
    with lake(609, 670) as (folder, settings):
        contenders = {
            "kefu metrics": lambda _: compute(folder, settings),
            "kefu verify": lambda _: measure([KEFU, "verify"], folder, settings),
        }
        table(in_turn(contenders, options.rounds, warm=1), "kefu metrics")


def size(options):
    """`messages` of a day of a million, beside DuckDB's zstd Parquet of the same rows."""
    compare = f"""
import duckdb, glob, os, statistics, sys, time
ours = glob.glob("data/lake/messages/*/*.parquet")[0]
duckdb.sql("SET threads = 2")
duckdb.sql(f"COPY (FROM read_parquet('{{ours}}', hive_partitioning = false)) TO 'duckdb.parquet' (COMPRESSION zstd)")
queries = ["SELECT count(*), min(sent_at), max(seq), count(DISTINCT openid), sum(length(text)) FROM FILE", "SELECT worker, opercode, count(*) FROM FILE GROUP BY ALL",
           "SELECT count(*) FROM FILE WHERE text LIKE '%谢谢%'"]
times = {{ours: [], "duckdb.parquet": []}}
for number in range({options.rounds} + 1):
    for file, rounds in times.items():
        begin = time.perf_counter()
        for query in queries:
            duckdb.sql(query.replace("FILE", f"read_parquet('{{file}}', hive_partitioning = false)")).fetchall()
        if number: rounds.append(time.perf_counter() - begin)
print("| | MiB | DuckDB reads it in |\\n|---|---:|---:|")
for (file, rounds), name in zip(times.items(), ["kefu", "DuckDB"]):
    print(f"| {{name}} | {{os.path.getsize(file) / 2**20:.2f}} | {{statistics.median(rounds):.3f}} s |")
print()
"""
    with lake(1, 1_000_000) as (folder, _):
        subprocess.run([PYTHON, "-c", compare], cwd=folder, check=True)


def growth(options):
    """One day, from 100,000 to 10 million messages."""
    print("| messages of the day | fetch s | µs a message | peak MiB | metrics s | µs a message | peak MiB |\n|---:|---:|---:|---:|---:|---:|---:|")
    for messages in [100_000, 1_000_000, 10_000_000]:
        with Server(1, messages) as server, tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
            measure(server.fetch("--force"), folder, server.settings)
            fetched = [measure(server.fetch("--force"), folder, server.settings) for _ in range(min(options.rounds, 3))]
            computed = [compute(pathlib.Path(folder), server.settings) for _ in range(min(options.rounds, 3))]
        row = []
        for rounds in (fetched, computed):
            median = statistics.median(figure[0] for figure in rounds)
            row += [f"{median:.2f}", f"{median / messages * 1e6:.2f}", f"{statistics.median(figure[2] for figure in rounds):.0f}"]
        print(f"| {messages:,} | {' | '.join(row)} |", flush=True)
    print()


def idle(options):
    """A lake of three years in which nothing is to be done."""
    with lake(1_096, 200) as (folder, settings):
        compute(folder, settings)
        days = [str(FIRST + datetime.timedelta(days=day)) for day in (1_093, 1_095)]
        contenders = {
            "kefu run of the last three days, which are there": lambda _: measure([KEFU, "run", "--from", days[0], "--to", days[1]], folder, settings),
            "kefu metrics of all days": lambda _: measure([KEFU, "metrics"], folder, settings),
        }
        table(in_turn(contenders, options.rounds), "kefu metrics of all days")


def nightly(options):
    """`kefu run` of the next day of an account with 20,000 messages a day and three years of history, 200 ms before each page.

    It fetches yesterday, fetches the day before again, and computes the metrics of four days.
    """
    days, messages = 1_095, 20_000
    first = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8))).date() - datetime.timedelta(days + 1)
    with lake(days, messages, first) as (history, settings), Server(days + 1, messages, 200, first) as server:
        compute(history, settings)

        def run(folder):
            # A run replaces files and never writes into them, but for its own, which are not in the tables.
            def copied(source, place):
                return shutil.copy2(source, place) if "_kefu" in pathlib.Path(source).parts else os.link(source, place)

            shutil.copytree(history / "data", pathlib.Path(folder, "data"), copy_function=copied)
            os.sync()
            figure = measure([KEFU, "run"], folder, server.settings, server)
            written = {day.name for day in pathlib.Path(folder).glob("data/lake/*/date=*") if any(file.stat().st_nlink == 1 for file in day.iterdir())}
            if len(written) != 4:
                raise SystemExit(f"the run has written {sorted(written)}")
            return figure

        figures = in_turn({"kefu run": run}, options.rounds)
    table(figures, "kefu run")


PARTS = {part.__name__: part for part in (fetch, latency, metrics, verify, size, growth, idle, nightly)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS))
    options = parser.parse_args()
    prepare()
    for name in options.only.split(","):
        part = PARTS[name]
        print(f"### {part.__doc__}\n", flush=True)
        part(options)


if __name__ == "__main__":
    main()
