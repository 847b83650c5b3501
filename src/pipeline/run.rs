//! The nightly job of one account: lock, check, fetch, rebuild metrics, record.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fetch_days::{FetchJob, FetchReport, fetch_days};
use super::inputs::dependents;
use super::metrics_job::MetricsJob;
use super::rebuild::{MetricsStopped, rebuild_metrics};
use super::redact::{PrivacyError, finish_redaction, redact, redaction};
use super::workers::update_workers;
use super::{
    AccountJob, Observer, Request, RunReport, Selection, Wanted, require_app, require_rules,
};
use crate::calendar::Day;
use crate::failure::{BugError, ErrorKind, Failure};
use crate::fetch::Source;
use crate::lake::{LakeError, Table};
use crate::metrics::DAYS_BEFORE;
use crate::model::cancel::Cancel;
use crate::model::privacy::Privacy;
use crate::model::redaction::Redaction;
use crate::telemetry;

/// What to do when it is not known whether a customer was forgotten during a run.
const FORGET_AGAIN: &str =
    "`kefu verify` names such files; repeat the `kefu forget` that ran at the same time";

/// Does what is asked for one account, with the account locked, and enters it in the history of
/// runs. Days that fail do not stop the others. After `cancel`, days that are being written are
/// completed, and the report says what was done until then.
pub fn run_account(
    job: &AccountJob,
    request: &Request,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> RunReport {
    let job = &AccountJob { lake: job.lake.remembering(), ..job.clone() };
    let report = RunReport::begin(job, request.name());
    recorded(job, report, |report| {
        let done = match request {
            Request::Fetch(wanted) => {
                fetch(job, *wanted, observer, cancel, report).and_then(|_| Ok(cancel.check()?))
            }
            Request::Run(wanted) => run(job, *wanted, observer, cancel, report),
            Request::Metrics(among) => metrics(job, among.as_ref(), observer, cancel, report),
            Request::Redact => return remove(job, &[], observer, cancel, report),
            Request::Forget(openids) => return remove(job, openids, observer, cancel, report),
        };
        // In a bucket, a customer may have been forgotten meanwhile.
        let settled = job.lake.repeat_redaction_if_changed(&job.account);
        if let (Err(_), Err(error)) = (&done, &settled) {
            let text = format!(
                "{}: a customer who was forgotten during this run may be in its files ({error})",
                job.account
            );
            telemetry::print_plain_warning(&text, Some(FORGET_AGAIN));
        }
        done.and_then(|()| Ok(settled?))
    })
}

/// Records a run that cannot begin because its settings are wrong. Creates no lake: these settings
/// may name the wrong place.
pub fn record_failure(job: &AccountJob, command: &'static str, failure: Failure) -> RunReport {
    let mut report = RunReport::begin(job, command);
    report.end(&job.clock, Err(failure));
    let entered = || -> Result<(), LakeError> {
        job.lake.require_folder()?;
        let _lock = job.lake.lock(&job.account)?;
        enter(job, &report)
    };
    match entered() {
        // The first run, or another folder: there is no history.
        Ok(()) | Err(LakeError::Absent { .. }) => {}
        Err(error) => not_entered(&report, &error),
    }
    report
}

/// Some work with the account locked. The history has it as running first, then as it ended.
fn recorded(
    job: &AccountJob,
    mut report: RunReport,
    work: impl FnOnce(&mut RunReport) -> Result<(), Failure>,
) -> RunReport {
    let lock = match job.lake.lock(&job.account) {
        Ok(lock) => lock,
        Err(error) => {
            report.end(&job.clock, Err(error.into()));
            return report;
        }
    };
    report.unprotected = job.lake.is_unprotected();
    let entered = enter(job, &report);
    let is_entered = entered.is_ok();
    let outcome = entered.map_err(Failure::from).and_then(|()| work(&mut report));
    report.end(&job.clock, outcome);
    if is_entered && let Err(error) = enter(job, &report) {
        // The run itself is not affected. Its entry says `running`, like that of a killed run.
        not_entered(&report, &error);
    }
    drop(lock);
    report
}

/// Enters a run in the history of its account, which must be locked.
fn enter(job: &AccountJob, report: &RunReport) -> Result<(), LakeError> {
    let record = report.record();
    let written = serde_json::json!(record).to_string();
    job.lake.enter_run(&job.account, &record.run, &written)
}

fn not_entered(report: &RunReport, error: &LakeError) {
    tracing::warn!(event = "history_not_written", account = report.account, reason = %error, "the history of runs cannot be written");
}

/// Fetches days, then rebuilds the metrics that depend on them.
fn run(
    job: &AccountJob,
    wanted: Wanted,
    observer: &dyn Observer,
    cancel: &Cancel,
    report: &mut RunReport,
) -> Result<(), Failure> {
    let metrics = job.metrics();
    look_ahead(job, &metrics_of(wanted, []))?;
    let fetched = fetch(job, wanted, observer, cancel, report)?;
    if report.fetch.as_ref().and_then(FetchReport::worst) == Some(ErrorKind::Lake) {
        // A lake that refuses messages refuses metrics, too. The next run computes them.
        report.metrics_put_off = true;
        return Ok(());
    }
    cancel.check()?;
    // What was committed is worth computing even if some days failed.
    let among = metrics_of(wanted, fetched);
    rebuild(&metrics, Some(&among), observer, cancel, report)
        .map_err(|failure| failure.during("not all metrics could be computed"))
}

/// Looks at all that the metrics of the days depend on, and at the newest metrics before them.
fn look_ahead(job: &AccountJob, days: &BTreeSet<Day>) -> Result<(), LakeError> {
    let partition = |table, day: Day| job.account.partition(table, day);
    let before = days.first().map(|first| first.plus(-1));
    let messages = days.iter().flat_map(|day| (-DAYS_BEFORE..=1).map(|step| day.plus(step)));
    let messages: BTreeSet<Day> = messages.collect();
    let messages = messages.into_iter().map(|day| partition(Table::Messages, day));
    let metrics = days.iter().flat_map(|day| Table::METRICS.map(|table| partition(table, *day)));
    let newest = before.map(|day| partition(Table::AccountDaily, day));
    job.lake.look_ahead(messages.chain(metrics).chain(newest))
}

/// The days whose metrics a run rebuilds. Those of days that are not over wait for the days.
fn metrics_of(wanted: Wanted, fetched: impl IntoIterator<Item = Day>) -> BTreeSet<Day> {
    let mut days = dependents(wanted.range.days().chain(fetched));
    days.retain(|day| *day <= wanted.last_over);
    days
}

/// Rebuilds the metrics of days that were fetched before. Needs the privacy settings only to finish
/// a redaction that was interrupted.
fn metrics(
    job: &AccountJob,
    among: Option<&BTreeSet<Day>>,
    observer: &dyn Observer,
    cancel: &Cancel,
    report: &mut RunReport,
) -> Result<(), Failure> {
    job.lake.require_zone(job.zone.name())?;
    let today = job.zone.day_of(job.clock.now().unix_timestamp());
    job.lake.require_no_mark_after(&job.account, today)?;
    let metrics = job.metrics();
    require_rules(&metrics, among.unwrap_or(&BTreeSet::new()))?;
    if job.lake.privacy(&job.account)?.is_some_and(|privacy| privacy.is_pending) {
        finished_redaction(job, observer, cancel)?;
    }
    rebuild(&metrics, among, observer, cancel, report)
}

/// Fetches the days that are missing, and those to fetch again. Returns all days that it tried.
fn fetch(
    job: &AccountJob,
    wanted: Wanted,
    observer: &dyn Observer,
    cancel: &Cancel,
    report: &mut RunReport,
) -> Result<Vec<Day>, Failure> {
    let AccountJob { lake, account, zone, .. } = job;
    let api = job.api.as_ref().ok_or_else(|| BugError("a fetch without an API".into()))?;
    let client = api.network.client().clone();
    let source = Source::new(client, api.credential.clone(), job.clock.clone());
    let selection = Selection::of(lake, account, wanted)?;
    // Any file of the lake tells its time zone. As a rule, one of these days has a file.
    if !selection.footers.values().any(|footer| footer.zone() == zone.name()) {
        lake.require_zone(zone.name())?;
    }
    require_app(lake, account, api.app_id.as_ref())?;
    lake.require_no_mark_after(account, wanted.last_over.plus(1))?;
    if report.command != "fetch" {
        require_rules(&job.metrics(), &metrics_of(wanted, selection.days.iter().copied()))?;
    }
    let redaction = finished_redaction(job, observer, cancel)?;
    let Selection { days, refreshed, skipped, pruned, .. } = selection;
    let before = lake.days_among(Table::Messages, account, days.iter().copied())?;
    let source = Arc::new(source.with_redaction(redaction));
    let fetch = FetchJob {
        source: source.clone(),
        lake: lake.clone(),
        account: account.clone(),
        app_id: api.app_id.clone(),
        zone: zone.clone(),
        concurrency: api.concurrency,
        refreshed,
        on_shrink: wanted.on_shrink(),
        cancel: cancel.clone(),
    };
    observer.fetch_begun(days.len());
    let fetched = api.network.wait_for(fetch_days(&fetch, &days, observer));
    // If a commit stopped between the two files of a day, the day has changed.
    let is_whole = |day: &Day| {
        let messages = lake.footer(&account.partition(Table::Messages, *day)).ok();
        !lake.is_unfinished(account, *day, messages.as_ref()).unwrap_or_default()
    };
    let failed = fetched.failed.iter().map(|failed| failed.day);
    let unchanged = failed.chain(fetched.given_up.iter().copied());
    let unchanged = unchanged.filter(|day| before.contains(day) && is_whole(day)).collect();
    let fetched = FetchReport { skipped, pruned, unchanged, ..fetched };
    if fetched.has_answers() {
        report.workers = update_workers(job, &api.network, &source, cancel);
        report.workers.iter().for_each(|workers| observer.workers_updated(workers));
    }
    report.fetch = Some(fetched);
    Ok(days)
}

/// Removes personal data from the files of the account.
fn remove(
    job: &AccountJob,
    openids: &[String],
    observer: &dyn Observer,
    cancel: &Cancel,
    report: &mut RunReport,
) -> Result<(), Failure> {
    let privacy = required_privacy(job)?;
    let AccountJob { lake, account, .. } = job;
    report.redaction = Some(redact(lake, account, privacy, openids, true, observer, cancel)?);
    Ok(())
}

fn required_privacy(job: &AccountJob) -> Result<&Privacy, PrivacyError> {
    let unknown = || PrivacyError::Unknown { account: job.account.clone() };
    job.privacy.as_ref().ok_or_else(unknown)
}

/// What to remove from records. The settings must be those of the lake. Finishes a redaction that
/// was interrupted.
fn finished_redaction(
    job: &AccountJob,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Redaction, Failure> {
    let AccountJob { lake, account, .. } = job;
    let redaction = redaction(lake, account, required_privacy(job)?)?;
    finish_redaction(lake, account, &redaction, observer, cancel)?;
    Ok(redaction)
}

/// Rebuilds metrics that are missing or out of date.
fn rebuild(
    job: &MetricsJob,
    among: Option<&BTreeSet<Day>>,
    observer: &dyn Observer,
    cancel: &Cancel,
    report: &mut RunReport,
) -> Result<(), Failure> {
    let (metrics, failure) = match rebuild_metrics(job, among, observer, cancel) {
        Ok(metrics) => (metrics, None),
        Err(stopped) => {
            let MetricsStopped { report, failure } = *stopped;
            (report, Some(failure))
        }
    };
    report.metrics = Some(metrics);
    failure.map_or(Ok(()), Err)
}
