//! Computes metrics of an account: reads messages, and hands them to the metrics stage.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;

use super::chunks::Chunk;
use super::inputs::{Inputs, dependency_window};
use crate::calendar::{Day, DayRange, Zone};
use crate::failure::Failure;
use crate::lake::{Account, Lake, LakeError, Table};
use crate::metrics::{
    self, DAYS_AFTER, History, HistoryBuilder, MetricsError, Partitions, ROWS_QUICK, Rules, Target,
};
use crate::model::cancel::Cancel;
use crate::threads;

/// The account whose metrics to compute, and the rules for them.
#[derive(Clone, Debug)]
pub struct MetricsJob {
    pub lake: Lake,
    pub account: Account,
    pub zone: Zone,
    pub rules: Rules,
}

impl MetricsJob {
    /// Computes the partitions of a chunk of days, and emits each group of days when it is ready.
    ///
    /// # Errors
    /// Those of [`history`](Self::history), and those of `emit`.
    pub(super) fn compute(
        &self,
        chunk: &Chunk,
        inputs: &Inputs,
        cancel: &Cancel,
        emit: impl FnMut(Vec<(Target, Partitions)>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let is_quick = chunk.rows <= ROWS_QUICK && self.lake.is_in_folder();
        let history = self.history(chunk.window(inputs), is_quick, cancel)?;
        let targets = targets(&self.zone, &inputs.fetched, &chunk.days);
        let (account, rules) = (self.account.as_str(), self.rules.parameters());
        metrics::compute_in_groups(&history, account, &self.zone, &targets, rules, cancel, emit)
    }

    /// Computes the columns of `worker_daily` for all `days` together: one row per worker. All of
    /// the days have been fetched, and no day between them is missing.
    ///
    /// # Errors
    /// Fails when a partition cannot be read, or when its texts were dropped and a rule for
    /// automatic replies needs them.
    pub fn period(&self, days: DayRange, cancel: &Cancel) -> Result<RecordBatch, Failure> {
        let all: Vec<Day> = days.days().collect();
        let targets = targets(&self.zone, &all.iter().copied().collect(), &all);
        let history = self.history(days, false, cancel)?;
        let (account, rules) = (self.account.as_str(), self.rules.parameters());
        Ok(metrics::period(&history, account, &self.zone, &targets, rules, cancel)?)
    }

    /// Reads the messages of a range without missing days. With `is_quick`, one thread does it.
    ///
    /// # Errors
    /// Fails when a partition cannot be read, or when its texts were dropped and a rule for
    /// automatic replies needs them.
    fn history(&self, days: DayRange, is_quick: bool, cancel: &Cancel) -> Result<History, Failure> {
        let days: Vec<Day> = days.days().collect();
        let parameters = self.rules.parameters();
        let columns = metrics::columns(parameters);
        let history = HistoryBuilder::new(&self.zone, parameters);
        let needs_texts = parameters.needs_texts();
        let read = |day: Day| -> Result<(), Failure> {
            let key = self.account.partition(Table::Messages, day);
            if needs_texts && !self.lake.footer(&key)?.has_texts() {
                return Err(LakeError::TextsDropped { key }.into());
            }
            // The columns match the schema, so unexpected values in them mean that the file is
            // damaged.
            let damaged = |error: MetricsError| self.lake.damaged(&key, error.to_string());
            let mut first_row = 0;
            for batch in self.lake.read(&key, &columns)? {
                cancel.check()?;
                let batch = batch?;
                history.add(day, first_row, &batch).map_err(damaged)?;
                first_row += batch.num_rows();
            }
            Ok(())
        };
        self.lake.reading(|| threads::map(days, is_quick, read))??;
        Ok(history.finish(cancel)?)
    }
}

/// Returns the days as targets. The fetched days decide their horizons.
pub fn targets(zone: &Zone, fetched: &BTreeSet<Day>, days: &[Day]) -> Vec<Target> {
    let target = |day: &Day| {
        let last = dependency_window(fetched, *day).last;
        Target {
            day: *day,
            bounds: zone.bounds(*day),
            horizon: zone.bounds(last).end,
            is_final: last == day.plus(DAYS_AFTER),
        }
    };
    days.iter().map(target).collect()
}
