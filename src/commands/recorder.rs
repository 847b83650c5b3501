//! What surrounds the work for each account in an unattended run: its entry in the history of runs, the figures for Prometheus, and what is left to do
//! when the process is told to stop.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::each_account::Outcome;
use crate::calendar::Clock;
use crate::failure::{Class, Failure};
use crate::lake::Lake;
use crate::operations::{History, RunRecord, write_textfile};
use crate::settings::Settings;
use crate::signals;
use crate::telemetry;

/// A command that is run unattended.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    command: &'static str,
    clock: Clock,
    textfile: Option<PathBuf>,
    /// How the work for each account ended.
    records: Arc<Mutex<Vec<RunRecord>>>,
    /// The accounts that there are, where the settings tell of all of them.
    all_accounts: Arc<OnceLock<BTreeSet<String>>>,
}

impl Recorder {
    pub(super) fn begin(command: &'static str, textfile: Option<PathBuf>) -> Self {
        Self {
            command,
            clock: Clock::System,
            textfile,
            records: Arc::default(),
            all_accounts: Arc::default(),
        }
    }

    /// Does the work for one account with the account's lock, and enters how it went.
    pub(super) fn account<R>(
        &self,
        settings: &Settings,
        work: impl FnOnce(&Lake, &History) -> Result<Outcome<R>, Failure>,
    ) -> Result<Outcome<R>, Failure> {
        let lake = Lake::at(&settings.lake.value);
        let account = settings.account()?;
        if let Some(all) = settings.all_accounts() {
            self.all_accounts.get_or_init(|| all.clone());
        }
        let history =
            History::new(self.command, &lake, &account, settings.zone.value.name(), &self.clock);
        // People see the summary.
        if telemetry::is_for_machines() {
            tracing::info!(event = "run_begun", command = self.command, account = %account);
        }
        // The record is written while the account is locked, or the next run would clear it away.
        let lock = match lake.lock(&account) {
            Ok(lock) => Arc::new(lock),
            Err(error) => {
                let failure = Failure::from(error);
                self.ended(history.end(Some(failure.class), Some(&failure)));
                return Err(failure);
            }
        };
        let at_the_end = {
            let (recorder, history, lake, lock) =
                (self.clone(), history.clone(), lake.clone(), lock.clone());
            signals::on_shutdown(move |exit_code| {
                let _lock = lock;
                if let Some(record) = history.stopped(exit_code) {
                    recorder.ended(record);
                    recorder.write_figures();
                }
                // What cannot be cleared, the next run clears.
                let _ = lake.close_staging();
            })
        };
        let outcome = history.enter().map_err(Failure::from).and_then(|()| work(&lake, &history));
        // A shutdown enters its own outcome.
        signals::await_shutdown();
        self.ended(match &outcome {
            Ok(outcome) => history.end(outcome.worst(), outcome.failure.as_ref()),
            Err(failure) => history.end(Some(failure.class), Some(failure)),
        });
        drop((at_the_end, lock));
        outcome
    }

    /// Writes the figures, whatever the outcome.
    pub(super) fn end(
        self,
        outcome: Result<Option<Class>, Failure>,
    ) -> Result<Option<Class>, Failure> {
        let is_unknown = self.records.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if let (Err(failure), true) = (&outcome, is_unknown) {
            // It did not come to any account.
            self.ended(RunRecord::failed(self.command, failure, &self.clock));
        }
        self.write_figures();
        outcome
    }

    fn ended(&self, record: RunRecord) {
        if telemetry::is_for_machines() {
            tracing::info!(
                event = "run_ended",
                command = record.command,
                account = record.account,
                outcome = record.outcome,
                exit_code = record.exit_code,
                seconds = record.duration_seconds,
                days_fetched = record.days_fetched,
                days_skipped = record.days_skipped,
                days_failed = record.days_failed,
                days_given_up = record.days_given_up,
                days_shrunk = record.days_shrunk,
                days_left_out = record.days_left_out,
                days_computed = record.days_computed,
                rejects = record.rejects,
                retries = record.retries,
            );
        }
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    fn write_figures(&self) {
        let Some(path) = &self.textfile else { return };
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(error) =
            write_textfile(path, &records, self.all_accounts.get(), self.clock.now())
        {
            // The run is what it is; that its figures are missing shows in that they grow old.
            telemetry::print_warning(&error.into());
        }
    }
}
