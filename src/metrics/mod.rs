//! Second stage: turns messages into response pairs, sessions and the statistics made of them.
//!
//! ```text
//! messages ─ History ─ conversations ─ DayRows ─┬─ turns ───── response_pairs
//!                                               ├─ sessions ── sessions
//!                                               └─ all ─────── Activity ─┬─ worker_daily
//!                                                                        ├─ worker_hourly
//!                                                                        └─ account_daily
//! ```
//!
//! [`History`] puts the messages of each customer in order. `conversations` reads them once,
//! classifies each message, and joins them into turns and sessions. Polars counts them for workers,
//! hours and days: `activity` makes frames, and the modules of the three tables group and join
//! them.
//!
//! Nothing here does I/O. Inside this stage an instant is an int64 of unix seconds and a local day
//! is its number. An openid or a worker is a number that ascends with its name.
//!
//! The [`definitions`] explain every number.

mod account_daily;
mod activity;
mod business_hours;
mod concurrency;
mod conversations;
mod day_rows;
mod dealing;
mod history;
mod message_kind;
mod names;
mod parameters;
mod publish;
mod rules;
mod statistics;
mod worker_daily;
mod worker_hourly;

#[doc = include_str!("definitions.md")]
pub mod definitions {}

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use hashbrown::HashMap;
use polars::prelude::{DataFrame, IntoLazy, col, df};

use activity::{Activity, Scope};
pub use business_hours::{BusinessHours, Shift};
use day_rows::DayRows;
pub use history::{History, HistoryBuilder, columns};
pub use parameters::{AutoReply, Parameters, Pattern};
pub use rules::{RuleChange, Rules};
pub use statistics::percentile;

use crate::calendar::{Day, DayRange, Span, UnixSeconds, Zone};
use crate::failure::{BUG_HINT, Classified, ErrorKind};
use crate::model::Table;
use crate::model::cancel::{Cancel, Cancelled};
use crate::threads;

/// Version of the definitions. Increase it when a definition changes: partitions computed with an
/// older version are then computed again.
pub const DEFINITIONS_VERSION: &str = "3";

/// Days before D on which a partition of day D depends.
pub const DAYS_BEFORE: i64 = 2;

/// Days after D on which a partition of day D depends.
pub const DAYS_AFTER: i64 = 3;

/// The longest session gap, in seconds: half a day. With it, no gap within a session's chain of
/// messages skips a whole day.
pub const SESSION_GAP_MAX: i64 = 43_200;

/// The longest reply window, in seconds: WeChat lets a worker write within 48 hours.
pub const REPLY_WINDOW_MAX: i64 = 172_800;

#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("a step of the metrics stage failed")]
    Polars(#[from] polars::error::PolarsError),
    #[error("columns could not be handed over")]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("the messages hold {0}")]
    Unexpected(String),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Classified for MetricsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled(cancelled) => cancelled.kind(),
            _ => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Cancelled(cancelled) => cancelled.hint(),
            _ => Some(BUG_HINT.to_owned()),
        }
    }
}

/// A day whose partitions are to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub day: Day,
    pub bounds: Span,
    /// End of the last day, at most D+3, of the unbroken run of fetched days.
    pub horizon: UnixSeconds,
    /// Whether D+3 has been fetched. After that nothing about D can change.
    pub is_final: bool,
}

/// The metric partitions of one day. Columns and rows are in the order of their tables.
pub type Partitions = BTreeMap<Table, RecordBatch>;

/// Computes the metric partitions of the `targets`, and emits each group of days when it is ready.
///
/// `history` contains every fetched day from two before the first target to three after the last.
/// No day in between is missing.
///
/// A partition depends only on its own dependency window, D−2 to D+3, but the targets share one
/// timeline. The result is the same. Two neighbouring messages that are three days or more apart
/// have two whole days between them. That is longer than the reply window, so the earlier message
/// does not affect the later one.
///
/// This is not true if one of those days is short because clocks went forward. Such targets are
/// computed one by one.
///
/// # Errors
/// Returns the errors of `emit`. Fails after a signal.
pub fn compute_in_groups<E: From<MetricsError>>(
    history: &History,
    account: &str,
    zone: &Zone,
    targets: &[Target],
    parameters: &Parameters,
    cancel: &Cancel,
    mut emit: impl FnMut(Vec<(Target, Partitions)>) -> Result<(), E>,
) -> Result<(), E> {
    let view = |target: &Target| DayRange {
        first: target.day.plus(-DAYS_BEFORE),
        last: target.day.plus(DAYS_AFTER),
    };
    let has_short_day =
        |target: &Target| view(target).days().any(|day| zone.bounds(day).seconds() < DAY_SECONDS);
    let (alone, together): (Vec<Target>, Vec<Target>) =
        targets.iter().partition(|target| has_short_day(target));
    for group in Groups::of(history, zone, &together, parameters, cancel)? {
        emit(partitions(group?, history, account, parameters, cancel)?)?;
    }
    for target in alone {
        cancel.check().map_err(MetricsError::from)?;
        let history = history.restricted(view(&target));
        for group in Groups::of(&history, zone, &[target], parameters, cancel)? {
            emit(partitions(group?, &history, account, parameters, cancel)?)?;
        }
    }
    Ok(())
}

