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
use super::inputs::{
    DayState, Inputs, dependency_window, is_older, read_inputs, record_inputs, state_of,
};
use super::rules::{ChangedRules, OlderDays, OutOfDate, UnknownRules, older_days};
use crate::calendar::{Day, DayRange, Zone};
use crate::failure::{BugError, Failure};
use crate::lake::{Account, Lake, LakeError, Seen, Table};
use crate::metrics::{
    self, DAYS_AFTER, History, HistoryBuilder, MetricsError, Partitions, ROWS_QUICK, Rules, Target,
};
use crate::model::cancel::Cancel;
use crate::threads;

/// Number of rows that are written between checks for a signal.
const ROWS_UNCHECKED: usize = 1 << 16;

/// The account whose metrics to compute, and the rules for them.
#[derive(Clone, Debug)]
pub struct MetricsJob {
    pub lake: Lake,
    pub account: Account,
    pub zone: Zone,
    pub rules: Rules,
}

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
    /// lost. Lost messages are missing, although retention did not delete them.
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
/// - [`UnknownRules`] when no settings file was found and partitions record other rules than the
///   defaults. Nothing is computed.
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
        observer.metrics_begun(plan.stale.len());
        let failure = match plan
            .carry_out(job, &note, cancel)
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

/// The partitions to compute.
struct Plan {
    inputs: Inputs,
    /// State of the partitions of those wanted days that can be computed.
    states: BTreeMap<Day, DayState>,
    /// Days of `states` with partitions to compute, in order.
    stale: Vec<Day>,
    /// The days whose messages cannot be read, and why.
    unreadable: BTreeMap<Day, LakeError>,
    /// Wanted days that depend on unreadable messages.
    damaged: Vec<Day>,
    /// Partitions that an older version of kefu wrote and that are not computed again. Old readers
    /// cannot read them, or columns are missing. Polars and DuckDB need the same columns in all
    /// files of a table, so these partitions are rewritten.
    older: Vec<(Table, Day)>,
    /// Wanted days that have metrics or rejects but have lost their messages.
    lost: BTreeSet<Day>,
    /// Days before the wanted ones whose metrics are out of date, because rules or definitions have
    /// changed.
    older_days: Option<OlderDays>,
}

impl Plan {
    /// Plans the work. `unreadable` are days whose messages could not be read, although their
    /// footers could.
    fn make(
        job: &MetricsJob,
        among: Option<&BTreeSet<Day>>,
        mut unreadable: BTreeMap<Day, LakeError>,
        cancel: &Cancel,
    ) -> Result<Self, Failure> {
        let mut inputs = read_inputs(job, among, job.lake.pruned(&job.account)?)?;
        unreadable.append(&mut inputs.damaged);
        let is_wanted = |day: &&Day| among.is_none_or(|days| days.contains(*day));
        let looks_at_damage = |day: &Day| {
            unreadable
                .keys()
                .any(|unreadable| dependency_window(&inputs.fetched, *day).contains(*unreadable))
        };
        let (damaged, computable): (Vec<Day>, Vec<Day>) =
            inputs.fetched.iter().filter(is_wanted).copied().partition(looks_at_damage);
        inputs.require_one_treatment(job)?;
        let targets: BTreeSet<&Day> =
            computable.iter().chain(among.into_iter().flatten()).collect();
        job.lake.look_ahead(
            targets
                .into_iter()
                .flat_map(|day| Table::METRICS.map(|table| job.account.partition(table, *day))),
        )?;
        let state = |day: Day| {
            cancel.check()?;
            Ok::<_, Failure>((day, state_of(job, &inputs, day)?))
        };
        let states: BTreeMap<Day, DayState> =
            threads::map(computable, true, state)?.into_iter().collect();
        if let Some((day, state)) = states.iter().rfind(|(_, state)| !state.other_rules.is_empty())
        {
            let changes = state.other_rules.clone();
            return Err(UnknownRules { account: job.account.clone(), day: *day, changes }.into());
        }
        let stale = states
            .iter()
            .filter(|(_, state)| !state.stale.is_empty())
            .map(|(day, _)| *day)
            .collect();
        let older = older(job, &states, among)?;
        let lost = inputs.lost(job, among)?;
        let older_days = match among.and_then(BTreeSet::first) {
            Some(first) => older_days(job, *first)?,
            None => None,
        };
        Ok(Self { inputs, states, stale, unreadable, damaged, older, lost, older_days })
    }

    /// Returns the days to compute again because their partitions record other rules.
    fn changed_rules(&self) -> Option<ChangedRules> {
        let mut changed = ChangedRules::default();
        for (day, state) in &self.states {
            for reason in &state.because {
                if let OutOfDate::Rule(rule) = reason {
                    changed.rules.insert(rule.clone());
                    changed.days.insert(*day);
                }
            }
        }
        (!changed.days.is_empty()).then_some(changed)
    }

    /// Returns why wanted days were left out, if any were.
    fn damage(self) -> Option<Failure> {
        let range = dependency_window(&self.inputs.fetched, *self.damaged.first()?);
        self.unreadable
            .into_iter()
            .find(|(day, _)| range.contains(*day))
            .map(|(_, error)| error.into())
    }

