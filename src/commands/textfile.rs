//! The end of each run of an account, in the log and among the figures for Prometheus.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::destination::Guarded;
use crate::calendar::Clock;
use crate::failure::{ErrorKind, Failure, UsageError};
use crate::operations::{has_something_else, write_textfile};
use crate::pipeline::{RunRecord, RunReport};
use crate::telemetry;

/// The figures of the runs of one command.
#[derive(Debug)]
pub(super) struct Textfile {
    /// None where no file is asked for.
    path: Option<PathBuf>,
    records: Vec<RunRecord>,
    /// The accounts of the settings that are in the shard, where they list all of them.
    all_accounts: Option<BTreeSet<String>>,
}

impl Textfile {
    /// Checks the file before any work, if there is one.
    ///
    /// # Errors
    /// When the file would replace one that is not for figures.
    pub(super) fn new(
        path: Option<PathBuf>,
        guarded: impl FnOnce() -> Guarded,
    ) -> Result<Self, UsageError> {
        if let Some(path) = &path {
            guarded().require_free("--textfile", path)?;
            if has_something_else(path) {
                return Err(UsageError {
                    message: format!(
                        "{} contains something other than figures of kefu",
                        path.display()
                    ),
                    advice: Some("name another file with --textfile".into()),
                });
            }
        }
        Ok(Self { path, records: Vec::new(), all_accounts: None })
    }

    /// Names all accounts of the settings that are in the shard, where they list all of them.
    pub(super) fn know_all(&mut self, accounts: Option<BTreeSet<String>>) {
        self.all_accounts = accounts;
    }

    /// Adds a run that has ended, or one that could not begin, and logs the end of the latter.
    pub(super) fn add(
        &mut self,
        command: &'static str,
        account: &str,
        outcome: Result<&RunReport, &Failure>,
    ) {
        self.records.push(match outcome {
            Ok(report) => report.record(),
            Err(failure) => {
                let record = RunReport::not_begun(command, account, failure, &Clock::System);
                log_end(&record);
                record
            }
        });
    }

    /// Writes the file, whatever the outcome of the command. Returns that outcome.
    pub(super) fn write(
        mut self,
        command: &'static str,
        outcome: Result<Option<ErrorKind>, Failure>,
    ) -> Result<Option<ErrorKind>, Failure> {
        if let Err(failure) = &outcome
            && self.records.is_empty()
        {
            self.add(command, "", Err(failure));
        }
        if let Some(path) = &self.path {
            let all_accounts = self.all_accounts.as_ref();
            if let Err(error) =
                write_textfile(path, &self.records, all_accounts, Clock::System.now())
            {
                // The run is not affected. Old figures show that they are missing.
                telemetry::print_warning(&error.into());
            }
        }
        outcome
    }
}

/// Logs that a run has ended.
pub(super) fn log_end(record: &RunRecord) {
    // People see the summary.
    if !telemetry::is_for_machines() {
        return;
    }
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
