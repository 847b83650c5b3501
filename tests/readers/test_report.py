"""`kefu report`: each figure of its JSON and of its page, against SQL over the lake's messages and response pairs."""

import datetime
import math
from html.parser import HTMLParser

import duckdb
import pytest

from conftest import app, kefu, simulator

DAY = datetime.timedelta(days=1)
WITHIN = 60
# Figures that later days do not change.
VOLUME = ["messages_received", "messages_sent", "customers", "customers_served", "workers"]
# Without a schedule of business hours, these are null.
BY_HOURS = ["asked_in_hours", "asked_out_of_hours", "business_service_level", "business_seconds_p50", "business_seconds_p90"]
TARGET = 0.875
SETTINGS = """
[report]
service_level_target = 87.5
"""
HOURS = """
[metrics.business_hours]
monday = ["09:00-18:00"]
tuesday = ["09:00-18:00"]
wednesday = ["09:00-12:00", "13:30-18:00"]
thursday = ["09:00-18:00"]
friday = ["09:00-18:00", "21:00-02:00"]
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A lake of three accounts (one lacks a day); what the demo leaves; and the reports on them."""
    folder = tmp_path_factory.mktemp("reports")
    for account, seed, ranges in [
        ("one", "1", [("2024-05-01", "2024-05-21")]),
        ("two", "2", [("2024-05-01", "2024-05-16"), ("2024-05-18", "2024-05-21")]),
        ("three", "3", [("2024-05-01", "2024-05-21")]),
    ]:
        with simulator("--first-day", "2024-05-01", "--days", "20", "--messages-per-day", "500", "--seed", seed) as settings:
            for first, last in ranges:
                kefu(folder, app(settings, seed) | {"KEFU_ACCOUNT": account}, "run", "--from", first, "--to", last)
    kefu(folder, {}, "demo")
    (folder / "hours.toml").write_text(HOURS)
    with simulator("--first-day", "2024-05-01", "--days", "20", "--messages-per-day", "500", "--seed", "4") as settings:
        in_hours = settings | {"KEFU_ACCOUNT": "four", "KEFU_LAKE": "data/hours", "KEFU_CONFIG": "hours.toml"}
        kefu(folder, in_hours, "run", "--from", "2024-05-01", "--to", "2024-05-20")
    (folder / "kefu.toml").write_text(SETTINGS)
    (folder / "hours.toml").write_text(HOURS + SETTINGS)

    def report(lake, *arguments):
        page = folder / "page.html"
        config = "hours.toml" if lake == "data/hours" else "kefu.toml"
        figures = kefu(folder, {"KEFU_CONFIG": config}, "report", "--lake", lake, "--out", str(page), *arguments)
        return folder / lake, figures, Page(page.read_text())

    return report


CASES = [
    ("data/demo", []),
    ("data/demo", ["--from", "2024-05-13", "--to", "2024-05-19"]),
    ("data/lake", []),
    ("data/lake", ["--account", "one", "--days", "5"]),
    ("data/demo", ["--date", "2024-05-15", "--lang", "zh"]),
    ("data/lake", ["--from", "2024-05-08", "--to", "2024-05-14", "--service-level", str(WITHIN)]),
    ("data/lake", ["--from", "2024-05-12", "--to", "2024-05-21"]),
    ("data/lake", ["--from", "2024-05-08", "--to", "2024-05-14", "--account", "two", "--account", "three"]),
    ("data/hours", []),
    ("data/hours", ["--from", "2024-05-08", "--to", "2024-05-14", "--service-level", "300", "--lang", "zh"]),
]


