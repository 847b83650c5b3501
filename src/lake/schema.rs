//! The columns of every table. Each file of a table has all of them, in this order: DuckDB takes the schema of the first file it
//! meets, and Polars refuses a file that differs.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};

use super::{Footer, Table};

/// Columns that the first version of kefu did not write. They are the last ones of their tables,
/// and may be null.
const LATER_COLUMNS: [&str; 2] = ["asked_seq", "started_seq"];

impl Table {
    /// Grows when the columns or their meaning change, or when readers refuse older files beside
    /// new ones.
    ///
    /// 2: `asked_seq` and `started_seq`; and no order of floats in the footer that old readers do
    /// not know, which parquet 60 wrote.
    pub fn schema_version(self) -> &'static str {
        match self {
            Self::Messages | Self::Rejects => FIRST_VERSION,
            _ => "2",
        }
    }

    /// The columns that files of older versions of kefu lack.
    pub fn later_columns(self) -> Vec<FieldRef> {
        self.schema().fields().iter().filter(|field| is_later(field)).cloned().collect()
    }

    /// The columns inside the table's files; `date` is in the folder's name instead.
    pub fn schema(self) -> SchemaRef {
        let schema: &SchemaRef = match self {
            Self::Messages => &MESSAGES,
            Self::ResponsePairs => &RESPONSE_PAIRS,
            Self::Sessions => &SESSIONS,
            Self::WorkerDaily => &WORKER_DAILY,
            Self::WorkerHourly => &WORKER_HOURLY,
            Self::AccountDaily => &ACCOUNT_DAILY,
            Self::Rejects => &REJECTS,
        };
        schema.clone()
    }
}

const FIRST_VERSION: &str = "1";

fn is_later(field: &Field) -> bool {
    LATER_COLUMNS.contains(&field.name().as_str())
}

/// The columns of a table as a file with the columns `there` should have them: those of an older
/// version of kefu lack the [`LATER_COLUMNS`].
pub(super) fn of_file(schema: &SchemaRef, there: &Schema) -> SchemaRef {
    let is_there =
        |field: &&FieldRef| !is_later(field) || there.field_with_name(field.name()).is_ok();
    Arc::new(Schema::new(schema.fields().iter().filter(is_there).cloned().collect::<Vec<_>>()))
}

/// The version of a file with these columns. The footer says which one it is where versions have
/// the same columns.
pub(super) fn version(table: Table, there: &Schema, footer: &Footer) -> &'static str {
    let is_first = match table.later_columns().first() {
        Some(later) => there.field_with_name(later.name()).is_err(),
        None => footer.get("schema_version") == Some(FIRST_VERSION),
    };
    if is_first { FIRST_VERSION } else { table.schema_version() }
}

/// A type of column, and whether it may be null.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    NullableText,
    Instant,
    NullableInstant,
    Count,
    /// A count that only exists with a business-hour schedule.
    NullableCount,
    /// Whole seconds.
    NullableSeconds,
    NullableNumber,
    /// `seq` of a message of the same date. Null where an older version of kefu did not record it
    /// and the messages are gone.
    Seq,
    /// An opercode or an hour.
    Code,
    Flag,
    NullableFlag,
}
use Kind::*;

impl Kind {
    fn field(self, name: &str) -> Field {
        let instant = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let (data_type, nullable) = match self {
            Text => (DataType::Utf8, false),
            NullableText => (DataType::Utf8, true),
            Instant => (instant(), false),
            NullableInstant => (instant(), true),
            Count => (DataType::Int64, false),
            NullableCount | NullableSeconds | Seq => (DataType::Int64, true),
            NullableNumber => (DataType::Float64, true),
            Code => (DataType::Int32, false),
            Flag => (DataType::Boolean, false),
            NullableFlag => (DataType::Boolean, true),
        };
        Field::new(name, data_type, nullable)
    }
}

fn schema(columns: &[(&str, Kind)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, kind)| kind.field(name)).collect::<Vec<_>>()))
}

static MESSAGES: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("account", Text),
        ("openid", Text),
        ("worker", Text),
        ("opercode", Code),
        ("text", NullableText),
        ("sent_at", Instant),
        ("seq", Count),
    ])
});

static REJECTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("account", Text),
        ("page_msgid", Count),
        ("position", Count),
        ("reason", Text),
        ("raw", Text),
    ])
});

static RESPONSE_PAIRS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("account", Text),
        ("openid", Text),
        ("worker", Text),
        ("first_worker", Text),
        ("asked_at", Instant),
        ("last_asked_at", Instant),
        ("replied_at", NullableInstant),
        ("outcome", Text),
        ("response_seconds", NullableSeconds),
        ("since_last_seconds", NullableSeconds),
        ("own_response_seconds", NullableSeconds),
        ("business_seconds", NullableSeconds),
        ("asked_in_hours", NullableFlag),
        ("customer_messages", Count),
        ("is_first", Flag),
        ("asked_seq", Seq),
    ])
});

