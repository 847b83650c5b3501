"""`kefu sql`: the views and macros, against the same computed by hand."""

import json
import os
import pathlib
import subprocess

import duckdb
import pytest

from conftest import KEFU, app, kefu, simulator
from test_report import HOURS

HERE = pathlib.Path(__file__).parent
# The first day of each period, in SQL of `date`.
PERIODS = {
    "day": "date",
    "week": "date_trunc('week', date)::DATE",
    "month": "date_trunc('month', date)::DATE",
    "all": "(SELECT min(date) FROM response_pairs)",
}


def script_in_the_oldest_duckdb(lake):
    """Loads the script in the oldest DuckDB, and asks each relation."""
    folders = dict(pair.split("=", 1) for pair in os.environ["KEFU_READERS"].splitlines())
    script = subprocess.run([KEFU, "sql", "--lake", str(lake)], capture_output=True, text=True, check=True, env={}).stdout
    queries = [query for query, _ in SAME]
    ask = "import duckdb, json, sys; c = duckdb.connect(); c.execute(sys.stdin.read()); print(json.dumps([[list(row) for row in c.execute(q).fetchall()] for q in json.loads(sys.argv[1])], default=str))"
    result = subprocess.run([f"{folders['oldest']}/bin/python", "-c", ask, json.dumps(queries)], input=script, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2_000:]
    return json.loads(result.stdout)


def test_the_oldest_duckdb_says_the_same(with_hours):
    views = opened(with_hours)
    for (query, _), answer in zip(SAME, script_in_the_oldest_duckdb(with_hours), strict=True):
        assert plain(answer) == plain(rows(views, query)), query


@pytest.fixture(scope="module")
def views(lake):
    return opened(lake)


def opened(lake, *arguments):
    script = subprocess.run([KEFU, "sql", "--lake", str(lake), *arguments], capture_output=True, text=True, check=True, env={}).stdout
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


@pytest.fixture(scope="module")
def with_hours(tmp_path_factory):
    """A lake of an account with business hours, and of one without."""
    folder = tmp_path_factory.mktemp("hours")
    (folder / "kefu.toml").write_text(HOURS)
    with simulator("--first-day", "2024-05-01", "--days", "14", "--messages-per-day", "500") as settings:
        kefu(folder, settings | {"KEFU_ACCOUNT": "one"}, "run", "--from", "2024-05-01", "--to", "2024-05-14")
        (folder / "kefu.toml").write_text("")
        kefu(folder, app(settings, 2) | {"KEFU_ACCOUNT": "two"}, "run", "--from", "2024-05-03", "--to", "2024-05-14")
    return folder / "data" / "lake"


@pytest.mark.parametrize("unit", PERIODS)
@pytest.mark.parametrize("macro, keys", [("service_level", "account, worker"), ("service_level_of_accounts", "account")])
def test_the_service_level_of_a_period_is_that_of_all_its_turns(views, unit, macro, keys):
    arguments = "45" if unit == "day" else f"45, unit := '{unit}'"
    assert rows(views, f"FROM {macro}({arguments}) ORDER BY ALL") == rows(views, f"""
        SELECT {keys}, {PERIODS[unit] if unit != "all" else "min(date)"} AS period,
            count(*) FILTER (outcome = 'answered') AS answered, count(*) FILTER (response_seconds <= 45) AS in_time,
            count(*) FILTER (outcome = 'unanswered' AND is_first) AS first, count(*) FILTER (outcome = 'unanswered' AND NOT is_first) AS later,
            in_time / nullif(answered + first, 0), in_time / nullif(answered + first + later, 0)
        FROM response_pairs GROUP BY {keys}{"" if unit == "all" else ", period"} ORDER BY ALL
    """) != []


