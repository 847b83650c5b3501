"""`deploy/spark/rollup.py`, and the recipe for one machine in the documentation, against `kefu report`."""

import itertools
import pathlib
import re
import shutil
import subprocess

import duckdb
import pytest
from pyspark.sql import SparkSession

import rollup
from cluster import SETTINGS
from servers import KEFU, kefu, name, settings, simulator

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs/guide/ten-thousand-accounts.md"
MAY = ["--from", "2024-05-01", "--to", "2024-05-31"]
TABLES = [*rollup.METRICS, *rollup.MONTHLY]


@pytest.fixture(scope="module")
def spark():
    builder = SparkSession.builder.master("local[2]").config("spark.sql.shuffle.partitions", "2").config("spark.sql.session.timeZone", "UTC")
    builder = builder.config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    for setting, value in SETTINGS.items():
        builder = builder.config(setting, value)
    session = builder.getOrCreate()
    session.sparkContext.addPyFile(rollup.__file__)
    yield session
    session.stop()


class Lake:
    """A lake of three accounts. One of them lacks a day of May."""

    def __init__(self, folder, served):
        self.folder, (base_url, secret) = folder, served
        settings(folder, "lake", 3, base_url, {"secret": secret})
        kefu(folder, "run", "--from", "2024-04-26", "--to", "2024-06-05", "--account", name(1), "--account", name(2))
        kefu(folder, "run", "--from", "2024-04-26", "--to", "2024-05-19", "--account", name(3))
        kefu(folder, "run", "--from", "2024-05-21", "--to", "2024-06-05", "--account", name(3))

    def fetch_late_day(self):
        kefu(self.folder, "run", "--date", "2024-05-20", "--account", name(3))

    def report(self, *arguments):
        return kefu(self.folder, "report", *MAY, *arguments, "--out", "report.html")


@pytest.fixture(scope="module")
def rolled(spark, tmp_path_factory):
    """A lake before and after a late day, each time with its roll-ups as files of Spark."""
    folder = tmp_path_factory.mktemp("rollup")
    with simulator("--accounts", "3", "--first-day", "2024-04-26", "--days", "42", "--messages-per-day", "200") as served:
        lake = Lake(folder / "job", served)
        rolled = rollup.Rollup(spark, str(folder / "job/lake"), str(folder / "rollup"))
        update_all(rolled)
        before = files(folder / "rollup")
        lake.fetch_late_day()
        update_all(rolled)
        late = files(folder / "rollup")
        update_all(rolled)
        again = files(folder / "rollup")
    return lake, folder / "rollup", before, late, again


def update_all(rolled):
    for table in rollup.METRICS:
        for month in rolled.months(table):
            rolled.update(table, month)


def files(folder):
    """Each Parquet file of the roll-ups, and when it was written."""
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def month_of(path):
    return path.parts[1].removeprefix("month=")


def table(folder, name):
    return f"read_parquet('{folder}/{name}/*/*.parquet', hive_partitioning = true)"


def test_a_late_day_changes_its_month_only(rolled):
    _, _, before, late, again = rolled
    assert {path.parts[0] for path in before} == set(TABLES)
    months = {"2024-04", "2024-05", "2024-06"}
    assert {month_of(path) for path in before} == months
    changed = {month_of(path) for path in before.keys() ^ late.keys()}
    assert changed == {"2024-05"}
    kept = {path: time for path, time in before.items() if month_of(path) != "2024-05"}
    assert kept.items() <= late.items()
    assert again == late


def test_a_month_that_loses_days_to_retention_stays(spark, rolled, tmp_path, capsys):
    lake, rollups, *_ = rolled
    shutil.copytree(lake.folder / "lake", tmp_path / "lake")
    shutil.copytree(rollups / "response_pairs", tmp_path / "rollup/response_pairs")
    for output in rollup.MONTHLY:
        shutil.copytree(rollups / output, tmp_path / "rollup" / output)
    before = files(tmp_path / "rollup")
    for day in range(1, 11):
        shutil.rmtree(tmp_path / f"lake/response_pairs/date=2024-05-{day:02}")

    def update(**options):
        rollup.Rollup(spark, str(tmp_path / "lake"), str(tmp_path / "rollup"), **options).update("response_pairs", "2024-05")
        return files(tmp_path / "rollup")

    assert update() == before and "--allow-shrink" in capsys.readouterr().out
    shrunk = update(allow_shrink=True)
    assert {path.parts[0] for path in before.keys() ^ shrunk.keys()} == {"response_pairs", *rollup.MONTHLY}
    assert {month_of(path) for path in before.keys() ^ shrunk.keys()} == {"2024-05"}


