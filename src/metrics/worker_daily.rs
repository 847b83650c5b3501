//! `worker_daily`: what each worker did on each day.

use polars::prelude::*;

use super::activity::{Activity, KEYS, complete, parts};
use super::statistics::{join_all, keys_of};

/// The columns of `worker_daily` for each (`day`, `worker`) that has any activity, in order.
pub(super) fn worker_daily(activity: Activity, has_schedule: bool) -> PolarsResult<LazyFrame> {
    let parts = parts(activity)?;
    let keys = keys_of(&parts, &KEYS)?;
    Ok(complete(join_all(keys, parts, &KEYS), has_schedule).sort(KEYS, SortMultipleOptions::default()))
}