@pytest.mark.parametrize("macro, keys", [("business_service_level", "account, worker"), ("business_service_level_of_accounts", "account")])
def test_business_hours_have_their_own_service_level(with_hours, macro, keys):
    views = opened(with_hours)
    found = rows(views, f"FROM {macro}(60, unit := 'week') ORDER BY ALL")
    assert found == rows(views, f"""
        SELECT {keys}, date_trunc('week', date)::DATE AS week,
            count(*) FILTER (asked_in_hours) AS asked_in_hours, count(*) FILTER (NOT asked_in_hours) AS asked_out_of_hours,
            count(business_seconds) FILTER (asked_in_hours) AS answered, count(*) FILTER (asked_in_hours AND business_seconds <= 60) AS in_time,
            count(*) FILTER (asked_in_hours AND is_first AND outcome = 'unanswered') AS first, in_time / nullif(answered + first, 0),
            quantile_cont(business_seconds, 0.5) FILTER (asked_in_hours), quantile_cont(business_seconds, 0.9) FILTER (asked_in_hours)
        FROM response_pairs GROUP BY {keys}, week ORDER BY ALL
    """)
    # The account without a schedule has no figures, rather than zeros that look like bad service.
    assert {row[-3:] for row in found if row[0] == "two"} == {(None, None, None)}
    assert all(row[-3] is not None for row in found if row[0] == "one" and row[-6])


@pytest.mark.parametrize("unit", PERIODS)
def test_sessions_are_counted_by_outcome(views, unit):
    outcomes = ["completed", "missed", "dropped", "open", "outreach"]
    counts = ", ".join(f"count(*) FILTER (outcome = '{outcome}') AS {outcome}" for outcome in outcomes)
    assert rows(views, f"FROM sessions_by_outcome(unit := '{unit}') ORDER BY ALL") == rows(views, f"""
        SELECT account, {PERIODS[unit] if unit != "all" else "min(date)"} AS period, count(*), {counts},
            missed / nullif(count(*) - outreach - count(*) FILTER (outcome = 'open' AND initiated_by = 'customer')
                - count(*) FILTER (outcome <> 'outreach' AND initiated_by = 'worker'), 0)
        FROM sessions GROUP BY account{"" if unit == "all" else ", period"} ORDER BY ALL
    """) != []


def test_a_worker_period_has_the_days_that_the_worker_worked(views):
    for unit, days in [("week", 7), ("all", 32)]:
        worked = rows(views, f"SELECT worker, period, days FROM worker_period('{unit}') ORDER BY ALL")
        assert worked == rows(views, f"""
            SELECT worker, first, days FROM (
                SELECT worker, {"min(date)" if unit == "all" else PERIODS[unit]} AS first,
                    count(DISTINCT date) FILTER (messages_sent > 0) AS days
                FROM worker_daily GROUP BY worker{"" if unit == "all" else ", " + PERIODS[unit]}) ORDER BY ALL
        """)
        assert max(row[2] for row in worked) <= days and min(row[2] for row in worked) >= 0
    assert rows(views, "SELECT sum(messages_received) FROM worker_period('all')") == rows(views, "SELECT sum(messages_received) FROM worker_daily")


def test_half_hours_are_local_and_divide_by_every_fetched_day(views):
    assert rows(views, "SELECT count(*), min(half_hour), max(half_hour), min(days), max(days) FROM load_by_half_hour_overall") == [(48, "00:00", "23:30", 32, 32)]
    [(by_half, by_hour)] = rows(views, """
        SELECT (SELECT list(load ORDER BY hour) FROM (
                SELECT half_hour[:2]::INTEGER AS hour, round(sum(messages_received_mean * days))::BIGINT AS load FROM load_by_half_hour_overall GROUP BY ALL)),
            (SELECT list(load ORDER BY hour) FROM (
                SELECT hour, coalesce(sum(messages_received), 0)::BIGINT AS load
                FROM (SELECT unnest(range(24)) AS hour) LEFT JOIN worker_hourly USING (hour) GROUP BY ALL))
    """)
    assert by_half == by_hour and sum(by_half) > 0
    of_a_week = "load_by_half_hour(DATE '2024-05-06', DATE '2024-05-12')"
    [(received, days)] = rows(views, f"SELECT sum(messages_received_mean) * 7, any_value(days) FROM {of_a_week}")
    assert days == 7
    assert rows(views, f"SELECT count(*) = {round(received)} FROM messages WHERE opercode = 2003 AND date BETWEEN '2024-05-06' AND '2024-05-12'") == [(True,)]


