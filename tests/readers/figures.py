"""What a reader finds in a lake: `python figures.py READER LAKE FILTERS`, run in an environment that has the reader. Prints JSON.

For each table its rows, and for each column how many values are not null and the exact sum of its numbers (instants in
microseconds), or a hash of its texts. For each of the FILTERS, a JSON list of [table, column, "=" or ">=", value], how many rows
the reader leaves. Instants in FILTERS are given as seconds.
"""

import datetime
import hashlib
import json
import math
import sys

TABLES = ["messages", "rejects", "response_pairs", "sessions", "worker_daily", "worker_hourly", "account_daily", "workers"]


def main():
    name, lake, filters = sys.argv[1:]
    reader = READERS[name](lake)
    tables = {table: figures(reader.columns(table)) for table in TABLES}
    counts = [reader.count(*filter) for filter in json.loads(filters)]
    print(json.dumps({"tables": tables, "counts": counts}))


def figures(columns):
    """`columns` has a list of Python values for each column, None (or NaN) for null."""
    return {"rows": len(next(iter(columns.values()))), "columns": {name: of_column(values) for name, values in sorted(columns.items())}}


def of_column(values):
    values = [value for value in values if value is not None and value == value]
    if all(isinstance(value, (int, float)) for value in values):
        return {"values": len(values), "sum": math.fsum(values)}
    texts = sorted(str(value) for value in values)
    return {"values": len(texts), "hash": hashlib.sha256("\0".join(texts).encode()).hexdigest()}


def is_instant(column):
    return column.endswith("_at")


