//! `worker_daily`: what each worker did on each day.

use polars::prelude::*;

/// Thresholds, in seconds, of the columns `answered_within_…s`.
const WITHIN_SECONDS: [i64; 4] = [30, 60, 180, 300];

/// The rows of `worker_daily`, with `day` beside the table's columns, by (`day`, `worker`).
///
/// `messages` are the rows of the timeline to count and `pairs` the response pairs, each under the `day` that it is to be counted on;
/// `members` are the rows of the timeline that make up turns.
pub(super) fn worker_daily(messages: LazyFrame, members: LazyFrame, pairs: LazyFrame) -> PolarsResult<LazyFrame> {
    let parts = [by_message(messages.clone()), by_customer(messages), by_turn(pairs.clone()), by_hand_off(members, pairs)];

    // A row for each worker that any part knows.
    let keys = parts.clone().map(|part| part.select([col("day"), col("worker")]));
    let workers = concat(keys, UnionArgs::default())?.unique(None, UniqueKeepStrategy::Any);
    let rows = parts
        .into_iter()
        .fold(workers, |workers, part| {
            workers.join(part, [col("day"), col("worker")], [col("day"), col("worker")], JoinArgs::new(JoinType::Left))
        })
        // A part without a row for the worker counted nothing.
        .with_columns(COUNTS.map(|count| col(count).fill_null(lit(0)).cast(DataType::Int64)))
        .with_columns([
            lit(0i64).alias("auto_messages_sent"),
            lit(0i64).alias("max_concurrent"),
            lit(NULL).cast(DataType::Float64).alias("mean_concurrent"),
            lit(NULL).cast(DataType::Int64).alias("answered_in_hours"),
            lit(NULL).cast(DataType::Float64).alias("business_seconds_mean"),
            lit(NULL).cast(DataType::Float64).alias("business_seconds_p50"),
            lit(NULL).cast(DataType::Float64).alias("business_seconds_p90"),
            lit(NULL).cast(DataType::Int64).alias("asked_out_of_hours"),
        ])
        .sort(["day", "worker"], SortMultipleOptions::default());
    Ok(rows)
}

const COUNTS: [&str; 18] = [
    "messages_received",
    "messages_sent",
    "replies",
    "follow_ups",
    "outreach",
    "customers",
    "customers_served",
    "answered",
    "pending",
    "unanswered_first",
    "unanswered_later",
    "takeovers",
    "handed_off",
    "answered_within_30s",
    "answered_within_60s",
    "answered_within_180s",
    "answered_within_300s",
    "first_responses",
];

/// How many rows of the group have the property.
fn count(property: Expr) -> Expr {
    property.sum()
}

/// Dated by the message's own day.
fn by_message(messages: LazyFrame) -> LazyFrame {
    let sent_at = || col("sent_at").filter(col("inbound").not());
    messages.group_by([col("day"), col("worker")]).agg([
        count(col("inbound")).alias("messages_received"),
        count(col("inbound").not()).alias("messages_sent"),
        count(col("is_reply")).alias("replies"),
        count(col("is_follow_up")).alias("follow_ups"),
        count(col("is_outreach")).alias("outreach"),
        sent_at().min().alias("first_sent_at"),
        sent_at().max().alias("last_sent_at"),
    ])
}

/// Dated by the message's own day, each customer counted once.
fn by_customer(messages: LazyFrame) -> LazyFrame {
    messages
        .group_by([col("day"), col("worker"), col("customer")])
        .agg([col("inbound").any(true).alias("was_received"), col("inbound").not().any(true).alias("was_sent")])
        .group_by([col("day"), col("worker")])
        .agg([count(col("was_received")).alias("customers"), count(col("was_received").and(col("was_sent"))).alias("customers_served")])
}

/// Dated by the day on which the turn was asked, credited to the pair's worker.
fn by_turn(pairs: LazyFrame) -> LazyFrame {
    let is = |outcome: &str| col("outcome").eq(lit(outcome));
    let mut columns = vec![
        count(is("answered")).alias("answered"),
        count(is("pending")).alias("pending"),
        count(is("unanswered").and(col("is_first"))).alias("unanswered_first"),
        count(is("unanswered").and(col("is_first").not())).alias("unanswered_later"),
        // The worker answered a turn of which it had received nothing.
        count(is("answered").and(col("own_response_seconds").is_null())).alias("takeovers"),
        count(is("answered").and(col("is_first"))).alias("first_responses"),
    ];
    columns.extend(WITHIN_SECONDS.map(|seconds| {
        count(col("response_seconds").lt_eq(lit(seconds)).fill_null(lit(false))).alias(format!("answered_within_{seconds}s"))
    }));
    columns.extend(whole_statistics("response_seconds"));
    columns.extend(whole_statistics("first_response_seconds"));
    columns.extend([mean("own_response_seconds"), percentile("own_response_seconds", 50), percentile("own_response_seconds", 90)]);
    let first_response_seconds = when(col("is_first")).then(col("response_seconds")).otherwise(lit(NULL).cast(DataType::Int64));
    pairs.with_column(first_response_seconds.alias("first_response_seconds")).group_by([col("day"), col("worker")]).agg(columns)
}

/// `column`_{sum,mean,p50,p90,p95,max} over its values; null where there are none.
fn whole_statistics(column: &str) -> [Expr; 6] {
    // The sum of no values would be 0.
    let sum = when(col(column).count().gt(lit(0))).then(col(column).sum()).otherwise(lit(NULL).cast(DataType::Int64));
    [
        sum.alias(format!("{column}_sum")),
        mean(column),
        percentile(column, 50),
        percentile(column, 90),
        percentile(column, 95),
        col(column).max().alias(format!("{column}_max")),
    ]
}

fn mean(column: &str) -> Expr {
    col(column).mean().alias(format!("{column}_mean"))
}

/// Linear interpolation at (n − 1) · p, like SQL's `percentile_cont`.
fn percentile(column: &str, percent: u8) -> Expr {
    col(column).quantile(lit(f64::from(percent) / 100.0), QuantileMethod::Linear).alias(format!("{column}_p{percent}"))
}

/// Turns in which a worker received an IN and another one is credited, dated by the day on which the turn was asked.
fn by_hand_off(members: LazyFrame, pairs: LazyFrame) -> LazyFrame {
    let credited = pairs.select([col("turn"), col("day").alias("asked_day"), col("worker").alias("credited")]);
    members
        .filter(col("inbound"))
        .join(credited, [col("turn")], [col("turn")], JoinArgs::new(JoinType::Inner))
        .filter(col("worker").neq(col("credited")))
        .select([col("asked_day").alias("day"), col("worker"), col("turn")])
        .unique(None, UniqueKeepStrategy::Any)
        .group_by([col("day"), col("worker")])
        .agg([len().alias("handed_off")])
}
