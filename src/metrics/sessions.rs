//! `sessions`: one row per session.

use polars::prelude::*;

use super::Parameters;
use super::statistics::no_seconds;
use super::timeline::{is_in_view, may_be_answered};

/// From the timeline and the targets (`day`, `horizon`, `is_final`), the rows of `sessions` that began on those days, with `day` beside
/// the table's columns, by (`day`, `started_at`, `openid`).
pub(super) fn sessions(timeline: LazyFrame, targets: LazyFrame, parameters: &Parameters) -> LazyFrame {
    let of_turns = || col("inbound").or(col("is_reply"));
    let first_reply = col("is_reply").and(col("is_first"));
    let is_pending = col("is_superseded").not().and(may_be_answered(parameters));
    // By the last turn; a session without one is nothing but outreach.
    let outcome = when(col("is_answered").is_null())
        .then(lit("outreach"))
        .when(col("is_answered"))
        .then(lit("completed"))
        .when(is_pending)
        .then(lit("open"))
        .when(col("worker_messages").eq(lit(0)))
        .then(lit("missed"))
        .otherwise(lit("dropped"));

    timeline
        .filter(is_in_view("day", "session_day"))
        .group_by([col("session")])
        .agg([
            col("session_day").first().alias("day"),
            col("customer").first(),
            col("sent_at").first().alias("started_at"),
            col("sent_at").last().alias("ended_at"),
            when(col("inbound").first()).then(lit("customer")).otherwise(lit("worker")).alias("initiated_by"),
            col("inbound").sum().cast(DataType::Int64).alias("customer_messages"),
            col("inbound").not().sum().cast(DataType::Int64).alias("worker_messages"),
            col("starts_turn").sum().alias("turns"),
            // A reply answers one turn.
            col("is_reply").sum().alias("answered"),
            col("worker").n_unique().alias("workers"),
            // Whether the last turn ends with a reply; null without a turn.
            col("is_reply").filter(of_turns()).last().alias("is_answered"),
            col("sent_at").filter(col("inbound")).last().alias("last_asked_at"),
            // The reply to the turn that opened the session.
            col("sent_at").filter(first_reply).first().alias("first_replied_at"),
            col("next_starts_turn").and(is_in_view("next_day", "session_day")).last().alias("is_superseded"),
        ])
        .join(targets, [col("day")], [col("day")], JoinArgs::new(JoinType::Inner))
        .with_columns([
            outcome.alias("outcome"),
            when(col("first_replied_at").is_not_null())
                .then(col("first_replied_at") - col("started_at"))
                .otherwise(no_seconds())
                .alias("first_response_seconds"),
        ])
        // Sessions of one customer within the same second stay in their order.
        .sort(["day", "started_at", "customer", "session"], SortMultipleOptions::default())
        .with_column(col("customer").alias("openid"))
}
