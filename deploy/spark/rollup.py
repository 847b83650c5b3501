"""Rolls up the metrics of a kefu lake with Spark: a few large files for each month, over all accounts.

    spark-submit rollup.py --lake s3a://records/kefu --out s3a://records/rollup

Writes `<out>/<table>/month=2024-05/` for each metric table, sorted by account and date, and two more
tables: `account_monthly` and `worker_monthly`, with percentiles and service levels of the month from
`response_pairs`. Only final days are in them, those that later days can no longer change.

A month is read when the list of its files in the lake (path, size, time) differs from the last run,
and written when the list of its final files (path, content hash) does. Both are in `_inputs.json`
beside the files of the month.

A month is written in `<out>/_writing/` first, then moved to its place: `_inputs.json` is removed, the
folder is replaced, and the new `_inputs.json` is written. So a reader has all rows of a month if its
`_inputs.json` is there before it reads, and is the same afterwards. In a folder or in HDFS the move is
two renames; in a bucket each file is copied. A run begins with what a killed one has left: it moves a
month back that is not in its place. A month without `_inputs.json` is written again. One run at a time.

Months that are gone from the lake altogether stay. So does a month that would be made of fewer files
than before, as after `kefu prune`; `--allow-shrink` replaces it. Needs pyarrow on the executors.
"""

import argparse
import collections
import hashlib
import io
import json
import math
import sys

from pyspark.sql import SparkSession, functions

FILE_BYTES = 128 * 1024 * 1024
MANIFEST = "_inputs.json"
# How the rows of an account and a date are sorted in each table.
METRICS = {
    "account_daily": [],
    "worker_daily": ["worker"],
    "worker_hourly": ["worker", "hour"],
    "response_pairs": ["asked_at", "openid"],
    "sessions": ["started_at", "openid"],
}
MONTHLY = {"account_monthly": ["account"], "worker_monthly": ["account", "worker"]}
WAITS = """
    count_if(outcome = 'answered') AS answered,
    count_if(outcome = 'unanswered' AND is_first) AS unanswered_first,
    count_if(outcome = 'unanswered' AND NOT is_first) AS unanswered_later,
    sum(response_seconds) AS response_seconds_sum,
    avg(response_seconds) AS response_seconds_mean,
    percentile(response_seconds, 0.5) AS response_seconds_p50,
    percentile(response_seconds, 0.9) AS response_seconds_p90,
    percentile(response_seconds, 0.95) AS response_seconds_p95,
    max(response_seconds) AS response_seconds_max,
    count_if(response_seconds <= 30) AS answered_within_30s,
    count_if(response_seconds <= 60) AS answered_within_60s,
    count_if(response_seconds <= 180) AS answered_within_180s,
    count_if(response_seconds <= 300) AS answered_within_300s,
    count_if(outcome = 'answered' AND is_first) AS first_responses,
    sum(response_seconds) FILTER (WHERE is_first) AS first_response_seconds_sum,
    avg(response_seconds) FILTER (WHERE is_first) AS first_response_seconds_mean,
    percentile(response_seconds, 0.5) FILTER (WHERE is_first) AS first_response_seconds_p50,
    percentile(response_seconds, 0.9) FILTER (WHERE is_first) AS first_response_seconds_p90,
    percentile(response_seconds, 0.95) FILTER (WHERE is_first) AS first_response_seconds_p95,
    max(response_seconds) FILTER (WHERE is_first) AS first_response_seconds_max
"""
LEVELS = [
    f"answered_within_{seconds}s / nullif(answered + unanswered_first, 0) AS service_level_{seconds}s"
    for seconds in [30, 60, 180, 300]
]

# A file of the lake that is final. `bytes` are those of its columns, without the footer.
Final = collections.namedtuple("Final", "account date content_hash bytes")