@pytest.mark.parametrize("lake, arguments", CASES)
def test_every_figure_is_the_one_of_sql(reports, lake, arguments):
    lake, figures, page = reports(lake, *arguments)
    sql = Lake(lake, [account["account"] for account in figures["accounts"]], figures["service_level_seconds"])
    first, last = (datetime.date.fromisoformat(figures[end]) for end in ["first", "last"])

    expected = sql.totals(first, last)
    same(figures["totals"], expected)
    same(page.key_figures, {name: expected[name] for name in page.key_figures})
    # Five cards at the top, five below them, the sessions by outcome, and those by business hours.
    assert len(page.key_figures) == 15 + (5 if lake.name == "hours" else 0)

    length = last - first + DAY
    before = [first - length, first - DAY]
    assert [figures["before"]["first"], figures["before"]["last"]] == [str(day) for day in before]
    is_complete = sql.is_complete(first, last) and sql.is_complete(*before)
    if is_complete and sql.is_final(first, last) and sql.is_final(*before):
        same(figures["before"]["totals"], sql.totals(*before))
    else:
        assert figures["before"]["totals"] is None and figures["before"]["missing"] is not None
    if is_complete:
        expected = sql.totals(*before)
        same(figures["before"]["volume"], {name: expected[name] for name in VOLUME})
    else:
        assert figures["before"]["volume"] is None

    assert figures["is_final"] == sql.is_final(first, last)
    if "--from" in arguments or "--date" in arguments:
        assert figures["left_out"] == []
    else:
        assert last == sql.last_final_day() and length <= (7 if "--days" not in arguments else 5) * DAY
        assert figures["left_out"] == [str(day) for day in sql.days_after(last)]

    headline(figures, page, sql, (first, last), before, is_complete)

    days = [first + DAY * number for number in range(length.days)]
    assert [day["date"] for day in figures["days"]] == [str(day) for day in days] == [row["date"] for row in page.tables["days"]]
    for day, in_json, in_page in zip(days, figures["days"], page.tables["days"]):
        accounts = sql.accounts_of(day)
        assert in_json["accounts"] == accounts
        expected = sql.totals(day, day) if accounts else {}
        same({name: value for name, value in in_json.items() if name not in ("date", "accounts", "is_final")}, expected)
        assert in_json["is_final"] == (accounts > 0 and sql.is_final(day, day))
        same(numbers(in_page), {name: expected.get(name) for name in numbers(in_page)})

    if len(figures["accounts"]) > 1:
        for account, row in zip(figures["accounts"], page.tables["accounts"]):
            assert row["account"] == account["account"]
            alone = Lake(lake, [account["account"]], figures["service_level_seconds"]).totals(first, last)
            same(account["totals"], alone)
            same(numbers(row), {name: alone[name] for name in numbers(row)})

    workers = sql.workers(first, last)
    assert len(workers) == len(figures["workers"]) == len(page.tables["workers"]) > 0
    columns = 14 + (lake.name == "hours")
    for expected, in_json, in_page in zip(workers, figures["workers"], page.tables["workers"]):
        assert in_json.pop("is_small_sample") == (expected["answered"] < 30)
        name = in_json.pop("name")
        assert name == sql.names().get((expected["account"], expected["worker"]))
        label = f"{name} ({expected['worker']})" if name else expected["worker"]
        same(in_json, expected)
        same(numbers(in_page), {name: expected[name] for name in numbers(in_page)})
        assert in_page["worker"] == label and in_page.get("account", expected["account"]) == expected["account"]
        assert len(numbers(in_page)) == columns

    loads = sql.load(first, last)
    for weekday, in_json, in_page in zip(range(1, 8), figures["load"], page.rows["load"]):
        expected = loads.get(weekday, [None] * 24)
        assert in_json["weekday"] == weekday
        for hour, (ours, shown) in enumerate(zip(in_json["messages_received_mean"] or [None] * 24, in_page, strict=True)):
            assert close(ours, expected[hour]) and close(shown, expected[hour]), (weekday, hour)

    turns = sql.unanswered(first, last)
    listed = figures["unanswered"]["turns"]
    assert figures["unanswered"]["more"] == len(turns) - len(listed) and len(listed) == min(50, len(turns))
    of_list = ["account", "asked_at", "waited_seconds", "customer_messages", "is_first"]
    assert [tuple(turn[name] for name in of_list) for turn in listed] == turns[:50]
    assert [row["waited_seconds"] for row in page.tables["unanswered"]] == [turn["waited_seconds"] for turn in listed]
    assert len(page.unanswered) == len(listed)
    assert [asked_at for asked_at, *_ in page.unanswered] == [turn["asked_at"] for turn in listed]
    assert all("texts" not in turn for turn in listed)


