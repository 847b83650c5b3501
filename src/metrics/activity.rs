//! Counts for each worker and day. Polars makes `worker_daily`, `worker_hourly` and `account_daily`
//! from them.

use hashbrown::HashSet;
use polars::prelude::*;
use polars::series::IsSorted;
use rayon::prelude::*;

use super::concurrency;
use super::day_rows::{DayRows, Hour, Outcome, Turn};
use super::statistics::{count, counted, is, statistics, with_percentiles};
use super::{History, MetricsError, ROWS_QUICK, ROWS_SIDE_BY_SIDE};
use crate::model::cancel::Cancel;
use crate::model::column::Role;
use crate::model::{Column, Table};

/// The input of the statistics of some days. Each frame has the keys `day` (i32, since 1970-01-01)
/// and `worker` (u32), and both as one number, because polars groups by one number faster.
pub(super) struct Activity<'a> {
    /// The days by number, each with its rows.
    days: &'a [(i32, DayRows)],
    cancel: &'a Cancel,
    /// Messages by local `hour` too: `messages_received`, `messages_sent`, `replies`, `follow_ups`,
    /// `outreach`, `first_sent_at`, `last_sent_at`.
    pub hours: DataFrame,
    /// `customer`, `was_received`, `was_sent`: each customer who exchanged messages with the worker
    /// that day. `any_received`, `any_sent`: the same with any worker, once for each customer.
    visits: DataFrame,
    /// One row for each automatic OUT.
    automatic: DataFrame,
    /// Response pairs, with the local `hour` of the question: `outcome`, `is_first`,
    /// `asked_in_hours` and durations. Sorted by `day`, `worker` and `hour`, so that polars finds
    /// the rows of a group together.
    pub pairs: DataFrame,
    /// Turns in which the worker received an IN, but another worker is credited. `is_first` marks
    /// the first hand-off of a turn.
    hand_offs: DataFrame,
}

/// The unit that a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One worker on one day.
    Worker,
    /// All workers together on one day, as worker 0.
    Account,
    /// One worker on all days together, as day 0.
    Period,
}

impl Scope {
    /// Sets the same key for all rows that are counted together.
    fn labelled(self, frame: &DataFrame) -> LazyFrame {
        let frame = frame.clone().lazy();
        match self {
            Self::Worker => frame,
            Self::Account => frame.with_column(lit(0u32).alias("worker")),
            Self::Period => frame.with_column(lit(0i32).alias("day")),
        }
    }

    fn key(self, day: i32, worker: u32) -> (i32, u32) {
        match self {
            Self::Worker => (day, worker),
            Self::Account => (day, 0),
            Self::Period => (0, worker),
        }
    }

    /// Computes the columns for each key.
    fn count(self, frame: LazyFrame, columns: Vec<Expr>) -> LazyFrame {
        let key = match self {
            Self::Worker => WORKER_OF_DAY,
            Self::Account => "day",
            Self::Period => "worker",
        };
        count_by(frame, key, &KEYS, columns)
    }
}