def instant(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def literal(column, value, instant_type):
    """A value in SQL."""
    if is_instant(column):
        return f"{instant_type} '{instant(value):%Y-%m-%d %H:%M:%S}+00:00'"
    return repr(value)


class Polars:
    def __init__(self, lake):
        import polars

        self.pl, self.lake = polars, lake

    def scan(self, table):
        return self.pl.scan_parquet(f"{self.lake}/{table}/")

    def columns(self, table):
        frame = self.scan(table).collect()
        return {
            name: (frame[name].dt.epoch("us") if is_instant(name) else frame[name]).to_list()
            for name in frame.columns
        }

    def count(self, table, column, operator, value):
        pl = self.pl
        value = instant(value) if is_instant(column) else value
        column = pl.col(column).cast(pl.String) if column == "date" else pl.col(column)
        is_left = column == value if operator == "=" else column >= value
        return self.scan(table).filter(is_left).collect().height


class DuckDB:
    def __init__(self, lake):
        import duckdb

        self.connection, self.lake = duckdb.connect(), lake

    def source(self, table):
        return f"read_parquet('{self.lake}/{table}/*/*.parquet', hive_partitioning = true)"

    def columns(self, table):
        names = [row[0] for row in self.connection.execute(f"DESCRIBE SELECT * FROM {self.source(table)}").fetchall()]
        selected = ", ".join(f"epoch_us({name})" if is_instant(name) else name for name in names)
        rows = self.connection.execute(f"SELECT {selected} FROM {self.source(table)}").fetchall()
        return dict(zip(names, zip(*rows)))

    def count(self, table, column, operator, value):
        query = f"SELECT count(*) FROM {self.source(table)} WHERE {column} {operator} {literal(column, value, 'TIMESTAMPTZ')}"
        return self.connection.execute(query).fetchone()[0]


class PyArrow:
    def __init__(self, lake):
        self.lake = lake

    def dataset(self, table):
        import pyarrow.dataset

        return pyarrow.dataset.dataset(f"{self.lake}/{table}", partitioning="hive")

    def columns(self, table):
        return of_arrow(self.dataset(table).to_table())

    def count(self, table, column, operator, value):
        import pyarrow
        import pyarrow.compute

        field = pyarrow.compute.field(column)
        if is_instant(column):
            value = pyarrow.scalar(value * 1_000_000, pyarrow.timestamp("us", "UTC"))
        return self.dataset(table).count_rows(filter=field == value if operator == "=" else field >= value)


def of_arrow(table):
    """The columns of a table of Arrow's."""
    import pyarrow

    def values(name):
        column = table.column(name)
        if is_instant(name):
            column = column.cast(pyarrow.timestamp("us", "UTC")).cast(pyarrow.int64())
        return column.to_pylist()

    return {name: values(name) for name in table.column_names}


class Pandas:
    def __init__(self, lake):
        self.lake = lake

    def columns(self, table):
        import pandas

        return of_pandas(pandas.read_parquet(f"{self.lake}/{table}", engine="pyarrow"))

    def count(self, table, column, operator, value):
        import pandas

        value = instant(value) if is_instant(column) else value
        return len(pandas.read_parquet(f"{self.lake}/{table}", engine="pyarrow", filters=[(column, {"=": "=="}.get(operator, operator), value)]))


def of_pandas(frame):
    """The columns of a data frame of pandas'."""

    def values(name):
        column = frame[name]
        if is_instant(name):
            micros = column.dt.tz_convert("UTC").dt.as_unit("us").astype("int64")
            return [None if is_null else micros for micros, is_null in zip(micros.tolist(), column.isna().tolist())]
        return [None if is_null else value for value, is_null in zip(column.tolist(), column.isna().tolist())]

    return {name: [str(date) for date in frame[name]] if name == "date" else values(name) for name in frame.columns}


class DataFusion:
    def __init__(self, lake):
        import datafusion

        self.context = datafusion.SessionContext()
        for table in TABLES:
            self.context.register_parquet(table, f"{lake}/{table}/", table_partition_cols=[("date", "string")])

    def columns(self, table):
        import pyarrow

        frame = self.context.sql(f"SELECT * FROM {table}")
        return of_arrow(pyarrow.Table.from_batches(frame.collect(), schema=frame.schema()))

    def count(self, table, column, operator, value):
        query = f"SELECT count(*) AS rows FROM {table} WHERE {column} {operator} {literal(column, value, 'TIMESTAMP')}"
        return self.context.sql(query).collect()[0].column(0)[0].as_py()


class ClickHouse:
    def __init__(self, lake):
        self.lake = lake

    def query(self, query):
        import chdb

        return json.loads(str(chdb.query(query, "JSONCompact")))

    def source(self, table):
        file = f"file('{self.lake}/{table}/*/*.parquet', Parquet)"
        if any(column[0] == "date" for column in self.query(f"DESCRIBE {file}")["data"]):
            return file
        # Older versions of ClickHouse do not read partitions from the path.
        return f"(SELECT *, extract(_path, 'date=([0-9-]+)') AS date FROM {file})"

    def columns(self, table):
        instants = [column["name"] for column in self.query(f"SELECT * FROM {self.source(table)} LIMIT 0")["meta"] if is_instant(column["name"])]
        micros = ", ".join(f"toUnixTimestamp64Micro({name}) AS {name}" for name in instants)
        result = self.query(f"SELECT * {f'REPLACE ({micros})' if micros else ''} FROM {self.source(table)}")

        def values(place, kind):
            # Integers of 64 bits are in quotes.
            parse = (lambda value: value) if "String" in kind or kind == "Date" else float
            return [None if row[place] is None else parse(row[place]) for row in result["data"]]

        return {column["name"]: values(place, column["type"]) for place, column in enumerate(result["meta"])}

    def count(self, table, column, operator, value):
        value = f"toDateTime64({value}, 6, 'UTC')" if is_instant(column) else repr(value)
        return int(self.query(f"SELECT count() FROM {self.source(table)} WHERE {column} {operator} {value}")["data"][0][0])


class Spark:
    def __init__(self, lake):
        from pyspark.sql import SparkSession

        settings = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        self.session = settings.config("spark.driver.host", "127.0.0.1").config("spark.sql.session.timeZone", "UTC").getOrCreate()
        self.session.sparkContext.setLogLevel("ERROR")
        self.lake = lake

    def frame(self, table):
        return self.session.read.parquet(f"{self.lake}/{table}")

    def columns(self, table):
        frame = self.frame(table)
        rows = frame.selectExpr(*[f"unix_micros({name})" if is_instant(name) else name for name in frame.columns]).collect()
        return dict(zip(frame.columns, zip(*rows)))

    def count(self, table, column, operator, value):
        return self.frame(table).where(f"{column} {operator} {literal(column, value, 'TIMESTAMP')}").count()


class Daft:
    def __init__(self, lake):
        self.lake = lake

    def frame(self, table):
        import daft

        return daft.read_parquet(f"{self.lake}/{table}/**/*.parquet", hive_partitioning=True)

    def columns(self, table):
        return of_arrow(self.frame(table).to_arrow())

    def count(self, table, column, operator, value):
        import daft

        field = daft.col(column)
        if is_instant(column):
            value = daft.lit(instant(value))
        elif column == "date":
            value = daft.lit(datetime.date.fromisoformat(value))
        return self.frame(table).where(field == value if operator == "=" else field >= value).count_rows()


READERS = {
    "clickhouse": ClickHouse,
    "daft": Daft,
    "datafusion": DataFusion,
    "duckdb": DuckDB,
    "pandas": Pandas,
    "polars": Polars,
    "pyarrow": PyArrow,
    "spark": Spark,
}

if __name__ == "__main__":
    main()
