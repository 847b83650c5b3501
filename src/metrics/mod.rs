//! Stage two: messages → response pairs, sessions and the numbers made of them.
//!
//! ```text
//! messages ─ History ─ Conversations ─┬─ turns ───── response_pairs
//!                                     ├─ sessions ── sessions
//!                                     └─ all ─────── Activity ─ worker_daily, worker_hourly, account_daily
//! ```
//!
//! [`History`] puts the messages of each customer in order. [`conversations`] goes through them once, in the words of the definitions, and says what each
//! message is and what they make together. What is counted for workers, hours and days is left to polars: [`activity`] and the modules of the three tables
//! are functions from lazy frame to lazy frame. Nothing here does I/O. Inside this stage an instant is an int64 of unix seconds, a local day
//! its number, and an openid or a worker a number that ascends with its name.
//!
//! The definitions are in the README of kefu, under "Definitions".

mod account_daily;
mod activity;
mod business_hours;
mod concurrency;
mod conversations;
mod history;
mod names;
mod parameters;
mod publish;
mod statistics;
mod worker_daily;
mod worker_hourly;

use std::collections::{BTreeMap, HashSet};

use arrow::array::RecordBatch;
use polars::prelude::{DataFrame, IntoLazy, col, lit};
use rayon::prelude::*;

use activity::{Activity, Scope};
pub use business_hours::{BusinessHours, Shift};
use conversations::Conversations;
pub use history::{History, HistoryBuilder, Part, columns};
pub use parameters::{AutoReply, Parameters, Pattern};

use crate::calendar::{Day, DayRange, Span, UnixSeconds, Zone};
use crate::failure::{Class, Classified};
use crate::lake::Table;

/// Grows when a definition changes, so that partitions computed with the old one are computed again.
pub const DEFINITIONS_VERSION: &str = "2";

/// A partition D depends on the days from this many before D …
pub const DAYS_BEFORE: i64 = 2;

/// … to this many after.
pub const DAYS_AFTER: i64 = 3;

/// The longest session gap, in seconds: half a day, so that no gap within a session's chain of messages skips a whole day.
pub const SESSION_GAP_MAX: i64 = 43_200;

