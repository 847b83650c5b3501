//! The messages of one worker with one customer, one after the other: whom a worker had to do with, and how many at once.
//!
//! A segment is a maximal stretch of such a chain without a gap longer than the session gap. It covers the time from its first message to one
//! second after its last, cut at the bounds of the day.

use polars::prelude::*;

use super::Parameters;
use super::statistics::in_order;
use super::timeline::{counted_since, since};

/// From the timeline and the targets (`day`, `day_start`, `day_end`), the rows of the targets' days in order of (`customer`, `worker`, `sent_at`, `seq`),
/// with the columns added:
///
/// - `starts_visit`, `ends_visit`: bool, first and last message of the worker with the customer on the day;
/// - `starts_piece`, `ends_piece`: bool, first and last message of a segment on the day;
/// - `comes_from_before`, `goes_on`: bool, the segment has messages on the day before, or the day after. A gap within a segment is shorter than a
///   day (see [`super::SESSION_GAP_MAX`]), so a segment has a message on each day that it covers;
/// - `day_start`, `day_end`.
pub(super) fn chains(timeline: LazyFrame, targets: LazyFrame, parameters: &Parameters) -> LazyFrame {
    // One number for customer and worker: rows are sorted and compared by it alone.
    let chain = col("customer").cast(DataType::UInt64) * lit(1u64 << 32) + col("worker").cast(DataType::UInt64);
    let is_same_chain = || col("chain").eq(col("chain").shift(lit(1)));
    let is_same_day = is_same_chain().and(col("day").eq(col("day").shift(lit(1)))).fill_null(lit(false));
    let is_same_segment =
        is_same_chain().and((col("sent_at") - col("sent_at").shift(lit(1))).lt_eq(lit(parameters.session_gap))).fill_null(lit(false));
    let starts_piece = col("is_same_day").and(col("is_same_segment")).not();
    // What the row below starts, the present one ends.
    let ends = |starts: &str| col(starts).shift(lit(-1)).fill_null(lit(true));

    timeline
        .select([col("customer"), col("worker"), col("inbound"), col("sent_at"), col("day")])
        .with_column(chain.alias("chain"))
        // In order of time within each customer, and now within each worker of a customer.
        .sort(["chain"], SortMultipleOptions::default().with_maintain_order(true))
        .with_columns([is_same_day.alias("is_same_day"), is_same_segment.alias("is_same_segment")])
        .with_columns([col("is_same_day").not().alias("starts_visit"), starts_piece.alias("starts_piece")])
        .with_columns([
            ends("starts_visit").alias("ends_visit"),
            ends("starts_piece").alias("ends_piece"),
            col("is_same_segment").alias("comes_from_before"),
            col("is_same_segment").shift(lit(-1)).fill_null(lit(false)).alias("goes_on"),
        ])
        .join(targets, [col("day")], [col("day")], in_order(JoinType::Inner))
}

/// From the [`chains`], one row per day, worker and customer: `day`, `worker`, `customer`, `was_received` and `was_sent`, whether the worker received a
/// message of the customer's and sent one.
pub(super) fn visits(chains: LazyFrame) -> LazyFrame {
    let any = |property: Expr| counted_since("starts_visit", property).gt(lit(0));
    chains
        .with_columns([any(col("inbound")).alias("was_received"), any(col("inbound").not()).alias("was_sent")])
        .filter(col("ends_visit"))
        .select([col("day"), col("worker"), col("customer"), col("was_received"), col("was_sent")])
}

/// From the [`chains`], one row per segment and day that it covers: `day`, `worker`, `start`, `end`.
pub(super) fn segments(chains: LazyFrame) -> LazyFrame {
    let start = when(col("comes_from_before")).then(col("day_start")).otherwise(col("sent_at"));
    let end = when(col("goes_on")).then(col("day_end")).otherwise(col("sent_at") + lit(1i64));
    chains.with_column(since("starts_piece", start).alias("start")).filter(col("ends_piece")).select([
        col("day"),
        col("worker"),
        col("start"),
        end.alias("end"),
    ])
}

/// From [`segments`], `max_concurrent` and `mean_concurrent` of each (`day`, `worker`): the most segments at one instant, and the sum of their
/// lengths over the length of their union.
pub(super) fn by_segment(segments: LazyFrame) -> PolarsResult<LazyFrame> {
    let bound = |instant: &str, change: i64| {
        segments.clone().select([col("day"), col("worker"), col(instant).alias("at"), lit(change).alias("change")])
    };
    let bounds = concat([bound("start", 1), bound("end", -1)], UnionArgs::default())?;
    // From one bound to the next the number of segments is the same. After the last bound of a worker's day it is 0.
    let until_next = col("at").shift(lit(-1)) - col("at");
    // By worker, then by time; at the same instant, ends before starts, because a segment does not cover its end. As one number, by which sorting
    // is twice as quick as by three columns: instants have 35 bits.
    let order = col("worker").cast(DataType::Int64) * lit(1i64 << 36) + col("at") * lit(2i64) + col("change");
    Ok(bounds
        .with_column(order.alias("order"))
        .sort(["order"], SortMultipleOptions::default())
        .with_column(col("change").cum_sum(false).alias("concurrent"))
        .with_column(when(col("concurrent").gt(lit(0))).then(until_next).otherwise(lit(0i64)).alias("seconds"))
        .group_by([col("day"), col("worker")])
        .agg([
            col("concurrent").max().alias("max_concurrent"),
            (col("concurrent") * col("seconds")).sum().alias("segment_seconds"),
            col("seconds").sum().alias("covered_seconds"),
        ])
        .with_column(
            (col("segment_seconds").cast(DataType::Float64) / col("covered_seconds").cast(DataType::Float64)).alias("mean_concurrent"),
        ))
}
