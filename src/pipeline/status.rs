//! Status of each day, from the footers alone, for calendars.

use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::Serialize;

use super::inputs::{dependency_window, read_inputs, state_of};
use super::{MetricsJob, OutOfDate};
use crate::calendar::{Day, DayRange};
use crate::failure::Failure;
use crate::lake::Table;
use crate::metrics::DAYS_AFTER;
use crate::model::cancel::Cancel;
use crate::telemetry::Progress;

/// Number of days that a bucket is asked about before the progress is shown.
const DAYS_AT_ONCE: usize = 60;

/// Status of a day, from the footers alone.
#[derive(Clone, Debug, Serialize)]
pub struct DayStatus {
    pub date: Day,
    pub fetched: bool,
    /// Whether retention deleted its messages.
    pub pruned: bool,
    pub messages: u64,
    pub rejects: u64,
    /// Size of all files of the day.
    pub bytes: u64,
    /// `None` when the day has neither messages nor metrics.
    pub metrics: Option<Freshness>,
    /// Why its metrics are out of date.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub stale_because: BTreeSet<OutOfDate>,
    /// Whether its metrics can no longer change, because the three days after it are fetched. For
    /// frozen metrics: whether this was so when they were computed.
    pub is_final: bool,
}

/// Whether a day's metric partitions are up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    Fresh,
    Stale,
    /// Some partitions were never computed. The others are up to date.
    Missing,
    /// The day's messages cannot be read, or are lost: missing, although retention did not delete
    /// them.
    Damaged,
    /// Some of their messages are gone, so the partitions are not computed again.
    Frozen,
}

/// Returns the status of all days from the first to the last one in the lake, including missing
/// days. With `among`, returns the days of that range instead. Adds the days to the progress.
///
/// # Errors
/// Fails when the lake cannot be read, or after a signal.
pub fn status(
    job: &MetricsJob,
    among: Option<DayRange>,
    progress: &Progress,
    cancel: &Cancel,
) -> Result<Vec<DayStatus>, Failure> {
    let inputs = read_inputs(job, None, job.lake.pruned(&job.account)?)?;
    let computed = job.lake.days(Table::AccountDaily, &job.account)?;
    let lost = inputs.lost(job, None)?;
    let there: BTreeSet<Day> =
        inputs.fetched.iter().chain(&computed).chain(&lost).copied().collect();
    let all = there
        .first()
        .zip(there.last())
        .map(|(first, last)| DayRange { first: *first, last: *last });
    let Some(range) = among.or(all) else { return Ok(Vec::new()) };
    let days: Vec<Day> = range.days().collect();
    let of_day = |day: &Day| -> Result<DayStatus, Failure> {
        cancel.check()?;
        let input = inputs.days.get(day);
        let pruned = inputs.was_pruned(*day);
        let state = input.map(|_| state_of(job, &inputs, *day)).transpose()?;
        let metrics = match &state {
            Some(state) if state.is_outdated() => Some(Freshness::Stale),
            Some(state) if !state.to_rebuild.is_empty() => Some(Freshness::Missing),
            Some(state) if state.is_frozen => Some(Freshness::Frozen),
            Some(_) => Some(Freshness::Fresh),
            None if inputs.damaged.contains_key(day) || lost.contains(day) => {
                Some(Freshness::Damaged)
            }
            None if pruned && computed.contains(day) => Some(Freshness::Frozen),
            None => None,
        };
        let is_final = match metrics {
            Some(Freshness::Frozen) => was_final(job, *day),
            _ => {
                input.is_some()
                    && dependency_window(&inputs.fetched, *day).last == day.plus(DAYS_AFTER)
            }
        };
        let size = |table: Table| {
            // A file that cannot be examined has no size to show.
            job.lake.bytes(&job.account.partition(table, *day)).ok().flatten().unwrap_or(0)
        };
        Ok(DayStatus {
            date: *day,
            fetched: inputs.fetched.contains(day),
            pruned,
            messages: input.map_or(0, |input| input.rows as u64),
            rejects: input.map_or(0, |input| input.rejects),
            bytes: Table::ALL.into_iter().map(size).sum(),
            metrics,
            stale_because: state.map(|state| state.because).unwrap_or_default(),
            is_final,
        })
    };
    progress.expect(days.len());
    let mut statuses = Vec::with_capacity(days.len());
    for days in days.chunks(DAYS_AT_ONCE) {
        let keys =
            days.iter().flat_map(|day| Table::ALL.map(|table| job.account.partition(table, *day)));
        job.lake.look_ahead(keys)?;
        let of_days = days.par_iter().map(of_day).collect::<Result<Vec<_>, _>>()?;
        of_days.iter().for_each(|day| progress.advance(&day.date.to_string()));
        statuses.extend(of_days);
    }
    Ok(statuses)
}

/// Whether a day was final when its metrics were computed.
fn was_final(job: &MetricsJob, day: Day) -> bool {
    let footers = Table::METRICS
        .into_iter()
        .filter_map(|table| job.lake.footer(&job.account.partition(table, day)).ok());
    footers.take(1).any(|footer| footer.is_final())
}
