//! Stage two: messages → response pairs, sessions and the numbers made of them, in polars.
//!
//! ```text
//! messages ─ History ─ timeline ─┬─ turns ─ response_pairs ─┬─ worker_daily
//!                                ├─ sessions ───────────────┼─ account_daily
//!                                └─ segments ───────────────┴─ worker_hourly
//! ```
//!
//! One file per table, each a function from lazy frame to lazy frame without I/O. Everything follows from a message and its
//! neighbour in the customer's timeline, so one sort and a few shifts suffice. Inside this stage an instant is an int64 of unix seconds, a
//! local day its number since 1970-01-01, and an openid or a worker a number that ascends with its name (see [`History`]).
//!
//! The definitions are in the README of kefu, under "Definitions".

mod account_daily;
mod activity;
mod bridge;
mod business_hours;
mod chains;
mod history;
mod parameters;
mod publish;
mod response_pairs;
mod sessions;
mod statistics;
mod timeline;
mod worker_daily;
mod worker_hourly;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use polars::prelude::{DataFrame, Expr, IntoLazy, JoinArgs, JoinType, LazyFrame, col, lit};

pub use business_hours::{BusinessHours, Shift};
pub use history::{History, HistoryBuilder, columns};
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
        let history = history.restricted(view(target))?;
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
    let stage = Stage::new(history, zone, targets, parameters)?;
    let has_schedule = parameters.business_hours.is_some();
    let sessions = stage.timeline().filter(stage.within_days("session_day", 0));
    let sessions = sessions::sessions(sessions, stage.targets(), parameters).collect()?;
    let activity = stage.activity()?;
    let workers = worker_daily::worker_daily(activity.clone(), has_schedule)?.collect()?;
    let hours = worker_hourly::worker_hourly(activity.messages.clone(), stage.pairs())?.collect()?;
    let accounts = account_daily::account_daily(activity, sessions.clone().lazy(), stage.targets(), has_schedule)?.collect()?;

    let publish_day = |target: &Target| {
        let publish = |(table, frame): (Table, &DataFrame)| -> Result<_, MetricsError> {
            let of_day = frame.clone().lazy().filter(col("day").eq(lit(target.day.number()))).collect()?;
            Ok((table, publish::publish(&of_day, &table.schema(), history, account)?))
        };
        let tables = [
            (Table::ResponsePairs, &stage.pairs),
            (Table::Sessions, &sessions),
            (Table::WorkerDaily, &workers),
            (Table::WorkerHourly, &hours),
            (Table::AccountDaily, &accounts),
        ];
        Ok((target.day, tables.into_iter().map(publish).collect::<Result<_, _>>()?))
    };
    targets.iter().map(publish_day).collect()
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
    let stage = Stage::new(history, zone, targets, parameters)?;
    let as_one_day = stage.activity()?.relabelled(&lit(0i32).alias("day"));
    let workers = worker_daily::worker_daily(as_one_day, parameters.business_hours.is_some())?.collect()?;
    publish::publish(&workers, &Table::WorkerDaily.schema(), history, account)
}

/// What every table is made from, computed once.
struct Stage<'a> {
    history: &'a History,
    parameters: &'a Parameters,
    /// See [`targets_frame`].
    targets: DataFrame,
    /// First and last target, as numbers of days.
    span: (i32, i32),
    /// See [`timeline::timeline`].
    timeline: DataFrame,
    /// See [`response_pairs::response_pairs`].
    pairs: DataFrame,
}

impl<'a> Stage<'a> {
    fn new(history: &'a History, zone: &Zone, targets: &[Target], parameters: &'a Parameters) -> Result<Self, MetricsError> {
        let open_hours = match (&parameters.business_hours, targets.first(), targets.last()) {
            // A turn of the last target may be answered until three days later.
            (Some(hours), Some(first), Some(last)) => {
                Some(hours.open_hours(zone, DayRange { first: first.day, last: last.day.plus(DAYS_AFTER) }))
            }
            _ => None,
        };
        let days = || targets.iter().map(|target| target.day.number());
        let span = days().min().zip(days().max()).unwrap_or_default();
        let targets = targets_frame(targets)?;
        let timeline = timeline::timeline(history.frame().lazy(), parameters).collect()?;
        // Only the turns of the targets: what follows costs more than the timeline.
        let is_wanted = col("turn_day").gt_eq(lit(span.0)).and(col("turn_day").lt_eq(lit(span.1)));
        let turns = response_pairs::turns(response_pairs::members(timeline.clone().lazy()).filter(is_wanted));
        let pairs = response_pairs::response_pairs(turns, targets.clone().lazy(), parameters, open_hours).collect()?;
        Ok(Self { history, parameters, targets, span, timeline, pairs })
    }

    fn targets(&self) -> LazyFrame {
        self.targets.clone().lazy()
    }

    fn timeline(&self) -> LazyFrame {
        self.timeline.clone().lazy()
    }

    fn pairs(&self) -> LazyFrame {
        self.pairs.clone().lazy()
    }

    /// What the workers did on the targets' days.
    fn activity(&self) -> Result<activity::Activity, MetricsError> {
        let of_targets =
            |frame: LazyFrame| frame.join(self.targets().select([col("day")]), [col("day")], [col("day")], JoinArgs::new(JoinType::Semi));
        // A segment on a target's day may come from the day before, or go on into the next.
        let chains = chains::chains(self.timeline().filter(self.within_days("day", 1)), self.targets(), self.parameters).collect()?;
        Ok(activity::Activity {
            messages: of_targets(self.timeline()),
            visits: chains::visits(chains.clone().lazy()).collect()?.lazy(),
            automatic: of_targets(self.history.frame().lazy().filter(col("automatic"))),
            pairs: self.pairs(),
            hand_offs: activity::hand_offs(response_pairs::members(self.timeline()), self.pairs()),
            segments: chains::segments(chains.lazy()).collect()?.lazy(),
        })
    }

    /// Whether a day lies between the first and the last target, or at most so many days before or after: what there is to look at.
    fn within_days(&self, column: &str, around: i32) -> Expr {
        let (first, last) = self.span;
        col(column).gt_eq(lit(first - around)).and(col(column).lt_eq(lit(last + around)))
    }
}

/// Columns `day`, `day_start`, `day_end`, `horizon`, `is_final`.
fn targets_frame(targets: &[Target]) -> Result<DataFrame, MetricsError> {
    Ok(polars::df! {
        "day" => targets.iter().map(|target| target.day.number()).collect::<Vec<_>>(),
        "day_start" => targets.iter().map(|target| target.bounds.start).collect::<Vec<_>>(),
        "day_end" => targets.iter().map(|target| target.bounds.end).collect::<Vec<_>>(),
        "horizon" => targets.iter().map(|target| target.horizon).collect::<Vec<_>>(),
        "is_final" => targets.iter().map(|target| target.is_final).collect::<Vec<_>>(),
    }?)
}