def headline(figures, page, sql, period, before, is_complete):
    """The sentence at the top says what SQL says."""
    said = figures["headline"]
    now = sql.totals(*period)
    level = now["service_level"]
    assert close(said["service_level"], level) and figures["service_level_target"] == TARGET
    shown = page.headline.replace("\xa0", " ")
    assert f"{math.floor(1000 * level + 0.5) / 10:.1f}%" in shown
    distance = tenths(100 * abs(level - TARGET))
    if "The service level" in shown:
        assert f"{distance} points {'above' if level >= TARGET else 'below'} the target of 87.5%" in shown
    else:
        assert f"比目标 87.5% {'高' if level >= TARGET else '低'} {distance} 个百分点" in shown

    if figures["before"]["totals"]:
        # The test of two proportions, by the formula of the documentation.
        then = sql.totals(*before)
        counts = [(totals["answered_within"], totals["answered"] + totals["unanswered_first"]) for totals in (now, then)]
        pooled = sum(part for part, _ in counts) / sum(whole for _, whole in counts)
        spread = math.sqrt(pooled * (1 - pooled) * sum(1 / whole for _, whole in counts))
        change = level - then["service_level"]
        assert close(said["change"], change)
        assert said["change_is_within_chance"] == (abs(change) <= 1.959964 * spread)
        assert ("within chance" in shown or "正常波动" in shown) == said["change_is_within_chance"]
    else:
        assert said["change"] is None and said["change_is_within_chance"] is None

    levels = sql.rows(f"""
        SELECT date::VARCHAR, sum(answered_within_{sql.within}s) / sum(answered + unanswered_first) AS level FROM account_daily
        WHERE date BETWEEN '{period[0]}' AND '{period[1]}' GROUP BY date HAVING sum(answered + unanswered_first) >= 30 ORDER BY level, date
    """)
    if len(levels) > 1:
        date, lowest = levels[0]
        assert said["worst_day"]["date"] == date and close(said["worst_day"]["service_level"], lowest) and date in shown
    else:
        assert said["worst_day"] is None
    [(first, share)] = sql.rows(f"""
        WITH hours AS (
            SELECT hour(sent_at) AS hour, count(*) AS received FROM messages
            WHERE opercode = 2003 AND date BETWEEN '{period[0]}' AND '{period[1]}' GROUP BY ALL)
        SELECT one.hour, (one.received + coalesce(next.received, 0)) / (SELECT sum(received) FROM hours)
        FROM hours AS one LEFT JOIN hours AS next ON next.hour = one.hour + 1 WHERE one.hour < 23 ORDER BY 2 DESC, 1 LIMIT 1
    """)
    assert said["busiest_hours"]["first"] == first and said["busiest_hours"]["end"] == first + 2
    assert close(said["busiest_hours"]["share"], share) and f"{first:02}:00" in shown


def tenths(number):
    """One decimal, but no zero decimal."""
    return f"{math.floor(10 * number + 0.5) / 10:g}"


