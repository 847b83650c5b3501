"""`kefu sql`: the views and macros, against the same computed by hand."""

import subprocess

import duckdb
import pytest

from conftest import KEFU, app, kefu, simulator


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
