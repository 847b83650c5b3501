//! `messages` → the metric partitions that are missing or out of date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use rayon::prelude::*;
use serde::Serialize;

use super::Observer;
use super::chunks::chunks;
use super::inputs::{
    DayState, Inputs, dependency_window, is_older, read_inputs, record_inputs, state_of,
};
use super::rules::{ChangedRules, OlderDays, OutOfDate, UnknownRules, older_days};
use crate::calendar::{Day, DayRange, Zone};
use crate::failure::{BugError, Failure};
use crate::lake::{Account, Lake, LakeError, Table};
use crate::metrics::{
    self, DAYS_AFTER, History, HistoryBuilder, MetricsError, Part, Partitions, Rules, Target,
};
use crate::model::cancel::Cancel;
use crate::threads;

/// What to compute, and from which lake.
#[derive(Clone, Debug)]
pub struct MetricsJob {
    pub lake: Lake,
    pub account: Account,
    pub zone: Zone,
    pub rules: Rules,
}

/// What became of the partitions.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MetricsReport {
    /// Days whose partitions were written, in order.
    pub computed: Vec<Day>,
    /// Days whose partitions were up to date.
    pub fresh: usize,
    /// Days whose partitions are still to be computed, because the work was interrupted.
    pub waiting: Vec<Day>,
    /// Days whose partitions stay as they are, because messages that they were made of are gone.
    pub frozen: Vec<Day>,
    /// Days that were not computed, because messages that they are made of cannot be read, or are
    /// lost: retention did not delete them.
    pub damaged: Vec<Day>,
    /// Days that had to be computed again because rules have changed, and which rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_rules: Option<ChangedRules>,
    /// Days before those that were looked at are out of date, because rules have changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_days: Option<OlderDays>,
}

/// What kept the work from its end, and what was done until then.
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