def main():
    options = parsed()
    settings = SparkSession.builder.appName("kefu roll-up").config("spark.sql.session.timeZone", "UTC")
    spark = settings.config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS").getOrCreate()
    rollup = Rollup(spark, options.lake, options.out, options.allow_shrink)
    rollup.recover()
    for table in METRICS:
        for month in options.months or rollup.months(table):
            rollup.update(table, month)
    rollup.recover()


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", required=True, help="the lake, as Spark reads it: a folder, s3a://…, oss://…")
    parser.add_argument("--out", required=True, help="where the roll-ups go, outside the lake")
    parser.add_argument("--months", nargs="+", metavar="2024-05", help="look only at these months")
    parser.add_argument("--allow-shrink", action="store_true", help="replace months also by ones of fewer files")
    options = parser.parse_args()
    options.lake, options.out = options.lake.rstrip("/"), options.out.rstrip("/")
    if f"{options.out}/".startswith(f"{options.lake}/"):
        parser.error("the roll-ups must be outside the lake")
    return options


class Rollup:
    def __init__(self, spark, lake, out, allow_shrink=False):
        self.spark, self.lake, self.out, self.allow_shrink = spark, lake, out, allow_shrink
        self.files = Files(spark)

    def recover(self):
        """Moves back the months that a killed run has moved away, and removes what it has left."""
        for path, _, _ in self.files.find(f"{self.out}/_writing/*/month=*.old"):
            output, month = path.split("/")[-2:]
            place = f"{self.out}/{output}/{month.removesuffix('.old')}"
            if not self.files.exists(place):
                self.files.rename(path, place)
                self.files.put(f"{place}/{MANIFEST}", "{}")
        self.files.remove(f"{self.out}/_writing")

    def months(self, table):
        """The months in which the lake has days."""
        days = self.files.find(f"{self.lake}/{table}/date=*")
        return sorted({path.rpartition("date=")[2][:7] for path, _, _ in days})

    def update(self, table, month):
        """Brings the month of a table up to date, and of the tables that are made of it."""
        found = self.files.find(self.source(table, month))
        outputs = [table, *(MONTHLY if table == "response_pairs" else [])]
        known = {output: self.manifest(output, month) for output in outputs}
        listed = digest([path.split("/")[-2:], size, time] for path, size, time in found)
        if not found or all(known[output].get("listed") == listed for output in outputs):
            return
        finals = self.finals(table, month)
        inputs = digest([final.account, final.date, final.content_hash] for final in finals)
        newest = max(found, key=lambda file: file[2])[0]
        for output in outputs:
            before = known[output].get("files", 0)
            if len(finals) < before and not self.allow_shrink:
                print(f"{output} {month}: stays, made of {before} files, because only {len(finals)} are left (--allow-shrink)")
                continue
            if known[output].get("inputs") != inputs:
                frame = self.rows(table, month, newest, finals)
                self.write(output, month, frame if output == table else monthly(frame, finals, MONTHLY[output]), finals)
                self.files.remove(f"{self.folder(output, month)}/{MANIFEST}")
                self.files.replace(self.folder(output, month), self.staged(output, month))
            manifest = {"listed": listed, "inputs": inputs, "files": len(finals)}
            self.files.put(f"{self.folder(output, month)}/{MANIFEST}", json.dumps(manifest))
            state = "unchanged" if known[output].get("inputs") == inputs else "written"
            print(f"{output} {month}: {state}, {len(finals)} of {len(found)} files are final")

    def source(self, table, month):
        return f"{self.lake}/{table}/date={month}-*/*.parquet"

    def folder(self, output, month):
        return f"{self.out}/{output}/month={month}"

    def staged(self, output, month):
        """Where the month is written. Readers skip names that begin with `_`."""
        return f"{self.out}/_writing/{output}/month={month}"

    def manifest(self, output, month):
        return json.loads(self.files.get(f"{self.folder(output, month)}/{MANIFEST}") or "{}")

    def finals(self, table, month):
        """The final files of a month, from their footers."""
        files = self.spark.read.format("binaryFile").load(self.source(table, month)).select("content")
        return sorted(final for final in files.rdd.map(lambda row: final_file(row.content)).collect() if final)

    def rows(self, table, month, newest, finals):
        """The rows of the final files. Files of older versions of kefu can lack columns."""
        reader = self.spark.read.option("basePath", f"{self.lake}/{table}")
        schema = self.spark.read.parquet(newest).schema.add("date", "date")
        frame = reader.schema(schema).parquet(self.source(table, month))
        days = self.spark.createDataFrame([(final.account, final.date) for final in finals], "account string, day string")
        days = days.selectExpr("account", "CAST(day AS date) AS date")
        return frame.join(functions.broadcast(days), ["account", "date"], "left_semi")

    def write(self, output, month, frame, finals):
        files = 1
        keys = ["account"]
        if output in METRICS:
            files = max(1, math.ceil(sum(final.bytes for final in finals) / FILE_BYTES))
            keys = ["account", "date"]
        frame = frame.repartitionByRange(files, *keys).sortWithinPartitions(*keys, *METRICS.get(output, MONTHLY.get(output)))
        frame.write.mode("overwrite").option("compression", "zstd").parquet(self.staged(output, month))


