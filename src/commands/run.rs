//! `kefu run` and `kefu fetch`

use std::collections::BTreeSet;
use std::sync::Arc;

use super::summary::Summary;
use super::{days, wait_for};
use crate::calendar::{Clock, Day};
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

pub(super) fn execute(global: &GlobalArgs, args: &FetchArgs, half: Half) -> Result<Option<Class>, Failure> {
    let flags = Flags { lookback: args.lookback, concurrency: args.concurrency, ..global.flags() };
    let settings = Settings::resolve(&flags, &settings::environment)?;
    let clock = Clock::System;
    let zone = settings.zone.value.clone();
    let lookback = settings.lookback.value.max(args.refresh.unwrap_or_default());
    let range = days::to_fetch(&args.days, lookback, &zone, &clock)?;
    let account = settings.account()?;
    let credential = settings.credential()?;
    let source = Source::connect(&settings.base_url.value, credential, clock)?;
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
    let class = report.class();
    let name = if half == Half::Both { "run" } else { "fetch" };
    let mut summary = Summary::new(name, &account, &zone, &lake).with_fetch(&report);
    if half == Half::Both {
        let job = MetricsJob { lake: lake.clone(), account: account.clone(), zone: zone.clone(), parameters: settings.parameters };
        // What was committed is worth computing even if some days failed.
        let metrics = refresh_metrics(&job, None, &Progress::begin("metrics", 0));
        match metrics {
            Ok(metrics) => summary = summary.with_metrics(&metrics),
            Err(failure) => {
                summary.show(global.output)?;
                return Err(failure.during("the metrics could not be computed"));
            }
        }
    }
    summary.show(global.output)?;
    Ok(class)
}
