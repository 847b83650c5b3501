//! `account_daily`: the numbers of `worker_daily` over all workers together, computed from messages and turns once more because distinct
//! counts and percentiles do not add up.

use polars::prelude::*;

use super::activity::{Activity, KEYS, complete, parts};
use super::statistics::{count, counted, is, join_all};

/// The columns of `worker_daily` over all workers together for each day of the targets, with `workers` (who sent anything) and `sessions_…`.
pub(super) fn account_daily(activity: Activity, sessions: LazyFrame, targets: LazyFrame, has_schedule: bool) -> PolarsResult<LazyFrame> {
    let senders =
        activity.messages.clone().filter(col("inbound").not()).group_by([col("day")]).agg([col("worker").n_unique().alias("workers")]);
    let outcomes = ["completed", "missed", "dropped", "open", "outreach"];
    let by_outcome = outcomes.map(|outcome| count(is(outcome)).alias(format!("sessions_{outcome}")));
    let sessions = sessions.group_by([col("day")]).agg(by_outcome);
    let parts = parts(activity.relabelled(&lit(0u32).alias("worker")))?;
    let keys = targets.select([col("day"), lit(0u32).alias("worker")]);
    let rows = complete(join_all(keys, parts, &KEYS), has_schedule);
    let mut names = vec!["workers".to_owned()];
    names.extend(outcomes.map(|outcome| format!("sessions_{outcome}")));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(join_all(rows, [senders, sessions], &["day"]).with_columns(counted(&names)))
}
