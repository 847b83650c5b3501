//! `sessions`: one row per session.

use polars::prelude::*;

use super::Parameters;
use super::statistics::{in_order, no_seconds};
use super::timeline::{counted_since, is_in_view, may_be_answered, since};

/// From the timeline and the targets (`day`, `horizon`, `is_final`), the rows of `sessions` that began on those days, with `day` beside
/// the table's columns, by (`started_at`, `openid`).
pub(super) fn sessions(timeline: LazyFrame, targets: LazyFrame, parameters: &Parameters) -> LazyFrame {
    let is_end = col("session").neq(col("session").shift(lit(-1))).fill_null(lit(true));
    let changes_worker = col("worker").neq(col("worker").shift(lit(1))).and(col("starts_session").not()).fill_null(lit(false));
    let counted = |property: Expr| counted_since("starts_session", property);
    // The value in the latest row with the property.
    let latest = |property: Expr, value: Expr| {
        when(property).then(value).otherwise(lit(NULL)).fill_null_with_strategy(FillNullStrategy::Forward(None))
    };
    let is_of_turn = col("inbound").or(col("is_reply"));
    let is_first_reply = || col("is_reply").and(col("is_first"));

    let messages = timeline.filter(is_in_view("day", "session_day"));
    let sessions = messages
        .clone()
        .with_columns([
            is_end.alias("is_end"),
            since("starts_session", col("sent_at")).alias("started_at"),
            since("starts_session", col("inbound")).alias("by_customer"),
            counted(col("inbound")).alias("customer_messages"),
            counted(col("inbound").not()).alias("worker_messages"),
            counted(col("starts_turn")).alias("turns"),
            // A reply answers one turn.
            counted(col("is_reply")).alias("answered"),
            counted(changes_worker).alias("worker_changes"),
            // Whether the last turn ends with a reply, and when it was asked last. Of no use in a session without a turn.
            latest(is_of_turn, col("is_reply")).alias("is_answered"),
            latest(col("inbound"), col("sent_at")).alias("last_asked_at"),
            // The reply to the turn that opened the session, if it has one.
            counted(is_first_reply()).alias("first_replies"),
            latest(is_first_reply(), col("sent_at")).alias("first_replied_at"),
        ])
        .filter(col("is_end"))
        .join(targets, [col("session_day")], [col("day")], in_order(JoinType::Inner));

    // Distinct workers, where there is more than one.
    let of_several = sessions.clone().filter(col("worker_changes").gt(lit(0))).select([col("session")]);
    let several_workers = messages
        .join(of_several, [col("session")], [col("session")], JoinArgs::new(JoinType::Semi))
        .group_by([col("session")])
        .agg([col("worker").n_unique().alias("workers")]);

    let is_pending =
        col("next_starts_turn").and(is_in_view("next_day", "session_day")).fill_null(lit(false)).not().and(may_be_answered(parameters));
    // By the last turn; a session without one is nothing but outreach.
    let outcome = when(col("turns").eq(lit(0)))
        .then(lit("outreach"))
        .when(col("is_answered"))
        .then(lit("completed"))
        .when(is_pending)
        .then(lit("open"))
        .when(col("worker_messages").eq(lit(0)))
        .then(lit("missed"))
        .otherwise(lit("dropped"));
    sessions
        .join(several_workers, [col("session")], [col("session")], in_order(JoinType::Left))
        .select([
            col("session_day").alias("day"),
            col("session"),
            col("customer").alias("openid"),
            col("started_at"),
            col("sent_at").alias("ended_at"),
            when(col("by_customer")).then(lit("customer")).otherwise(lit("worker")).alias("initiated_by"),
            outcome.alias("outcome"),
            when(col("first_replies").gt(lit(0)))
                .then(col("first_replied_at") - col("started_at"))
                .otherwise(no_seconds())
                .alias("first_response_seconds"),
            col("customer_messages"),
            col("worker_messages"),
            col("turns"),
            col("answered"),
            col("workers").fill_null(lit(1)),
        ])
        // They come by customer and session, and stay so within a second.
        .sort(["started_at"], SortMultipleOptions::default().with_maintain_order(true))
}