def test_counts_and_sums_are_those_of_the_report(rolled):
    lake, folder, *_ = rolled
    report = lake.report()
    assert report["is_final"]
    totals = report["totals"]
    [row] = duckdb.sql(f"""
        SELECT sum(messages_received), sum(messages_sent), sum(answered), sum(unanswered_first), sum(unanswered_later), sum(pending)
        FROM {table(folder, "account_daily")} WHERE month = '2024-05'
    """).fetchall()
    assert row == tuple(totals[column] for column in ["messages_received", "messages_sent", "answered", "unanswered_first", "unanswered_later", "pending"])
    [sessions] = duckdb.sql(f"SELECT count(*) FILTER (outcome = 'completed') FROM {table(folder, 'sessions')} WHERE month = '2024-05'").fetchall()
    assert sessions == (totals["sessions_completed"],)
    for account in report["accounts"]:
        monthly = one(f"SELECT * FROM {table(folder, 'account_monthly')} WHERE month = '2024-05' AND account = '{account['account']}'")
        assert monthly["final_days"] == 31
        same(monthly, account["totals"])
    workers = {(worker["account"], worker["worker"]): worker for worker in report["workers"]}
    assert len(workers) > 10
    for (account, worker), expected in workers.items():
        where = f"month = '2024-05' AND account = '{account}' AND worker = '{worker}'"
        same(one(f"SELECT * FROM {table(folder, 'worker_monthly')} WHERE {where}"), expected)


def one(query):
    found = duckdb.sql(query)
    [row] = found.fetchall()
    return dict(zip(found.columns, row))


def same(monthly, report):
    for column in ["answered", "unanswered_first", "unanswered_later"]:
        assert monthly[column] == report[column]
    assert monthly["answered_within_180s"] == report["answered_within"]
    columns = {"service_level_180s": "service_level"} | {name: name for name in monthly if name in report and isinstance(report[name], float)}
    assert len(columns) >= 4
    for column, reported in columns.items():
        assert monthly[column] == pytest.approx(report[reported], rel=1e-9), column


class Watched(rollup.Files):
    """Calls something before each step that changes a file or a folder."""

    def __init__(self, spark, before_step):
        super().__init__(spark)
        self.before_step = before_step

    def remove(self, path):
        self.before_step()
        super().remove(path)

    def rename(self, path, place):
        self.before_step()
        super().rename(path, place)

    def put(self, path, content):
        self.before_step()
        super().put(path, content)


class Changed:
    """Copies of the lake and of its roll-ups. May has lost a file of `account_daily` since."""

    def __init__(self, spark, rolled, folder):
        lake, rollups, *_ = rolled
        self.spark, self.lake, self.out = spark, folder / "lake", folder / "rollup"
        shutil.copytree(lake.folder / "lake", self.lake)
        shutil.copytree(rollups / "account_daily", self.out / "account_daily")
        self.rows_before = self.look()[1]
        (self.lake / f"account_daily/date=2024-05-20/{name(3)}.parquet").unlink()
        self.rows_after = self.rows_before - 1

    def update(self, before_step):
        rolled = rollup.Rollup(self.spark, str(self.lake), str(self.out), allow_shrink=True)
        rolled.files = Watched(self.spark, before_step)
        rolled.update("account_daily", "2024-05")

    def look(self):
        """`_inputs.json` of May, if it is there, and the number of rows that a reader finds in May."""
        inputs = self.out / "account_daily/month=2024-05" / rollup.MANIFEST
        query = f"SELECT count(*) FROM {table(self.out, 'account_daily')} WHERE month = '2024-05'"
        [[found]] = duckdb.sql(query).fetchall()
        return inputs.read_text() if inputs.exists() else None, found


