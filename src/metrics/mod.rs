//! Stage two: messages → response pairs and per-worker numbers, in polars.
//!
//! ```text
//! messages ─ History ─ timeline ─┬─ response_pairs ─┬─ worker_daily
//!                                └──────────────────┘
//! ```
//!
//! One file per table, each a function from lazy frame to lazy frame without I/O. Everything follows from a message and its
//! neighbour in the customer's timeline, so one sort and a few shifts suffice. Inside this stage an instant is an int64 of unix seconds, a
//! local day its number since 1970-01-01, and an openid or a worker a number that ascends with its name (see [`History`]).
//!
//! The definitions are in the README of kefu, under "Definitions".

mod bridge;
mod history;
mod publish;
mod response_pairs;
mod timeline;
mod worker_daily;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use polars::prelude::{DataFrame, IntoLazy, JoinArgs, JoinType, LazyFrame, col, lit};
use serde::Serialize;

pub use history::{COLUMNS, History, HistoryBuilder};

use crate::calendar::{Day, UnixSeconds};
use crate::failure::{Class, Classified};
use crate::lake::Table;

/// Grows when a definition changes, so that partitions computed with the old one are computed again.
pub const DEFINITIONS_VERSION: &str = "1";

/// A partition D depends on the days from this many before D …
pub const DAYS_BEFORE: i64 = 2;

/// … to this many after.
pub const DAYS_AFTER: i64 = 3;

#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("polars: {0}")]
    Polars(#[from] polars::error::PolarsError),
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("the messages hold {0}")]
    Unexpected(String),
}

impl Classified for MetricsError {
    fn class(&self) -> Class {
        Class::Bug
    }

    fn hint(&self) -> Option<String> {
        Some("this is a bug in kefu; please report it with the message above".into())
    }
}

/// What the numbers depend on beside the messages. Recorded in every metric file's footer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parameters {
    /// Where local days are cut.
    pub timezone: String,
    /// Silence, in seconds, after which a customer's message opens a new session.
    pub session_gap: i64,
    /// Seconds within which WeChat lets a worker answer.
    pub reply_window: i64,
}

impl Parameters {
    /// WeChat's own rules: it stops forwarding to a worker after 30 minutes of silence, and lets a worker write within 48 hours.
    pub fn in_zone(timezone: &str) -> Self {
        Self { timezone: timezone.to_owned(), session_gap: 1_800, reply_window: 172_800 }
    }
}

/// A day whose partitions are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub day: Day,
    /// End of what is known: of the last day up to D+3 of the unbroken run of fetched days.
    pub horizon: UnixSeconds,
    /// Whether D+3 has been fetched, so that nothing about D can change any more.
    pub is_final: bool,
}

/// The metric partitions of one day, in their tables' schemas and order.
pub type Partitions = BTreeMap<Table, RecordBatch>;

/// Computes the metric partitions of the `targets`.
///
/// `history` holds every fetched day from two before the first target to three after the last, without a missing day in between.
///
/// # Errors
/// None that a user could cause.
pub fn compute(
    history: &History,
    account: &str,
    targets: &[Target],
    parameters: &Parameters,
) -> Result<BTreeMap<Day, Partitions>, MetricsError> {
    let targets_frame = targets_frame(targets)?;
    let timeline = timeline::timeline(history.frame().lazy(), parameters).collect()?;
    let pairs =
        response_pairs::response_pairs(response_pairs::turns(timeline.clone().lazy()), targets_frame.clone(), parameters).collect()?;
    let messages = of_targets(timeline.clone().lazy(), targets_frame);
    let workers = worker_daily::worker_daily(messages, response_pairs::members(timeline.lazy()), pairs.clone().lazy())?.collect()?;

    let publish_day = |target: &Target| {
        let of_day = |frame: &DataFrame| frame.clone().lazy().filter(col("day").eq(lit(target.day.number()))).collect();
        let publish = |table: Table, frame: &DataFrame| -> Result<_, MetricsError> {
            Ok((table, publish::publish(&of_day(frame)?, &table.schema(), history, account)?))
        };
        Ok((target.day, [publish(Table::ResponsePairs, &pairs)?, publish(Table::WorkerDaily, &workers)?].into()))
    };
    targets.iter().map(publish_day).collect()
}

/// The numbers of `worker_daily` for all `targets` together: one row per worker, distinct customers and percentiles over the whole period.
///
/// # Errors
/// None that a user could cause.
pub fn period(history: &History, account: &str, targets: &[Target], parameters: &Parameters) -> Result<RecordBatch, MetricsError> {
    let targets_frame = targets_frame(targets)?;
    let as_one_day = |frame: LazyFrame| frame.with_column(lit(0i32).alias("day"));
    let timeline = timeline::timeline(history.frame().lazy(), parameters);
    let pairs = response_pairs::response_pairs(response_pairs::turns(timeline.clone()), targets_frame.clone(), parameters);
    let messages = as_one_day(of_targets(timeline.clone(), targets_frame));
    let workers = worker_daily::worker_daily(messages, response_pairs::members(timeline), as_one_day(pairs))?.collect()?;
    publish::publish(&workers, &Table::WorkerDaily.schema(), history, account)
}

fn of_targets(frame: LazyFrame, targets: LazyFrame) -> LazyFrame {
    frame.join(targets.select([col("day")]), [col("day")], [col("day")], JoinArgs::new(JoinType::Semi))
}

/// Columns `day`, `horizon`, `is_final`.
fn targets_frame(targets: &[Target]) -> Result<LazyFrame, MetricsError> {
    let frame = polars::df! {
        "day" => targets.iter().map(|target| target.day.number()).collect::<Vec<_>>(),
        "horizon" => targets.iter().map(|target| target.horizon).collect::<Vec<_>>(),
        "is_final" => targets.iter().map(|target| target.is_final).collect::<Vec<_>>(),
    }?;
    Ok(frame.lazy())
}
