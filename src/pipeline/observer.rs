//! What happens to the days, told as it happens: a run that is stopped halfway has done something.

use super::{ChangedRules, DayFailure, FetchedDay, OlderDays, ShrunkDay, WorkersReport};
use crate::calendar::Day;
use crate::lake::Table;

/// Receives the events of a run. Cannot fail.
pub trait Observer: Sync {
    /// So many days are about to be fetched.
    fn fetch_begun(&self, _days: usize) {}

    /// A day's messages are in the lake, or were found to be the same as there.
    fn day_fetched(&self, _fetched: &FetchedDay) {}

    /// A day was not committed.
    fn day_failed(&self, _failed: &DayFailure) {}

    /// A day came back with fewer records than the lake has, and was left as it is.
    fn day_shrunk(&self, _shrunk: &ShrunkDay) {}

    /// A day without records was not committed, because the account has no earlier day.
    fn day_left_out(&self, _day: Day) {}

    /// The list of workers was fetched, or could not be.
    fn workers_updated(&self, _workers: &WorkersReport) {}

    /// Metrics are about to be computed again because rules have changed.
    fn rules_changed(&self, _changed: &ChangedRules) {}

    /// Days before those that are looked at have metrics of other rules, and are left so.
    fn older_days_out_of_date(&self, _older: &OlderDays) {}

    /// Personal data is about to be removed from this many days of a table.
    fn redaction_begun(&self, _table: Table, _days: usize) {}

    /// A day of that table was looked at, and redacted where necessary. Comes from several threads.
    fn day_redacted(&self, _day: Day) {}

    /// So many days have metrics to be computed.
    fn metrics_begun(&self, _days: usize) {}

    /// A day's metrics are in the lake. Comes from several threads.
    fn day_computed(&self, _day: Day) {}
}

/// Nobody.
impl Observer for () {}
