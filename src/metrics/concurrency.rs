//! How many customers a worker has at once.
//!
//! A segment is a maximal chain of one worker's messages with one customer without a gap longer than the session gap. It covers the time from
//! its first message to one second after its last, cut at the bounds of the day.

use polars::prelude::*;

use super::Parameters;

/// From the timeline and the targets (`day`, `day_start`, `day_end`), one row per segment and day that it covers: `day`, `worker`, `start`, `end`.
///
/// A gap within a segment is shorter than a day (see [`super::SESSION_GAP_MAX`]), so a segment has a message on each day that it covers.
pub(super) fn segments(timeline: LazyFrame, targets: LazyFrame, parameters: &Parameters) -> LazyFrame {
    // The row before is of the same chain.
    let continues = col("customer")
        .eq(col("customer").shift(lit(1)))
        .and(col("worker").eq(col("worker").shift(lit(1))))
        .and((col("sent_at") - col("sent_at").shift(lit(1))).lt_eq(lit(parameters.session_gap)))
        .fill_null(lit(false));
    timeline
        .select([col("customer"), col("worker"), col("sent_at"), col("day")])
        // In order of time within each customer, and now within each worker of a customer.
        .sort(["customer", "worker"], SortMultipleOptions::default().with_maintain_order(true))
        .with_column(continues.alias("continues"))
        .with_columns([
            col("continues").not().cum_sum(false).alias("segment"),
            col("continues").shift(lit(-1)).fill_null(lit(false)).alias("is_continued"),
        ])
        .group_by([col("segment"), col("day")])
        .agg([
            col("worker").first(),
            col("sent_at").first().alias("first"),
            col("sent_at").last().alias("last"),
            // It comes from the day before, or goes on into the next.
            col("continues").first().alias("comes_from_before"),
            col("is_continued").last().alias("goes_on"),
        ])
        .join(targets, [col("day")], [col("day")], JoinArgs::new(JoinType::Inner))
        .select([
            col("day"),
            col("worker"),
            when(col("comes_from_before")).then(col("day_start")).otherwise(col("first")).alias("start"),
            when(col("goes_on")).then(col("day_end")).otherwise(col("last") + lit(1i64)).alias("end"),
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
    Ok(bounds
        // At the same instant, ends before starts: a segment does not cover its end.
        .sort(["day", "worker", "at", "change"], SortMultipleOptions::default())
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
