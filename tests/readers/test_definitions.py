"""The metric tables against an independent computation in SQL (definitions.sql), column by column and row by row."""

import datetime
import json
import math
import pathlib
import random

import duckdb
import pytest

from conftest import app, kefu, simulator

SQL = (pathlib.Path(__file__).parent / "definitions.sql").read_text()
ORDER = {"response_pairs": "account, date, asked_at, openid", "sessions": "account, date, started_at, openid", "worker_daily": "account, date, worker"}

DAY = datetime.timedelta(days=1)

RULES = """
[[metrics.auto_reply]]
prefix = "您好，客服"
[metrics.business_hours]
monday = ["09:00-12:00", "13:30-18:00"]
tuesday = ["09:00-18:00", "17:00-20:00"]
wednesday = ["18:00-02:00"]
friday = ["09:00-24:00"]
[metrics.business_hours.dates]
2024-03-09 = ["09:00-18:00"]
2024-11-04 = []
2024-05-20 = []
"""
# The same business hours for SQL: weekday, date, hours. A date without hours is a day off.
SHIFTS = """INSERT INTO shifts VALUES
    (1, NULL, '09:00:00', '12:00:00'), (1, NULL, '13:30:00', '18:00:00'), (2, NULL, '09:00:00', '18:00:00'), (2, NULL, '17:00:00', '20:00:00'),
    (3, NULL, '18:00:00', '02:00:00'), (5, NULL, '09:00:00', '24:00:00'), (NULL, '2024-03-09', '09:00:00', '18:00:00'),
    (NULL, '2024-11-04', NULL, NULL), (NULL, '2024-05-20', NULL, NULL);"""
AUTOMATIC = "starts_with(text, '您好，客服')"

# For each lake: the time zone, the ranges of days to fetch, and whether it has rules. With several
# ranges, some days are missing.
LAKES = {
    "shanghai": ("Asia/Shanghai", [("2024-05-13", "2024-05-22")], False),
    "shanghai with rules and missing days": ("Asia/Shanghai", [("2024-05-13", "2024-05-15"), ("2024-05-17", "2024-05-18"), ("2024-05-20", "2024-05-24")], True),
    "new york when clocks go forward": ("America/New_York", [("2024-03-06", "2024-03-14")], True),
    "new york when clocks go back": ("America/New_York", [("2024-10-31", "2024-11-06")], True),
    "utc": ("UTC", [("2024-05-13", "2024-05-18")], False),
}


@pytest.mark.parametrize("name", LAKES)
def test_every_value_agrees_with_sql(name, tmp_path):
    timezone, ranges, has_rules = LAKES[name]
    (tmp_path / "kefu.toml").write_text(f'timezone = "{timezone}"\n' + (RULES if has_rules else ""))
    for account, seed in [("one", "1"), ("two", "2")]:
        arguments = ["--first-day", ranges[0][0], "--days", "14", "--messages-per-day", "900", "--seed", seed]
        with simulator(*arguments) as settings:
            for first, last in ranges:
                kefu(tmp_path, app(settings, seed) | {"KEFU_ACCOUNT": account}, "run", "--from", first, "--to", last)
    compare(tmp_path / "data/lake", timezone, has_rules)


def test_the_demo_s_lake_agrees_with_sql(tmp_path):
    kefu(tmp_path, {}, "demo")
    compare(tmp_path / "data/demo", "Asia/Shanghai", False)


# Gaps around all limits in the definitions. Generated conversations have few such gaps.
GAPS = [0, 0, 1, 30, 31, 600, 1799, 1800, 1801, 40000, 86400, 172799, 172800, 172801, 200000]


@pytest.mark.parametrize("seed", range(3))
def test_the_edges_agree_with_sql(seed, tmp_path):
    chance = random.Random(seed)
    records = []
    for customer in range(120):
        instant = 1715529600 + chance.randrange(5 * 86400)
        for _ in range(chance.randrange(1, 14)):
            text = "您好，客服为您服务" if chance.random() < 0.1 else "x"
            code = chance.choice([2003] * 9 + [2002] * 9 + [1004])
            records.append({"openid": f"o{customer}", "opercode": code, "text": text, "time": instant, "worker": f"kf{chance.randrange(3)}"})
            instant += chance.choice(GAPS) if chance.random() < 0.9 else chance.randrange(100000)
    records.sort(key=lambda record: record["time"])
    (tmp_path / "records.jsonl").write_text("\n".join(json.dumps(record) for record in records))
    has_rules = seed > 0
    (tmp_path / "kefu.toml").write_text(RULES if has_rules else "")
    with simulator("--records", str(tmp_path / "records.jsonl")) as settings:
        missing = datetime.date(2024, 5, 18 + seed)
        for first, last in [(datetime.date(2024, 5, 13), missing - DAY), (missing + DAY, datetime.date(2024, 6, 10))]:
            kefu(tmp_path, settings, "run", "--from", str(first), "--to", str(last))
    compare(tmp_path / "data/lake", "Asia/Shanghai", has_rules)


def compare(lake, timezone, has_rules):
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(SQL.format(lake=lake, timezone=timezone, automatic=AUTOMATIC if has_rules else "false", shifts=SHIFTS if has_rules else ""))
    for table, order in ORDER.items():
        expected = connection.execute(f"SELECT * FROM expected_{table}")
        names = [column[0] for column in expected.description]
        expected = expected.fetchall()
        # Instants as Unix seconds, as computed by SQL. Rows with equal keys keep the order of the
        # file.
        columns = ", ".join(f"epoch({name})::BIGINT" if name.endswith("_at") else name for name in names)
        files = f"read_parquet('{lake}/{table}/*/*.parquet', hive_partitioning = true, file_row_number = true)"
        actual = connection.execute(f"SELECT {columns} FROM {files} ORDER BY {order}, file_row_number").fetchall()
        in_files = {column[0] for column in connection.execute(f"SELECT * FROM {files} LIMIT 0").description} - {"file_row_number"}
        assert in_files == set(names)
        assert len(actual) == len(expected) > 0, table
        for ours, theirs in zip(actual, expected):
            for column, our, their in zip(names, ours, theirs):
                assert agrees(our, their), f"{table}.{column}: {our} in the file, {their} by SQL, in {dict(zip(names, ours))}"


def agrees(our, their):
    if isinstance(our, float) and isinstance(their, float):
        return math.isclose(our, their, rel_tol=1e-9, abs_tol=1e-9)
    return our == their
