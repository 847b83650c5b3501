//! `account_daily`: the numbers of `worker_daily` over all workers together, computed from messages and turns once more because distinct
//! counts and percentiles do not add up.

use polars::prelude::*;

use super::activity::{Activity, KEYS, Scope, complete, parts};
use super::conversations::{Session, SessionOutcome};
use super::statistics::{counted, join_all};
use super::{History, MetricsError};

const SESSIONS: [(&str, SessionOutcome); 5] = [
    ("sessions_completed", SessionOutcome::Completed),
    ("sessions_missed", SessionOutcome::Missed),
    ("sessions_dropped", SessionOutcome::Dropped),
    ("sessions_open", SessionOutcome::Open),
    ("sessions_outreach", SessionOutcome::Outreach),
];

/// The columns of `worker_daily` over all workers together for each `day` of `days`, with `workers` (who sent anything) and `sessions_…`.
pub(super) fn account_daily(
    activity: Activity,
    sessions: &[Session],
    days: &[i32],
    history: &History,
    has_schedule: bool,
) -> Result<LazyFrame, MetricsError> {
    let has_sent = col("messages_sent").gt(lit(0));
    let senders = activity.hours.clone().filter(has_sent).group_by([col("day")]).agg([col("worker").n_unique().alias("workers")]);
    let sessions = polars::df! {
        "day" => sessions.iter().map(|session| history.first_day() + i32::from(session.day)).collect::<Vec<_>>(),
        "outcome" => sessions.iter().map(|session| session.outcome as u32).collect::<Vec<_>>(),
    }?;
    let by_outcome = SESSIONS.map(|(name, outcome)| col("outcome").eq(lit(outcome as u32)).sum().alias(name));
    let sessions = sessions.lazy().group_by([col("day")]).agg(by_outcome);
    let parts = parts(activity, Scope::Account)?;
    let keys = polars::df! { "day" => days, "worker" => vec![0u32; days.len()] }?;
    let rows = complete(join_all(keys.lazy(), parts, &KEYS), has_schedule);
    let names: Vec<&str> = ["workers"].into_iter().chain(SESSIONS.map(|(name, _)| name)).collect();
    Ok(join_all(rows, [senders, sessions], &["day"]).with_columns(counted(&names)))
}