/// Brings the metric partitions of the fetched days up to date: of all of them, or of those `among`
/// the given. Then it reads nothing but those days and what they depend on.
///
/// # Errors
/// [`UnknownRules`] when no settings file was found and partitions have rules of their own: then
/// nothing is computed. When a partition cannot be read or written: those written until then stay,
/// and a day whose messages cannot be read keeps only those days from being computed that look at
/// it. [`PrivacyError::Mixed`](super::PrivacyError) when messages name customers in two ways.
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
        let mut plan = Plan::make(job, among, unreadable).map_err(|failure| {
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
            // Rows that cannot be read, which only reading brings to light, are a reason to leave out the days that look at them, and no others.
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

/// What there is to compute.
struct Plan {
    inputs: Inputs,
    /// How the partitions are of the wanted days that can be computed.
    states: BTreeMap<Day, DayState>,
    /// Those of them with partitions to compute, in order.
    stale: Vec<Day>,
    /// The days whose messages cannot be read, and why.
    unreadable: BTreeMap<Day, LakeError>,
    /// Wanted days that look at those.
    damaged: Vec<Day>,
    /// Partitions that an older version of kefu wrote and that are not computed again. They lack
    /// columns or cannot be read by old readers, and Polars and DuckDB want the same columns in all
    /// files of a table.
    older: Vec<(Table, Day)>,
    /// Wanted days that have metrics or rejects, and have lost their messages.
    lost: BTreeSet<Day>,
    /// Days before the wanted ones that are out of date because rules have changed.
    older_days: Option<OlderDays>,
}

impl Plan {
    /// `unreadable` are days whose messages turned out to be so, whatever their footers say.
    fn make(
        job: &MetricsJob,
        among: Option<&BTreeSet<Day>>,
        mut unreadable: BTreeMap<Day, LakeError>,
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
        inputs.require_one_treatment(&job.account)?;
        let states = computable.into_par_iter().map(|day| Ok((day, state_of(job, &inputs, day)?)));
        let states: BTreeMap<Day, DayState> = states.collect::<Result<_, LakeError>>()?;
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

    /// The days that are to be computed because their partitions record other rules.
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

    /// Why wanted days were left out, if any were.
    fn damage(self) -> Option<Failure> {
        let range = dependency_window(&self.inputs.fetched, *self.damaged.first()?);
        self.unreadable
            .into_iter()
            .find(|(day, _)| range.contains(*day))
            .map(|(_, error)| error.into())
    }

    /// Computes the stale partitions and writes them.
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
            let days = DayRange {
                first: dependency_window(&inputs.fetched, chunk.first).first,
                last: dependency_window(&inputs.fetched, chunk.last).last,
            };
            let history = read_history(job, days, cancel)?;
            let targets = targets(&job.zone, &inputs.fetched, &chunk.days);
            let write = |(target, mut partitions): (Target, Partitions)| {
                partitions.retain(|table, _| {
                    states.get(&target.day).is_some_and(|state| state.stale.contains(table))
                });
                write_partitions(job, inputs, &target, partitions)?;
                day_computed(target.day);
                Ok(())
            };
            // Days are written while the next ones are computed. The thread that waits for them is
            // none of a pool's: there, other accounts' work would wait for it.
            std::thread::scope(|scope| -> Result<(), Failure> {
                let (sender, receiver) = sync_channel::<Vec<(Target, Partitions)>>(0);
                let write_all = || {
                    receiver.into_iter().try_for_each(|group| {
                        writers.install(|| {
                            group.into_par_iter().map(write).collect::<Result<(), LakeError>>()
                        })
                    })
                };
                let writing = threads::spawn_scoped(scope, "write", write_all)?;
                let emit = |group| {
                    cancel.check()?;
                    let gone = || BugError("the writer of metrics is gone".into());
                    sender.send(group).map_err(|_| Failure::from(gone()))
                };
                let computed = metrics::compute_in_groups(
                    &history,
                    job.account.as_str(),
                    &job.zone,
                    &targets,
                    job.rules.parameters(),
                    emit,
                );
                drop(sender);
                // A writer that failed takes no more groups, so its error comes first.
                writing.join().map_err(|_| BugError("the writer of metrics panicked".into()))??;
                computed
            })?;
        }
        for (table, day) in &self.older {
            job.lake.rewrite_older(&job.account.partition(*table, *day))?;
            tracing::info!(event = "partition_rewritten", table = table.name(), date = %day);
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

/// The partitions that an older version of kefu wrote and that are not computed again: of what is
/// kept, and of days that cannot be computed at all.
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
        let is_other = |day: &Day| {
            !states.contains_key(day) && job.lake.has(&job.account.partition(table, *day))
        };
        for day in days.into_iter().filter(is_other) {
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

/// The day whose messages an error says are damaged.
fn unreadable_messages(error: &LakeError) -> Option<Day> {
    match error {
        LakeError::Damaged { key: Some(key), .. } if key.table == Table::Messages => Some(key.date),
        _ => None,
    }
}

/// The given days as targets, with what is known about their horizons from the days that were fetched.
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

/// The messages of the days, none of which is missing, as input of the metrics stage.
///
/// # Errors
/// When a partition cannot be read, or has no texts although a rule for automatic replies needs them.
pub fn read_history(job: &MetricsJob, days: DayRange, cancel: &Cancel) -> Result<History, Failure> {
    let days: Vec<Day> = days.days().collect();
    let parameters = job.rules.parameters();
    let columns = metrics::columns(parameters);
    let mut history = HistoryBuilder::new(&job.zone, parameters);
    let needs_texts = parameters.needs_texts();
    let read = |day: &Day| -> Result<Vec<Part>, Failure> {
        cancel.check()?;
        let key = job.account.partition(Table::Messages, *day);
        if needs_texts && !job.lake.footer(&key)?.has_texts() {
            return Err(LakeError::TextsDropped { key }.into());
        }
        let batches = job.lake.read(&key, &columns)?;
        // The file has the table's columns; that they do not hold what messages have is its damage.
        let damaged = |error: MetricsError| job.lake.damaged(&key, error.to_string());
        let mut first_row = 0;
        let decode = |batch: Result<RecordBatch, LakeError>| {
            let batch = batch?;
            let part = history.decode(*day, first_row, &batch).map_err(damaged)?;
            first_row += batch.num_rows();
            Ok(part)
        };
        batches.map(decode).collect()
    };
    for parts in days.par_iter().map(read).collect::<Result<Vec<_>, _>>()? {
        parts.into_iter().for_each(|part| history.push(part));
    }
    Ok(history.finish()?)
}

/// Writes partitions of a day.
fn write_partitions(
    job: &MetricsJob,
    inputs: &Inputs,
    target: &Target,
    partitions: Partitions,
) -> Result<(), LakeError> {
    let write = |(table, batch): (Table, RecordBatch)| -> Result<(), LakeError> {
        let mut staged = job.lake.stage(
            job.account.partition(table, target.day),
            job.zone.name(),
            target.bounds,
        )?;
        record_inputs(staged.footer(), job.rules.parameters(), inputs, table, target.day);
        // For people who look at the file; both follow from the inputs.
        staged.footer().set("horizon", target.horizon);
        staged.footer().set("final", target.is_final);
        staged.append(batch)?;
        staged.finish()?.commit()?;
        Ok(())
    };
    // In a row: many days are written side by side, and a thread that waited for a table would begin another day within this one.
    partitions.into_iter().try_for_each(write)
}
