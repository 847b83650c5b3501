//! The columns of the tables, one row each. A row defines the schema of a column, how it is stored
//! and read, and how metrics fill it.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::error::ArrowError;

/// The first version of the tables' schemas.
pub const FIRST_VERSION: &str = "1";

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub name: &'static str,
    kind: Kind,
    is_nullable: bool,
    pub role: Role,
    pub encoding: Encoding,
    /// Whether the column has values only with a schedule of business hours.
    pub needs_hours: bool,
    /// Whether the values come unchanged from the API.
    pub is_recorded: bool,
    /// Whether users search the column for single values.
    pub has_bloom_filter: bool,
    /// Position among the columns by which a file's rows are sorted, from 1.
    pub sort_place: Option<u8>,
    /// Whether the column's instants lie in the partition's day.
    pub is_date: bool,
    /// The schema version that added the column. Files of older versions lack it. Such a column is
    /// therefore nullable and one of the last in its table.
    pub since: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Instant,
    /// A whole number of 64 bits.
    Whole,
    /// A whole number of 32 bits: an opercode or an hour.
    Code,
    Number,
    Flag,
}

/// The kind of values in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A name. There are few distinct names, and each is repeated often.
    Name,
    /// A count. It is 0 when there is nothing to count.
    Count,
    /// A sum, mean, percentile or maximum. The column's name ends with its kind. Null without
    /// values.
    Statistic,
    Value,
}

/// How a column is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Each distinct value is stored once. For values that repeat.
    Dictionary,
    /// The differences between neighbours are stored (DELTA_BINARY_PACKED). With plain instants, a
    /// lake of 100,000 messages a day is 10.5 % larger.
    Delta,
    Plain,
}

impl Column {
    const fn new(name: &'static str, kind: Kind, role: Role) -> Self {
        Self {
            name,
            kind,
            is_nullable: false,
            role,
            encoding: Encoding::Dictionary,
            needs_hours: false,
            is_recorded: false,
            has_bloom_filter: false,
            sort_place: None,
            is_date: false,
            since: FIRST_VERSION,
        }
    }

    const fn name(name: &'static str) -> Self {
        Self::new(name, Kind::Text, Role::Name)
    }

    const fn text(name: &'static str) -> Self {
        Self::new(name, Kind::Text, Role::Value)
    }

    const fn instant(name: &'static str) -> Self {
        Self::new(name, Kind::Instant, Role::Value).encoded(Encoding::Delta)
    }

    const fn whole(name: &'static str) -> Self {
        Self::new(name, Kind::Whole, Role::Value)
    }

    /// The `seq` of a message of the same date.
    const fn seq(name: &'static str) -> Self {
        Self::whole(name).encoded(Encoding::Delta)
    }

    /// A wait in whole seconds. Null when there was no wait.
    const fn seconds(name: &'static str) -> Self {
        Self::whole(name).nullable()
    }

    const fn code(name: &'static str) -> Self {
        Self::new(name, Kind::Code, Role::Value)
    }

    const fn number(name: &'static str) -> Self {
        Self::new(name, Kind::Number, Role::Value).nullable()
    }

    const fn flag(name: &'static str) -> Self {
        Self::new(name, Kind::Flag, Role::Value)
    }

    const fn count(name: &'static str) -> Self {
        Self::new(name, Kind::Whole, Role::Count)
    }

    /// A mean or a percentile.
    const fn statistic(name: &'static str) -> Self {
        Self::new(name, Kind::Number, Role::Statistic).nullable()
    }

    /// A sum or a maximum of whole seconds.
    const fn whole_statistic(name: &'static str) -> Self {
        Self::new(name, Kind::Whole, Role::Statistic).nullable()
    }

    const fn nullable(self) -> Self {
        Self { is_nullable: true, ..self }
    }

    const fn encoded(self, encoding: Encoding) -> Self {
        Self { encoding, ..self }
    }

    const fn in_hours(self) -> Self {
        Self { needs_hours: true, is_nullable: true, ..self }
    }

    const fn recorded(self) -> Self {
        Self { is_recorded: true, ..self }
    }

    const fn with_bloom_filter(self) -> Self {
        Self { has_bloom_filter: true, ..self }
    }

    const fn sorted(self, place: u8) -> Self {
        Self { sort_place: Some(place), ..self }
    }

    const fn date(self) -> Self {
        Self { is_date: true, ..self }
    }

    /// Sets the version that added the column. Rows of older versions have null.
    const fn since(self, version: &'static str) -> Self {
        Self { since: version, is_nullable: true, ..self }
    }

    /// Whether the first version of the schema lacks the column.
    pub fn is_later(&self) -> bool {
        self.since != FIRST_VERSION
    }

    pub fn field(&self) -> Field {
        let data_type = match self.kind {
            Kind::Text => DataType::Utf8,
            Kind::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Kind::Whole => DataType::Int64,
            Kind::Code => DataType::Int32,
            Kind::Number => DataType::Float64,
            Kind::Flag => DataType::Boolean,
        };
        Field::new(self.name, data_type, self.is_nullable)
    }
}

/// Returns the column of a batch with this name, as an array of type `A`.
///
/// # Errors
/// Fails when the batch has no such column of this type.
pub fn typed<'a, A: Array + 'static>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a A, ArrowError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    column.ok_or_else(|| ArrowError::SchemaError(format!("no column `{name}` of its type")))
}

