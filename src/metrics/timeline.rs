//! Each customer's messages in order, and what each of them is.

use polars::prelude::*;

use super::{DAYS_BEFORE, Parameters};

/// From the messages of [`super::History`], one row per message in order of (`customer`, `sent_at`, `seq`), with the columns added:
///
/// - `starts_turn`, `starts_session`, `is_reply`, `is_follow_up`, `is_outreach`: bool, what the message is;
/// - `turn`, `session`: u32, ascending numbers; `turn` is meaningful for an IN and for a reply only;
/// - `turn_day`: i32, the local day on which that turn was asked.
pub(super) fn timeline(messages: LazyFrame, parameters: &Parameters) -> LazyFrame {
    let inbound = || col("inbound");
    let outbound = || col("inbound").not();

    // The row before is the customer's own, and not on a day that the partition of this message's day may not look at.
    let has_previous = col("customer")
        .eq(col("customer").shift(lit(1)))
        .and((col("day") - col("day").shift(lit(1))).lt_eq(lit(DAYS_BEFORE as i32)))
        .fill_null(lit(false));
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

    messages
        .sort(["customer"], SortMultipleOptions::default().with_maintain_order(true))
        .with_columns([gap.alias("gap"), after_inbound.alias("after_inbound")])
        .with_columns([
            starts_turn.alias("starts_turn"),
            is_reply.alias("is_reply"),
            is_follow_up.alias("is_follow_up"),
            // IN after silence.
            inbound().and(after_silence()).alias("customer_starts_session"),
        ])
        // Any other OUT: the worker opens a session.
        .with_column(outbound().and(col("is_reply").or(col("is_follow_up")).not()).alias("is_outreach"))
        .with_column(col("customer_starts_session").or(col("is_outreach")).alias("starts_session"))
        .with_columns([
            col("starts_turn").cum_sum(false).alias("turn"),
            col("starts_session").cum_sum(false).alias("session"),
            when(col("starts_turn"))
                .then(col("day"))
                .otherwise(lit(NULL).cast(DataType::Int32))
                .fill_null_with_strategy(FillNullStrategy::Forward(None))
                .alias("turn_day"),
        ])
}