def test_a_reader_who_finds_the_same_inputs_afterwards_has_all_rows(spark, rolled, tmp_path):
    changed = Changed(spark, rolled, tmp_path)
    moments = []
    changed.update(lambda: moments.append(changed.look()))
    moments.append(changed.look())
    whole = {changed.rows_before, changed.rows_after}
    assert any(rows not in whole for _, rows in moments), "the month was never incomplete"
    trusted = set()
    for begin, read, end in itertools.combinations_with_replacement(moments, 3):
        if begin[0] is not None and begin[0] == end[0]:
            trusted.add(read[1])
    assert trusted == whole


def test_a_run_that_is_killed_leaves_a_month_that_the_next_run_completes(spark, rolled, tmp_path):
    class Killed(Exception):
        pass

    for steps in itertools.count():
        changed = Changed(spark, rolled, tmp_path / str(steps))
        left = iter(range(steps))

        def next_step():
            if next(left, None) is None:
                raise Killed

        try:
            changed.update(next_step)
            break
        except Killed:
            inputs, rows = changed.look()
            assert inputs is None or rows in (changed.rows_before, changed.rows_after), steps
        changed.update(lambda: None)
        inputs, rows = changed.look()
        assert inputs is not None and rows == changed.rows_after, steps
        assert not list((changed.out / "_writing").rglob("*.parquet")), steps
    assert steps > 4


def test_rows_are_sorted_and_complete(rolled):
    lake, folder, *_ = rolled
    for name, order in rollup.METRICS.items():
        source = f"read_parquet('{lake.folder}/lake/{name}/*/*.parquet', hive_partitioning = true)"
        assert content(table(folder, name)) == content(source), name
        keys = ", ".join(["account", "date", *order])
        for path in (folder / name).rglob("*.parquet"):
            rows = duckdb.sql(f"SELECT {keys} FROM read_parquet('{path}')").fetchall()
            assert rows == sorted(rows), path


def content(source):
    """The rows of the days that are final, in one order of columns and rows."""
    columns = ", ".join(sorted(set(duckdb.sql(f"FROM {source} LIMIT 0").columns) - {"month"}))
    return duckdb.sql(f"SELECT {columns} FROM {source} WHERE date <= '2024-06-02' ORDER BY ALL").fetchall()


def test_the_recipe_of_the_documentation_gives_the_same(rolled, tmp_path, monkeypatch):
    lake, folder, *_ = rolled
    views = subprocess.run([KEFU, "sql"], cwd=lake.folder, env={}, capture_output=True, text=True, check=True).stdout
    section = PAGE.read_text().split("## Roll-ups")[1].split("\n## ")[0]
    # The commands before it are for Spark.
    section = section.split("\nOn one machine, DuckDB does the same.")[1]
    blocks = re.findall(r"^```(sql|sh)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    connection = duckdb.connect()
    connection.execute(views)
    for _ in range(2):
        for language, block in blocks:
            match language:
                case "sql":
                    connection.execute(block.replace("data/lake", f"{lake.folder}/lake"))
                case "sh":
                    subprocess.run(["sh", "-e", "-c", block], check=True)
    assert not list((tmp_path / "rollup/_writing").rglob("*.parquet"))
    for name in ["account_daily", "account_monthly"]:
        mine = connection.sql(f"SELECT * FROM {table(tmp_path / 'rollup', name)} ORDER BY ALL")
        columns = ", ".join(mine.columns)
        query = f"SELECT {columns} FROM {table(folder, name)} WHERE month >= '2024-05' ORDER BY ALL"
        rows, expected = mine.fetchall(), duckdb.sql(query).fetchall()
        assert len(rows) == len(expected) > 5
        for row, other in zip(rows, expected):
            assert [close(value) for value in row] == list(other)


def close(value):
    return pytest.approx(value, rel=1e-9) if isinstance(value, float) else value
