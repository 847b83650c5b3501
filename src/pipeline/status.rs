//! What there is of each day, from the footers alone: for calendars.

use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::Serialize;

use super::inputs::{dependency_window, read_inputs, state_of};
use super::{MetricsJob, OutOfDate};
use crate::calendar::{Day, DayRange};
use crate::failure::Failure;
use crate::lake::{LakeError, Table};
use crate::metrics::{DAYS_AFTER, DAYS_BEFORE};

/// What is known about a day, from the footers alone.
#[derive(Clone, Debug, Serialize)]
pub struct DayStatus {
    pub date: Day,
    pub fetched: bool,
    /// Its messages are not there because they were pruned.
    pub pruned: bool,
    pub messages: u64,
    pub rejects: u64,
    /// Of all files of the day.
    pub bytes: u64,
    /// None when the day has neither messages nor metrics.
    pub metrics: Option<Freshness>,
    /// Why its metrics are out of date.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub stale_because: BTreeSet<OutOfDate>,
    /// Whether the three days after it are fetched too, or were when its metrics were computed that are kept: nothing about it can change any more.
    pub is_final: bool,
    /// Whether it cannot become final by days to come, because days that it needs were pruned.
    #[serde(skip)]
    pub needs_pruned: bool,
}

/// Whether a day's metric partitions are made of what is there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Freshness {
    Fresh,
    Stale,
    /// Some were never computed, and the others are fresh.
    Missing,
    /// The day's messages are there but cannot be read.
    Damaged,
    /// Made of messages that are gone, so that it cannot be computed again.
    Kept,
    /// The day's messages are gone although nobody pruned them; its metrics or rejects are not.
    LeftOver,
}

/// Every day from the first one in the lake to the last, or those `among` the given, with the missing ones in between.
///
/// # Errors
/// When the lake cannot be read.
pub fn status(job: &MetricsJob, among: Option<DayRange>) -> Result<Vec<DayStatus>, Failure> {
    let inputs = read_inputs(job, None, job.lake.pruned(&job.account)?)?;
    let computed = job.lake.days(Table::AccountDaily, &job.account)?;
    let left_over = inputs.left_over(job, None)?;
    let there: BTreeSet<Day> =
        inputs.fetched.iter().chain(&computed).chain(&left_over).copied().collect();
    let all = there
        .first()
        .zip(there.last())
        .map(|(first, last)| DayRange { first: *first, last: *last });
    let Some(range) = among.or(all) else { return Ok(Vec::new()) };
    let days: Vec<Day> = range.days().collect();
    let of_day = |day: &Day| -> Result<DayStatus, LakeError> {
        let input = inputs.days.get(day);
        let pruned = inputs.was_pruned(*day);
        let state = input.map(|_| state_of(job, &inputs, *day)).transpose()?;
        let metrics = match &state {
            Some(state) if state.is_outdated() => Some(Freshness::Stale),
            Some(state) if !state.stale.is_empty() => Some(Freshness::Missing),
            Some(state) if state.is_kept => Some(Freshness::Kept),
            Some(_) => Some(Freshness::Fresh),
            None if inputs.damaged.contains_key(day) => Some(Freshness::Damaged),
            None if pruned && computed.contains(day) => Some(Freshness::Kept),
            None if left_over.contains(day) => Some(Freshness::LeftOver),
            None => None,
        };
        // What is kept is as final as it was.
        let is_final = match metrics {
            Some(Freshness::Kept) => was_final(job, *day),
            _ => {
                input.is_some()
                    && dependency_window(&inputs.fetched, *day).last == day.plus(DAYS_AFTER)
            }
        };
        // Lost messages come back when they are fetched again, and pruned ones only when they are
        // named.
        let is_lost = |step: i64| left_over.contains(&day.plus(step));
        let is_kept_for_good =
            metrics == Some(Freshness::Kept) && !(-DAYS_BEFORE..=DAYS_AFTER).any(is_lost);
        let needs_pruned =
            is_kept_for_good || (1..=DAYS_AFTER).any(|days| inputs.was_pruned(day.plus(days)));
        let size = |table: Table| {
            fs_err::metadata(job.lake.path(&job.account.partition(table, *day)))
                .map_or(0, |file| file.len())
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
            needs_pruned: needs_pruned && !is_final,
        })
    };
    Ok(days.par_iter().map(of_day).collect::<Result<_, _>>()?)
}

/// Whether a day was final when its metrics were computed.
fn was_final(job: &MetricsJob, day: Day) -> bool {
    let footers = Table::METRICS
        .into_iter()
        .filter_map(|table| job.lake.footer(&job.account.partition(table, day)).ok());
    footers.take(1).any(|footer| footer.get("final") == Some("true"))
}