static SESSIONS: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("account", Text),
        ("openid", Text),
        ("started_at", Instant),
        ("ended_at", Instant),
        ("initiated_by", Text),
        ("outcome", Text),
        ("first_response_seconds", NullableSeconds),
        ("customer_messages", Count),
        ("worker_messages", Count),
        ("turns", Count),
        ("answered", Count),
        ("workers", Count),
        ("started_seq", Seq),
    ])
});

/// What is counted for a worker and, over all workers together, for the account.
const ACTIVITY: &[(&str, Kind)] = &[
    ("messages_received", Count),
    ("messages_sent", Count),
    ("replies", Count),
    ("follow_ups", Count),
    ("outreach", Count),
    ("auto_messages_sent", Count),
    ("customers", Count),
    ("customers_served", Count),
    ("first_sent_at", NullableInstant),
    ("last_sent_at", NullableInstant),
    ("max_concurrent", Count),
    ("mean_concurrent", NullableNumber),
    ("answered", Count),
    ("pending", Count),
    ("unanswered_first", Count),
    ("unanswered_later", Count),
    ("takeovers", Count),
    ("handed_off", Count),
    ("response_seconds_sum", NullableSeconds),
    ("response_seconds_mean", NullableNumber),
    ("response_seconds_p50", NullableNumber),
    ("response_seconds_p90", NullableNumber),
    ("response_seconds_p95", NullableNumber),
    ("response_seconds_max", NullableSeconds),
    ("answered_within_30s", Count),
    ("answered_within_60s", Count),
    ("answered_within_180s", Count),
    ("answered_within_300s", Count),
    ("first_responses", Count),
    ("first_response_seconds_sum", NullableSeconds),
    ("first_response_seconds_mean", NullableNumber),
    ("first_response_seconds_p50", NullableNumber),
    ("first_response_seconds_p90", NullableNumber),
    ("first_response_seconds_p95", NullableNumber),
    ("first_response_seconds_max", NullableSeconds),
    ("own_response_seconds_mean", NullableNumber),
    ("own_response_seconds_p50", NullableNumber),
    ("own_response_seconds_p90", NullableNumber),
    ("answered_in_hours", NullableCount),
    ("business_seconds_mean", NullableNumber),
    ("business_seconds_p50", NullableNumber),
    ("business_seconds_p90", NullableNumber),
    ("asked_out_of_hours", NullableCount),
];

static WORKER_DAILY: LazyLock<SchemaRef> =
    LazyLock::new(|| schema(&[&[("account", Text), ("worker", Text)], ACTIVITY].concat()));

static ACCOUNT_DAILY: LazyLock<SchemaRef> = LazyLock::new(|| {
    let of_account: &[(&str, Kind)] = &[
        ("workers", Count),
        ("sessions_completed", Count),
        ("sessions_missed", Count),
        ("sessions_dropped", Count),
        ("sessions_open", Count),
        ("sessions_outreach", Count),
    ];
    schema(&[&[("account", Text)], ACTIVITY, of_account].concat())
});

static WORKER_HOURLY: LazyLock<SchemaRef> = LazyLock::new(|| {
    schema(&[
        ("account", Text),
        ("worker", Text),
        ("hour", Code),
        ("messages_received", Count),
        ("messages_sent", Count),
        ("answered", Count),
        ("pending", Count),
        ("unanswered_first", Count),
        ("unanswered_later", Count),
        ("response_seconds_sum", NullableSeconds),
        ("response_seconds_mean", NullableNumber),
        ("response_seconds_p50", NullableNumber),
        ("response_seconds_p90", NullableNumber),
    ])
});

/// Whether a column holds names: of few things, many times.
pub(super) fn is_name(column: &str) -> bool {
    matches!(column, "account" | "openid" | "worker" | "first_worker")
}

/// Whether a column's values repeat often enough for a dictionary to pay.
pub(super) fn repeats(column: &str) -> bool {
    !matches!(
        column,
        "raw"
            | "sent_at"
            | "asked_at"
            | "last_asked_at"
            | "replied_at"
            | "started_at"
            | "ended_at"
            | "seq"
            | "asked_seq"
            | "started_seq"
            | "page_msgid"
            | "position"
    )
}

/// Whether a column is stored as the differences between neighbours (DELTA_BINARY_PACKED).
/// Stored plain, the instants make a lake of 100,000 messages a day 10.5 % larger.
pub(super) fn is_delta_coded(column: &str) -> bool {
    matches!(
        column,
        "sent_at"
            | "asked_at"
            | "last_asked_at"
            | "replied_at"
            | "started_at"
            | "ended_at"
            | "seq"
            | "asked_seq"
            | "started_seq"
    )
}

/// Whether users look for single values of the column, so that a bloom filter saves them reading.
pub(super) fn is_looked_up(table: Table, column: &str) -> bool {
    column == "openid" && matches!(table, Table::Messages | Table::ResponsePairs)
}
