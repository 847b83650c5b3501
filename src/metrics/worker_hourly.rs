//! `worker_hourly`: what each worker did in each local hour.

use polars::prelude::*;

use super::statistics::{count, counted, is, join_all, keys_of, mean, percentile, sum};

const KEYS: [&str; 3] = ["day", "worker", "hour"];

/// From the timeline's rows and the response pairs of the wanted days, the rows of `worker_hourly`, with `day` beside the table's columns,
/// by (`day`, `worker`, `hour`). Only hours with something in them.
pub(super) fn worker_hourly(messages: LazyFrame, pairs: LazyFrame) -> PolarsResult<LazyFrame> {
    // By the message's hour.
    let by_message = messages
        .group_by(KEYS.map(col))
        .agg([count(col("inbound")).alias("messages_received"), count(col("inbound").not()).alias("messages_sent")]);
    // By the hour asked.
    let by_turn = pairs.group_by(KEYS.map(col)).agg([
        count(is("answered")).alias("answered"),
        count(is("pending")).alias("pending"),
        count(is("unanswered").and(col("is_first"))).alias("unanswered_first"),
        count(is("unanswered").and(col("is_first").not())).alias("unanswered_later"),
        sum("response_seconds"),
        mean("response_seconds"),
        percentile("response_seconds", 50),
        percentile("response_seconds", 90),
    ]);
    let parts = [by_message, by_turn];
    let keys = keys_of(&parts, &KEYS)?;
    let counts = ["messages_received", "messages_sent", "answered", "pending", "unanswered_first", "unanswered_later"];
    Ok(join_all(keys, parts, &KEYS).with_columns(counted(&counts)).sort(KEYS, SortMultipleOptions::default()))
}
