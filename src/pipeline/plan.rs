//! Plans a rebuild of metrics: which partitions are missing or out of date, and which cannot be
//! computed.

use std::collections::{BTreeMap, BTreeSet};

use super::inputs::{DayState, Inputs, dependency_window, is_older, read_inputs, state_of};
use super::metrics_job::MetricsJob;
use super::rebuild::MetricsReport;
use super::rules::{ChangedRules, OlderDays, OutOfDate, UnknownRules, older_days};
use crate::calendar::Day;
use crate::failure::Failure;
use crate::lake::{LakeError, Table};
use crate::model::cancel::Cancel;
use crate::threads;

/// The partitions to compute.
pub(super) struct Plan {
    pub(super) inputs: Inputs,
    /// State of the partitions of those wanted days that can be computed.
    pub(super) states: BTreeMap<Day, DayState>,
    /// Days of `states` with partitions to compute, in order.
    pub(super) to_rebuild: Vec<Day>,
    /// The days whose messages cannot be read, and why.
    pub(super) unreadable: BTreeMap<Day, LakeError>,
    /// Wanted days that depend on unreadable messages.
    damaged: Vec<Day>,
    /// Partitions that an older version of kefu wrote and that are not computed again. Old readers
    /// cannot read them, or columns are missing. Polars and DuckDB need the same columns in all
    /// files of a table, so these partitions are rewritten.
    pub(super) older: Vec<(Table, Day)>,
    /// Wanted days that have metrics or rejects but have lost their messages.
    lost: BTreeSet<Day>,
    /// Days before the wanted ones whose metrics are out of date, because rules or definitions have
    /// changed.
    pub(super) older_days: Option<OlderDays>,
}

impl Plan {
    /// Plans the work. `unreadable` are days whose messages could not be read, although their
    /// footers could.
    pub(super) fn make(
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
        let to_rebuild = states
            .iter()
            .filter(|(_, state)| !state.to_rebuild.is_empty())
            .map(|(day, _)| *day)
            .collect();
        let older = older(job, &states, among)?;
        let lost = inputs.lost(job, among)?;
        let older_days = match among.and_then(BTreeSet::first) {
            Some(first) => older_days(job, *first)?,
            None => None,
        };
        Ok(Self { inputs, states, to_rebuild, unreadable, damaged, older, lost, older_days })
    }

    /// Returns the days to compute again because their partitions record other rules.
    pub(super) fn changed_rules(&self) -> Option<ChangedRules> {
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
    pub(super) fn damage(self) -> Option<Failure> {
        let range = dependency_window(&self.inputs.fetched, *self.damaged.first()?);
        self.unreadable
            .into_iter()
            .find(|(day, _)| range.contains(*day))
            .map(|(_, error)| error.into())
    }

    pub(super) fn report(&self, computed: BTreeSet<Day>) -> MetricsReport {
        let named = |is: fn(&DayState) -> bool| {
            self.states
                .iter()
                .filter(|(_, state)| is(state))
                .map(|(day, _)| *day)
                .collect::<Vec<_>>()
        };
        let lost = named(|state| state.is_lost);
        let damaged: BTreeSet<Day> =
            self.damaged.iter().chain(&self.lost).chain(&lost).copied().collect();
        MetricsReport {
            fresh: named(|state| state.to_rebuild.is_empty() && !state.is_frozen)
                .into_iter()
                .filter(|day| !computed.contains(day))
                .count(),
            frozen: named(|state| state.is_frozen),
            waiting: self
                .to_rebuild
                .iter()
                .copied()
                .filter(|day| !computed.contains(day))
                .collect(),
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
