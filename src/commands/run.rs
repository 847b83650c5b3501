//! `kefu run` and `kefu fetch`

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
    let range = days::to_fetch(&args.days, settings.lookback.value, &settings.zone.value, &Clock::System)?;
    in_turn(half.name(), &settings, global.output, |settings| run(settings, args.force, half, range))
}

/// The work for one account.
fn run(settings: &Settings, force: bool, half: Half, range: DayRange) -> Result<Outcome<Summary>, Failure> {
    let zone = settings.zone.value.clone();
    let account = settings.account()?;
    let credential = settings.credential()?;
    let source = Source::connect(&settings.base_url.value, credential, Clock::System)?;
    let lake = Lake::at(&settings.lake.value);
    let _lock = lake.hold()?;
    lake.require_zone(zone.name())?;

    let there = if force { Default::default() } else { lake.days(Table::Messages, &account)? };
    let (skipped, wanted): (Vec<Day>, Vec<Day>) = range.days().partition(|day| there.contains(day));
    let job = FetchJob {
        source: Arc::new(source),
        lake: lake.clone(),
        account: account.clone(),
        zone: zone.clone(),
        concurrency: settings.concurrency.value.into(),
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
