//! Shows the progress of a run on the progress bar and in the log.

use std::sync::{Mutex, PoisonError};

use crate::calendar::Day;
use crate::lake::{Account, Table};
use crate::pipeline::{
    ChangedRules, DayFailure, FetchedDay, Observer, OlderDays, ShrunkDay, WorkersReport, reasons,
};
use crate::printable::counted;
use crate::telemetry::{self, Progress};

/// Shows the progress of one account.
pub(super) struct StageObserver<'a> {
    account: &'a Account,
    /// Whether it is the only account of the command.
    is_alone: bool,
    /// The bar of the stage that is under way.
    progress: Mutex<Option<Progress>>,
}

impl<'a> StageObserver<'a> {
    pub(super) fn new(account: &'a Account, is_alone: bool) -> Self {
        Self { account, is_alone, progress: Mutex::default() }
    }

    fn begin(&self, stage: &'static str, days: usize) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        // Remove the previous bar before the next one appears.
        *progress = None;
        let account = (!self.is_alone).then_some(self.account.as_str());
        *progress = Some(Progress::of_account(account, stage, days));
    }

    fn advance(&self, day: Day) {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.iter().for_each(|progress| progress.advance(&day.to_string()));
    }
}

impl Observer for StageObserver<'_> {
    fn fetch_begun(&self, days: usize) {
        self.begin("fetch", days);
    }

    fn day_fetched(&self, fetched: &FetchedDay) {
        self.advance(fetched.date);
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
    }

    fn day_failed(&self, failed: &DayFailure) {
        // The summary shows failures to people, all at once.
        if telemetry::is_for_machines() {
            let failure = &failed.failure;
            let (kind, exit_code, hint) = (
                failure.kind.name(),
                failure.kind.exit_code(),
                failure.hint.as_deref().unwrap_or_default(),
            );
            tracing::error!(
                event = "day_failed",
                account = %self.account,
                date = %failed.day,
                class = kind,
                exit_code,
                reason = %failure,
                hint
            );
        }
    }

    fn day_shrunk(&self, shrunk: &ShrunkDay) {
        self.advance(shrunk.date);
        // People read it in the summary.
        if telemetry::is_for_machines() {
            let ShrunkDay { date, records_before, records_after } = shrunk;
            tracing::warn!(event = "day_shrunk", account = %self.account, date = %date, records_before, records_after);
        }
    }

    fn day_left_out(&self, day: Day) {
        self.advance(day);
    }

    fn workers_updated(&self, workers: &WorkersReport) {
        let WorkersReport { listed, unreadable, is_changed, .. } = workers;
        tracing::debug!(event = "workers_listed", account = %self.account, listed, changed = is_changed);
        // People read it in the summary.
        if let Some(reason) = workers.problem().filter(|_| telemetry::is_for_machines()) {
            let hint = workers.hint().unwrap_or_default();
            tracing::warn!(event = "workers_not_listed", account = %self.account, unreadable, reason, hint);
        }
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

    fn redaction_begun(&self, table: Table, days: usize) {
        self.begin(table.name(), days);
    }

    fn day_redacted(&self, day: Day) {
        self.advance(day);
    }

    fn metrics_begun(&self, days: usize) {
        self.begin("metrics", days);
    }

    fn day_computed(&self, day: Day) {
        self.advance(day);
        tracing::debug!(event = "day_computed", account = %self.account, date = %day);
    }
}
