"""A kefu lake, opened for a notebook: a view for each table, in the lake's own time zone.

    from lake import *                      # with it the look of tables and plots (look.py), np, pd and plt
    lake = open_lake("../data/demo")
    lake.sql("SELECT worker, count(*) FROM response_pairs GROUP BY ALL")    # a pandas DataFrame
    lake.connection.sql("FROM sessions").show()                             # or DuckDB as it is
"""

import html
import json
from pathlib import Path

import duckdb

from look import *  # So that a notebook needs one import.
from look import heading_of, keep_names, language, style, translated

# Parameters of the metrics, if no footer records others.
_PARAMETERS = {"session_gap": 1_800, "reply_window": 172_800, "business_hours": None, "auto_reply": []}

_COUNTS = "messages_received messages_sent replies follow_ups outreach auto_messages_sent customers customers_served"
_TURNS = "answered pending unanswered_first unanswered_later"
_WAIT = "sum:BIGINT mean p50 p90 p95 max:BIGINT"


def _columns(text, kind="BIGINT", prefix=""):
    """`"a b:DOUBLE"` as pairs of a column's name and type."""
    pairs = (word.partition(":") for word in text.split())
    return [(prefix + name, given or kind) for name, _, given in pairs]


_DAILY = [
    *_columns(_COUNTS),
    *_columns("first_sent_at last_sent_at", "TIMESTAMPTZ"),
    *_columns("max_concurrent mean_concurrent:DOUBLE"),
    *_columns(_TURNS + " takeovers handed_off"),
    *_columns(_WAIT, "DOUBLE", "response_seconds_"),
    *_columns("30s 60s 180s 300s", prefix="answered_within_"),
    *_columns("first_responses"),
    *_columns(_WAIT, "DOUBLE", "first_response_seconds_"),
    *_columns("mean p50 p90", "DOUBLE", "own_response_seconds_"),
    *_columns("answered_in_hours"),
    *_columns("mean p50 p90", "DOUBLE", "business_seconds_"),
    *_columns("asked_out_of_hours"),
]

# Columns of each table except `date`, for tables without files.
_TABLES = {
    "messages": _columns("account openid worker opercode:INTEGER text sent_at:TIMESTAMPTZ seq:BIGINT", "VARCHAR"),
    "response_pairs": [
        *_columns("account openid worker first_worker", "VARCHAR"),
        *_columns("asked_at last_asked_at replied_at", "TIMESTAMPTZ"),
        *_columns("outcome", "VARCHAR"),
        *_columns("response_seconds since_last_seconds own_response_seconds business_seconds"),
        *_columns("asked_in_hours:BOOLEAN customer_messages is_first:BOOLEAN asked_seq"),
    ],
    "sessions": [
        *_columns("account openid started_at:TIMESTAMPTZ ended_at:TIMESTAMPTZ initiated_by outcome", "VARCHAR"),
        *_columns("first_response_seconds customer_messages worker_messages turns answered workers started_seq"),
    ],
    "worker_daily": [*_columns("account worker", "VARCHAR"), *_DAILY],
    "worker_hourly": [
        *_columns("account worker", "VARCHAR"),
        *_columns("hour:INTEGER messages_received messages_sent " + _TURNS),
        *_columns("sum:BIGINT mean p50 p90", "DOUBLE", "response_seconds_"),
    ],
    "account_daily": [
        *_columns("account", "VARCHAR"),
        *_DAILY,
        *_columns("workers sessions_completed sessions_missed sessions_dropped sessions_open sessions_outreach"),
    ],
    "workers": _columns("account worker kf_id:BIGINT nick", "VARCHAR"),
    "rejects": _columns("account:VARCHAR page_msgid position reason:VARCHAR raw:VARCHAR"),
}


# Characters of a name that would break a line, or turn the text after it around.
_UNWANTED = r"[\x00-\x1f\x7f-\x9f\x{61c}\x{200b}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}\x{feff}]+"
_NAME_LENGTH = 24


class NoLake(Exception):
    """There is no lake in the folder. Shown in a notebook as one sentence, without a traceback."""

    def _render_traceback_(self):
        return [f"NoLake: {self}"]


