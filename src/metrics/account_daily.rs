//! `account_daily`: the columns of `worker_daily` over all workers together. They are computed from
//! messages and turns again, because distinct counts and percentiles do not add up.

use polars::prelude::*;

use super::MetricsError;
use super::activity::{Activity, KEYS, Scope, complete, parts};
use super::day_rows::{DayRows, SessionOutcome};
use super::statistics::{counted, join_all};
use crate::model::Table;
use crate::model::column::Role;

const SESSIONS: [(&str, SessionOutcome); 5] = [
    ("sessions_completed", SessionOutcome::Completed),
    ("sessions_missed", SessionOutcome::Missed),
    ("sessions_dropped", SessionOutcome::Dropped),
    ("sessions_open", SessionOutcome::Open),
    ("sessions_outreach", SessionOutcome::Outreach),
];

/// The columns of `worker_daily` over all workers together, for each of the `days`. Adds `workers`
/// (distinct workers who sent a message) and `sessions_…`.
pub(super) fn account_daily(
    activity: &Activity,
    days: &[(i32, DayRows)],
    has_schedule: bool,
) -> Result<DataFrame, MetricsError> {
    let has_sent = col("messages_sent").gt(lit(0));
    let senders =
        activity
            .hours
            .clone()
            .lazy()
            .filter(has_sent)
            .group_by([col("day")])
            .agg([col("worker").n_unique().alias("workers")]);
    let days: Vec<(i32, &DayRows)> = days.iter().map(|(day, found)| (*day, found)).collect();
    let numbers = || days.iter().map(|(day, _)| *day).collect::<Vec<_>>();
    let mut sessions = vec![Column::new("day".into(), numbers())];
    for (name, outcome) in SESSIONS {
        let of_day = |found: &DayRows| {
            found.sessions.iter().filter(|session| session.outcome == outcome).count() as u64
        };
        sessions.push(Column::new(
            name.into(),
            days.iter().map(|(_, found)| of_day(found)).collect::<Vec<_>>(),
        ));
    }
    let keys = df! { "day" => numbers(), "worker" => vec![0u32; days.len()] }?;
    let parts = parts(activity, Scope::Account)?;
    let rows = activity.collect(complete(join_all(keys, parts, &KEYS), has_schedule))?;
    let names = Table::AccountDaily.names(|column| {
        column.role == Role::Count && Table::WorkerDaily.column(column.name).is_none()
    });
    let others = [activity.collect(senders)?, DataFrame::new_infer_height(sessions)?];
    activity.collect(join_all(rows, others, &["day"]).with_columns(counted(&names)))
}