def monthly(pairs, finals, keys):
    """Percentiles and service levels of a month, by account or by worker."""
    by = ", ".join(keys)
    days = collections.Counter(final.account for final in finals)
    spark = pairs.sparkSession
    counted = spark.createDataFrame(sorted(days.items()), "account string, final_days bigint")
    waits = spark.sql(f"SELECT {by}, {WAITS} FROM {{pairs}} GROUP BY {by}", pairs=pairs).selectExpr("*", *LEVELS)
    return counted.join(waits, "account").select(*keys, "final_days", *waits.columns[len(keys) :])


def final_file(content):
    """The facts of a final file, or None."""
    from pyarrow import parquet

    metadata = parquet.read_metadata(io.BytesIO(content))
    facts = {key.decode(): value.decode() for key, value in metadata.metadata.items()}
    if facts["kefu.final"] != "true":
        return None
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    size = sum(group.column(number).total_compressed_size for group in groups for number in range(group.num_columns))
    return Final(facts["kefu.account"], facts["kefu.date"], facts["kefu.content_hash"], size)


def digest(rows):
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()


class Files:
    """The file system of Spark, whichever it is."""

    def __init__(self, spark):
        self.hadoop, self.settings = spark._jvm.org.apache.hadoop, spark._jsc.hadoopConfiguration()
        self.text = spark._jvm.org.apache.commons.io.IOUtils

    def at(self, path):
        path = self.hadoop.fs.Path(path)
        return path.getFileSystem(self.settings), path

    def find(self, pattern):
        """What is there, as (path, size, time)."""
        system, path = self.at(pattern)
        return [(file.getPath().toString(), file.getLen(), file.getModificationTime()) for file in system.globStatus(path) or []]

    def get(self, path):
        if not self.exists(path):
            return None
        system, path = self.at(path)
        stream = system.open(path)
        try:
            return self.text.toString(stream, "UTF-8")
        finally:
            stream.close()

    def remove(self, path):
        """Removes a file or a folder, if it is there."""
        system, path = self.at(path)
        system.delete(path, True)

    def rename(self, path, place):
        """Moves a folder to a place where nothing is."""
        system, place = self.at(place)
        system.mkdirs(place.getParent())
        if not system.rename(self.at(path)[1], place):
            raise OSError(f"{path} cannot be moved to {place.toString()}")

    def exists(self, path):
        system, path = self.at(path)
        return system.exists(path)

    def replace(self, place, new):
        """Puts a new folder in the place of another one, if there is one."""
        old = f"{new}.old"
        self.remove(old)
        if self.exists(place):
            self.rename(place, old)
        self.rename(new, place)
        self.remove(old)

    def put(self, path, content):
        system, path = self.at(path)
        stream = system.create(path, True)
        try:
            stream.write(bytearray(content.encode()))
        finally:
            stream.close()


if __name__ == "__main__":
    sys.exit(main())
