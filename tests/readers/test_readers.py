"""Every table of a lake by the oldest and the newest of each reader: all find the same.

Needs KEFU_READERS, the environments of `environments/`, one `NAME=FOLDER` a line (.ci/run makes them).
"""

import json
import os
import pathlib
import subprocess
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from conftest import app, kefu, simulator
from figures import TABLES
from test_definitions import RULES

HERE = pathlib.Path(__file__).parent
ENVIRONMENTS = {
    "oldest": ["clickhouse", "datafusion", "duckdb", "pandas", "polars", "pyarrow"],
    "newest": ["clickhouse", "datafusion", "duckdb", "pandas", "polars", "pyarrow"],
    "polars-1.20": ["polars"],
    "polars-1.42": ["polars"],
    "daft": ["daft"],
    "spark-3.5": ["spark"],
    "spark-4": ["spark"],
}
# Spark first, because it takes longest.
CASES = [(environment, reader) for environment, readers in reversed(ENVIRONMENTS.items()) for reader in readers]

NOON = 1_715_572_800  # 2024-05-13 12:00:00 in Shanghai


def test_every_environment_has_a_list_of_readers():
    assert {path.stem for path in (HERE / "environments").glob("*.txt")} == set(ENVIRONMENTS)


@pytest.fixture(scope="module")
def every_table(tmp_path_factory):
    """A lake with rows in every table: several row groups, an empty day, a missing day, rejects, business hours, texts of all kinds."""
    folder = tmp_path_factory.mktemp("readers")
    (folder / "kefu.toml").write_text(RULES)
    with simulator("--first-day", "2024-05-13", "--days", "6", "--messages-per-day", "600") as settings:
        kefu(folder, settings | {"KEFU_ACCOUNT": "small"}, "run", "--from", "2024-05-13", "--to", "2024-05-15")
        kefu(folder, settings | {"KEFU_ACCOUNT": "small"}, "run", "--from", "2024-05-17", "--to", "2024-05-19")
    with simulator("--first-day", "2024-05-14", "--days", "1", "--messages-per-day", "130000", "--seed", "2") as settings:
        kefu(folder, app(settings, 2) | {"KEFU_ACCOUNT": "large"}, "run", "--date", "2024-05-14")
    texts = ["", " ", "多谢 🙏", "a\u0000b", "\u202e", "x" * 9_000, "null", "NaN", None]
    records = [{"openid": f"o{number}", "opercode": 2003, "text": text, "time": NOON + number, "worker": "甲@acme"} for number, text in enumerate(texts)]
    records += [{"openid": f"o{number}", "opercode": 2003, "text": "no worker", "time": NOON + number} for number in range(3)]
    (folder / "records.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    with simulator("--records", str(folder / "records.jsonl")) as settings:
        kefu(folder, app(settings, 3) | {"KEFU_ACCOUNT": "odd"}, "run", "--date", "2024-05-13")
    return folder / "data" / "lake"


@pytest.fixture(scope="module")
def found(every_table):
    """What each reader finds: its figures, or why it failed."""
    folders = dict(pair.split("=", 1) for pair in os.environ["KEFU_READERS"].splitlines())
    [(openid,)] = duckdb.sql(f"SELECT openid FROM '{every_table}/messages/*/large.parquet' GROUP BY ALL ORDER BY count(*) DESC, openid LIMIT 1").fetchall()
    filters = [
        ["messages", "openid", "=", openid],
        ["messages", "sent_at", ">=", NOON + 3_600],
        ["messages", "date", "=", "2024-05-14"],
        ["messages", "seq", ">=", 125_000],
        ["response_pairs", "replied_at", ">=", NOON + 86_400],
        ["response_pairs", "asked_seq", ">=", 125_000],
        ["sessions", "first_response_seconds", ">=", 60],
        ["worker_daily", "mean_concurrent", ">=", 1.25],
        ["worker_hourly", "response_seconds_p90", ">=", 100.5],
        ["account_daily", "response_seconds_mean", ">=", 60.0],
    ]

    def run(case):
        environment, reader = case
        command = [f"{folders[environment]}/bin/python", "-W", "ignore", str(HERE / "figures.py"), reader, str(every_table), json.dumps(filters)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            return result.stderr[-3_000:]
        return json.loads(result.stdout.splitlines()[-1])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(CASES, pool.map(run, CASES)))


def test_the_lake_has_what_the_readers_are_asked_for(found):
    newest = found["newest", "duckdb"]
    rows = {table: newest["tables"][table]["rows"] for table in TABLES}
    assert (rows["messages"], rows["rejects"]) == (5 * 600 + 130_000 + 9, 3)
    assert (rows["account_daily"], rows["response_pairs"] > 20_000, rows["sessions"] > 10_000) == (8, True, True)
    assert all(0 < count < rows["messages"] for count in newest["counts"]), newest["counts"]
    # Nullable columns must have values. Otherwise equal sums would prove nothing.
    empty = {(table, name) for table in TABLES for name, column in newest["tables"][table]["columns"].items() if column["values"] == 0}
    assert empty == set()


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_reads_every_table_with_the_values_that_all_others_read(case, found):
    figures = found[case]
    assert isinstance(figures, dict), figures
    expected = found["newest", "duckdb"]
    for table in TABLES:
        ours, theirs = figures["tables"][table], expected["tables"][table]
        assert ours["rows"] == theirs["rows"], table
        assert {name: column for name, column in ours["columns"].items() if theirs["columns"].get(name) != column} == {}, table
        assert ours["columns"].keys() == theirs["columns"].keys(), table
    assert figures["counts"] == expected["counts"]