def test_the_texts_of_unanswered_turns_are_those_of_the_lake(reports):
    lake, figures, page = reports("data/demo", "--with-text")
    for turn in figures["unanswered"]["turns"]:
        said = [text for (text,) in duckdb.sql(f"""
            SELECT text FROM '{lake}/messages/*/*.parquet' AS messages
            JOIN '{lake}/response_pairs/*/*.parquet' AS pairs USING (account, openid)
            WHERE opercode = 2003 AND sent_at BETWEEN asked_at AND last_asked_at AND outcome = 'unanswered'
              AND strftime(asked_at AT TIME ZONE 'Asia/Shanghai', '%Y-%m-%d %H:%M:%S') = '{turn["asked_at"]}' AND suffix(openid, '{turn["customer"][1:]}')
            ORDER BY sent_at, seq
        """).fetchall()]
        assert turn["texts"]["texts"] == said[:10] and turn["texts"]["more"] == max(0, len(said) - 10)


class Lake:
    """The figures by SQL: of messages and response pairs, and of the tables' own rows only what neither of them says."""

    def __init__(self, lake, accounts, within):
        self.connection = duckdb.connect()
        self.accounts, self.within = accounts, within
        self.connection.execute("SET TimeZone = 'Asia/Shanghai'")
        wanted = ", ".join(f"'{account}'" for account in accounts)
        for table in ["messages", "response_pairs", "sessions", "worker_daily", "account_daily", "workers"]:
            files = f"read_parquet('{lake}/{table}/*/*.parquet', hive_partitioning = true)"
            self.connection.execute(f"CREATE VIEW {table} AS SELECT * FROM {files} WHERE account IN ({wanted})")

    def rows(self, query):
        return self.connection.execute(query).fetchall()

    def dicts(self, query):
        result = self.connection.execute(query)
        names = [column[0] for column in result.description]
        return [dict(zip(names, row)) for row in result.fetchall()]

    def accounts_of(self, day):
        return self.rows(f"SELECT count(*) FROM account_daily WHERE date = '{day}'")[0][0]

    def is_complete(self, first, last):
        days = self.rows(f"SELECT count(*) FROM account_daily WHERE date BETWEEN '{first}' AND '{last}'")[0][0]
        return days == len(self.accounts) * ((last - first).days + 1)

    def final_days(self):
        """The days that are final, with their accounts: the three days after them are there, too."""
        return set(self.rows("""
            SELECT account, date FROM account_daily AS d
            WHERE (SELECT count(*) FROM account_daily AS l WHERE l.account = d.account AND l.date BETWEEN d.date + 1 AND d.date + 3) = 3"""))

    def is_final(self, first, last):
        there = self.rows(f"SELECT account, date FROM account_daily WHERE date BETWEEN '{first}' AND '{last}'")
        return set(there) <= self.final_days()

    def last_final_day(self):
        """The last day that is final in every account that has it."""
        days = [day for (day,) in self.rows("SELECT DISTINCT date FROM account_daily ORDER BY date DESC")]
        return next(day for day in days if self.is_final(day, day))

    def days_after(self, last):
        return [day for (day,) in self.rows(f"SELECT DISTINCT date FROM account_daily WHERE date > '{last}' ORDER BY date")]

    def totals(self, first, last):
        period = f"date BETWEEN '{first}' AND '{last}'"
        [messages] = self.dicts(f"""
            SELECT count(*) FILTER (opercode = 2003) AS messages_received, count(*) FILTER (opercode = 2002) AS messages_sent,
                   count(DISTINCT (account, openid)) FILTER (opercode = 2003) AS customers,
                   count(DISTINCT (account, worker)) FILTER (opercode = 2002) AS workers
            FROM messages WHERE {period}
        """)
        [served] = self.dicts(f"""
            SELECT count(*) AS customers_served FROM (
                SELECT account, openid FROM messages WHERE {period} GROUP BY ALL HAVING bool_or(opercode = 2003) AND bool_or(opercode = 2002))
        """)
        [turns] = self.dicts(f"SELECT count(*) AS turns, {self.of_turns()} FROM response_pairs WHERE {period}")
        sessions = ", ".join(f"count(*) FILTER (outcome = '{outcome}') AS sessions_{outcome}" for outcome in ["completed", "missed", "dropped", "open", "outreach"])
        [sessions] = self.dicts(f"SELECT {sessions} FROM sessions WHERE {period}")
        del turns["own_response_seconds_p50"], turns["takeovers"]
        if not turns["asked_in_hours"] and not turns["asked_out_of_hours"]:
            turns |= dict.fromkeys(BY_HOURS)
        return messages | served | turns | sessions

    def of_turns(self):
        return f"""
            count(*) FILTER (outcome = 'answered') AS answered, count(*) FILTER (outcome = 'pending') AS pending,
            count(*) FILTER (outcome = 'unanswered' AND is_first) AS unanswered_first,
            count(*) FILTER (outcome = 'unanswered' AND NOT is_first) AS unanswered_later,
            count(*) FILTER (response_seconds <= {self.within}) AS answered_within,
            answered_within / nullif(answered + unanswered_first, 0) AS service_level,
            avg(response_seconds) AS response_seconds_mean,
            quantile_cont(response_seconds, 0.5) AS response_seconds_p50, quantile_cont(response_seconds, 0.9) AS response_seconds_p90,
            quantile_cont(response_seconds, 0.5) FILTER (is_first) AS first_response_seconds_p50,
            quantile_cont(own_response_seconds, 0.5) AS own_response_seconds_p50,
            count(*) FILTER (outcome = 'answered' AND own_response_seconds IS NULL) AS takeovers,
            count(*) FILTER (asked_in_hours) AS asked_in_hours, count(*) FILTER (NOT asked_in_hours) AS asked_out_of_hours,
            count(*) FILTER (asked_in_hours AND business_seconds <= {self.within})
                / nullif(count(*) FILTER (asked_in_hours AND (outcome = 'answered' OR outcome = 'unanswered' AND is_first)), 0) AS business_service_level,
            quantile_cont(business_seconds, 0.5) FILTER (asked_in_hours) AS business_seconds_p50,
            quantile_cont(business_seconds, 0.9) FILTER (asked_in_hours) AS business_seconds_p90
        """

    def names(self):
        """The latest name of each worker, by account and worker."""
        named = "SELECT account, worker, max_by(nick, date) FROM workers WHERE nick IS NOT NULL GROUP BY ALL"
        return {(account, worker): name for account, worker, name in self.rows(named)}

    def workers(self, first, last):
        period = f"date BETWEEN '{first}' AND '{last}'"
        return self.dicts(f"""
            WITH own AS (SELECT account, worker, max(max_concurrent) AS max_concurrent, sum(handed_off)::BIGINT AS handed_off FROM worker_daily WHERE {period} GROUP BY ALL),
            by_message AS (
                SELECT account, worker, count(*) FILTER (opercode = 2003) AS messages_received, count(*) FILTER (opercode = 2002) AS messages_sent,
                       count(DISTINCT openid) FILTER (opercode = 2003) AS customers
                FROM messages WHERE {period} GROUP BY ALL),
            by_turn AS (SELECT account, worker, {self.of_turns()} FROM response_pairs WHERE {period} GROUP BY ALL)
            SELECT account, worker, coalesce(messages_received, 0) AS messages_received, coalesce(messages_sent, 0) AS messages_sent,
                   coalesce(customers, 0) AS customers, coalesce(answered, 0) AS answered, coalesce(pending, 0) AS pending,
                   coalesce(unanswered_first, 0) AS unanswered_first, coalesce(unanswered_later, 0) AS unanswered_later,
                   response_seconds_p50, response_seconds_p90, response_seconds_mean, coalesce(answered_within, 0) AS answered_within, service_level,
                   own_response_seconds_p50, business_seconds_p50, coalesce(takeovers, 0) AS takeovers, handed_off, max_concurrent
            FROM own LEFT JOIN by_message USING (account, worker) LEFT JOIN by_turn USING (account, worker) ORDER BY account, worker
        """)

    def load(self, first, last):
        """By weekday, the accounts' averages of each hour, added up; none where an account has no such day."""
        days = dict(((account, weekday), count) for account, weekday, count in self.rows(f"""
            SELECT account, isodow(date), count(*) FROM account_daily WHERE date BETWEEN '{first}' AND '{last}' GROUP BY ALL"""))
        received = self.rows(f"""
            SELECT account, isodow(date), hour(sent_at AT TIME ZONE 'Asia/Shanghai'), count(*)
            FROM messages WHERE opercode = 2003 AND date BETWEEN '{first}' AND '{last}' GROUP BY ALL""")
        accounts = {account for account, _ in days}
        load = {weekday: [0.0] * 24 for _, weekday in days if all((account, weekday) in days for account in accounts)}
        for account, weekday, hour, count in (row for row in received if row[1] in load):
            load[weekday][hour] += count / days[account, weekday]
        return load

    def unanswered(self, first, last):
        """The longest wait first: until the customer asked again, or until no reply was possible."""
        return self.rows(f"""
            WITH pairs AS (
                SELECT *, least(
                    lead(epoch(asked_at)) OVER (PARTITION BY account, openid ORDER BY date, asked_seq),
                    epoch(last_asked_at) + 172800
                ) - epoch(asked_at) AS waited
                FROM response_pairs)
            SELECT account, strftime(asked_at AT TIME ZONE 'Asia/Shanghai', '%Y-%m-%d %H:%M:%S'), waited::BIGINT, customer_messages, is_first
            FROM pairs WHERE outcome = 'unanswered' AND date BETWEEN '{first}' AND '{last}'
            ORDER BY is_first DESC, waited DESC, customer_messages DESC, asked_at DESC, account, openid""")