const ACCOUNT: Column = Column::name("account");
const OPENID: Column = Column::name("openid");
const WORKER: Column = Column::name("worker");

pub(super) const MESSAGES: &[Column] = &[
    ACCOUNT,
    OPENID.recorded().with_bloom_filter(),
    WORKER.recorded(),
    Column::code("opercode").recorded(),
    Column::text("text").nullable().recorded(),
    Column::instant("sent_at").recorded().date().sorted(1),
    Column::seq("seq").sorted(2),
];

/// Rows are in the order in which they arrived, window by window.
pub(super) const REJECTS: &[Column] = &[
    ACCOUNT,
    Column::whole("page_msgid").encoded(Encoding::Plain),
    Column::whole("position").encoded(Encoding::Plain),
    Column::text("reason"),
    Column::text("raw").encoded(Encoding::Plain),
];

pub(super) const WORKERS: &[Column] =
    &[ACCOUNT, WORKER.sorted(1), Column::whole("kf_id"), Column::text("nick").nullable()];

pub(super) const RESPONSE_PAIRS: &[Column] = &[
    ACCOUNT,
    OPENID.with_bloom_filter().sorted(2),
    WORKER,
    Column::name("first_worker"),
    Column::instant("asked_at").date().sorted(1),
    Column::instant("last_asked_at"),
    Column::instant("replied_at").nullable(),
    Column::text("outcome"),
    Column::seconds("response_seconds"),
    Column::seconds("since_last_seconds"),
    Column::seconds("own_response_seconds"),
    Column::seconds("business_seconds").in_hours(),
    Column::flag("asked_in_hours").in_hours(),
    Column::count("customer_messages"),
    Column::flag("is_first"),
    Column::seq("asked_seq").since("2"),
];

pub(super) const SESSIONS: &[Column] = &[
    ACCOUNT,
    OPENID.sorted(2),
    Column::instant("started_at").date().sorted(1),
    Column::instant("ended_at"),
    Column::text("initiated_by"),
    Column::text("outcome"),
    Column::seconds("first_response_seconds"),
    Column::count("customer_messages"),
    Column::count("worker_messages"),
    Column::count("turns"),
    Column::count("answered"),
    Column::count("workers"),
    Column::seq("started_seq").since("2"),
];

pub(super) const OF_ACCOUNT: &[Column] = &[ACCOUNT];
pub(super) const OF_WORKER: &[Column] = &[ACCOUNT, WORKER.sorted(1)];

/// Columns for each worker, and for the account over all workers together.
pub(super) const ACTIVITY: &[Column] = &[
    Column::count("messages_received"),
    Column::count("messages_sent"),
    Column::count("replies"),
    Column::count("follow_ups"),
    Column::count("outreach"),
    Column::count("auto_messages_sent"),
    Column::count("customers"),
    Column::count("customers_served"),
    Column::instant("first_sent_at").nullable().encoded(Encoding::Dictionary),
    Column::instant("last_sent_at").nullable().encoded(Encoding::Dictionary),
    Column::count("max_concurrent"),
    Column::number("mean_concurrent"),
    Column::count("answered"),
    Column::count("pending"),
    Column::count("unanswered_first"),
    Column::count("unanswered_later"),
    Column::count("takeovers"),
    Column::count("handed_off"),
    Column::whole_statistic("response_seconds_sum"),
    Column::statistic("response_seconds_mean"),
    Column::statistic("response_seconds_p50"),
    Column::statistic("response_seconds_p90"),
    Column::statistic("response_seconds_p95"),
    Column::whole_statistic("response_seconds_max"),
    Column::count("answered_within_30s"),
    Column::count("answered_within_60s"),
    Column::count("answered_within_180s"),
    Column::count("answered_within_300s"),
    Column::count("first_responses"),
    Column::whole_statistic("first_response_seconds_sum"),
    Column::statistic("first_response_seconds_mean"),
    Column::statistic("first_response_seconds_p50"),
    Column::statistic("first_response_seconds_p90"),
    Column::statistic("first_response_seconds_p95"),
    Column::whole_statistic("first_response_seconds_max"),
    Column::statistic("own_response_seconds_mean"),
    Column::statistic("own_response_seconds_p50"),
    Column::statistic("own_response_seconds_p90"),
    Column::count("answered_in_hours").in_hours(),
    Column::statistic("business_seconds_mean").in_hours(),
    Column::statistic("business_seconds_p50").in_hours(),
    Column::statistic("business_seconds_p90").in_hours(),
    Column::count("asked_out_of_hours").in_hours(),
];

/// Columns for the account only.
pub(super) const ACCOUNT_ACTIVITY: &[Column] = &[
    Column::count("workers"),
    Column::count("sessions_completed"),
    Column::count("sessions_missed"),
    Column::count("sessions_dropped"),
    Column::count("sessions_open"),
    Column::count("sessions_outreach"),
];

pub(super) const HOURLY: &[Column] = &[
    Column::code("hour").sorted(2),
    Column::count("messages_received"),
    Column::count("messages_sent"),
    Column::count("answered"),
    Column::count("pending"),
    Column::count("unanswered_first"),
    Column::count("unanswered_later"),
    Column::whole_statistic("response_seconds_sum"),
    Column::statistic("response_seconds_mean"),
    Column::statistic("response_seconds_p50"),
    Column::statistic("response_seconds_p90"),
];
