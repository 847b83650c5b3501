//! `response_pairs`: one row per turn.

use polars::prelude::*;

use super::Parameters;
use super::business_hours::OpenHours;
use super::statistics::no_seconds;
use super::timeline::{is_in_view, may_be_answered};

/// The rows of the timeline that make up turns: INs and replies, up to the third day after the one on which the turn was asked.
pub(super) fn members(timeline: LazyFrame) -> LazyFrame {
    timeline.filter(col("inbound").or(col("is_reply")).and(is_in_view("day", "turn_day")))
}

/// From the timeline, one row per turn: `turn`, `day` (on which it was asked), `hour`, `customer`, `first_worker`, `last_worker` (who received its
/// last IN), `reply_worker`, `asked_at`, `last_asked_at`, `replied_at`, `own_asked_at` (first IN that the replying worker received),
/// `customer_messages`, `is_first`, `is_superseded` (the customer's next message starts another turn).
pub(super) fn turns(timeline: LazyFrame) -> LazyFrame {
    // Who replies next, found by looking down to the nearest reply. Past the end of an unanswered turn it is somebody else's
    // reply; such a turn makes no use of it.
    let next_reply_worker =
        when(col("is_reply")).then(col("worker")).otherwise(lit(NULL)).fill_null_with_strategy(FillNullStrategy::Backward(None));
    let received = |column: &str| col(column).filter(col("inbound"));
    let replied = |column: &str| col(column).filter(col("is_reply"));
    let received_by_replier = col("inbound").and(col("worker").eq(col("next_reply_worker")));

    members(timeline).with_column(next_reply_worker.alias("next_reply_worker")).group_by([col("turn")]).agg([
        col("turn_day").first().alias("day"),
        col("hour").first(),
        col("customer").first(),
        col("worker").first().alias("first_worker"),
        received("worker").last().alias("last_worker"),
        replied("worker").first().alias("reply_worker"),
        col("sent_at").first().alias("asked_at"),
        received("sent_at").last().alias("last_asked_at"),
        replied("sent_at").first().alias("replied_at"),
        col("sent_at").filter(received_by_replier).first().alias("own_asked_at"),
        col("inbound").sum().cast(DataType::Int64).alias("customer_messages"),
        col("is_first").first(),
        col("next_starts_turn").and(is_in_view("next_day", "turn_day")).last().alias("is_superseded"),
    ])
}

/// From [`turns`] and the targets (`day`, `horizon`, `is_final`), the rows of `response_pairs` asked on those days, with `day`, `hour` and
/// `turn` beside the table's columns, by (`day`, `asked_at`, `openid`).
pub(super) fn response_pairs(turns: LazyFrame, targets: LazyFrame, parameters: &Parameters, open_hours: Option<OpenHours>) -> LazyFrame {
    let is_answered = || col("replied_at").is_not_null();
    // The customer has not gone on to something else, and an answer may still come.
    let is_pending = col("is_superseded").not().and(may_be_answered(parameters));
    let outcome = when(is_answered()).then(lit("answered")).when(is_pending).then(lit("pending")).otherwise(lit("unanswered"));
    // Null without a reply, because `replied_at` is.
    let since = |instant: &str| col("replied_at") - col(instant);
    let own_response_seconds = when(is_answered()).then(since("own_asked_at")).otherwise(no_seconds());
    let (business_seconds, asked_in_hours) = match open_hours {
        // Open seconds of [asked_at, replied_at), and whether asked_at is open.
        Some(hours) => (open_seconds_before("replied_at", &hours) - open_seconds_before("asked_at", &hours), is_open("asked_at", &hours)),
        None => (no_seconds(), lit(NULL).cast(DataType::Boolean)),
    };

    turns
        .join(targets, [col("day")], [col("day")], JoinArgs::new(JoinType::Inner))
        // Turns of one customer within the same second stay in their order.
        .sort(["day", "asked_at", "customer", "turn"], SortMultipleOptions::default())
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
            since("asked_at").alias("response_seconds"),
            since("last_asked_at").alias("since_last_seconds"),
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