impl<'a> Activity<'a> {
    pub(super) fn of(
        days: &'a [(i32, DayRows)],
        history: &History,
        cancel: &'a Cancel,
    ) -> Result<Self, MetricsError> {
        let wanted: HashSet<i32> = days.iter().map(|(day, _)| *day).collect();
        let automatic = history
            .automatic()
            .iter()
            .map(|(day, worker)| (history.first_day() + i32::from(*day), *worker));
        let (automatic_day, automatic_worker): (Vec<i32>, Vec<u32>) =
            automatic.filter(|(day, _)| wanted.contains(day)).unzip();
        let automatic_keys = automatic_day.iter().zip(&automatic_worker);
        let automatic_keys = automatic_keys.map(|(day, worker)| worker_of_day(*day, *worker));
        let automatic_keys: Vec<i64> = automatic_keys.collect();

        let hours = Rows::of(days, |day| &day.hours);
        let visits = Rows::of(days, |day| &day.visits);
        let pairs = Rows::of(days, |day| &day.turns).sorted(|turn| (turn.worker, turn.hour));
        let hand_offs = Rows::of(days, |day| &day.hand_offs);
        let instant = |of: fn((i64, i64)) -> i64| move |hour: &Hour| hour.sent.map(of);
        let checked = |frame: PolarsResult<DataFrame>| -> Result<DataFrame, MetricsError> {
            cancel.check()?;
            Ok(frame?)
        };
        Ok(Self {
            days,
            cancel,
            hours: checked(df! {
                "day" => hours.days(),
                "worker" => hours.map(|hour| hour.worker),
                WORKER_OF_DAY => hours.keys(|hour| hour.worker),
                "hour" => hours.map(|hour| i32::from(hour.hour)),
                "messages_received" => hours.map(|hour| hour.received),
                "messages_sent" => hours.map(|hour| hour.replies + hour.follow_ups + hour.outreach),
                "replies" => hours.map(|hour| hour.replies),
                "follow_ups" => hours.map(|hour| hour.follow_ups),
                "outreach" => hours.map(|hour| hour.outreach),
                "first_sent_at" => hours.numbers(instant(|(first, _)| first)),
                "last_sent_at" => hours.numbers(instant(|(_, last)| last)),
            })?,
            visits: checked(df! {
                "day" => visits.days(),
                "worker" => visits.map(|visit| visit.worker),
                WORKER_OF_DAY => visits.keys(|visit| visit.worker),
                "customer" => visits.map(|visit| visit.customer),
                "was_received" => visits.flags(|visit| Some(visit.received)),
                "was_sent" => visits.flags(|visit| Some(visit.sent)),
                "any_received" => visits.flags(|visit| Some(visit.of_customer?.received)),
                "any_sent" => visits.flags(|visit| Some(visit.of_customer?.sent)),
            })?,
            automatic: df! {
                "day" => automatic_day,
                "worker" => automatic_worker,
                WORKER_OF_DAY => automatic_keys,
            }?,
            pairs: checked(df! {
                "day" => pairs.days(),
                "worker" => pairs.map(|turn| turn.worker),
                WORKER_OF_DAY => ascending(pairs.keys(|turn| turn.worker)),
                HOUR_OF_WORKER => ascending(pairs.0.iter().map(|(day, turn)| hour_of_worker(*day, turn)).collect()),
                "hour" => pairs.map(|turn| i32::from(turn.hour)),
                "outcome" => pairs.map(|turn| turn.outcome as u32),
                "is_first" => pairs.flags(|turn| Some(turn.is_first)),
                "asked_in_hours" => pairs.flags(|turn| turn.asked_in_hours),
                "response_seconds" => pairs.numbers(|turn| turn.response_seconds.map(i64::from)),
                "first_response_seconds" => pairs.numbers(|turn| turn.response_seconds.filter(|_| turn.is_first).map(i64::from)),
                "own_response_seconds" => pairs.numbers(|turn| turn.own_response_seconds.map(i64::from)),
                // Only for answered turns that were asked in business hours.
                "business_seconds" => pairs.numbers(|turn| turn.business_seconds.filter(|_| turn.asked_in_hours == Some(true)).map(i64::from)),
            })?,
            hand_offs: checked(df! {
                "day" => hand_offs.days(),
                "worker" => hand_offs.map(|hand_off| hand_off.worker),
                WORKER_OF_DAY => hand_offs.keys(|hand_off| hand_off.worker),
                "is_first" => hand_offs.flags(|hand_off| Some(hand_off.is_first)),
            })?,
        })
    }

    /// Computes a query, unless there was a signal.
    pub(super) fn collect(&self, query: LazyFrame) -> Result<DataFrame, MetricsError> {
        self.cancel.check()?;
        let rows = self.hours.height() + self.visits.height() + self.pairs.height();
        let query = if rows <= ROWS_QUICK { query.without_optimizations() } else { query };
        Ok(query.collect()?)
    }
}

/// Column of `day` and `worker` as one number.
const WORKER_OF_DAY: &str = "worker_of_day";

/// Column of `day`, `worker` and `hour` as one number.
pub(super) const HOUR_OF_WORKER: &str = "hour_of_worker";

fn worker_of_day(day: i32, worker: u32) -> i64 {
    i64::from(day) << 32 | i64::from(worker)
}

fn hour_of_worker(day: i32, turn: &Turn) -> i64 {
    worker_of_day(day, turn.worker) << 5 | i64::from(turn.hour)
}

/// A column of numbers that ascend. polars does not look for the rows of its groups elsewhere.
fn ascending(numbers: Vec<i64>) -> Int64Chunked {
    let mut column = Int64Chunked::from_vec(PlSmallStr::EMPTY, numbers);
    column.set_sorted_flag(IsSorted::Ascending);
    column
}

