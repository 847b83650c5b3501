//! What is counted for a worker and a day; `worker_daily`, `worker_hourly` and `account_daily` are made of it, in polars.

use polars::prelude::*;

use super::concurrency::{self, Concurrency};
use super::conversations::{Conversations, Hour, Outcome, Segment, Turn};
use super::statistics::{count, counted, is, mean, percentile, whole_statistics};
use super::{History, MetricsError};

/// Thresholds, in seconds, of the columns `answered_within_…s`.
const WITHIN_SECONDS: [i64; 4] = [30, 60, 180, 300];

/// What a day's numbers are made of. Each frame has a `day` (i32, since 1970-01-01) to count under and a `worker` (u32) to count for.
#[derive(Clone)]
pub(super) struct Activity<'a> {
    first_day: i32,
    /// By local `hour` too: `messages_received`, `messages_sent`, `replies`, `follow_ups`, `outreach`, `first_sent_at`, `last_sent_at`.
    pub hours: LazyFrame,
    /// `customer`, `was_received`, `was_sent`: each customer whom the worker had to do with that day.
    visits: LazyFrame,
    /// OUTs that are automatic.
    automatic: LazyFrame,
    /// Response pairs, with the local `hour` asked: `outcome`, `is_first`, `asked_in_hours` and durations.
    pub pairs: LazyFrame,
    /// `turn`s in which the worker received an IN and another one is credited.
    hand_offs: LazyFrame,
    segments: &'a [Segment],
}

/// What a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// A worker's day.
    Worker,
    /// A day of all workers together, as worker 0.
    Account,
    /// All days of a worker together, as day 0.
    Period,
}

impl Scope {
    /// The frame with the same key for all that is counted together.
    fn labelled(self, frame: LazyFrame) -> LazyFrame {
        match self {
            Self::Worker => frame,
            Self::Account => frame.with_column(lit(0u32).alias("worker")),
            Self::Period => frame.with_column(lit(0i32).alias("day")),
        }
    }

    fn key(self, first_day: i32, segment: &Segment) -> (i32, u32) {
        let day = first_day + i32::from(segment.day);
        match self {
            Self::Worker => (day, segment.worker),
            Self::Account => (day, 0),
            Self::Period => (0, segment.worker),
        }
    }
}

impl<'a> Activity<'a> {
    /// What there is on the `days` (counted from the history's first) that are targets.
    pub(super) fn of(conversations: &'a Conversations, history: &History, is_target: impl Fn(u16) -> bool) -> Result<Self, MetricsError> {
        let first_day = history.first_day();
        let number = |day: u16| first_day + i32::from(day);
        let Conversations { turns, hand_offs, visits, segments, hours, .. } = conversations;
        let automatic: Vec<(u16, u32)> = history.automatic().iter().copied().filter(|(day, _)| is_target(*day)).collect();
        let visits = polars::df! {
            "day" => visits.iter().map(|visit| number(visit.day)).collect::<Vec<_>>(),
            "worker" => visits.iter().map(|visit| visit.worker).collect::<Vec<_>>(),
            "customer" => visits.iter().map(|visit| visit.customer).collect::<Vec<_>>(),
            "was_received" => visits.iter().map(|visit| visit.received).collect::<BooleanChunked>(),
            "was_sent" => visits.iter().map(|visit| visit.sent).collect::<BooleanChunked>(),
        }?;
        let automatic = polars::df! {
            "day" => automatic.iter().map(|(day, _)| number(*day)).collect::<Vec<_>>(),
            "worker" => automatic.iter().map(|(_, worker)| *worker).collect::<Vec<_>>(),
        }?;
        let hand_offs = polars::df! {
            "day" => hand_offs.iter().map(|hand_off| number(hand_off.day)).collect::<Vec<_>>(),
            "worker" => hand_offs.iter().map(|hand_off| hand_off.worker).collect::<Vec<_>>(),
            "turn" => hand_offs.iter().map(|hand_off| hand_off.turn).collect::<Vec<_>>(),
        }?;
        Ok(Self {
            first_day,
            hours: hours_frame(hours, number)?.lazy(),
            visits: visits.lazy(),
            automatic: automatic.lazy(),
            pairs: pairs_frame(turns, number)?.lazy(),
            hand_offs: hand_offs.lazy(),
            segments,
        })
    }
}

fn hours_frame(hours: &[Hour], number: impl Fn(u16) -> i32) -> Result<DataFrame, MetricsError> {
    let whole = |value: fn(&Hour) -> i64| hours.iter().map(value).collect::<Vec<_>>();
    Ok(polars::df! {
        "day" => hours.iter().map(|hour| number(hour.day)).collect::<Vec<_>>(),
        "worker" => hours.iter().map(|hour| hour.worker).collect::<Vec<_>>(),
        "hour" => hours.iter().map(|hour| i32::from(hour.hour)).collect::<Vec<_>>(),
        "messages_received" => whole(|hour| hour.received),
        "messages_sent" => whole(|hour| hour.replies + hour.follow_ups + hour.outreach),
        "replies" => whole(|hour| hour.replies),
        "follow_ups" => whole(|hour| hour.follow_ups),
        "outreach" => whole(|hour| hour.outreach),
        "first_sent_at" => hours.iter().map(|hour| hour.sent.map(|(first, _)| first)).collect::<Int64Chunked>(),
        "last_sent_at" => hours.iter().map(|hour| hour.sent.map(|(_, last)| last)).collect::<Int64Chunked>(),
    }?)
}

