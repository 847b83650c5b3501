//! `response_pairs`: one row per turn.

use polars::prelude::*;

use super::{DAYS_AFTER, Parameters};

/// The rows of the timeline that make up turns: INs and replies, up to the third day after the one on which the turn was asked.
pub(super) fn members(timeline: LazyFrame) -> LazyFrame {
    let is_in_view = (col("day") - col("turn_day")).lt_eq(lit(DAYS_AFTER as i32));
    timeline.filter(col("inbound").or(col("is_reply")).and(is_in_view))
}

/// From the timeline, one row per turn: `turn`, `day` (on which it was asked), `customer`, `first_worker`, `last_worker` (who received its
/// last IN), `reply_worker`, `asked_at`, `last_asked_at`, `replied_at`, `own_asked_at` (first IN that the replying worker received),
/// `customer_messages`, `is_first`, `is_superseded` (the customer's next message starts another turn).
pub(super) fn turns(timeline: LazyFrame) -> LazyFrame {
    // The row below belongs to the same customer, is still in view of this turn, and starts another one.
    let next_starts_turn = col("starts_turn")
        .shift(lit(-1))
        .and(col("customer").shift(lit(-1)).eq(col("customer")))
        .and((col("day").shift(lit(-1)) - col("turn_day")).lt_eq(lit(DAYS_AFTER as i32)))
        .fill_null(lit(false));
    // Who replies next, found by looking down to the nearest reply. Past the end of an unanswered turn it is somebody else's
    // reply; such a turn makes no use of it.
    let next_reply_worker = when(col("is_reply"))
        .then(col("worker"))
        .otherwise(lit(NULL).cast(DataType::UInt32))
        .fill_null_with_strategy(FillNullStrategy::Backward(None));
    let received = |column: &str| col(column).filter(col("inbound"));
    let replied = |column: &str| col(column).filter(col("is_reply"));

    members(timeline.with_column(next_starts_turn.alias("next_starts_turn")))
        .with_column(next_reply_worker.alias("next_reply_worker"))
        .group_by([col("turn")])
        .agg([
            col("turn_day").first().alias("day"),
            col("customer").first(),
            col("worker").first().alias("first_worker"),
            received("worker").last().alias("last_worker"),
            replied("worker").first().alias("reply_worker"),
            col("sent_at").first().alias("asked_at"),
            received("sent_at").last().alias("last_asked_at"),
            replied("sent_at").first().alias("replied_at"),
            col("sent_at").filter(col("inbound").and(col("worker").eq(col("next_reply_worker")))).first().alias("own_asked_at"),
            col("inbound").sum().cast(DataType::Int64).alias("customer_messages"),
            col("starts_session").first().alias("is_first"),
            col("next_starts_turn").last().alias("is_superseded"),
        ])
}

/// From [`turns`] and the targets (`day`, `horizon`, `is_final`), the rows of `response_pairs` asked on those days, with `day` and
/// `turn` beside the table's columns, by (`day`, `asked_at`, `customer`).
pub(super) fn response_pairs(turns: LazyFrame, targets: LazyFrame, parameters: &Parameters) -> LazyFrame {
    let is_answered = || col("replied_at").is_not_null();
    let has_time_left = (col("horizon") - col("last_asked_at")).lt_eq(lit(parameters.reply_window));
    // An answer may still come: nothing else has happened, the window is open, and not every day that counts is known.
    let is_pending = col("is_superseded").not().and(col("is_final").not()).and(has_time_left);
    let outcome = when(is_answered()).then(lit("answered")).when(is_pending).then(lit("pending")).otherwise(lit("unanswered"));
    // Null without a reply, because `replied_at` is.
    let since = |instant: &str| col("replied_at") - col(instant);
    let own_response_seconds = when(is_answered()).then(since("own_asked_at")).otherwise(lit(NULL).cast(DataType::Int64));

    turns
        .join(targets, [col("day")], [col("day")], JoinArgs::new(JoinType::Inner))
        // Turns of one customer within the same second stay in their order.
        .sort(["day", "asked_at", "customer", "turn"], SortMultipleOptions::default())
        .select([
            col("day"),
            col("turn"),
            col("customer").alias("openid"),
            // Who replied; with no reply, who received the last IN.
            coalesce(&[col("reply_worker"), col("last_worker")]).alias("worker"),
            col("first_worker"),
            col("asked_at"),
            col("last_asked_at"),
            col("replied_at"),
            outcome.alias("outcome"),
            since("asked_at").alias("response_seconds"),
            since("last_asked_at").alias("since_last_seconds"),
            own_response_seconds.alias("own_response_seconds"),
            lit(NULL).cast(DataType::Int64).alias("business_seconds"),
            lit(NULL).cast(DataType::Boolean).alias("asked_in_hours"),
            col("customer_messages"),
            col("is_first"),
        ])
}