/// Computes the columns for each number of the column `key`, which stands for the `keys`.
pub(super) fn count_by(
    frame: LazyFrame,
    key: &str,
    keys: &[&str],
    mut columns: Vec<Expr>,
) -> LazyFrame {
    columns.extend(keys.iter().filter(|other| **other != key).map(|other| col(*other).first()));
    let counted = frame.group_by([col(key)]).agg(columns);
    if keys.contains(&key) { counted } else { counted.drop(cols([key])) }
}

/// Rows of one kind, each with its day. Converts them to columns.
struct Rows<'a, T>(Vec<(i32, &'a T)>);

impl<'a, T> Rows<'a, T> {
    /// The rows of some days, in order of the days.
    fn of(days: &'a [(i32, DayRows)], rows: impl Fn(&DayRows) -> &Vec<T>) -> Self {
        let all = days.iter().flat_map(|(day, found)| rows(found).iter().map(|row| (*day, row)));
        let mut with_days =
            Vec::with_capacity(days.iter().map(|(_, found)| rows(found).len()).sum());
        with_days.extend(all);
        Self(with_days)
    }

    /// The same rows, those of each day sorted by worker and hour.
    fn sorted(mut self, key: impl Fn(&T) -> (u32, u8) + Sync) -> Self
    where
        T: Sync,
    {
        for of_day in self.0.chunk_by_mut(|(day, _), (other, _)| day == other) {
            match of_day.len() {
                ROWS_SIDE_BY_SIDE.. => of_day.par_sort_unstable_by_key(|(_, row)| key(row)),
                _ => of_day.sort_unstable_by_key(|(_, row)| key(row)),
            }
        }
        self
    }

    fn days(&self) -> Int32Chunked {
        let days = self.0.iter().map(|(day, _)| *day).collect();
        let mut column = Int32Chunked::from_vec(PlSmallStr::EMPTY, days);
        column.set_sorted_flag(IsSorted::Ascending);
        column
    }

    fn keys(&self, worker: impl Fn(&T) -> u32) -> Vec<i64> {
        self.0.iter().map(|(day, row)| worker_of_day(*day, worker(row))).collect()
    }

    fn map<V>(&self, value: impl Fn(&T) -> V) -> Vec<V> {
        self.0.iter().map(|(_, row)| value(row)).collect()
    }

    fn numbers(&self, value: impl Fn(&T) -> Option<i64>) -> Int64Chunked {
        let mut column = PrimitiveChunkedBuilder::<Int64Type>::new(PlSmallStr::EMPTY, self.0.len());
        self.0.iter().for_each(|(_, row)| column.append_option(value(row)));
        column.finish()
    }

    fn flags(&self, value: impl Fn(&T) -> Option<bool>) -> BooleanChunked {
        let mut column = BooleanChunkedBuilder::new(PlSmallStr::EMPTY, self.0.len());
        self.0.iter().for_each(|(_, row)| column.append_option(value(row)));
        column.finish()
    }
}

pub(super) const KEYS: [&str; 2] = ["day", "worker"];

/// The statistics of each (`day`, `worker`) of a scope: one frame for each kind of activity.
pub(super) fn parts(activity: &Activity, scope: Scope) -> Result<[DataFrame; 6], MetricsError> {
    let queries = [
        by_message(scope.labelled(&activity.hours), scope),
        by_customer(scope.labelled(&activity.visits), scope),
        scope.count(scope.labelled(&activity.automatic), vec![len().alias("auto_messages_sent")]),
        by_turn(scope.labelled(&activity.pairs), scope)?,
        by_hand_off(scope.labelled(&activity.hand_offs), scope),
    ];
    let [messages, customers, automatic, turns, hand_offs] =
        queries.map(|query| activity.collect(query));
    let turns = with_percentiles(turns?, Table::WorkerDaily)?;
    activity.cancel.check()?;
    let concurrency = by_segment(activity.days, scope)?;
    Ok([messages?, customers?, automatic?, turns, hand_offs?, concurrency])
}

/// Replaces missing counts with 0: a part without a row counted nothing. Counts that need business
/// hours are null without a schedule.
pub(super) fn complete(rows: LazyFrame, has_schedule: bool) -> LazyFrame {
    let is_count = |column: &Column| column.role == Role::Count;
    let always = Table::WorkerDaily
        .names(|column| is_count(column) && (has_schedule || !column.needs_hours));
    let never =
        Table::WorkerDaily.names(|column| is_count(column) && column.needs_hours && !has_schedule);
    let nulls = never.into_iter().map(|name| lit(NULL).cast(DataType::Int64).alias(name));
    rows.with_columns(counted(&always)).with_columns(nulls.collect::<Vec<_>>())
}

