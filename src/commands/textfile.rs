//! The end of each run of an account, in the log and among the figures for Prometheus.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::calendar::Clock;
use crate::failure::{Class, Failure};
use crate::operations::write_textfile;
use crate::pipeline::{RunRecord, RunReport};
use crate::telemetry;

/// The figures of the runs of one command.
#[derive(Debug)]
pub(super) struct Textfile {
    /// None where no file is asked for.
    path: Option<PathBuf>,
    runs: RefCell<Runs>,
}

#[derive(Debug, Default)]
struct Runs {
    records: Vec<RunRecord>,
    /// The accounts of the settings, where they list all of them.
    all_accounts: Option<BTreeSet<String>>,
}

impl Textfile {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, runs: RefCell::default() }
    }

    /// Adds a run that has ended.
    pub(super) fn add(&self, report: &RunReport, all_accounts: Option<&BTreeSet<String>>) {
        let record = report.record();
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
        let mut runs = self.runs.borrow_mut();
        runs.records.push(record);
        runs.all_accounts = runs.all_accounts.take().or_else(|| all_accounts.cloned());
    }

    /// Writes the file, whatever the outcome of the command. Returns that outcome.
    pub(super) fn write(
        self,
        command: &'static str,
        outcome: Result<Option<Class>, Failure>,
    ) -> Result<Option<Class>, Failure> {
        let clock = Clock::System;
        let outcome = match outcome {
            Err(failure) if self.runs.borrow().records.is_empty() => {
                let report = RunReport::without_account(command, failure, &clock);
                self.add(&report, None);
                report.failure.map_or(Ok(None), Err)
            }
            outcome => outcome,
        };
        if let Some(path) = &self.path {
            let Runs { records, all_accounts } = self.runs.into_inner();
            if let Err(error) = write_textfile(path, &records, all_accounts.as_ref(), clock.now()) {
                // The run is not affected. Old figures show that they are missing.
                telemetry::print_warning(&error.into());
            }
        }
        outcome
    }
}
