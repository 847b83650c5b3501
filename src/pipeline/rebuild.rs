//! Rebuilds metrics: `messages` → the metric partitions that are missing or out of date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use rayon::prelude::*;
use serde::Serialize;

use super::Observer;
use super::budget;
use super::chunks::chunks;
use super::inputs::{Inputs, record_inputs};
use super::metrics_job::MetricsJob;
use super::plan::Plan;
use super::rules::{ChangedRules, OlderDays};
use crate::calendar::Day;
use crate::failure::{BugError, Failure};
use crate::lake::{LakeError, Seen, Table, entry};
use crate::metrics::{Partitions, ROWS_QUICK, Target};
use crate::model::cancel::Cancel;
use crate::threads;

/// Number of rows that are written between checks for a signal.
const ROWS_UNCHECKED: usize = 1 << 16;

/// Result of a rebuild.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MetricsReport {
    /// Days whose partitions were written, in order.
    pub computed: Vec<Day>,
    /// Days whose partitions were up to date.
    pub fresh: usize,
    /// Days whose partitions were not computed, because the work was interrupted.
    pub waiting: Vec<Day>,
    /// Days with frozen partitions: some messages that they were made of are gone.
    pub frozen: Vec<Day>,
    /// Days that were not computed, because messages that they depend on cannot be read or are
    /// lost. Lost messages are missing, although retention did not delete them. Also frozen days
    /// with a missing or damaged partition.
    pub damaged: Vec<Day>,
    /// Days that were computed again because rules have changed, and the changed rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_rules: Option<ChangedRules>,
    /// Days before the wanted ones whose metrics are out of date, because rules or definitions have
    /// changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_days: Option<OlderDays>,
}

/// Error of a rebuild, with the work that was done before it.
#[derive(Debug)]
pub struct MetricsStopped {
    pub report: MetricsReport,
    pub failure: Failure,
}

impl From<Box<MetricsStopped>> for Failure {
    fn from(stopped: Box<MetricsStopped>) -> Self {
        stopped.failure
    }
}