fn pairs_frame(turns: &[Turn], number: impl Fn(u16) -> i32) -> Result<DataFrame, MetricsError> {
    let seconds = |value: fn(&Turn) -> Option<i64>| turns.iter().map(value).collect::<Int64Chunked>();
    Ok(polars::df! {
        "day" => turns.iter().map(|turn| number(turn.day)).collect::<Vec<_>>(),
        "worker" => turns.iter().map(|turn| turn.worker).collect::<Vec<_>>(),
        "hour" => turns.iter().map(|turn| i32::from(turn.hour)).collect::<Vec<_>>(),
        "outcome" => turns.iter().map(|turn| turn.outcome as u32).collect::<Vec<_>>(),
        "is_first" => turns.iter().map(|turn| turn.is_first).collect::<BooleanChunked>(),
        "asked_in_hours" => turns.iter().map(|turn| turn.asked_in_hours).collect::<BooleanChunked>(),
        "response_seconds" => seconds(Turn::response_seconds),
        "own_response_seconds" => seconds(|turn| turn.own_response_seconds),
        "business_seconds" => seconds(|turn| turn.business_seconds),
    }?)
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

/// The numbers of each (`day`, `worker`) of a scope, a frame for each kind of activity.
pub(super) fn parts(activity: Activity, scope: Scope) -> Result<[LazyFrame; 6], MetricsError> {
    let concurrency = concurrency::by(activity.segments, |segment| scope.key(activity.first_day, segment));
    Ok([
        by_message(scope.labelled(activity.hours)),
        by_customer(activity.visits, scope),
        scope.labelled(activity.automatic).group_by(KEYS.map(col)).agg([len().alias("auto_messages_sent")]),
        by_turn(scope.labelled(activity.pairs)),
        by_hand_off(scope.labelled(activity.hand_offs)),
        by_segment(concurrency.into_iter().collect())?,
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
fn by_message(hours: LazyFrame) -> LazyFrame {
    let counts = ["messages_received", "messages_sent", "replies", "follow_ups", "outreach"];
    let mut columns = counts.map(|name| col(name).sum()).to_vec();
    columns.extend([col("first_sent_at").min(), col("last_sent_at").max()]);
    hours.group_by(KEYS.map(col)).agg(columns)
}

/// Dated by the message's own day, each customer counted once.
fn by_customer(visits: LazyFrame, scope: Scope) -> LazyFrame {
    let visits = match scope {
        Scope::Worker => visits,
        // A customer who came to several of those that are now one came once.
        Scope::Account | Scope::Period => scope
            .labelled(visits)
            .group_by([col("day"), col("worker"), col("customer")])
            .agg([col("was_received").any(true), col("was_sent").any(true)]),
    };
    visits
        .group_by(KEYS.map(col))
        .agg([count(col("was_received")).alias("customers"), count(col("was_received").and(col("was_sent"))).alias("customers_served")])
}

/// The time spent with customers, dated by the day.
fn by_segment(concurrency: Vec<((i32, u32), Concurrency)>) -> Result<LazyFrame, MetricsError> {
    let frame = polars::df! {
        "day" => concurrency.iter().map(|((day, _), _)| *day).collect::<Vec<_>>(),
        "worker" => concurrency.iter().map(|((_, worker), _)| *worker).collect::<Vec<_>>(),
        "max_concurrent" => concurrency.iter().map(|(_, concurrency)| concurrency.most).collect::<Vec<_>>(),
        "mean_concurrent" => concurrency.iter().map(|(_, concurrency)| concurrency.mean()).collect::<Float64Chunked>(),
    }?;
    Ok(frame.lazy())
}

/// Dated by the day on which the turn was asked, credited to the pair's worker.
fn by_turn(pairs: LazyFrame) -> LazyFrame {
    let mut columns = vec![
        count(is(Outcome::Answered)).alias("answered"),
        count(is(Outcome::Pending)).alias("pending"),
        count(is(Outcome::Unanswered).and(col("is_first"))).alias("unanswered_first"),
        count(is(Outcome::Unanswered).and(col("is_first").not())).alias("unanswered_later"),
        // The worker answered a turn of which it had received nothing.
        count(is(Outcome::Answered).and(col("own_response_seconds").is_null())).alias("takeovers"),
        count(is(Outcome::Answered).and(col("is_first"))).alias("first_responses"),
        count(is(Outcome::Answered).and(col("asked_in_hours"))).alias("answered_in_hours"),
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