class Page(HTMLParser):
    """What the page shows, by its `data-figure`s: the key figures, and of each table the rows."""

    def __init__(self, text):
        super().__init__()
        self.key_figures, self.tables, self.rows, self.unanswered = {}, {}, {}, []
        self.headline, self.in_headline = "", False
        self.table = self.cell = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        figure = attributes.get("data-figure")
        if tag == "p" and attributes.get("class") == "headline":
            self.in_headline = not self.headline
        elif tag == "data":
            # The views of single accounts come after the one of all accounts.
            self.key_figures.setdefault(figure, value(attributes["value"]))
        elif tag == "table":
            self.table = attributes.get("id")
            self.tables[self.table], self.rows[self.table] = [], []
        elif tag == "tbody" and self.table:
            self.in_body = True
        elif tag == "tr" and self.table:
            self.tables[self.table].append({})
            self.rows[self.table].append([])
            self.cell = None
        elif tag in ("td", "th") and self.table:
            if "data-value" in attributes:
                self.tables[self.table][-1][figure] = value(attributes["data-value"])
                self.rows[self.table][-1].append(value(attributes["data-value"]))
                self.cell = None
            else:
                self.cell = figure or tag
                self.tables[self.table][-1].setdefault(self.cell, "")

    def handle_data(self, data):
        if self.in_headline:
            self.headline += data
        if self.table and self.cell:
            self.tables[self.table][-1][self.cell] += data.strip()

    def handle_endtag(self, tag):
        if tag == "p":
            self.in_headline = False
        if tag in ("td", "th", "bdi"):
            self.cell = None
        elif tag == "thead" and self.table:
            self.tables[self.table], self.rows[self.table] = [], []
        elif tag == "table":
            if self.table == "unanswered":
                self.unanswered = [(row["th"],) for row in self.tables["unanswered"]]
            self.table = None


def value(text):
    return float(text) if text else None


def numbers(row):
    return {name: value for name, value in row.items() if not isinstance(value, str)}


def close(ours, theirs):
    if ours is None or theirs is None or isinstance(ours, str):
        return ours == theirs
    return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-9)


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    wrong = {name: (ours[name], theirs[name]) for name in ours if not close(ours[name], theirs[name])}
    assert not wrong