/// Rebuilds the metric partitions that are missing or out of date, of all fetched days. With
/// `among`, rebuilds only those days, and reads only the days that they depend on.
///
/// # Errors
/// - [`UnknownRules`](super::UnknownRules) when no settings file was found and partitions record
///   other rules than the defaults. Nothing is computed.
/// - [`PrivacyError::Mixed`](super::PrivacyError) when the openids of the messages have two
///   treatments.
/// - When a partition cannot be read or written. Partitions that were already written stay. If the
///   messages of a day cannot be read, only the days that depend on them are not computed.
pub fn rebuild_metrics(
    job: &MetricsJob,
    among: Option<&BTreeSet<Day>>,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<MetricsReport, Box<MetricsStopped>> {
    let stopped =
        |report: MetricsReport, failure: Failure| Box::new(MetricsStopped { report, failure });
    let computed = Mutex::new(BTreeSet::new());
    let note = |day: Day| {
        computed.lock().unwrap_or_else(PoisonError::into_inner).insert(day);
        observer.day_computed(day);
    };
    let mut unreadable = BTreeMap::new();
    let mut changed_rules: Option<ChangedRules> = None;
    loop {
        let so_far =
            || computed.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let mut plan = Plan::make(job, among, unreadable, cancel).map_err(|failure| {
            stopped(MetricsReport { computed: so_far(), ..MetricsReport::default() }, failure)
        })?;
        if changed_rules.is_none() {
            changed_rules = plan.changed_rules();
            changed_rules.iter().for_each(|changed| observer.rules_changed(changed));
            plan.older_days.iter().for_each(|older| observer.older_days_out_of_date(older));
        }
        observer.metrics_begun(plan.to_rebuild.len());
        let failure = match carry_out(&plan, job, &note, cancel)
            .map_err(Failure::into_error::<LakeError>)
        {
            Ok(()) => None,
            Err(Err(failure)) => Some(failure),
            // Unreadable rows may be found only while reading. Leave out the days that depend on
            // them, and compute the others.
            Err(Ok(error)) => {
                match unreadable_messages(&error).filter(|day| !plan.unreadable.contains_key(day)) {
                    Some(day) => {
                        plan.unreadable.insert(day, error);
                        unreadable = plan.unreadable;
                        continue;
                    }
                    None => Some(error.into()),
                }
            }
        };
        let report = MetricsReport {
            changed_rules,
            ..plan.report(computed.into_inner().unwrap_or_else(PoisonError::into_inner))
        };
        return match failure.or(plan.damage()) {
            Some(failure) => Err(stopped(report, failure)),
            None => Ok(report),
        };
    }
}

/// Computes and writes the partitions that are missing or out of date.
fn carry_out(
    plan: &Plan,
    job: &MetricsJob,
    day_computed: &(dyn Fn(Day) + Sync),
    cancel: &Cancel,
) -> Result<(), Failure> {
    let Plan { inputs, states, to_rebuild, .. } = plan;
    let writers = threads::writers()?;
    for chunk in chunks(inputs, to_rebuild) {
        cancel.check()?;
        let _reserved = budget::reserve(chunk.rows, cancel)?;
        let write = |(target, mut partitions): (Target, Partitions)| {
            partitions.retain(|table, _| {
                states.get(&target.day).is_some_and(|state| state.to_rebuild.contains(table))
            });
            let seen = states.get(&target.day).map(|state| &state.seen);
            write_partitions(job, inputs, &target, partitions, seen, cancel)?;
            day_computed(target.day);
            Ok(())
        };
        if chunk.days.len() == 1 && chunk.rows <= ROWS_QUICK {
            job.compute(&chunk, inputs, cancel, |group| group.into_iter().try_for_each(write))?;
            continue;
        }
        // Write days while the next ones are computed. A separate thread waits for the writers,
        // because work of other accounts would have to wait for a pool thread that waits.
        std::thread::scope(|scope| -> Result<(), Failure> {
            let (sender, receiver) = sync_channel::<Vec<(Target, Partitions)>>(0);
            let write_all = || {
                receiver.into_iter().try_for_each(|group| {
                    writers.install(|| {
                        group.into_par_iter().map(write).collect::<Result<(), Failure>>()
                    })
                })
            };
            let writing = threads::spawn_scoped(scope, "write", write_all)?;
            let computed = job.compute(&chunk, inputs, cancel, |group| {
                cancel.check()?;
                let gone = || BugError("the writer of metrics is gone".into());
                sender.send(group).map_err(|_| Failure::from(gone()))
            });
            drop(sender);
            // A failed writer accepts no more groups, so return its error and not that of the
            // computation.
            writing.join().map_err(|_| BugError("the writer of metrics panicked".into()))??;
            computed
        })?;
    }
    for (table, day) in &plan.older {
        cancel.check()?;
        job.lake.rewrite_older(&job.account.partition(*table, *day))?;
        tracing::info!(event = "partition_rewritten", account = %job.account, table = table.name(), date = %day);
    }
    Ok(())
}

/// Returns the day of the damaged messages that an error names.
fn unreadable_messages(error: &LakeError) -> Option<Day> {
    match error {
        LakeError::Damaged { key: Some(key), .. } if key.table == Table::Messages => Some(key.date),
        _ => None,
    }
}

/// Writes the partitions of a day, each only over the one that was seen.
fn write_partitions(
    job: &MetricsJob,
    inputs: &Inputs,
    target: &Target,
    partitions: Partitions,
    seen: Option<&BTreeMap<Table, Seen>>,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let write = |(table, batch): (Table, RecordBatch)| -> Result<(), Failure> {
        let mut staged = job.lake.stage(
            job.account.partition(table, target.day),
            job.zone.name(),
            target.bounds,
        )?;
        record_inputs(staged.footer(), job.rules.parameters(), inputs, table, target.day);
        // Information for users. Both values follow from the inputs.
        staged.footer().set(entry::HORIZON, target.horizon);
        staged.footer().set(entry::FINAL, target.is_final);
        for first in (0..batch.num_rows()).step_by(ROWS_UNCHECKED) {
            cancel.check()?;
            staged.append(batch.slice(first, ROWS_UNCHECKED.min(batch.num_rows() - first)))?;
        }
        let finished = staged.finish()?;
        // Another run may have replaced it since, with messages that this one has not seen.
        match seen.and_then(|seen| seen.get(&table)) {
            Some(seen) => finished.if_unchanged(seen).commit()?,
            None => finished.commit()?,
        };
        Ok(())
    };
    // A customer who was forgotten meanwhile must not come back.
    job.lake.require_same_privacy(&job.account)?;
    // Write one table after another, because many days are already written in parallel. A rayon
    // thread that waits for a table would start another day inside this one.
    partitions.into_iter().try_for_each(write)
}
