"""Runs kefu on Spark: each task runs the kefu binary for one shard of the accounts, all into one lake.

    spark-submit --files kefu,kefu.toml,accounts.jsonl kefu_on_spark.py --config kefu.toml -- run

What follows `--` is the kefu command, by default `run`. ../README.md has the commands for YARN,
Kubernetes and the services of cloud vendors.

A task whose kefu exits with 3, 69 or 75 fails, so that Spark tries it again. It does not when only
accounts have failed that a retry cannot help, like those whose quota is used up until tomorrow. The
last attempt returns its result in any case. So do all other exit codes. Every day that an earlier
attempt has committed is skipped. Before another attempt, a task waits, twice as long each time.

Prints the accounts that failed, and exits with the worst exit code of all shards.
"""

import argparse
import collections
import ctypes
import datetime
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

from py4j.protocol import Py4JJavaError
from pyspark import SparkFiles, TaskContext
from pyspark.sql import SparkSession

# Exit codes after which a retry may help, and the classes of an account's failure that belong to
# them. 75 also has the class `quota`: WeChat refuses more calls until tomorrow.
RETRIED = {3, 69, 75}
RETRIED_CLASSES = {"partial", "unavailable", "occupied", "stopped"}
# kefu's order of severity. Codes that are not listed are worse: kefu was killed.
BY_SEVERITY = [0, 3, 69, 65, 75, 73, 77, 78, 2, 1]

# Seconds that kefu has to end after SIGTERM. It needs two.
GRACE = 10

Job = collections.namedtuple("Job", "kefu config arguments shards attempts wait timeout", defaults=[30, 14_400])
SCHEMA = """
    account string,        -- null when kefu could not even begin
    failure string,        -- class of the failure; null when nothing failed
    reason string,
    shard string,
    exit_code int,         -- of the whole shard
    attempt int,
    host string,
    started_at timestamp,
    seconds double,        -- of the whole shard
    report string          -- the account's result as JSON, as `kefu run --output json` has it
"""


def main():
    options = parsed()
    settings = SparkSession.builder.appName("kefu")
    spark = settings.config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS").getOrCreate()
    context = spark.sparkContext
    job = Job(options.kefu, options.config, options.arguments, options.shards, attempts(context), options.retry_wait, options.timeout)
    if job.shards is None:
        code, result = kefu(job, ["accounts"])
        if code != 0:
            return code
        job = job._replace(shards=max(1, math.ceil(len(result["accounts"]) / options.batch)))
    shards = context.parallelize(range(job.shards), job.shards)
    try:
        rows = shards.flatMap(lambda shard: run_shard(job, shard)).collect()
    except Py4JJavaError as error:  # A task was lost as often as Spark allows.
        print(f"Spark has ended the job: {error.java_exception}", file=sys.stderr)
        print("Run it again: accounts that are done have nothing to do then.", file=sys.stderr)
        return 69
    show(rows)
    code = max((row["exit_code"] for row in rows), key=severity, default=0)
    if options.reports:
        try:
            frame = spark.createDataFrame(rows, re.sub("--.*", "", SCHEMA))
            frame.coalesce(1).write.mode("append").option("compression", "zstd").parquet(options.reports)
        except Py4JJavaError as error:
            print(f"the reports cannot be written to {options.reports}: {error.java_exception}", file=sys.stderr)
            return max(code, 73, key=severity)
    return code


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kefu", default="kefu", help="the binary: a path on each node, or a file that Spark ships")
    parser.add_argument("--config", help="kefu.toml: a path on each node, or a file that Spark ships")
    parser.add_argument("--batch", type=int, default=20, help="accounts in a task, on average")
    parser.add_argument("--shards", type=int, help="number of tasks, in place of --batch")
    parser.add_argument("--reports", metavar="PATH", help="append a row for each account to this Parquet table")
    parser.add_argument("--retry-wait", type=float, default=30, metavar="SECONDS", help="wait before a task is tried again (default 30)")
    parser.add_argument("--timeout", type=float, default=14_400, metavar="SECONDS", help="end a kefu that takes longer (default 14400)")
    parser.add_argument("arguments", nargs="*", default=["run"], help="kefu's command and its options")
    return parser.parse_args()


