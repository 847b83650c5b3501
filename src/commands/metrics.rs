//! `kefu metrics`

use super::days;
use super::in_turn::{Outcome, in_turn};
use super::summary::Summary;
use crate::calendar::DayRange;
use crate::cli::{GlobalArgs, MetricsArgs};
use crate::failure::{Class, Failure};
use crate::lake::Lake;
use crate::pipeline::{MetricsJob, refresh_metrics};
use crate::settings::{self, Settings};
use crate::signals;
use crate::telemetry::Progress;

pub(super) fn execute(global: &GlobalArgs, args: &MetricsArgs) -> Result<Option<Class>, Failure> {
    let settings = Settings::resolve(&global.flags(), &settings::environment)?;
    let among = days::named(&args.days)?;
    in_turn("metrics", &settings, global.output, |settings| compute(settings, among))
}

/// The work for one account.
fn compute(settings: &Settings, among: Option<DayRange>) -> Result<Outcome<Summary>, Failure> {
    let lake = Lake::at(&settings.lake.value);
    let account = settings.account()?;
    lake.require_folder()?;
    let _lock = lake.hold()?;
    signals::leave_when_told(&lake, |_| ());
    lake.require_zone(settings.zone.value.name())?;
    let job = MetricsJob { lake, account, parameters: settings.parameters.clone(), zone: settings.zone.value.clone() };
    let report = refresh_metrics(&job, among, &Progress::begin("metrics", 0))?;
    Ok(Summary::new("metrics", &job.account, &job.zone, &job.lake).with_metrics(&report).into())
}
