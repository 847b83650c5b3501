//! The columns of every table. Each file of a table has all of them, in this order: DuckDB takes the schema of the first file it
//! meets, and Polars refuses a file that differs.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::Table;

/// Grows when a table changes its columns or what they mean.
pub const SCHEMA_VERSION: &str = "1";

impl Table {
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
            NullableCount | NullableSeconds => (DataType::Int64, true),
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
            | "page_msgid"
            | "position"
    )
}

/// Whether a column's values are close to their neighbours', so that small differences are what there is to store.
pub(super) fn is_delta_coded(column: &str) -> bool {
    matches!(
        column,
        "sent_at" | "seq" | "asked_at" | "last_asked_at" | "replied_at" | "started_at" | "ended_at"
    )
}

/// Whether users look for single values of the column, so that a bloom filter saves them reading.
pub(super) fn is_looked_up(table: Table, column: &str) -> bool {
    column == "openid" && matches!(table, Table::Messages | Table::ResponsePairs)
}
