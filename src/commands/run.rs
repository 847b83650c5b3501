//! `kefu run` and `kefu fetch`

use std::collections::BTreeSet;
use std::sync::Arc;

use super::in_turn::{Outcome, in_turn};
use super::summary::Summary;
use super::{days, wait_for};
use crate::calendar::{Clock, Day, DayRange};
use crate::cli::{FetchArgs, GlobalArgs};
use crate::failure::{Class, Failure};
use crate::fetch::Source;
use crate::lake::{Lake, Table};
use crate::pipeline::{FetchJob, MetricsJob, fetch_days, refresh_metrics};
use crate::settings::{self, Flags, Settings};
use crate::signals;
use crate::telemetry::Progress;

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

pub(super) fn execute(global: &GlobalArgs, args: &FetchArgs, half: Half) -> Result<Option<Class>, Failure> {
    let flags = Flags { lookback: args.lookback, concurrency: args.concurrency, ..global.flags() };
    let settings = Settings::resolve(&flags, &settings::environment)?;
    let lookback = settings.lookback.value.max(args.refresh.unwrap_or_default());
    let range = days::to_fetch(&args.days, lookback, &settings.zone.value, &Clock::System)?;
    in_turn(half.name(), &settings, global.output, |settings| run(settings, args, half, range))
}

/// The work for one account.
fn run(settings: &Settings, args: &FetchArgs, half: Half, range: DayRange) -> Result<Outcome<Summary>, Failure> {
    let zone = settings.zone.value.clone();
    let account = settings.account()?;
    let credential = settings.credential()?;
    let source = Source::connect(&settings.base_url.value, credential, Clock::System)?;
    let lake = Lake::at(&settings.lake.value);
    let _lock = lake.hold()?;
    signals::leave_when_told(&lake, |_| ());
    lake.require_zone(zone.name())?;

    let there = if args.force { Default::default() } else { lake.days(Table::Messages, &account)? };
    let is_refreshed = |day: &Day| args.refresh.is_some_and(|days| *day > range.last.plus(-i64::from(days)));
    let refreshed: BTreeSet<Day> = there.iter().copied().filter(|day| range.contains(*day) && is_refreshed(day)).collect();
    let (skipped, wanted): (Vec<Day>, Vec<Day>) = range.days().partition(|day| there.contains(day) && !refreshed.contains(day));
    let job = FetchJob {
        source: Arc::new(source),
        lake: lake.clone(),
        account: account.clone(),
        zone: zone.clone(),
        concurrency: settings.concurrency.value.into(),
        refreshed,
    };
    let mut report = wait_for(async { Ok(fetch_days(&job, &wanted, &Progress::begin("fetch", wanted.len())).await) })?;
    report.skipped = skipped;
    let mut outcome =
        Outcome { class: report.class(), report: Summary::new(half.name(), &account, &zone, &lake).with_fetch(&report), failure: None };
    if half == Half::Both {
        let job = MetricsJob { lake, account, zone, parameters: settings.parameters.clone() };
        // What was committed is worth computing even if some days failed.
        match refresh_metrics(&job, None, &Progress::begin("metrics", 0)) {
            Ok(metrics) => outcome.report = outcome.report.with_metrics(&metrics),
            Err(failure) => outcome.failure = Some(failure.during("the metrics could not be computed")),
        }
    }
    Ok(outcome)
}