    /// Computes and writes the partitions that are missing or out of date.
    fn carry_out(
        &self,
        job: &MetricsJob,
        day_computed: &(dyn Fn(Day) + Sync),
        cancel: &Cancel,
    ) -> Result<(), Failure> {
        let Self { inputs, states, stale, .. } = self;
        let writers = threads::writers()?;
        for chunk in chunks(inputs, stale) {
            cancel.check()?;
            let _reserved = budget::reserve(chunk.rows, cancel)?;
            let history = read_history(job, chunk.window(inputs), chunk.rows, cancel)?;
            let targets = targets(&job.zone, &inputs.fetched, &chunk.days);
            let write = |(target, mut partitions): (Target, Partitions)| {
                partitions.retain(|table, _| {
                    states.get(&target.day).is_some_and(|state| state.stale.contains(table))
                });
                let seen = states.get(&target.day).map(|state| &state.seen);
                write_partitions(job, inputs, &target, partitions, seen, cancel)?;
                day_computed(target.day);
                Ok(())
            };
            let compute =
                |emit: &mut dyn FnMut(Vec<(Target, Partitions)>) -> Result<(), Failure>| {
                    metrics::compute_in_groups(
                        &history,
                        job.account.as_str(),
                        &job.zone,
                        &targets,
                        job.rules.parameters(),
                        cancel,
                        emit,
                    )
                };
            if targets.len() == 1 && chunk.rows <= ROWS_QUICK {
                compute(&mut |group| group.into_iter().try_for_each(write))?;
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
                let computed = compute(&mut |group| {
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
        for (table, day) in &self.older {
            cancel.check()?;
            job.lake.rewrite_older(&job.account.partition(*table, *day))?;
            tracing::info!(event = "partition_rewritten", account = %job.account, table = table.name(), date = %day);
        }
        Ok(())
    }

    fn report(&self, computed: BTreeSet<Day>) -> MetricsReport {
        let named = |is: fn(&DayState) -> bool| {
            self.states
                .iter()
                .filter(|(_, state)| is(state))
                .map(|(day, _)| *day)
                .collect::<Vec<_>>()
        };
        let damaged: BTreeSet<Day> = self.damaged.iter().chain(&self.lost).copied().collect();
        MetricsReport {
            fresh: named(|state| state.stale.is_empty() && !state.is_frozen)
                .into_iter()
                .filter(|day| !computed.contains(day))
                .count(),
            frozen: named(|state| state.is_frozen),
            waiting: self.stale.iter().copied().filter(|day| !computed.contains(day)).collect(),
            computed: computed.into_iter().collect(),
            damaged: damaged.into_iter().collect(),
            changed_rules: None,
            older_days: self.older_days.clone(),
        }
    }
}

/// Returns the partitions that an older version of kefu wrote and that are not computed again.
/// These are frozen partitions, and partitions of days that cannot be computed.
fn older(
    job: &MetricsJob,
    states: &BTreeMap<Day, DayState>,
    among: Option<&BTreeSet<Day>>,
) -> Result<Vec<(Table, Day)>, LakeError> {
    let mut older: Vec<(Table, Day)> = Vec::new();
    for (day, state) in states {
        older.extend(state.older.iter().map(|table| (*table, *day)));
    }
    for table in Table::METRICS {
        let days = match among {
            None => job.lake.days(table, &job.account)?,
            Some(days) => days.clone(),
        };
        let others = days.into_iter().filter(|day| !states.contains_key(day));
        for day in job.lake.days_among(table, &job.account, others)? {
            match job.lake.footer(&job.account.partition(table, day)) {
                Ok(footer) if is_older(&footer, table) => older.push((table, day)),
                // `kefu verify` reports damage.
                Ok(_) | Err(LakeError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(older)
}

/// Returns the day of the damaged messages that an error names.
fn unreadable_messages(error: &LakeError) -> Option<Day> {
    match error {
        LakeError::Damaged { key: Some(key), .. } if key.table == Table::Messages => Some(key.date),
        _ => None,
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

/// Reads the messages of a range without missing days, as input of the metrics stage.
/// `rows` is the number of their messages. A few are read by one thread.
///
/// # Errors
/// Fails when a partition cannot be read, or when its texts were dropped and a rule for automatic
/// replies needs them.
pub fn read_history(
    job: &MetricsJob,
    days: DayRange,
    rows: usize,
    cancel: &Cancel,
) -> Result<History, Failure> {
    let days: Vec<Day> = days.days().collect();
    let parameters = job.rules.parameters();
    let columns = metrics::columns(parameters);
    let history = HistoryBuilder::new(&job.zone, parameters);
    let needs_texts = parameters.needs_texts();
    let read = |day: Day| -> Result<(), Failure> {
        let key = job.account.partition(Table::Messages, day);
        if needs_texts && !job.lake.footer(&key)?.has_texts() {
            return Err(LakeError::TextsDropped { key }.into());
        }
        // The columns match the schema, so unexpected values in them mean that the file is damaged.
        let damaged = |error: MetricsError| job.lake.damaged(&key, error.to_string());
        let mut first_row = 0;
        for batch in job.lake.read(&key, &columns)? {
            cancel.check()?;
            let batch = batch?;
            history.add(day, first_row, &batch).map_err(damaged)?;
            first_row += batch.num_rows();
        }
        Ok(())
    };
    let is_quick = job.lake.is_in_folder() && rows <= ROWS_QUICK;
    job.lake.reading(|| threads::map(days, is_quick, read))??;
    Ok(history.finish(cancel)?)
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
        staged.footer().set("horizon", target.horizon);
        staged.footer().set("final", target.is_final);
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
    // Write one table after another, because many days are already written in parallel. A rayon
    // thread that waits for a table would start another day inside this one.
    partitions.into_iter().try_for_each(write)
}
