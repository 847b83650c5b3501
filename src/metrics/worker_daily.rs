//! `worker_daily`: the activity of each worker on each day.

use polars::prelude::*;

use super::MetricsError;
use super::activity::{Activity, KEYS, Scope, complete, parts};
use super::statistics::{join_all, keys_of};

/// The columns of `worker_daily`, sorted by (`day`, `worker`). There is a row for each key of the
/// scope with any activity.
pub(super) fn worker_daily(
    activity: &Activity,
    scope: Scope,
    has_schedule: bool,
) -> Result<DataFrame, MetricsError> {
    let parts = parts(activity, scope)?;
    let keys = keys_of(&parts, &KEYS)?;
    let rows = complete(join_all(keys, parts, &KEYS), has_schedule);
    activity.collect(rows.sort(KEYS, SortMultipleOptions::default()))
}
