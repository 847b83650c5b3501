//! The days of a run as they come: on the bar, in the log, and in the history of runs.

use crate::calendar::Day;
use crate::lake::Account;
use crate::operations::History;
use crate::pipeline::{
    ChangedRules, DayFailure, FetchedDay, Observer, OlderDays, ShrunkDay, reasons,
};
use crate::printable::counted;
use crate::telemetry::{self, Progress};

/// Watches the days of a stage.
pub(super) struct StageObserver<'a> {
    progress: Progress,
    /// Whose days they are.
    account: &'a Account,
    /// None where nothing is kept.
    history: Option<&'a History>,
}

impl<'a> StageObserver<'a> {
    pub(super) fn fetch(days: usize, account: &'a Account, history: Option<&'a History>) -> Self {
        Self { progress: Progress::begin("fetch", days), account, history }
    }

    pub(super) fn metrics(account: &'a Account, history: Option<&'a History>) -> Self {
        Self { progress: Progress::begin("metrics", 0), account, history }
    }
}

impl Observer for StageObserver<'_> {
    fn day_fetched(&self, fetched: &FetchedDay) {
        self.progress.advance(&fetched.date.to_string());
        tracing::info!(
            event = "day_fetched",
            account = %self.account,
            date = %fetched.date,
            received = fetched.messages.received,
            sent = fetched.messages.sent,
            other = fetched.messages.other,
            rejects = fetched.rejects,
            misplaced = fetched.misplaced,
            requests = fetched.calls.requests,
        );
        self.history.iter().for_each(|history| history.day_fetched(fetched));
    }

    fn day_failed(&self, failed: &DayFailure) {
        // People are told at the end, all at once.
        if telemetry::is_for_machines() {
            let failure = &failed.failure;
            let (class, exit_code, hint) = (
                failure.class.name(),
                failure.class.exit_code(),
                failure.hint.as_deref().unwrap_or_default(),
            );
            tracing::error!(event = "day_failed", account = %self.account, date = %failed.day, class, exit_code, reason = %failure, hint);
        }
        self.history.iter().for_each(|history| history.day_failed(failed));
    }

    fn day_shrunk(&self, shrunk: &ShrunkDay) {
        self.progress.advance(&shrunk.date.to_string());
        // People read it in the summary.
        if telemetry::is_for_machines() {
            let ShrunkDay { date, records_before, records_after } = shrunk;
            tracing::warn!(event = "day_shrunk", account = %self.account, date = %date, records_before, records_after);
        }
        self.history.iter().for_each(|history| history.day_shrunk(shrunk));
    }

    fn day_left_out(&self, day: Day) {
        self.progress.advance(&day.to_string());
        self.history.iter().for_each(|history| history.day_left_out());
    }

    fn rules_changed(&self, changed: &ChangedRules) {
        let days = counted(changed.days.len(), "day");
        telemetry::print_note(&format!(
            "note: {}: the rules for metrics have changed ({}), so the metrics of {days} are computed again",
            self.account,
            reasons(&changed.rules),
        ));
    }

    fn older_days_out_of_date(&self, older: &OlderDays) {
        // People read it in the summary.
        if telemetry::is_for_machines() {
            let (up_to, because) = (older.up_to, reasons(&older.because));
            tracing::warn!(event = "older_days_out_of_date", account = %self.account, up_to = %up_to, because);
        }
    }

    fn metrics_begun(&self, days: usize) {
        self.progress.expect(days);
    }

    fn day_computed(&self, day: Day) {
        self.progress.advance(&day.to_string());
        tracing::debug!(event = "day_computed", account = %self.account, date = %day);
        self.history.iter().for_each(|history| history.day_computed());
    }
}
