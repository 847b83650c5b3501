//! The events of a run, for progress bars and the log.

use super::{ChangedRules, DayFailure, FetchedDay, OlderDays, ShrunkDay, WorkersReport};
use crate::calendar::Day;
use crate::lake::Table;

/// Receives the events of a run. Cannot fail.
pub trait Observer: Sync {
    /// This number of days are about to be fetched.
    fn fetch_begun(&self, _days: usize) {}

    /// A day was fetched. Its messages were committed, or are the same as in the lake.
    fn day_fetched(&self, _fetched: &FetchedDay) {}

    /// A day was not committed.
    fn day_failed(&self, _failed: &DayFailure) {}

    /// A day has fewer records than in the lake, and was not replaced.
    fn day_shrunk(&self, _shrunk: &ShrunkDay) {}

    /// A day without records was not committed, because the account has no earlier day.
    fn day_left_out(&self, _day: Day) {}

    /// The list of workers was fetched, or the fetch failed.
    fn workers_updated(&self, _workers: &WorkersReport) {}

    /// Metrics are about to be computed again because rules have changed.
    fn rules_changed(&self, _changed: &ChangedRules) {}

    /// Days before the range of the run have metrics of other rules. They stay as they are.
    fn older_days_out_of_date(&self, _older: &OlderDays) {}

    /// Personal data is about to be removed from this many days of a table.
    fn redaction_begun(&self, _table: Table, _days: usize) {}

    /// A day of that table was checked, and redacted if necessary. Comes from several threads.
    fn day_redacted(&self, _day: Day) {}

    /// This number of days have metrics to compute.
    fn metrics_begun(&self, _days: usize) {}

    /// A day's metrics were committed. Comes from several threads.
    fn day_computed(&self, _day: Day) {}
}

/// Ignores all events.
impl Observer for () {}
