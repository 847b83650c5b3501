//! What is counted for a worker and a day; `worker_daily` and `account_daily` are made of it.

use polars::prelude::*;

use super::chains::by_segment;
use super::statistics::{count, counted, is, mean, percentile, whole_statistics};

/// Thresholds, in seconds, of the columns `answered_within_…s`.
const WITHIN_SECONDS: [i64; 4] = [30, 60, 180, 300];

/// What a day's numbers are made of. Each frame has a `day` to count under and a `worker` to count for.
#[derive(Clone)]
pub(super) struct Activity {
    /// Rows of the timeline.
    pub messages: LazyFrame,
    /// [`super::chains::visits`].
    pub visits: LazyFrame,
    /// OUTs that are automatic.
    pub automatic: LazyFrame,
    /// Response pairs.
    pub pairs: LazyFrame,
    /// `turn`s in which the worker received an IN and another one is credited.
    pub hand_offs: LazyFrame,
    /// [`super::chains::segments`].
    pub segments: LazyFrame,
}

impl Activity {
    /// The same counted under one label, which takes the place of the `day` or of the `worker`.
    pub(super) fn relabelled(self, label: &Expr) -> Self {
        let relabel = |frame: LazyFrame| frame.with_column(label.clone());
        // A customer who came to several of those that are now one came once.
        let visits = relabel(self.visits)
            .group_by([col("day"), col("worker"), col("customer")])
            .agg([col("was_received").any(true), col("was_sent").any(true)]);
        Self {
            messages: relabel(self.messages),
            visits,
            automatic: relabel(self.automatic),
            pairs: relabel(self.pairs),
            hand_offs: relabel(self.hand_offs),
            segments: relabel(self.segments),
        }
    }
}

pub(super) const KEYS: [&str; 2] = ["day", "worker"];

const COUNTS: [&str; 20] = [
    "messages_received",
    "messages_sent",
    "replies",
    "follow_ups",
    "outreach",
    "auto_messages_sent",
    "customers",
    "customers_served",
    "max_concurrent",
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

/// Counts that exist only with a schedule.
const SCHEDULE_COUNTS: [&str; 2] = ["answered_in_hours", "asked_out_of_hours"];

/// The numbers of each (`day`, `worker`), a frame for each kind of activity.
pub(super) fn parts(activity: Activity) -> PolarsResult<[LazyFrame; 6]> {
    Ok([
        by_message(activity.messages),
        by_customer(activity.visits),
        activity.automatic.group_by(KEYS.map(col)).agg([len().alias("auto_messages_sent")]),
        by_turn(activity.pairs),
        by_hand_off(activity.hand_offs),
        by_segment(activity.segments)?,
    ])
}

/// Fills the counts of parts that have no row: they counted nothing.
pub(super) fn complete(rows: LazyFrame, has_schedule: bool) -> LazyFrame {
    let rows = rows.with_columns(counted(&COUNTS));
    if has_schedule {
        rows.with_columns(counted(&SCHEDULE_COUNTS))
    } else {
        rows.with_columns(SCHEDULE_COUNTS.map(|name| lit(NULL).cast(DataType::Int64).alias(name)))
    }
}

/// Dated by the message's own day.
fn by_message(messages: LazyFrame) -> LazyFrame {
    let sent_at = || col("sent_at").filter(col("inbound").not());
    messages.group_by(KEYS.map(col)).agg([
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
fn by_customer(visits: LazyFrame) -> LazyFrame {
    visits
        .group_by(KEYS.map(col))
        .agg([count(col("was_received")).alias("customers"), count(col("was_received").and(col("was_sent"))).alias("customers_served")])
}

/// Dated by the day on which the turn was asked, credited to the pair's worker.
fn by_turn(pairs: LazyFrame) -> LazyFrame {
    let mut columns = vec![
        count(is("answered")).alias("answered"),
        count(is("pending")).alias("pending"),
        count(is("unanswered").and(col("is_first"))).alias("unanswered_first"),
        count(is("unanswered").and(col("is_first").not())).alias("unanswered_later"),
        // The worker answered a turn of which it had received nothing.
        count(is("answered").and(col("own_response_seconds").is_null())).alias("takeovers"),
        count(is("answered").and(col("is_first"))).alias("first_responses"),
        count(is("answered").and(col("asked_in_hours"))).alias("answered_in_hours"),
        count(col("asked_in_hours").not()).alias("asked_out_of_hours"),
    ];
    columns.extend(WITHIN_SECONDS.map(|seconds| {
        count(col("response_seconds").lt_eq(lit(seconds)).fill_null(lit(false))).alias(format!("answered_within_{seconds}s"))
    }));
    columns.extend(whole_statistics("response_seconds"));
    columns.extend(whole_statistics("first_response_seconds"));
    columns.extend([mean("own_response_seconds"), percentile("own_response_seconds", 50), percentile("own_response_seconds", 90)]);
    columns.extend([mean("business_seconds"), percentile("business_seconds", 50), percentile("business_seconds", 90)]);
    let only = |condition: &str, column: &str| when(col(condition)).then(col(column)).otherwise(lit(NULL).cast(DataType::Int64));
    pairs
        .with_columns([
            only("is_first", "response_seconds").alias("first_response_seconds"),
            // Only turns asked in hours, and only answered ones have any.
            only("asked_in_hours", "business_seconds").alias("business_seconds"),
        ])
        .group_by(KEYS.map(col))
        .agg(columns)
}

/// Dated by the day on which the turn was asked, each turn counted once.
fn by_hand_off(hand_offs: LazyFrame) -> LazyFrame {
    hand_offs.unique(None, UniqueKeepStrategy::Any).group_by(KEYS.map(col)).agg([len().alias("handed_off")])
}

/// From the members of turns and the response pairs: `day`, `worker`, `turn` where the worker received an IN of the turn and another one is credited.
pub(super) fn hand_offs(members: LazyFrame, pairs: LazyFrame) -> LazyFrame {
    let credited = pairs.select([col("turn"), col("day").alias("asked_day"), col("worker").alias("credited")]);
    members
        .filter(col("inbound"))
        .select([col("turn"), col("worker")])
        .join(credited, [col("turn")], [col("turn")], JoinArgs::new(JoinType::Inner))
        .filter(col("worker").neq(col("credited")))
        .select([col("asked_day").alias("day"), col("worker"), col("turn")])
}
