"""`kefu sql`: the views and macros, against the same computed by hand."""

import subprocess

import duckdb
import pytest

from conftest import KEFU, kefu, simulator


@pytest.fixture(scope="module")
def views(lake):
    script = subprocess.run([KEFU, "sql", "--lake", str(lake)], capture_output=True, text=True, check=True, env={}).stdout
    connection = duckdb.connect()
    connection.execute(script)
    return connection


def rows(views, query):
    return views.execute(query).fetchall()


def test_each_table_is_a_view_even_without_a_file(views):
    assert rows(views, "SELECT count(*) FROM messages") == [(30 * 700 - 700,)]
    assert rows(views, "SELECT count(*) FROM rejects") == [(0,)]
    assert rows(views, "SELECT count(*) FROM account_daily") == [(32,)]
    for table in ["response_pairs", "sessions", "worker_daily", "worker_hourly"]:
        [(count,)] = rows(views, f"SELECT count(*) FROM {table}")
        assert count > 0


def test_the_service_level_is_the_one_of_worker_daily(views):
    assert rows(views, """
        SELECT count(*) FROM service_level(180) AS level JOIN worker_daily AS daily USING (account, worker, date)
        WHERE level.service_level IS DISTINCT FROM answered_within_180s / nullif(daily.answered + daily.unanswered_first, 0)
           OR level.service_level_strict IS DISTINCT FROM answered_within_180s / nullif(daily.answered + daily.unanswered_first + daily.unanswered_later, 0)
    """) == [(0,)]
    [(levels, days)] = rows(views, """
        SELECT (SELECT count(*) FROM service_level(180)), (SELECT count(*) FROM worker_daily WHERE answered + pending + unanswered_first + unanswered_later > 0)
    """)
    assert levels == days > 0


@pytest.mark.parametrize("view, unit", [("worker_weekly", "week"), ("worker_monthly", "month")])
def test_roll_ups_have_exact_percentiles_and_distinct_customers(views, view, unit):
    wrong = rows(views, f"""
        SELECT count(*) FROM {view} AS rolled
        WHERE answered IS DISTINCT FROM (
                SELECT count(*) FROM response_pairs AS pairs
                WHERE outcome = 'answered' AND pairs.worker = rolled.worker AND date_trunc('{unit}', pairs.date) = rolled.period)
           OR customers IS DISTINCT FROM (
                SELECT count(DISTINCT openid) FROM messages
                WHERE opercode = 2003 AND messages.worker = rolled.worker AND date_trunc('{unit}', messages.date) = rolled.period)
           OR response_seconds_p90 IS DISTINCT FROM (
                SELECT quantile_cont(response_seconds, 0.9) FROM response_pairs AS pairs
                WHERE pairs.worker = rolled.worker AND date_trunc('{unit}', pairs.date) = rolled.period)
    """)
    assert wrong == [(0,)]
    assert rows(views, f"SELECT count(*) > 0, count(*) = count(DISTINCT (worker, period)) FROM {view}") == [(True, True)]


def test_the_load_divides_by_every_such_weekday_of_the_period(views):
    # 32 fetched days from Wednesday 05-01 to Sunday 06-02 but for Wednesday 05-15; the last two are empty.
    days = dict(rows(views, "SELECT DISTINCT weekday, days FROM load_by_weekday_and_hour_overall"))
    assert days == {1: 4, 2: 4, 3: 4, 4: 5, 5: 5, 6: 5, 7: 5}
    assert rows(views, "SELECT count(*) FROM load_by_weekday_and_hour_overall") == [(7 * 24,)]
    period = "load_by_weekday_and_hour(DATE '2024-05-27', DATE '2024-06-02')"
    for load, where in [("load_by_weekday_and_hour_overall", "true"), (period, "date BETWEEN '2024-05-27' AND '2024-06-02'")]:
        [(by_load, by_messages)] = rows(views, f"""
            SELECT (SELECT sum((messages_received_mean + messages_sent_mean) * days) FROM {load}), (SELECT count(*) FROM messages WHERE {where})
        """)
        assert by_load == pytest.approx(by_messages)


def test_a_table_whose_last_file_has_gone_is_an_empty_view(tmp_path):
    with simulator("--records", str(write(tmp_path, [BROKEN, GOOD]))) as settings:
        kefu(tmp_path, settings | {"KEFU_ACCOUNT": "one"}, "run", "--date", "2024-05-13")
    with simulator("--records", str(write(tmp_path, [GOOD]))) as settings:
        kefu(tmp_path, settings | {"KEFU_ACCOUNT": "one"}, "run", "--date", "2024-05-13", "--force")
        kefu(tmp_path, settings | {"KEFU_ACCOUNT": "two"}, "run", "--date", "2024-05-13")
    script = subprocess.run([KEFU, "sql"], cwd=tmp_path, capture_output=True, text=True, check=True, env={}).stdout
    connection = duckdb.connect()
    connection.execute(script)
    assert connection.execute("SELECT count(*) FROM rejects").fetchall() == [(0,)]
    # Accounts are kept apart everywhere.
    for relation in ["service_level(180)", "worker_weekly", "worker_monthly", "account_daily"]:
        assert connection.execute(f"SELECT account, count(*) FROM {relation} GROUP BY ALL ORDER BY ALL").fetchall() == [("one", 1), ("two", 1)]


def test_a_lake_that_is_not_there_or_of_another_time_zone_is_refused(lake):
    for arguments in [["--lake", "/nowhere"], ["--lake", str(lake), "--timezone", "UTC"]]:
        assert subprocess.run([KEFU, "sql", *arguments], capture_output=True, env={}).returncode == 78


GOOD = '{"openid": "o1", "opercode": 2003, "text": "x", "time": 1715562000, "worker": "A"}'
BROKEN = '{"openid": "o1", "opercode": 2003, "text": "x", "time": 1715562000}'


def write(folder, lines):
    path = folder / "records.jsonl"
    path.write_text("\n".join(lines))
    return path