class Lake:
    """An opened lake. `sql` asks it; `zone`, `accounts`, `first_day`, `last_day`, `days` (fetched ones) and `parameters` say what it holds."""

    def __init__(self, folder, account=None):
        self.folder = Path(folder)
        self.connection = duckdb.connect()
        if not any(self.folder.glob("messages/date=*/*.parquet")):
            raise NoLake(
                f"there is no lake in {str(folder)!r}. Make one with `cargo run --release -- demo` in the repository's folder, "
                "or set LAKE to the folder of yours."
            )
        self.zone = self._zone()
        self.connection.execute(f"SET TimeZone = '{self.zone}'")
        for table in _TABLES:
            self._view(table, account)
        everyone = "SELECT DISTINCT account FROM account_daily UNION SELECT DISTINCT account FROM messages ORDER BY 1"
        self.accounts = [name for (name,) in self.connection.execute(everyone).fetchall()]
        if account is not None and account not in self.accounts:
            raise NoLake(f"the lake in {str(folder)!r} has no account {account!r}.")
        self._fetched_days()
        self._names()
        self.parameters = _PARAMETERS | self._parameters()

    def sql(self, query, **parameters):
        """The answer as a pandas DataFrame. `$name` in the query is the parameter of that name."""
        return self.connection.execute(query, parameters or None).df()

    def value(self, query, **parameters):
        """The answer of a query of one column, in its first row; None for SQL's NULL, and where there is no row."""
        row = self.connection.execute(query, parameters or None).fetchone()
        return row and row[0]

    @property
    def name(self):
        """What to call it in a text: not where it lies."""
        return "the demo lake" if self.folder.resolve().name == "demo" else f"the lake “{self.folder.resolve().name}”"

    @property
    def busiest(self):
        """The account with the most messages from customers."""
        return self.value("SELECT account FROM account_daily GROUP BY account ORDER BY sum(messages_received) DESC, account LIMIT 1")

    def _zone(self):
        footers = f"""
            SELECT DISTINCT decode(value) FROM parquet_kv_metadata({_quoted(self._files('messages'))}) WHERE decode(key) = 'kefu.timezone'
        """
        return self.connection.execute(footers).fetchone()[0]

    def _parameters(self):
        """What the latest day was computed with."""
        if not any(self.folder.glob("account_daily/date=*/*.parquet")):
            return {}
        footers = f"""
            SELECT decode(value) FROM parquet_kv_metadata({_quoted(self._files('account_daily'))}) WHERE decode(key) = 'kefu.parameters'
            ORDER BY file_name DESC LIMIT 1
        """
        return json.loads(self.value(footers))

    def _files(self, table):
        return str(self.folder / table / "*" / "*.parquet")

    def _view(self, table, account):
        if any(self.folder.glob(f"{table}/date=*/*.parquet")):
            source = f"SELECT * FROM read_parquet({_quoted(self._files(table))}, hive_partitioning = true, hive_types = {{'date': DATE}})"
        else:
            nulls = ", ".join(f"NULL::{kind} AS {column}" for column, kind in [*_TABLES[table], ("date", "DATE")])
            source = f"SELECT * FROM (SELECT {nulls}) WHERE false"
        only = "" if account is None else f" WHERE account = {_quoted(account)}"
        self.connection.execute(f"CREATE VIEW {table} AS SELECT * FROM ({source}){only}")

    def _fetched_days(self):
        """`fetched`: the account and date of each day that is there, which a file without rows is, too."""
        pattern = r"date=(\d{4}-\d{2}-\d{2})[/\\](.*)\.parquet$"
        self.connection.execute(f"""
            CREATE TABLE fetched AS
            SELECT DISTINCT regexp_extract(file, '{pattern}', 2) AS account, regexp_extract(file, '{pattern}', 1)::DATE AS date
            FROM glob({_quoted(self._files('messages'))}) WHERE account IN (SELECT unnest($accounts))
        """, {"accounts": self.accounts})
        self.first_day, self.last_day, self.days = self.connection.execute(
            "SELECT min(date), max(date), count(DISTINCT date) FROM fetched"
        ).fetchone()

    def _names(self):
        """`worker_names(account, worker, name)`: the latest name of each worker that ever had one.

        `name_of(account, worker)`: what to call a worker among the others of the account: by name; by name and id, if
        two have the name; by id, where there is no name. `who(account, worker)`: the same among those of all accounts,
        because the same worker under two accounts is two people.
        """
        # An account whose latest list has no name at all drops them: those of older lists are not shown.
        self.connection.execute(f"""
            CREATE TABLE worker_names AS
            WITH latest AS (SELECT account, max(date) AS date FROM workers GROUP BY ALL),
            named AS (SELECT DISTINCT account FROM workers JOIN latest USING (account, date) WHERE nick IS NOT NULL),
            cleaned AS (
                SELECT account, worker, date, trim(regexp_replace(nick, '{_UNWANTED}', ' ', 'g')) AS name
                FROM workers SEMI JOIN named USING (account) WHERE nick IS NOT NULL
            )
            SELECT account, worker,
                max_by(if(length(name) > {_NAME_LENGTH}, name[:{_NAME_LENGTH - 1}] || '…', name), date) AS name
            FROM cleaned WHERE name <> '' GROUP BY ALL
        """)
        self.connection.execute("""
            CREATE TABLE people AS
            WITH everyone AS (SELECT account, worker FROM worker_daily UNION SELECT account, worker FROM messages),
            short AS (
                SELECT account, worker, name,
                    if(count(*) OVER (PARTITION BY account, split_part(worker, '@', 1)) > 1, worker, split_part(worker, '@', 1)) AS id
                FROM everyone LEFT JOIN worker_names USING (account, worker)
            )
            SELECT account AS of_account, worker AS of_worker,
                CASE
                    WHEN name IS NULL THEN id
                    -- Also the id of another worker is no name for one.
                    WHEN count(*) OVER (PARTITION BY account, name) > 1
                        OR name IN (SELECT split_part(worker, '@', 1) FROM everyone UNION SELECT worker FROM everyone)
                        THEN name || ' (' || id || ')'
                    ELSE name
                END AS of_name
            FROM short
        """)
        # A map, because a macro cannot tell its parameters from the columns of a table in it.
        known = "SELECT map(list((of_account, of_worker)), list(of_name)) FROM people"
        self.connection.execute(f"SET VARIABLE people = ({known})")
        prefix = "" if len(self.accounts) < 2 else "account || ' / ' || "
        self.connection.execute("CREATE MACRO name_of(account, worker) AS getvariable('people')[(account, worker)]")
        self.connection.execute(f"CREATE MACRO who(account, worker) AS {prefix}name_of(account, worker)")
        keep_names(name for (name,) in self.connection.execute("SELECT name FROM worker_names UNION SELECT of_name FROM people").fetchall())

    def _repr_html_(self):
        accounts = ", ".join(html.escape(name) for name in self.accounts)
        count = {table: self.value(f"SELECT count(*) FROM {table}") for table in ["messages", "response_pairs", "sessions"]}
        facts = [
            ("accounts 公众号", f"{len(self.accounts)}: {accounts}"),
            ("days 日期", translated(f"{self.first_day} to {self.last_day}, {self.days} fetched")),
            ("messages 消息", f"{count['messages']:,}"),
            ("turns 提问", f"{count['response_pairs']:,}"),
            ("sessions 会话", f"{count['sessions']:,}"),
            ("time zone 时区", html.escape(translated(f"{self.zone}, for every day, hour and clock on this page"))),
        ]
        rows = "".join(f"<tr><th>{heading_of(key)}</th><td>{value}</td></tr>" for key, value in facts)
        return f'<table class="facts"><caption>{html.escape(translated(self.name))}</caption>{rows}</table>'


def open_lake(folder, account=None, lang="en"):
    """Opens the lake in a folder, of all accounts or of one, and sets the look and the language (en, zh) of plots."""
    language(lang)
    style()
    return Lake(folder, account)


def _quoted(text):
    return "'" + text.replace("'", "''") + "'"