const DAY_SECONDS: i64 = 86_400;

/// Number of rows from which several threads work on one day. Days with fewer rows are computed in
/// parallel instead. Threads inside such a day would be harmful: a thread that waits for others
/// starts another day within its own, nested as deep as there are days.
const ROWS_SIDE_BY_SIDE: usize = 100_000;

/// Number of rows up to which one thread does the work, and queries are not optimized: both would
/// take longer than they save.
pub const ROWS_QUICK: usize = 20_000;

/// Number of turns at which a group of days is complete. The days of a group are counted and
/// written together. A single day may have more.
const TURNS_AT_ONCE: usize = 400_000;

/// The targets of a group, with the rows of their days.
type Group = Vec<(Target, DayRows)>;

/// Splits targets into groups, with the rows that were found on their days.
struct Groups<'a> {
    targets: std::slice::Iter<'a, Target>,
    /// One entry for each range of customers, in order.
    found: Vec<HashMap<Day, DayRows>>,
    cancel: &'a Cancel,
}

impl<'a> Groups<'a> {
    fn of(
        history: &History,
        zone: &Zone,
        targets: &'a [Target],
        parameters: &Parameters,
        cancel: &'a Cancel,
    ) -> Result<Self, MetricsError> {
        let open_hours =
            match (&parameters.business_hours, targets.first(), targets.last()) {
                // A turn of the last target may be answered up to three days later.
                (Some(hours), Some(first), Some(last)) => Some(hours.open_hours(
                    zone,
                    DayRange { first: first.day, last: last.day.plus(DAYS_AFTER) },
                )),
                _ => None,
            };
        let found = conversations::read(history, targets, parameters, open_hours.as_ref(), cancel)?;
        Ok(Self { targets: targets.iter(), found, cancel })
    }
}

impl Iterator for Groups<'_> {
    type Item = Result<Group, MetricsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut turns = 0;
        let mut group = Vec::new();
        while turns < TURNS_AT_ONCE
            && let Some(target) = self.targets.next()
        {
            let ranges: Vec<DayRows> =
                self.found.iter_mut().filter_map(|found| found.remove(&target.day)).collect();
            turns += ranges.iter().map(|range| range.turns.len()).sum::<usize>();
            group.push((*target, ranges));
        }
        if group.is_empty() {
            return None;
        }
        let merged = |(target, ranges)| Ok((target, DayRows::of_ranges(ranges, self.cancel)?));
        Some(threads::map(group, turns <= ROWS_QUICK, merged))
    }
}

fn partitions(
    group: Group,
    history: &History,
    account: &str,
    parameters: &Parameters,
    cancel: &Cancel,
) -> Result<Vec<(Target, Partitions)>, MetricsError> {
    let has_schedule = parameters.business_hours.is_some();
    let (targets, found): (Vec<Target>, Vec<(i32, DayRows)>) =
        group.into_iter().map(|(target, found)| (target, (target.day.number(), found))).unzip();
    let activity = Activity::of(&found, history, cancel)?;
    // Count and cut into days here, because polars has its own threads. A thread of ours that waits
    // for polars would start another day or another account within its own.
    let workers = worker_daily::worker_daily(&activity, Scope::Worker, has_schedule)?;
    let hours = worker_hourly::worker_hourly(&activity)?;
    let accounts = account_daily::account_daily(&activity, &found, has_schedule)?;
    let cut = |frame: &DataFrame| by_day(frame, found.iter().map(|(day, _)| *day));
    let (workers, hours, accounts) = (cut(&workers)?, cut(&hours)?, cut(&accounts)?);
    drop(activity);
    let publish_day = |(target, (day, found)): (Target, (i32, DayRows))| -> Result<(Target, Partitions), MetricsError> {
        let statistics = |table: Table, days: &HashMap<i32, DataFrame>| {
            publish::statistics(&days.get(&day).cloned().unwrap_or_default(), &table.schema(), history, account)
        };
        // A day can have many turns: free them as soon as they are no longer needed.
        let DayRows { turns, sessions, .. } = found;
        let pairs = publish::response_pairs(&turns, history, account, cancel)?;
        drop(turns);
        let partitions = [
            (Table::ResponsePairs, pairs),
            (Table::Sessions, publish::sessions(&sessions, history, account, cancel)?),
            (Table::WorkerDaily, statistics(Table::WorkerDaily, &workers)?),
            (Table::WorkerHourly, statistics(Table::WorkerHourly, &hours)?),
            (Table::AccountDaily, statistics(Table::AccountDaily, &accounts)?),
        ];
        Ok((target, partitions.into()))
    };
    let turns: usize = found.iter().map(|(_, found)| found.turns.len()).sum();
    threads::map(targets.into_iter().zip(found).collect(), turns <= ROWS_QUICK, publish_day)
}

