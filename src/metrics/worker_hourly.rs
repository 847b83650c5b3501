//! `worker_hourly`: the activity of each worker in each local hour.

use polars::prelude::*;

use super::MetricsError;
use super::activity::{Activity, HOUR_OF_WORKER, count_by};
use super::day_rows::Outcome;
use super::statistics::{count, counted, is, join_all, keys_of, statistics, with_percentiles};
use crate::model::Table;
use crate::model::column::Role;

const KEYS: [&str; 3] = ["day", "worker", "hour"];

/// The rows of `worker_hourly`, sorted by (`day`, `worker`, `hour`), with `day` added to the
/// table's columns. Only hours with any activity have a row.
pub(super) fn worker_hourly(activity: &Activity) -> Result<DataFrame, MetricsError> {
    // Messages count in the hour in which they were sent.
    let by_message = activity
        .hours
        .clone()
        .lazy()
        .group_by(KEYS.map(col))
        .agg([col("messages_received").sum(), col("messages_sent").sum()]);
    // Turns count in the hour in which they were asked.
    let mut columns = vec![
        count(is(Outcome::Answered)).alias("answered"),
        count(is(Outcome::Pending)).alias("pending"),
        count(is(Outcome::Unanswered).and(col("is_first"))).alias("unanswered_first"),
        count(is(Outcome::Unanswered).and(col("is_first").not())).alias("unanswered_later"),
    ];
    columns.extend(statistics(Table::WorkerHourly)?);
    let by_turn = count_by(activity.pairs.clone().lazy(), HOUR_OF_WORKER, &KEYS, columns);
    let by_turn = with_percentiles(activity.collect(by_turn)?, Table::WorkerHourly)?;
    let parts = [activity.collect(by_message)?, by_turn];
    let keys = keys_of(&parts, &KEYS)?;
    let counts = Table::WorkerHourly.names(|column| column.role == Role::Count);
    let rows = join_all(keys, parts, &KEYS).with_columns(counted(&counts));
    activity.collect(rows.sort(KEYS, SortMultipleOptions::default()))
}