#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("a step of the metrics stage failed")]
    Polars(#[from] polars::error::PolarsError),
    #[error("columns could not be handed over")]
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

/// A day whose partitions are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub day: Day,
    pub bounds: Span,
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
/// A partition is a function of the days in its own view, D−2 to D+3, while the targets share one timeline. That comes to the same: a
/// message three days or more after its neighbour has two whole days in between, which is more than the reply window. It would not where
/// one of those days is short, because clocks went forward, so such targets are computed one by one.
///
/// # Errors
/// None that a user could cause.
pub fn compute(
    history: &History,
    account: &str,
    zone: &Zone,
    targets: &[Target],
    parameters: &Parameters,
) -> Result<BTreeMap<Day, Partitions>, MetricsError> {
    let view = |target: &Target| DayRange { first: target.day.plus(-DAYS_BEFORE), last: target.day.plus(DAYS_AFTER) };
    let has_short_day = |target: &Target| view(target).days().any(|day| zone.bounds(day).seconds() < DAY_SECONDS);
    let (alone, together): (Vec<Target>, Vec<Target>) = targets.iter().partition(|target| has_short_day(target));
    let mut computed = compute_together(history, account, zone, &together, parameters)?;
    for target in &alone {
        let history = history.restricted(view(target));
        computed.extend(compute_together(&history, account, zone, std::slice::from_ref(target), parameters)?);
    }
    Ok(computed)
}

const DAY_SECONDS: i64 = 86_400;

fn compute_together(
    history: &History,
    account: &str,
    zone: &Zone,
    targets: &[Target],
    parameters: &Parameters,
) -> Result<BTreeMap<Day, Partitions>, MetricsError> {
    if targets.is_empty() {
        return Ok(BTreeMap::new());
    }
    let conversations = converse(history, zone, targets, parameters);
    let has_schedule = parameters.business_hours.is_some();
    let days: Vec<i32> = targets.iter().map(|target| target.day.number()).collect();
    let activity = activity(&conversations, history, targets)?;
    let workers = worker_daily::worker_daily(activity.clone(), Scope::Worker, has_schedule)?.collect()?;
    let hours = worker_hourly::worker_hourly(activity.clone())?.collect()?;
    let accounts = account_daily::account_daily(activity, &conversations.sessions, &days, history, has_schedule)?.collect()?;

    let turns = by_day(&conversations.turns, |turn| (turn.day, turn.asked_at));
    let sessions = by_day(&conversations.sessions, |session| (session.day, session.started_at));
    let publish_day = |target: &Target| -> Result<(Day, Partitions), MetricsError> {
        let day = u16::try_from(target.day.number() - history.first_day()).ok();
        let statistics = |table: Table, frame: &DataFrame| {
            let of_day = frame.clone().lazy().filter(col("day").eq(lit(target.day.number()))).collect()?;
            publish::statistics(&of_day, &table.schema(), history, account)
        };
        let turns = rows_of(&conversations.turns, &turns, day);
        let sessions = rows_of(&conversations.sessions, &sessions, day);
        let partitions = [
            (Table::ResponsePairs, publish::response_pairs(&turns, history, account)?),
            (Table::Sessions, publish::sessions(&sessions, history, account)?),
            (Table::WorkerDaily, statistics(Table::WorkerDaily, &workers)?),
            (Table::WorkerHourly, statistics(Table::WorkerHourly, &hours)?),
            (Table::AccountDaily, statistics(Table::AccountDaily, &accounts)?),
        ];
        Ok((target.day, partitions.into()))
    };
    targets.par_iter().map(publish_day).collect()
}

/// The numbers of `worker_daily` for all `targets` together: one row per worker, distinct customers and percentiles over the whole period.
///
/// # Errors
/// None that a user could cause.
pub fn period(
    history: &History,
    account: &str,
    zone: &Zone,
    targets: &[Target],
    parameters: &Parameters,
) -> Result<RecordBatch, MetricsError> {
    let conversations = converse(history, zone, targets, parameters);
    let activity = activity(&conversations, history, targets)?;
    let workers = worker_daily::worker_daily(activity, Scope::Period, parameters.business_hours.is_some())?.collect()?;
    publish::statistics(&workers, &Table::WorkerDaily.schema(), history, account)
}

fn converse(history: &History, zone: &Zone, targets: &[Target], parameters: &Parameters) -> Conversations {
    let open_hours = match (&parameters.business_hours, targets.first(), targets.last()) {
        // A turn of the last target may be answered until three days later.
        (Some(hours), Some(first), Some(last)) => {
            Some(hours.open_hours(zone, DayRange { first: first.day, last: last.day.plus(DAYS_AFTER) }))
        }
        _ => None,
    };
    Conversations::of(history, targets, parameters, open_hours.as_ref())
}

/// What the workers did on the targets' days.
fn activity<'a>(conversations: &'a Conversations, history: &History, targets: &[Target]) -> Result<Activity<'a>, MetricsError> {
    let days: HashSet<i32> = targets.iter().map(|target| target.day.number()).collect();
    Activity::of(conversations, history, |day| days.contains(&(history.first_day() + i32::from(day))))
}

/// For each day, the indexes of its rows in order of time. The rows come by customer, and stay so within a second.
fn by_day<T>(rows: &[T], day_and_instant: impl Fn(&T) -> (u16, UnixSeconds)) -> BTreeMap<u16, Vec<u32>> {
    let mut days: BTreeMap<u16, Vec<(UnixSeconds, u32)>> = BTreeMap::new();
    for (row, index) in rows.iter().zip(0u32..) {
        let (day, instant) = day_and_instant(row);
        days.entry(day).or_default().push((instant, index));
    }
    let sort = |(day, mut rows): (u16, Vec<(UnixSeconds, u32)>)| {
        rows.par_sort_unstable();
        (day, rows.into_iter().map(|(_, index)| index).collect())
    };
    days.into_par_iter().map(sort).collect()
}

/// The rows of a day in order; none of a day before the first one that was fetched.
fn rows_of<T: Copy>(rows: &[T], by_day: &BTreeMap<u16, Vec<u32>>, day: Option<u16>) -> Vec<T> {
    let indexes = day.and_then(|day| by_day.get(&day)).map(Vec::as_slice).unwrap_or_default();
    indexes.iter().filter_map(|index| rows.get(*index as usize).copied()).collect()
}
