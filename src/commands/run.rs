//! `kefu run`, `kefu fetch` and `kefu metrics`

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::destination::Guarded;
use super::each_account::EachAccount;
use super::stage_observer::StageObserver;
use super::textfile::{Textfile, log_end};
use super::{account_job, days, settings_with_flags};
use crate::calendar::{Clock, Day};
use crate::cli::{FetchArgs, GlobalArgs, MetricsArgs};
use crate::failure::{ErrorKind, Failure};
use crate::model::cancel::Cancel;
use crate::pipeline::{
    AccountJob, Api, Network, Request, RunReport, Wanted, record_failure, run_account,
};
use crate::settings::{self, Flags, Settings, SettingsError};
use crate::telemetry;

/// A difference between the two clocks of this many seconds or more is a warning.
const SKEW_SECONDS_WARNED: i64 = 60;

/// A store without conditions was accepted, because of `single_writer = true`.
const UNPROTECTED: &str = "the store of the lake does not check conditions, so overlapping runs \
    of one account are not protected from each other (single_writer = true)";

pub(super) fn run(
    global: &GlobalArgs,
    args: &FetchArgs,
    command: &'static str,
    request: fn(Wanted) -> Request,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    let to_fetch = settings_to_fetch(global, args);
    let guarded = || guarded(global, to_fetch.as_ref().ok().map(|(settings, _)| settings));
    let mut textfile = Textfile::new(args.textfile.clone(), guarded)?;
    let outcome = to_fetch.and_then(|(settings, wanted)| {
        for_each(global, &settings, &request(wanted), &mut textfile, cancel)
    });
    textfile.write(command, outcome)
}

pub(super) fn metrics(
    global: &GlobalArgs,
    args: &MetricsArgs,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    let flags = args.many.flags(global);
    let settings = settings_with_flags(&flags, "metrics");
    let guarded = || guarded(global, settings.as_ref().ok());
    let mut textfile = Textfile::new(args.textfile.clone(), guarded)?;
    let outcome = settings.and_then(|settings| {
        let among: Option<BTreeSet<Day>> =
            days::asked(&args.days, &settings.zone.value, &Clock::System)?
                .map(|range| range.days().collect());
        for_each(global, &settings, &Request::Metrics(among), &mut textfile, cancel)
    });
    textfile.write("metrics", outcome)
}

/// What the file of figures must not replace. It is written also when the settings cannot be used.
fn guarded(global: &GlobalArgs, settings: Option<&Settings>) -> Guarded {
    settings.map_or_else(|| Guarded::without_settings(global), Guarded::of)
}

/// The settings of a command that fetches, and the days that it is about.
fn settings_to_fetch(global: &GlobalArgs, args: &FetchArgs) -> Result<(Settings, Wanted), Failure> {
    let flags = Flags {
        lookback: args.lookback,
        refresh: args.refresh,
        concurrency: args.concurrency,
        ..args.many.flags(global)
    };
    let settings = Settings::resolve(&flags, &settings::environment)?;
    for path in settings.exposed_files() {
        telemetry::print_warning(&SettingsError::Exposed { path }.into());
    }
    let refresh = settings.refresh.value;
    let lookback = settings.lookback.value.max(refresh);
    let range = days::to_fetch(&args.days, lookback, &settings.zone.value, &Clock::System)?;
    let is_named = days::are_named(&args.days);
    let last_over = days::last_over(&settings.zone.value, &Clock::System);
    let (force, allow_shrink) = (args.force, args.allow_shrink);
    Ok((settings, Wanted { range, is_named, force, refresh, allow_shrink, last_over }))
}

