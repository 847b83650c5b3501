"""A kefu lake, opened for a notebook: a view for each table, in the lake's own time zone, and the look of tables and plots.

    from lake import open_lake
    lake = open_lake("../data/demo")
    lake.sql("SELECT worker, count(*) FROM response_pairs GROUP BY ALL")    # a pandas DataFrame
    lake.connection.sql("FROM sessions").show()                             # or DuckDB as it is
"""

import html
import math
import textwrap
from pathlib import Path

import duckdb
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

# --- The tables --------------------------------------------------------------------------------------------------------------------------

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

# The columns of each table but `date`, for those that have no file yet.
_TABLES = {
    "messages": _columns("account openid worker opercode:INTEGER text sent_at:TIMESTAMPTZ seq:BIGINT", "VARCHAR"),
    "response_pairs": [
        *_columns("account openid worker first_worker", "VARCHAR"),
        *_columns("asked_at last_asked_at replied_at", "TIMESTAMPTZ"),
        *_columns("outcome", "VARCHAR"),
        *_columns("response_seconds since_last_seconds own_response_seconds business_seconds"),
        *_columns("asked_in_hours:BOOLEAN customer_messages is_first:BOOLEAN"),
    ],
    "sessions": [
        *_columns("account openid started_at:TIMESTAMPTZ ended_at:TIMESTAMPTZ initiated_by outcome", "VARCHAR"),
        *_columns("first_response_seconds customer_messages worker_messages turns answered workers"),
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
    "rejects": _columns("account:VARCHAR page_msgid position reason:VARCHAR raw:VARCHAR"),
}


class NoLake(Exception):
    """There is no lake in the folder. Shown in a notebook as one sentence, without a traceback."""

    def _render_traceback_(self):
        return [f"NoLake: {self}"]


class Lake:
    """An opened lake. `sql` asks it; `zone`, `accounts`, `first_day`, `last_day` and `days` (fetched ones) say what it holds."""

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
        self.accounts = [name for (name,) in self.connection.execute("SELECT DISTINCT account FROM account_daily UNION SELECT DISTINCT account FROM messages ORDER BY 1").fetchall()]
        if account is not None and account not in self.accounts:
            raise NoLake(f"the lake in {str(folder)!r} has no account {account!r}.")
        self._fetched_days()
        self._names()

    def sql(self, query, **parameters):
        """The answer as a pandas DataFrame. `$name` in the query is the parameter of that name."""
        return self.connection.execute(query, parameters or None).df()

    def value(self, query, **parameters):
        """The answer of a query of one row and one column; None for SQL's NULL."""
        return self.connection.execute(query, parameters or None).fetchone()[0]

    @property
    def name(self):
        """What to call it in a text: not where it lies."""
        return "the demo lake" if self.folder.resolve().name == "demo" else f"the lake “{self.folder.resolve().name}”"

    def _zone(self):
        footers = f"""
            SELECT DISTINCT decode(value) FROM parquet_kv_metadata({_quoted(self._files('messages'))}) WHERE decode(key) = 'kefu.timezone'
        """
        return self.connection.execute(footers).fetchone()[0]

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
        self.first_day, self.last_day, self.days = self.connection.execute("SELECT min(date), max(date), count(DISTINCT date) FROM fetched").fetchone()

    def _names(self):
        """`who(account, worker)`: a short name that is still one person's. The same worker under two accounts is two people."""
        self.connection.execute("CREATE TABLE workers AS SELECT DISTINCT account, worker FROM worker_daily UNION SELECT DISTINCT account, worker FROM messages")
        short = "split_part(worker, '@', 1)" if self.value("SELECT count(*) = count(DISTINCT (account, split_part(worker, '@', 1))) FROM workers") else "worker"
        prefix = "" if len(self.accounts) < 2 else "account || ' / ' || "
        self.connection.execute(f"CREATE MACRO who(account, worker) AS {prefix}{short}")

    def _repr_html_(self):
        accounts = ", ".join(html.escape(name) for name in self.accounts)
        count = {table: self.value(f"SELECT count(*) FROM {table}") for table in ["messages", "response_pairs", "sessions"]}
        facts = [
            ("accounts 公众号", f"{len(self.accounts)}: {accounts}"),
            ("days 日期", f"{self.first_day} to {self.last_day}, {self.days} fetched"),
            ("messages 消息", f"{count['messages']:,}"),
            ("turns 提问", f"{count['response_pairs']:,}"),
            ("sessions 会话", f"{count['sessions']:,}"),
            ("time zone 时区", f"{html.escape(self.zone)}, for every day, hour and clock on this page"),
        ]
        rows = "".join(f"<tr><th>{key}</th><td>{value}</td></tr>" for key, value in facts)
        return f'<table class="facts"><caption>{html.escape(self.name)}</caption>{rows}</table>'


def open_lake(folder, account=None):
    """Opens the lake in a folder, of all accounts or of one, and sets the look of plots."""
    style()
    return Lake(folder, account)


def _quoted(text):
    return "'" + text.replace("'", "''") + "'"


# --- Numbers for people ------------------------------------------------------------------------------------------------------------------


def duration(seconds):
    """45 s, 3 min 20 s, 1 h 05 min, 2 d 3 h."""
    if seconds is None or pd.isna(seconds):
        return "–"
    whole = round(float(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    if whole < 86_400:
        return f"{whole // 3_600} h" + (f" {whole % 3_600 // 60:02} min" if whole % 3_600 // 60 else "")
    return f"{whole // 86_400} d" + (f" {whole % 86_400 // 3_600} h" if whole % 86_400 // 3_600 else "")


def percent(share):
    return "–" if share is None or pd.isna(share) else f"{100 * share:.1f} %"


def number(value):
    """12,345 or 12.3."""
    if value is None or pd.isna(value):
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def table(frame, caption=None, **columns):
    """A table for reading: `column="heading"` or `column=("heading", format)`. Everything from the data is escaped."""
    columns = columns or {name: name for name in frame.columns}
    heads, bodies = [], []
    for name, heading in columns.items():
        heading, show = heading if isinstance(heading, tuple) else (heading, None)
        numeric = pd.api.types.is_numeric_dtype(frame[name]) or show is not None
        show = show or (number if numeric else lambda value: "–" if pd.isna(value) else str(value))
        side = ' class="number"' if numeric else ""
        heads.append(f"<th{side}>{html.escape(heading)}</th>")
        bodies.append([f"<td{side}>{html.escape(show(value))}</td>" for value in frame[name]])
    rows = "".join(f"<tr>{''.join(row)}</tr>" for row in zip(*bodies))
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return HTML(f"<table>{title}<thead><tr>{''.join(heads)}</tr></thead><tbody>{rows}</tbody></table>")


# --- Plots -------------------------------------------------------------------------------------------------------------------------------

# Okabe and Ito's colours, which the colour-blind can tell apart; each has one meaning in all notebooks.
COLORS = {
    "answered": "#0072B2",  # also: in time
    "late": "#E69F00",
    "unanswered": "#D55E00",
    "pending": "#999999",
    "customer": "#56B4E9",  # what customers do: arrivals, demand, messages received
    "worker": "#009E73",  # what workers do: messages sent, capacity
    "model": "#CC79A7",  # what a formula says, beside what was seen
    "ink": "#222222",
    "faint": "#BBBBBB",
}
# For accounts, weekdays or whatever else has no meaning of its own.
CYCLE = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999"]
# For heat maps: light is little.
HEAT = "cividis_r"

_DURATIONS = {0.5: "<1 s", 1: "1 s", 3: "3 s", 10: "10 s", 30: "30 s", 60: "1 min", 180: "3 min", 600: "10 min", 1_800: "30 min", 3_600: "1 h", 10_800: "3 h", 43_200: "12 h", 86_400: "1 d", 172_800: "2 d"}


def style():
    """The look of all plots, and figures as SVG that are the same whenever they are drawn."""
    plt.rcParams.update({
        "figure.figsize": (9, 4.2),
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",
        "font.family": "DejaVu Sans",
        "font.size": 11,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.labelcolor": COLORS["ink"],
        "axes.edgecolor": COLORS["faint"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E8E8E8",
        "axes.prop_cycle": plt.cycler(color=CYCLE),
        "legend.frameon": False,
        "lines.linewidth": 2,
        "svg.hashsalt": "kefu",
    })
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None, "Creator": None})
    except (ImportError, AttributeError):
        pass  # Not in a notebook.


def finding(figure, title, what=None):
    """The title says what is to be seen, the line below what is drawn."""
    width = int(figure.get_figwidth() * 9.5)
    figure.suptitle("\n".join(textwrap.wrap(title, width)), x=0.012, ha="left", fontsize=13, fontweight="bold", color=COLORS["ink"])
    if what:
        figure.axes[0].set_title("\n".join(textwrap.wrap(what, int(width * 1.25))), loc="left", color="#666666", fontsize=10, pad=10)


def log_seconds(seconds):
    """For a logarithmic axis, where 0 s would be nowhere: drawn at half a second."""
    return np.maximum(np.asarray(seconds, dtype=float), 0.5)


def duration_axis(axis, label="response time", seconds=()):
    """A logarithmic axis in seconds, with ticks that people count in, no further than the data (`seconds`) go."""
    axis._set_axes_scale("log")
    values = log_seconds([value for value in seconds if value is not None and not math.isnan(value)])
    low, high = (values.min(), values.max()) if len(values) else (1, 3_600)
    axis.axes.__getattribute__(f"set_{axis.axis_name}lim")(low / 1.2, max(high * 1.2, low * 10))
    bottom, top = axis.get_view_interval()
    ticks = [tick for tick in _DURATIONS if bottom <= tick <= top]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda tick, _: _DURATIONS.get(tick, "")))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(f"{label} (log scale)")


def percent_axis(axis, label):
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    axis.set_label_text(label)


def hour_axis(axis, lake, label="hour of the day", step=2):
    """0 to 24 o'clock, local."""
    axis.set_major_locator(FixedLocator(range(0, 25, step)))
    axis.set_major_formatter(FuncFormatter(lambda hour, _: f"{int(hour):02}:00"))
    axis.set_label_text(f"{label} ({lake.zone})")


def nothing(what):
    """In place of a plot for which there are no data."""
    return HTML(f"<p><em>{html.escape(what)}</em></p>")
