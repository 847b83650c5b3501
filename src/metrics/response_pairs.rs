//! `response_pairs`: one row per turn.

use polars::prelude::*;

use super::Parameters;
use super::business_hours::OpenHours;
use super::statistics::{in_order, no_seconds};
use super::timeline::{counted_since, is_in_view, may_be_answered, since};

/// The rows of the timeline that make up turns: INs and replies, up to the third day after the one on which the turn was asked. Those of a turn
/// follow each other, and end with its reply if it has one.
pub(super) fn members(timeline: LazyFrame) -> LazyFrame {
    timeline.filter(col("inbound").or(col("is_reply")).and(is_in_view("day", "turn_day")))
}

/// From the [`members`], one row per turn: `turn`, `day` (on which it was asked), `hour`, `customer`, `first_worker`, `last_worker` (who received its
/// last IN), `reply_worker`, `asked_at`, `last_asked_at`, `replied_at`, `own_asked_at` (first IN that the replying worker received),
/// `customer_messages`, `is_first`, `is_superseded` (the customer's next message starts another turn).
pub(super) fn turns(members: LazyFrame) -> LazyFrame {
    let is_end = col("turn").neq(col("turn").shift(lit(-1))).fill_null(lit(true));
    // Who replies to the turn, found by looking down to the nearest reply. Past the end of an unanswered turn it is another turn's
    // reply, and of no use.
    let next_reply_worker =
        when(col("is_reply")).then(col("worker")).otherwise(lit(NULL)).fill_null_with_strategy(FillNullStrategy::Backward(None));
    // An IN that the replying worker received, and whether it is the first one of the turn.
    let is_own = || col("inbound").and(col("worker").eq(col("next_reply_worker"))).fill_null(lit(false));
    let is_first_own = col("is_own").and(col("own_messages").eq(lit(1)));
    // In the last row of a turn: that row's value when it is the reply, else none; and the value of the last IN.
    let replied = |column: &str| when(col("is_reply")).then(col(column)).otherwise(lit(NULL));
    let last_received = |column: &str| when(col("is_reply")).then(col(column).shift(lit(1))).otherwise(col(column));

    members
        .with_columns([is_end.alias("is_end"), next_reply_worker.alias("next_reply_worker")])
        .with_column(is_own().alias("is_own"))
        .with_column(counted_since("starts_turn", col("is_own")).alias("own_messages"))
        .with_columns([
            since("starts_turn", col("hour")).alias("asked_hour"),
            since("starts_turn", col("worker")).alias("first_worker"),
            since("starts_turn", col("sent_at")).alias("asked_at"),
            counted_since("starts_turn", col("inbound")).alias("customer_messages"),
            last_received("worker").alias("last_worker"),
            last_received("sent_at").alias("last_asked_at"),
            when(col("own_messages").gt(lit(0)))
                .then(when(is_first_own).then(col("sent_at")).otherwise(lit(NULL)).fill_null_with_strategy(FillNullStrategy::Forward(None)))
                .otherwise(lit(NULL))
                .alias("own_asked_at"),
        ])
        .filter(col("is_end"))
        .select([
            col("turn"),
            col("turn_day").alias("day"),
            col("asked_hour").alias("hour"),
            col("customer"),
            col("first_worker"),
            col("last_worker"),
            replied("worker").alias("reply_worker"),
            col("asked_at"),
            col("last_asked_at"),
            replied("sent_at").alias("replied_at"),
            col("own_asked_at"),
            col("customer_messages").cast(DataType::Int64),
            col("is_first"),
            col("next_starts_turn").and(is_in_view("next_day", "turn_day")).fill_null(lit(false)).alias("is_superseded"),
        ])
}

/// From [`turns`] and the targets (`day`, `horizon`, `is_final`), the rows of `response_pairs` asked on those days, with `day`, `hour` and
/// `turn` beside the table's columns, by (`asked_at`, `openid`).
pub(super) fn response_pairs(turns: LazyFrame, targets: LazyFrame, parameters: &Parameters, open_hours: Option<OpenHours>) -> LazyFrame {
    let is_answered = || col("replied_at").is_not_null();
    // The customer has not gone on to something else, and an answer may still come.
    let is_pending = col("is_superseded").not().and(may_be_answered(parameters));
    let outcome = when(is_answered()).then(lit("answered")).when(is_pending).then(lit("pending")).otherwise(lit("unanswered"));
    // Null without a reply, because `replied_at` is.
    let waited_since = |instant: &str| col("replied_at") - col(instant);
    let own_response_seconds = when(is_answered()).then(waited_since("own_asked_at")).otherwise(no_seconds());
    let (business_seconds, asked_in_hours) = match open_hours {
        // Open seconds of [asked_at, replied_at), and whether asked_at is open.
        Some(hours) => (open_seconds_before("replied_at", &hours) - open_seconds_before("asked_at", &hours), is_open("asked_at", &hours)),
        None => (no_seconds(), lit(NULL).cast(DataType::Boolean)),
    };

    turns
        .join(targets, [col("day")], [col("day")], in_order(JoinType::Inner))
        // They come by customer and turn, and stay so within a second.
        .sort(["asked_at"], SortMultipleOptions::default().with_maintain_order(true))
        .select([
            col("day"),
            col("hour"),
            col("turn"),
            col("customer").alias("openid"),
            // Who replied; with no reply, who received the last IN.
            coalesce(&[col("reply_worker"), col("last_worker")]).alias("worker"),
            col("first_worker"),
            col("asked_at"),
            col("last_asked_at"),
            col("replied_at"),
            outcome.alias("outcome"),
            waited_since("asked_at").alias("response_seconds"),
            waited_since("last_asked_at").alias("since_last_seconds"),
            own_response_seconds.alias("own_response_seconds"),
            business_seconds.alias("business_seconds"),
            asked_in_hours.alias("asked_in_hours"),
            col("customer_messages"),
            col("is_first"),
        ])
}

fn open_seconds_before(instant: &str, hours: &OpenHours) -> Expr {
    let hours = hours.clone();
    col(instant).map(
        move |instants| {
            let seconds = instants.i64()?.iter().map(|instant| instant.map(|instant| hours.seconds_before(instant)));
            Ok(Int64Chunked::from_iter_options(instants.name().clone(), seconds).into_column())
        },
        |_, field| Ok(Field::new(field.name().clone(), DataType::Int64)),
    )
}

fn is_open(instant: &str, hours: &OpenHours) -> Expr {
    let hours = hours.clone();
    col(instant).map(
        move |instants| {
            let flags = instants.i64()?.iter().map(|instant| instant.map(|instant| hours.contains(instant)));
            Ok(BooleanChunked::from_iter_options(instants.name().clone(), flags).into_column())
        },
        |_, field| Ok(Field::new(field.name().clone(), DataType::Boolean)),
    )
}
