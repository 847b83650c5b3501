//! `kefu run` and `kefu fetch`

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::each_account::{Outcome, for_each_account};
use super::metrics::computed;
use super::recorder::Recorder;
use super::stage_observer::StageObserver;
use super::summary::Summary;
use super::{days, wait_for};
use crate::calendar::{Clock, Day};
use crate::cli::{FetchArgs, GlobalArgs};
use crate::failure::{Class, Failure};
use crate::fetch::Source;
use crate::lake::{Lake, Table};
use crate::operations::History;
use crate::pipeline::{
    FetchJob, MetricsJob, Selection, Wanted, dependents, fetch_days, finish_redaction,
    rebuild_metrics, redaction, require_app, require_rules,
};
use crate::settings::{self, Flags, Settings, SettingsError};
use crate::telemetry;

/// A difference between the two clocks of this many seconds or more is a warning.
const SKEW_SECONDS_WARNED: i64 = 60;

/// How much of the nightly job to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    FetchOnly,
    Both,
}

impl Half {
    /// The command that does so much.
    fn name(self) -> &'static str {
        match self {
            Self::FetchOnly => "fetch",
            Self::Both => "run",
        }
    }
}

pub(super) fn execute(
    global: &GlobalArgs,
    args: &FetchArgs,
    half: Half,
) -> Result<Option<Class>, Failure> {
    let recorder = Recorder::begin(half.name(), args.textfile.clone());
    let outcome = run_each(global, args, half, &recorder);
    recorder.end(outcome)
}

fn run_each(
    global: &GlobalArgs,
    args: &FetchArgs,
    half: Half,
    recorder: &Recorder,
) -> Result<Option<Class>, Failure> {
    let flags = Flags {
        lookback: args.lookback,
        refresh: args.refresh,
        concurrency: args.concurrency,
        ..global.flags()
    };
    let settings = Settings::resolve(&flags, &settings::environment)?;
    for path in settings.exposed_files() {
        telemetry::print_warning(&SettingsError::Exposed { path }.into());
    }
    let refresh = settings.refresh.value;
    let lookback = settings.lookback.value.max(refresh);
    let range = days::to_fetch(&args.days, lookback, &settings.zone.value, &Clock::System)?;
    let is_named = days::named(&args.days)?.is_some();
    let last_over = days::last_over(&settings.zone.value, &Clock::System);
    let (force, allow_shrink) = (args.force, args.allow_shrink);
    let wanted = Wanted { range, is_named, force, refresh, allow_shrink, last_over };
    let is_skew_told = Cell::new(false);
    for_each_account(half.name(), &settings, global.output, |settings| {
        settings.account_to_write()?;
        recorder.account(settings, |lake, history| {
            run(settings, wanted, half, lake, history, &is_skew_told)
        })
    })
}

/// The work for one account.
fn run(
    settings: &Settings,
    wanted: Wanted,
    half: Half,
    lake: &Lake,
    history: &History,
    is_skew_told: &Cell<bool>,
) -> Result<Outcome<Summary>, Failure> {
    let zone = settings.zone.value.clone();
    let account = settings.account()?;
    let metrics = MetricsJob {
        lake: lake.clone(),
        account: account.clone(),
        zone: zone.clone(),
        rules: settings.rules.clone(),
    };
    let (app_id, credential) = (settings.app_id()?, settings.credential()?);
    let source = Source::connect(&settings.endpoint()?, credential, Clock::System)?;
    let privacy = settings.privacy()?;
    let selection = Selection::of(lake, &account, wanted)?;
    // One file says it, as a rule one of the days of this run.
    if !selection.footers.values().any(|footer| footer.zone() == zone.name()) {
        lake.require_zone(zone.name())?;
    }
    require_app(lake, &account, app_id.as_ref())?;
    lake.require_no_mark_after(&account, wanted.last_over.plus(1))?;
    if half == Half::Both {
        require_rules(&metrics)?;
    }
    let redaction = redaction(lake, &account, &privacy)?;
    finish_redaction(lake, &account, &redaction)?;
    let source = source.with_redaction(redaction);
    let Selection { days, refreshed, skipped, pruned, .. } = selection;
    let is_there = |day: &&Day| lake.has(&account.partition(Table::Messages, **day));
    let before: BTreeSet<Day> = days.iter().filter(is_there).copied().collect();
    let job = FetchJob {
        source: Arc::new(source),
        lake: lake.clone(),
        account: account.clone(),
        app_id,
        zone: zone.clone(),
        concurrency: settings.concurrency.value.into(),
        refreshed,
        on_shrink: wanted.on_shrink(),
    };
    history.asked(days.len(), skipped.len(), pruned.len());
    let mut report = wait_for(job.concurrency, async {
        Ok(fetch_days(&job, &days, &StageObserver::fetch(days.len(), &account, Some(history)))
            .await)
    })?;
    history.clock_skew(report.clock_skew_seconds);
    let skew = report.clock_skew_seconds.unwrap_or_default();
    if skew.abs() >= SKEW_SECONDS_WARNED && !is_skew_told.replace(true) {
        warn_of_skew(skew);
    }
    report.skipped = skipped;
    report.pruned = pruned;
    // A day of which one file was changed and the other was not is not as it was.
    let is_whole = |day: &Day| {
        let messages = lake.footer(&account.partition(Table::Messages, *day)).ok();
        !lake.is_unfinished(&account, *day, messages.as_ref()).unwrap_or_default()
    };
    let is_unchanged = |day: &Day| before.contains(day) && is_whole(day);
    let summary =
        Summary::new(half.name(), &account, &zone, lake).with_fetch(&report, is_unchanged);
    let mut outcome = Outcome { class: report.class(), report: summary, failure: None };
    if half == Half::Both && report.worst() == Some(Class::Lake) {
        // They could not be written either; the same run again computes them.
        outcome.report = outcome.report.without_metrics();
    } else if half == Half::Both {
        // What was committed is worth computing even if some days failed.
        let among = dependents(wanted.range.days().chain(days));
        let (computed_metrics, failure) = computed(
            rebuild_metrics(
                &metrics,
                Some(&among),
                &StageObserver::metrics(&account, Some(history)),
            ),
            history,
        );
        outcome.report = outcome.report.with_metrics(computed_metrics);
        outcome.failure =
            failure.map(|failure| failure.during("not all metrics could be computed"));
    }
    Ok(outcome)
}

/// Says once in a run that this machine's clock differs from WeChat's. A day that is not over by
/// WeChat's clock is refused anyway.
fn warn_of_skew(skew_seconds: i64) {
    let direction = if skew_seconds > 0 { "ahead of" } else { "behind" };
    let text = format!(
        "this machine's clock is {} s {direction} WeChat's, and decides which days a run looks at: set it (NTP)",
        skew_seconds.abs()
    );
    if telemetry::is_for_machines() {
        tracing::warn!(event = "clock_skew", skew_seconds, text);
    } else {
        telemetry::print_note(&format!("warning: {text}"));
    }
}
