//! `kefu metrics`

use super::days;
use super::summary::Summary;
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
    let lake = Lake::at(&settings.lake.value);
    let account = settings.account()?;
    lake.require_folder()?;
    let _lock = lake.hold()?;
    signals::leave_when_told(&lake, |_| ());
    lake.require_zone(settings.zone.value.name())?;
    let job = MetricsJob { lake, account, parameters: settings.parameters, zone: settings.zone.value };
    let report = refresh_metrics(&job, among, &Progress::begin("metrics", 0))?;
    Summary::new("metrics", &job.account, &job.zone, &job.lake).with_metrics(&report).show(global.output)?;
    Ok(None)
}
