//! `kefu run` and `kefu fetch`

use std::collections::BTreeSet;
use std::sync::Arc;

use super::in_turn::{Outcome, in_turn};
use super::metrics::computed;
use super::operated::Operated;
use super::summary::Summary;
use super::watched::Watched;
use super::{days, wait_for};
use crate::calendar::{Clock, Day, DayRange};
use crate::cli::{FetchArgs, GlobalArgs};
use crate::failure::{Class, Failure};
use crate::fetch::Source;
use crate::lake::{Lake, Table};
use crate::operations::History;
use crate::pipeline::{FetchJob, MetricsJob, MixedOpenids, fetch_days, refresh_metrics, require_privacy};
use crate::settings::{self, Flags, Settings};

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

/// The days to fetch, and what to do about those that are there.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    range: DayRange,
    /// Whether the days were named.
    is_named: bool,
    /// Fetch them all again.
    force: bool,
    /// Fetch the last so many again, and replace those that have changed.
    refresh: u16,
}

pub(super) fn execute(global: &GlobalArgs, args: &FetchArgs, half: Half) -> Result<Option<Class>, Failure> {
    let operated = Operated::begin(half.name(), args.textfile.clone());
    let outcome = run_each(global, args, half, &operated);
    operated.end(outcome)
}

fn run_each(global: &GlobalArgs, args: &FetchArgs, half: Half, operated: &Operated) -> Result<Option<Class>, Failure> {
    let flags = Flags { lookback: args.lookback, concurrency: args.concurrency, ..global.flags() };
    let settings = Settings::resolve(&flags, &settings::environment)?;
    let refresh = args.refresh.unwrap_or_default();
    let lookback = settings.lookback.value.max(refresh);
    let range = days::to_fetch(&args.days, lookback, &settings.zone.value, &Clock::System)?;
    let is_named = days::named(&args.days)?.is_some();
    let wanted = Wanted { range, is_named, force: args.force, refresh };
    in_turn(half.name(), &settings, global.output, |settings| {
        operated.account(settings, |lake, history| run(settings, wanted, half, lake, history))
    })
}

/// The work for one account.
fn run(settings: &Settings, wanted: Wanted, half: Half, lake: &Lake, history: &History) -> Result<Outcome<Summary>, Failure> {
    let zone = settings.zone.value.clone();
    let account = settings.account()?;
    let credential = settings.credential()?;
    let source = Source::connect(&settings.base_url.value, credential, Clock::System)?.with_privacy(settings.privacy()?);
    lake.require_zone(zone.name())?;

    let mut there = if wanted.force { BTreeSet::new() } else { lake.days(Table::Messages, &account)? };
    // What a run that was killed has left half changed is not there.
    let unfinished = lake.unfinished_days(&account)?;
    there.retain(|day| !unfinished.contains(day));
    let is_refreshed = |day: &Day| *day > wanted.range.last.plus(-i64::from(wanted.refresh));
    let refreshed: BTreeSet<Day> = there.iter().copied().filter(|day| wanted.range.contains(*day) && is_refreshed(day)).collect();
    // What was pruned comes back only when it is named, and not among days that are to be fetched again.
    let pruned = lake.pruned()?;
    let is_there = |day: &Day| lake.path(Table::Messages, &account, *day).is_file();
    let stays_away = |day: &Day| (!wanted.is_named || wanted.force) && pruned.includes(Table::Messages, *day) && !is_there(day);
    let absent: Vec<Day> = wanted.range.days().filter(stays_away).collect();
    let unfinished = unfinished.into_iter().filter(|day| !wanted.range.contains(*day) && is_there(day));
    let days = wanted.range.days().filter(|day| !stays_away(day)).chain(unfinished);
    let (skipped, days): (Vec<Day>, Vec<Day>) = days.partition(|day| there.contains(day) && !refreshed.contains(day));
    // Whether a refreshed day will be replaced is not known yet.
    let replaced = days.iter().copied().filter(|day| !refreshed.contains(day)).collect();
    require_privacy(lake, &account, source.privacy(), &replaced)?;
    let job = FetchJob {
        source: Arc::new(source),
        lake: lake.clone(),
        account: account.clone(),
        zone: zone.clone(),
        concurrency: settings.concurrency.value.into(),
        refreshed,
    };
    history.asked(days.len(), skipped.len(), absent.len());
    let mut report = wait_for(async { Ok(fetch_days(&job, &days, &Watched::fetch(days.len(), &account, Some(history))).await) })?;
    report.skipped = skipped;
    report.pruned = absent;
    let summary = Summary::new(half.name(), &account, &zone, lake).with_fetch(&report, is_there);
    let mut outcome = Outcome { class: report.class(), report: summary, failure: None };
    if half == Half::Both && report.worst() == Some(Class::Lake) {
        // They could not be written either; the next run computes them.
        outcome.report = outcome.report.without_metrics();
    } else if half == Half::Both {
        let job = MetricsJob { lake: lake.clone(), account: account.clone(), zone, parameters: settings.parameters.clone() };
        // What was committed is worth computing even if some days failed.
        let (metrics, failure) = computed(refresh_metrics(&job, None, &Watched::metrics(&account, Some(history))), history);
        // Days that were not fetched may be why openids differ; then the fetch says what to do.
        let mixed = MixedOpenids::of(&metrics).filter(|_| report.failed.is_empty() && report.given_up.is_empty()).map(Failure::from);
        outcome.report = outcome.report.with_metrics(metrics);
        outcome.failure = failure.or(mixed).map(|failure| failure.during("not all metrics could be computed"));
    }
    Ok(outcome)
}