/// Returns the rows of each day. In `frame`, rows with the same `day` follow each other.
fn by_day(
    frame: &DataFrame,
    days: impl Iterator<Item = i32>,
) -> Result<HashMap<i32, DataFrame>, MetricsError> {
    let mut days: HashMap<i32, DataFrame> = days.map(|day| (day, frame.slice(0, 0))).collect();
    let mut start = 0;
    let numbers: Vec<i32> =
        frame.column("day")?.as_materialized_series().i32()?.into_no_null_iter().collect();
    for rows in numbers.chunk_by(|one, other| one == other) {
        days.extend(rows.first().map(|day| (*day, frame.slice(start as i64, rows.len()))));
        start += rows.len();
    }
    Ok(days)
}

/// Computes the columns of `worker_daily` for all `targets` together: one row per worker. Distinct
/// customers and percentiles cover the whole period.
///
/// # Errors
/// After a signal. No others that a user could cause.
pub fn period(
    history: &History,
    account: &str,
    zone: &Zone,
    targets: &[Target],
    parameters: &Parameters,
    cancel: &Cancel,
) -> Result<RecordBatch, MetricsError> {
    let mut found: Vec<(i32, DayRows)> = Vec::new();
    for group in Groups::of(history, zone, targets, parameters, cancel)? {
        found.extend(group?.into_iter().map(|(target, found)| (target.day.number(), found)));
    }
    let workers = worker_daily::worker_daily(
        &Activity::of(&found, history, cancel)?,
        Scope::Period,
        parameters.business_hours.is_some(),
    )?;
    publish::statistics(&workers, &Table::WorkerDaily.schema(), history, account)
}

/// Makes polars create its threads. Otherwise it creates them at its first use.
pub fn start_threads() {
    let counted = df!("key" => [0i32], "value" => [1i64])
        .and_then(|frame| frame.lazy().group_by([col("key")]).agg([col("value").sum()]).collect());
    // Only the threads matter, not the sum.
    drop(counted);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Int32Array, TimestampMicrosecondArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    /// A thread that waits for another starts other work meanwhile. This must not nest as deep as
    /// there are days.
    #[test]
    fn as_many_days_as_there_are_fit_on_the_stack() {
        const DAYS: i64 = 6_000;
        let zone = Zone::named("Asia/Shanghai").unwrap();
        let parameters = Parameters::in_zone(zone.name());
        let first: Day = "2005-01-01".parse().unwrap();
        let days: Vec<Day> = (0..DAYS).map(|day| first.plus(day)).collect();
        let history = HistoryBuilder::new(&zone, &parameters);
        for day in &days {
            let names = |name: &str| {
                Arc::new([name, name].into_iter().collect::<DictionaryArray<Int32Type>>())
                    as ArrayRef
            };
            let asked_at = zone.bounds(*day).start * 1_000_000;
            let sent_at = TimestampMicrosecondArray::from(vec![asked_at, asked_at + 40_000_000]);
            let columns = [
                ("openid", names("oC1")),
                ("worker", names("A")),
                ("opercode", Arc::new(Int32Array::from(vec![2003, 2002])) as ArrayRef),
                ("sent_at", Arc::new(sent_at) as ArrayRef),
            ];
            history.add(*day, 0, &RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        }
        let target = |day: &Day| Target {
            day: *day,
            bounds: zone.bounds(*day),
            horizon: zone.bounds(day.plus(3)).end,
            is_final: true,
        };
        let targets: Vec<Target> = days.iter().map(target).collect();
        let cancel = Cancel::default();
        let history = history.finish(&cancel).unwrap();
        let mut computed = Vec::new();
        let emit = |group: Vec<(Target, Partitions)>| -> Result<(), MetricsError> {
            computed.extend(group.into_iter().map(|(_, partitions)| partitions));
            Ok(())
        };
        compute_in_groups(&history, "acme", &zone, &targets, &parameters, &cancel, emit).unwrap();
        assert_eq!(computed.len() as i64, DAYS);
        assert!(
            computed.iter().all(|partitions| partitions[&Table::ResponsePairs].num_rows() == 1)
        );
    }
}