/// Counts messages by the day of the message.
fn by_message(hours: LazyFrame, scope: Scope) -> LazyFrame {
    let counts = ["messages_received", "messages_sent", "replies", "follow_ups", "outreach"];
    let mut columns = counts.map(|name| col(name).sum()).to_vec();
    columns.extend([col("first_sent_at").min(), col("last_sent_at").max()]);
    scope.count(hours, columns)
}

/// Counts customers by the day of the message. Each customer counts once.
fn by_customer(visits: LazyFrame, scope: Scope) -> LazyFrame {
    let (visits, received, sent) = match scope {
        Scope::Worker => (visits, "was_received", "was_sent"),
        // One visit of each customer knows of the others.
        Scope::Account => (visits, "any_received", "any_sent"),
        // Days now share a key. A customer of several days must count once.
        Scope::Period => {
            let flags = [col("was_received").any(true), col("was_sent").any(true)];
            let once = visits.group_by([col("day"), col("worker"), col("customer")]).agg(flags);
            (once, "was_received", "was_sent")
        }
    };
    let columns = vec![
        count(col(received)).alias("customers"),
        count(col(received).and(col(sent))).alias("customers_served"),
    ];
    scope.count(visits, columns)
}

/// Computes how many customers were served at once, by the day of the segment.
fn by_segment(days: &[(i32, DayRows)], scope: Scope) -> PolarsResult<DataFrame> {
    let segments = days.iter().flat_map(|(day, found)| {
        found.segments.iter().map(|row| (scope.key(*day, row.worker), row))
    });
    let concurrency = concurrency::by(segments);
    df! {
        "day" => concurrency.iter().map(|((day, _), _)| *day).collect::<Vec<_>>(),
        "worker" => concurrency.iter().map(|((_, worker), _)| *worker).collect::<Vec<_>>(),
        "max_concurrent" => concurrency.iter().map(|(_, concurrency)| concurrency.most).collect::<Vec<_>>(),
        "mean_concurrent" => concurrency.iter().map(|(_, concurrency)| concurrency.mean()).collect::<Float64Chunked>(),
    }
}

/// Counts turns by the day on which they were asked. They are credited to the pair's worker.
fn by_turn(pairs: LazyFrame, scope: Scope) -> PolarsResult<LazyFrame> {
    let mut columns = vec![
        count(is(Outcome::Answered)).alias("answered"),
        count(is(Outcome::Pending)).alias("pending"),
        count(is(Outcome::Unanswered).and(col("is_first"))).alias("unanswered_first"),
        count(is(Outcome::Unanswered).and(col("is_first").not())).alias("unanswered_later"),
        // A takeover: the replying worker received no message of the turn.
        count(is(Outcome::Answered).and(col("own_response_seconds").is_null())).alias("takeovers"),
        count(is(Outcome::Answered).and(col("is_first"))).alias("first_responses"),
        count(is(Outcome::Answered).and(col("asked_in_hours"))).alias("answered_in_hours"),
        count(col("asked_in_hours").not()).alias("asked_out_of_hours"),
    ];
    columns.extend(Table::WorkerDaily.columns().filter_map(|column| within(column.name)));
    columns.extend(statistics(Table::WorkerDaily)?);
    Ok(scope.count(pairs, columns))
}

/// Counts the turns that were answered within the seconds in the column's name. None for other
/// columns.
fn within(column: &str) -> Option<Expr> {
    let seconds: i64 = column.strip_prefix("answered_within_")?.strip_suffix('s')?.parse().ok()?;
    let is_in_time = col("response_seconds").lt_eq(lit(seconds)).fill_null(lit(false));
    Some(count(is_in_time).alias(column))
}

/// Counts hand-offs by the day on which the turn was asked. For the account, each turn counts once.
fn by_hand_off(hand_offs: LazyFrame, scope: Scope) -> LazyFrame {
    let hand_offs = match scope {
        Scope::Account => hand_offs.filter(col("is_first")),
        Scope::Worker | Scope::Period => hand_offs,
    };
    scope.count(hand_offs, vec![len().alias("handed_off")])
}
