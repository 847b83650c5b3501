//! Withholds empty days before an account's first record. Such a day had no messages, or WeChat has
//! already deleted them. kefu cannot know which, so it does not commit these days.
//!
//! Days are fetched in parallel and finish in any order. An empty day without an earlier day in the
//! lake waits until an earlier day of the run is committed. The days that still wait at the end are
//! left out.

use std::collections::BTreeMap;

use super::staged_day::EmptyDay;
use crate::calendar::Day;

/// The empty days of a run that wait for an earlier day.
#[derive(Debug, Default)]
pub(super) struct Silence {
    held: BTreeMap<Day, EmptyDay>,
    /// The account's first day in the lake that this run has seen.
    first: Option<Day>,
}

impl Silence {
    /// Adds an empty day. `first` is the account's first day in the lake.
    pub(super) fn hold(&mut self, empty: EmptyDay, first: Option<Day>) {
        self.held.insert(empty.day, empty);
        first.into_iter().for_each(|first| self.day_committed(first));
    }

    /// Records that a day is in the lake.
    pub(super) fn day_committed(&mut self, day: Day) {
        self.first = Some(self.first.map_or(day, |first| first.min(day)));
    }

    /// Removes and returns a day that can be committed, because an earlier day is in the lake.
    pub(super) fn release(&mut self) -> Option<EmptyDay> {
        let (day, _) = self.held.range(self.first?..).next()?;
        let day = *day;
        self.held.remove(&day)
    }

    /// Returns the days to leave out, in order, and the account's first day.
    pub(super) fn finish(self) -> (Vec<Day>, Option<Day>) {
        (self.held.into_keys().collect(), self.first)
    }
}