def attempts(context):
    """How often Spark starts a task."""
    if context.master.startswith("local") and not context.master.startswith("local-cluster"):
        with_failures = re.match(r"local\[[^,]+, *(\d+)\]", context.master)
        return int(with_failures.group(1)) if with_failures else 1
    return int(context.getConf().get("spark.task.maxFailures", "4"))


def run_shard(job, shard):
    """Runs kefu for one shard. Returns a row for each of its accounts."""
    attempt = TaskContext.get().attemptNumber()
    shard, started_at = f"{shard}/{job.shards}", datetime.datetime.now(datetime.timezone.utc)
    code, result = kefu(job, [*job.arguments, "--shard", shard, "--log-format", "json"])
    facts = {"shard": shard, "exit_code": code, "attempt": attempt, "host": socket.gethostname(), "started_at": started_at}
    facts["seconds"] = (datetime.datetime.now(datetime.timezone.utc) - started_at).total_seconds()
    rows = [row_of(account) | facts for account in result.get("accounts", [result])]
    if may_help(code, rows) and attempt + 1 < job.attempts:
        time.sleep(job.wait * 2**attempt)
        raise RuntimeError(f"kefu exited with {code} for the shard {shard}; another attempt may help")
    return rows


def kefu(job, arguments):
    """Runs kefu. Returns its exit code and its result."""
    command = [shipped(job.kefu), *arguments, "--output", "json"]
    if job.config:
        command += ["--config", shipped(job.config)]
    # kefu must not outlive a task that Spark kills.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=stop_with_parent)
    stdout = output_of(process, job.timeout)
    code = process.returncode if process.returncode >= 0 else 128 - process.returncode
    try:
        return code, json.loads(stdout.splitlines()[-1])
    except (IndexError, ValueError):  # Killed before its last line was whole.
        return code, {"failure": {"class": "killed", "reason": f"exit code {code}, no result"}}


def output_of(process, timeout):
    """What a process prints. Ends it after the timeout: kefu then says what is done."""
    for seconds, end in [(timeout, process.terminate), (GRACE, process.kill)]:
        try:
            return process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            end()
    return process.communicate()[0]


def stop_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def shipped(name):
    """A path on this node, a file that Spark has brought here, or a program on the PATH."""
    places = [name, os.path.join(SparkFiles.getRootDirectory(), name)]
    there = [os.path.abspath(place) for place in places if os.path.isfile(place)]
    return there[0] if there else shutil.which(name) or name


def row_of(account):
    """The account's result, and its failure or that of the worst of its days."""
    row = {"account": account.get("account"), "failure": None, "reason": None, "report": json.dumps(account, ensure_ascii=False)}
    days = (account.get("fetch") or {}).get("failed")
    if account.get("failure"):
        row |= {"failure": account["failure"]["class"], "reason": account["failure"]["reason"]}
    elif days:
        row |= {"failure": account["fetch"]["worst"], "reason": "; ".join(f"{day['date']}: {day['reason']}" for day in days)}
    return row


def may_help(code, rows):
    """Whether another attempt may help."""
    was_killed = code not in BY_SEVERITY
    return was_killed or (code in RETRIED and any(row["failure"] in RETRIED_CLASSES for row in rows))


def severity(code):
    return BY_SEVERITY.index(code) if code in BY_SEVERITY else len(BY_SEVERITY)


def show(rows):
    failed = [[row["account"] or "", row["failure"], row["shard"], row["reason"]] for row in rows if row["failure"]]
    print(f"{len(rows)} accounts, {len(failed)} failed")
    for line in [["account", "failure", "shard", "reason"]] * bool(failed) + sorted(failed):
        print("\t".join(line))


if __name__ == "__main__":
    sys.exit(main())
