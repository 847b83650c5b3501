//! Empty days before an account's first record. Nobody knows whether nothing happened then or
//! WeChat no longer has it, so they are not committed.
//!
//! Days are fetched side by side and finish in any order. So an empty day with no earlier day in
//! the lake is held until an earlier day of the run has been committed; those still held at the
//! end are left out.

use std::collections::BTreeMap;

use super::staged_day::EmptyDay;
use crate::calendar::Day;

/// The empty days of a run that are held.
#[derive(Debug, Default)]
pub(super) struct Silence {
    held: BTreeMap<Day, EmptyDay>,
    /// The account's first day in the lake, as far as this run has seen it.
    first: Option<Day>,
}

impl Silence {
    /// Holds a day. `first` is the account's first day in the lake.
    pub(super) fn hold(&mut self, empty: EmptyDay, first: Option<Day>) {
        self.held.insert(empty.day, empty);
        first.into_iter().for_each(|first| self.day_committed(first));
    }

    /// Takes note of a day that is in the lake.
    pub(super) fn day_committed(&mut self, day: Day) {
        self.first = Some(self.first.map_or(day, |first| first.min(day)));
    }

    /// A day to commit after all, because an earlier day is in the lake.
    pub(super) fn release(&mut self) -> Option<EmptyDay> {
        let (day, _) = self.held.range(self.first?..).next()?;
        let day = *day;
        self.held.remove(&day)
    }

    /// The days to leave out, in order, and the account's first day.
    pub(super) fn finish(self) -> (Vec<Day>, Option<Day>) {
        (self.held.into_keys().collect(), self.first)
    }
}