fn for_each(
    global: &GlobalArgs,
    settings: &Settings,
    request: &Request,
    textfile: &mut Textfile,
    cancel: &Cancel,
) -> Result<Option<ErrorKind>, Failure> {
    textfile.know_all(settings.all_accounts());
    let at_once = settings.accounts_at_once.value.into();
    let count = settings.account_names()?.len();
    let shared = Shared {
        request,
        is_alone: count == 1,
        calls: count.min(at_once) * usize::from(settings.concurrency.value),
        network: Mutex::default(),
        has_warned_of_skew: AtomicBool::new(false),
        has_warned_of_store: AtomicBool::new(false),
        cancel,
    };
    let (command, format) = (request.name(), global.output);
    let accounts = EachAccount { command, settings, format, at_once, cancel };
    accounts.work_off(
        |settings| shared.work_on(settings),
        |account, outcome| textfile.add(command, account.as_str(), outcome),
    )
}

/// What the accounts of a command share.
struct Shared<'a> {
    request: &'a Request,
    /// Whether it is only one account.
    is_alone: bool,
    /// Number of concurrent calls of all accounts.
    calls: usize,
    /// None until the first account needs it.
    network: Mutex<Option<Network>>,
    has_warned_of_skew: AtomicBool,
    has_warned_of_store: AtomicBool,
    cancel: &'a Cancel,
}

impl Shared<'_> {
    /// The work for one account.
    fn work_on(&self, settings: &Settings) -> Result<RunReport, Failure> {
        let request = self.request;
        match request {
            Request::Metrics(_) => {
                // The lock would make the lake.
                settings.open_lake()?.require_folder()?;
            }
            _ => drop(settings.account_to_write()?),
        }
        let job = account_job(settings)?;
        let account = &job.account;
        // People see the summary.
        if telemetry::is_for_machines() {
            tracing::info!(event = "run_begun", command = request.name(), account = %account);
        }
        let observer = StageObserver::new(account, self.is_alone);
        let report = match self.with_api(settings, job.clone()) {
            Ok(job) => run_account(&job, request, &observer, self.cancel),
            Err(failure) => record_failure(&job, request.name(), failure),
        };
        if job.lake.is_unprotected() && !self.has_warned_of_store.swap(true, Ordering::Relaxed) {
            telemetry::print_plain_warning(UNPROTECTED, None);
        }
        log_end(&report.record());
        let skew = report.fetch.as_ref().and_then(|fetch| fetch.clock_skew_seconds);
        let skew = skew.unwrap_or_default();
        let is_skewed = skew.abs() >= SKEW_SECONDS_WARNED;
        if is_skewed && !self.has_warned_of_skew.swap(true, Ordering::Relaxed) {
            warn_of_skew(skew);
        }
        Ok(report)
    }

    /// The job with what it takes to call WeChat. Metrics alone need no credentials.
    fn with_api(&self, settings: &Settings, job: AccountJob) -> Result<AccountJob, Failure> {
        if matches!(self.request, Request::Metrics(_)) {
            return Ok(AccountJob { privacy: settings.privacy().ok(), ..job });
        }
        let api = Api {
            app_id: settings.app_id()?,
            credential: settings.credential()?,
            network: self.network(settings)?,
            concurrency: settings.concurrency.value.into(),
        };
        Ok(AccountJob { privacy: Some(settings.privacy()?), api: Some(api), ..job })
    }

    /// The network, which the first account opens. All accounts have the same base URL.
    fn network(&self, settings: &Settings) -> Result<Network, Failure> {
        let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*network {
            Some(network) => network.clone(),
            None => network.insert(Network::open(&settings.endpoint()?, self.calls)?).clone(),
        })
    }
}

/// Says once in a run that this machine's clock differs from WeChat's. A day that is not over by
/// WeChat's clock is refused anyway.
fn warn_of_skew(skew_seconds: i64) {
    let direction = if skew_seconds > 0 { "ahead of" } else { "behind" };
    let text = format!(
        "this machine's clock is {} s {direction} WeChat's; set it with NTP, because it decides which days are over and can be fetched",
        skew_seconds.abs()
    );
    if telemetry::is_for_machines() {
        tracing::warn!(event = "clock_skew", skew_seconds, text);
    } else {
        telemetry::print_note(&format!("warning: {text}"));
    }
}