def test_views_stay_in_a_database_for_other_programs(lake, tmp_path):
    """What a tool for dashboards does: it opens a database read-only, without the script, in a session of any time zone."""
    script = subprocess.run([KEFU, "sql", "--lake", str(lake)], capture_output=True, text=True, check=True, env={}).stdout
    database = str(tmp_path / "kefu.duckdb")
    with duckdb.connect(database) as connection:
        connection.execute(script)
        expected = connection.execute("FROM load_by_half_hour_overall").fetchall()
    with duckdb.connect(database, read_only=True) as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        assert connection.execute("FROM load_by_half_hour_overall").fetchall() == expected
        assert connection.execute("SELECT count(*) > 0 FROM service_level_of_accounts(180, unit := 'week')").fetchall() == [(True,)]
        comments = dict(connection.execute("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall())
        assert len(comments) >= 11 and all(comments.values()), comments


# Each query in DuckDB, and the same in Spark.
SAME = [
    ("FROM service_level(60, unit := 'week')", "service_level WHERE seconds = 60 AND unit = 'week'"),
    ("FROM service_level_of_accounts(180)", "service_level_of_accounts WHERE seconds = 180 AND unit = 'day'"),
    ("FROM service_level_of_accounts(300, unit := 'all')", "service_level_of_accounts WHERE seconds = 300 AND unit = 'all'"),
    ("FROM business_service_level(60, unit := 'month')", "business_service_level WHERE seconds = 60 AND unit = 'month'"),
    ("FROM business_service_level_of_accounts(30, unit := 'week')", "business_service_level_of_accounts WHERE seconds = 30 AND unit = 'week'"),
    ("FROM sessions_by_outcome(unit := 'all')", "sessions_by_outcome WHERE unit = 'all'"),
    ("FROM worker_period('all')", "worker_period WHERE unit = 'all'"),
    ("FROM worker_weekly", "worker_weekly WHERE unit = 'week'"),
    ("FROM load_by_weekday_and_hour_overall", "load_by_weekday_and_hour_overall"),
    ("FROM load_by_half_hour_overall", "load_by_half_hour_overall"),
    ("SELECT account, date, asked_seq, count(*), min(epoch(sent_at))::BIGINT, max(seq) FROM turn_messages() GROUP BY ALL",
     "(SELECT account, date, asked_seq, count(*) AS n, min(unix_timestamp(sent_at)) AS first, max(seq) AS last FROM turn_messages GROUP BY 1, 2, 3)"),
    ("SELECT account, count(*) FROM messages GROUP BY ALL", "(SELECT account, count(*) AS n FROM messages GROUP BY 1)"),
    ("SELECT count(*) FROM rejects", "(SELECT count(*) AS n FROM rejects)"),
]


def plain(answer, left_out=0):
    """Rows that can be compared across programs, without the first columns."""
    value = lambda one: round(one, 6) if isinstance(one, float) else one if isinstance(one, int) or one is None else str(one)
    return sorted(json.dumps([value(one) for one in row[left_out:]]) for row in answer)


@pytest.mark.parametrize("environment", ["spark-3.5", "spark-4"])
@pytest.mark.parametrize("accounts", [[], ["--account", "two"]], ids=["all", "two"])
def test_spark_sql_says_the_same(with_hours, environment, accounts):
    folders = dict(pair.split("=", 1) for pair in os.environ["KEFU_READERS"].splitlines())
    views = opened(with_hours, *accounts)
    script = subprocess.run([KEFU, "sql", "--dialect", "spark", "--lake", str(with_hours), *accounts], capture_output=True, text=True, check=True, env={}).stdout
    queries = json.dumps([f"SELECT * FROM {query}" for _, query in SAME])
    command = [f"{folders[environment]}/bin/python", "-W", "ignore", str(HERE / "spark_views.py"), queries]
    result = subprocess.run(command, input=script, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3_000:]
    for (query, in_spark), answer in zip(SAME, json.loads(result.stdout.splitlines()[-1]), strict=True):
        # Limit and unit are columns in Spark.
        extra = ("seconds = " in in_spark) + ("unit = " in in_spark)
        expected = plain(rows(views, query))
        assert plain(answer, extra) == expected, query


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
    # 32 fetched days, from Wednesday 05-01 to Sunday 06-02 without Wednesday 05-15. The last two
    # days are empty.
    days = dict(rows(views, "SELECT DISTINCT weekday, days FROM load_by_weekday_and_hour_overall"))
    assert days == {1: 4, 2: 4, 3: 4, 4: 5, 5: 5, 6: 5, 7: 5}
    assert rows(views, "SELECT count(*) FROM load_by_weekday_and_hour_overall") == [(7 * 24,)]
    period = "load_by_weekday_and_hour(DATE '2024-05-27', DATE '2024-06-02')"
    for load, where in [("load_by_weekday_and_hour_overall", "true"), (period, "date BETWEEN '2024-05-27' AND '2024-06-02'")]:
        [(by_load, by_messages)] = rows(views, f"""
            SELECT (SELECT sum((messages_received_mean + messages_sent_mean) * days) FROM {load}), (SELECT count(*) FROM messages WHERE {where})
        """)
        assert by_load == pytest.approx(by_messages)


@pytest.mark.parametrize("table, key, instant, is_first_message", [
    ("response_pairs", "asked_seq", "asked_at", "message.opercode = 2003 AND message.worker = number.first_worker"),
    ("sessions", "started_seq", "started_at", "message.opercode = if(number.initiated_by = 'customer', 2003, 2002)"),
])
@pytest.mark.parametrize("of", ["lake", "large_day"])
def test_every_turn_and_session_has_the_key_of_its_first_message(of, table, key, instant, is_first_message, request):
    views = opened(request.getfixturevalue(of))
    assert rows(views, f"""
        SELECT count(*) > 0, count(*) = count(DISTINCT (number.account, number.date, {key})), count(*) = count(message.seq),
            bool_and(message.openid = number.openid AND message.sent_at = number.{instant} AND {is_first_message})
        FROM {table} AS number
        LEFT JOIN messages AS message ON (message.account, message.date, message.seq) = (number.account, number.date, number.{key})
    """) == [(True, True, True, True)]


def test_from_a_slow_turn_to_its_messages(views):
    [(account, date, seq, openid, asked_at, replied_at, wait, questions)] = rows(views, """
        SELECT account, date, asked_seq, openid, asked_at::VARCHAR, replied_at::VARCHAR, response_seconds, customer_messages
        FROM response_pairs WHERE outcome = 'answered' AND customer_messages > 1
        ORDER BY response_seconds DESC, openid LIMIT 1
    """)
    turn = f"turn_messages() WHERE account = '{account}' AND date = '{date}' AND asked_seq = {seq}"
    messages = rows(views, f"SELECT opercode, openid, epoch(sent_at)::BIGINT FROM {turn} ORDER BY sent_at, seq")
    codes, openids, instants = zip(*messages)
    assert codes[0] == 2003 and codes[-1] == 2002 and codes.count(2003) == questions and set(openids) == {openid}
    assert instants[-1] - instants[0] == wait
    # Selecting by the customer and the two instants gives the same messages.
    conversation = f"conversation('{account}', '{openid}', '{asked_at}', '{replied_at}')"
    assert rows(views, f"SELECT opercode, openid, epoch(sent_at)::BIGINT FROM {conversation}") == messages


def test_a_conversation_is_of_one_customer_and_in_order_over_midnight(views):
    [(account, openid, messages_of)] = rows(views, """
        SELECT account, openid, count(*) FROM messages GROUP BY ALL HAVING count(DISTINCT date) > 1 ORDER BY count(*) DESC, openid LIMIT 1
    """)
    everything = f"conversation('{account}', '{openid}', '2024-05-01', TIMESTAMPTZ '2024-06-03 00:00:00+00')"
    found = rows(views, f"SELECT account, openid, epoch_us(sent_at), date, seq FROM {everything}")
    assert len(found) == messages_of and {row[:2] for row in found} == {(account, openid)}
    assert found == sorted(found)
    # Both instants are included, in any time zone of the session.
    first, last = found[0][2] // 1_000_000, found[-1][2] // 1_000_000
    assert rows(views, f"SELECT count(*) FROM conversation('{account}', '{openid}', to_timestamp({first}), to_timestamp({last}))") == [(messages_of,)]
    assert rows(views, f"SELECT count(*) FROM conversation('{account}', '{openid}', to_timestamp({first + 1}), to_timestamp({last - 1}))")[0][0] < messages_of
    views.execute("SET TimeZone = 'America/Los_Angeles'")
    assert rows(views, f"SELECT count(*) FROM conversation('{account}', '{openid}', to_timestamp({first}), to_timestamp({last}))") == [(messages_of,)]
    views.execute("SET TimeZone = 'Asia/Shanghai'")


def test_a_lake_of_an_older_version_is_asked_the_same(lake, tmp_path):
    for file in lake.glob("*/date=2024-05-1[34]/*.parquet"):
        older = tmp_path / file.relative_to(lake)
        older.parent.mkdir(parents=True)
        columns = [name for name in duckdb.sql(f"FROM '{file}'").columns if name not in ["asked_seq", "started_seq", "date"]]
        if "messages" in older.parts:
            older.write_bytes(file.read_bytes())
        else:
            duckdb.sql(f"COPY (SELECT {', '.join(columns)} FROM '{file}') TO '{older}'")
    views = opened(tmp_path)
    [(turns, keys)] = rows(views, "SELECT count(*), count(asked_seq) FROM response_pairs")
    assert (turns > 0, keys) == (True, 0)
    assert rows(views, "SELECT count(*), (SELECT count(*) > 0 FROM service_level(180)) FROM turn_messages()") == [(0, True)]


@pytest.mark.parametrize("older_day", ["2024-05-13", "2024-05-14"])
def test_a_lake_of_which_some_files_are_of_an_older_version_keeps_its_keys(lake, tmp_path, older_day):
    for file in lake.glob("*/date=2024-05-1[34]/*.parquet"):
        copy = tmp_path / file.relative_to(lake)
        copy.parent.mkdir(parents=True, exist_ok=True)
        columns = [name for name in duckdb.sql(f"FROM '{file}'").columns if name not in ["asked_seq", "started_seq", "date"]]
        if "messages" in copy.parts or f"date={older_day}" not in copy.parts:
            copy.write_bytes(file.read_bytes())
        else:
            duckdb.sql(f"COPY (SELECT {', '.join(columns)} FROM '{file}') TO '{copy}'")
    views = opened(tmp_path)
    with_keys = rows(views, "SELECT DISTINCT date::VARCHAR, asked_seq IS NOT NULL FROM response_pairs ORDER BY ALL")
    assert with_keys == [(day, day != older_day) for day in ["2024-05-13", "2024-05-14"]]
    assert rows(views, "SELECT count(*) > 0, count(DISTINCT date) FROM turn_messages()") == [(True, 1)]


def test_the_views_of_one_account_load_and_have_no_other(lake):
    [(account,)] = rows(opened(lake), "SELECT DISTINCT account FROM messages")
    views = opened(lake, "--account", account)
    for table in ["messages", "response_pairs", "sessions", "worker_daily", "account_daily", "turn_messages()"]:
        assert rows(views, f"SELECT DISTINCT account FROM {table}") == [(account,)]


def test_a_turn_has_no_message_of_the_next_one(views):
    # This includes turns whose customer writes again in the second of the reply.
    assert rows(views, """
        SELECT count(*) FROM (
            SELECT account, date, asked_seq, count(*) FILTER (opercode = 2003) AS questions FROM turn_messages() GROUP BY ALL
        ) JOIN response_pairs USING (account, date, asked_seq) WHERE questions <> customer_messages
    """) == [(0,)]


def test_a_table_whose_last_file_has_gone_is_an_empty_view(tmp_path):
    with simulator("--records", str(write(tmp_path, [BROKEN, GOOD]))) as settings:
        kefu(tmp_path, settings | {"KEFU_ACCOUNT": "one"}, "run", "--date", "2024-05-13")
    with simulator("--records", str(write(tmp_path, [GOOD]))) as settings:
        kefu(tmp_path, settings | {"KEFU_ACCOUNT": "one"}, "run", "--date", "2024-05-13", "--force", "--allow-shrink")
        kefu(tmp_path, app(settings, 2) | {"KEFU_ACCOUNT": "two"}, "run", "--date", "2024-05-13")
    script = subprocess.run([KEFU, "sql"], cwd=tmp_path, capture_output=True, text=True, check=True, env={}).stdout
    connection = duckdb.connect()
    connection.execute(script)
    assert connection.execute("SELECT count(*) FROM rejects").fetchall() == [(0,)]
    # No relation mixes the accounts.
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
