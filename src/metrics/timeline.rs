//! Each customer's messages in order, and what each of them is.

use polars::prelude::*;

use super::{DAYS_AFTER, Parameters};

/// From the messages of [`super::History`], one row per visible message in order of (`customer`, `sent_at`, `seq`), with the columns added:
///
/// - `starts_turn`, `starts_session`, `is_reply`, `is_follow_up`, `is_outreach`: bool, what the message is;
/// - `turn`, `turn_day`, `is_first`: of the turn that the message belongs to, its number, the local day on which it was asked, and whether it opens its session.
///   They are meaningful for an IN and for a reply only;
/// - `session`, `session_day`: of the session that the message belongs to, its number and the local day of its first message;
/// - `next_day`: local day of the customer's next message, null without one; `next_starts_turn`: whether that message starts another turn.
pub(super) fn timeline(messages: LazyFrame, parameters: &Parameters) -> LazyFrame {
    let inbound = || col("inbound");
    let outbound = || col("inbound").not();

    // The row before is the customer's own.
    let has_previous = col("customer").eq(col("customer").shift(lit(1))).fill_null(lit(false));
    // Seconds since the customer's previous message; null without one.
    let gap = when(has_previous.clone()).then(col("sent_at") - col("sent_at").shift(lit(1))).otherwise(lit(NULL).cast(DataType::Int64));
    // Whether the previous message is an IN; null without one.
    let after_inbound = when(has_previous).then(inbound().shift(lit(1))).otherwise(lit(NULL).cast(DataType::Boolean));

    // No previous message, or a longer silence than a session survives.
    let after_silence = || col("gap").is_null().or(col("gap").gt(lit(parameters.session_gap)));
    let after_outbound = || col("after_inbound").not().fill_null(lit(false));
    // IN: opens a turn unless it continues the customer's own.
    let starts_turn = inbound().and(after_silence().or(after_outbound()));
    // OUT after IN, within the reply window: the reply to that turn.
    let is_reply = outbound().and(col("after_inbound")).and(col("gap").lt_eq(lit(parameters.reply_window))).fill_null(lit(false));
    // OUT after OUT, in the same session.
    let is_follow_up = outbound().and(after_outbound()).and(after_silence().not());
    // Any other OUT: the worker opens a session.
    let is_outreach = outbound().and(col("is_reply").or(col("is_follow_up")).not());
    // IN after silence, or outreach.
    let starts_session = inbound().and(after_silence()).or(col("is_outreach"));
    let next_is_own = || col("customer").shift(lit(-1)).eq(col("customer"));
    let next = |column: &str| when(next_is_own()).then(col(column).shift(lit(-1))).otherwise(lit(NULL));

    messages
        .filter(col("automatic").not())
        .sort(["customer"], SortMultipleOptions::default().with_maintain_order(true))
        .with_columns([gap.alias("gap"), after_inbound.alias("after_inbound")])
        .with_columns([starts_turn.alias("starts_turn"), is_reply.alias("is_reply"), is_follow_up.alias("is_follow_up")])
        .with_column(is_outreach.alias("is_outreach"))
        .with_column(starts_session.alias("starts_session"))
        .with_columns([
            col("starts_turn").cum_sum(false).alias("turn"),
            since("starts_turn", col("day")).alias("turn_day"),
            since("starts_turn", col("starts_session")).alias("is_first"),
            col("starts_session").cum_sum(false).alias("session"),
            since("starts_session", col("day")).alias("session_day"),
            next("day").alias("next_day"),
            next("starts_turn").fill_null(lit(false)).alias("next_starts_turn"),
        ])
}

/// What an expression was in the latest row that starts something (a turn, a session).
pub(super) fn since(starts: &str, expression: Expr) -> Expr {
    when(col(starts)).then(expression).otherwise(lit(NULL)).fill_null_with_strategy(FillNullStrategy::Forward(None))
}

/// How many rows have had the property since the latest row that starts something, that one and the present one included.
pub(super) fn counted_since(starts: &str, property: Expr) -> Expr {
    let so_far = || property.clone().cum_sum(false).cast(DataType::Int64);
    so_far() - since(starts, so_far() - property.clone().cast(DataType::Int64))
}

/// Whether a day may be looked at by the partition of the day in column `of`: it is at most the third one after.
pub(super) fn is_in_view(day: &str, of: &str) -> Expr {
    (col(day) - col(of)).lt_eq(lit(DAYS_AFTER as i32))
}

/// Whether an answer may still come to a last message at `last_asked_at`: not every day that counts is known, and the window was still
/// open where the known ones end.
pub(super) fn may_be_answered(parameters: &Parameters) -> Expr {
    let is_open = (col("horizon") - col("last_asked_at")).lt_eq(lit(parameters.reply_window));
    col("is_final").not().and(is_open)
}
