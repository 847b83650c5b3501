//! `kefu metrics`

use std::collections::BTreeSet;

use super::each_account::{Outcome, for_each_account};
use super::recorder::Recorder;
use super::stage_observer::StageObserver;
use super::summary::Summary;
use super::{days, settings_for_lake};
use crate::calendar::{Clock, Day};
use crate::cli::{GlobalArgs, MetricsArgs};
use crate::failure::{Class, Failure};
use crate::lake::Lake;
use crate::operations::History;
use crate::pipeline::{
    MetricsJob, MetricsReport, MetricsStopped, finish_redaction, rebuild_metrics, redaction,
    require_rules,
};
use crate::settings::Settings;

pub(super) fn execute(global: &GlobalArgs, args: &MetricsArgs) -> Result<Option<Class>, Failure> {
    let recorder = Recorder::begin("metrics", args.textfile.clone());
    let outcome = compute_each(global, args, &recorder);
    recorder.end(outcome)
}

fn compute_each(
    global: &GlobalArgs,
    args: &MetricsArgs,
    recorder: &Recorder,
) -> Result<Option<Class>, Failure> {
    let settings = settings_for_lake(global, "metrics")?;
    let among: Option<BTreeSet<Day>> = days::named(&args.days)?.map(|range| range.days().collect());
    for_each_account("metrics", &settings, global.output, |settings| {
        // Before the lock is acquired, which would make the lake.
        Lake::at(&settings.lake.value).require_folder()?;
        recorder.account(settings, |lake, history| compute(settings, among.as_ref(), lake, history))
    })
}

/// The work for one account.
fn compute(
    settings: &Settings,
    among: Option<&BTreeSet<Day>>,
    lake: &Lake,
    history: &History,
) -> Result<Outcome<Summary>, Failure> {
    let zone = &settings.zone.value;
    lake.require_zone(zone.name())?;
    let account = settings.account()?;
    lake.require_no_mark_after(&account, days::last_over(zone, &Clock::System).plus(1))?;
    let job = MetricsJob {
        lake: lake.clone(),
        account,
        rules: settings.rules.clone(),
        zone: settings.zone.value.clone(),
    };
    require_rules(&job)?;
    if lake.privacy(&job.account)?.is_some_and(|privacy| privacy.is_pending) {
        let redaction = redaction(lake, &job.account, &settings.privacy()?)?;
        finish_redaction(lake, &job.account, &redaction)?;
    }
    let (report, failure) = computed(
        rebuild_metrics(&job, among, &StageObserver::metrics(&job.account, Some(history))),
        history,
    );
    let report = Summary::new("metrics", &job.account, &job.zone, &job.lake).with_metrics(report);
    Ok(Outcome { report, class: None, failure })
}

/// What was computed, entered in the history, and what kept the rest from it.
pub(super) fn computed(
    outcome: Result<MetricsReport, Box<MetricsStopped>>,
    history: &History,
) -> (MetricsReport, Option<Failure>) {
    let (report, failure) = match outcome {
        Ok(report) => (report, None),
        Err(stopped) => (stopped.report, Some(stopped.failure)),
    };
    history.computed(&report);
    (report, failure)
}
