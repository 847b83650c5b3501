//! The rows of a day, which `conversations` makes, and how the rows of all customers are merged.

use rayon::prelude::*;

use super::ROWS_SIDE_BY_SIDE;
use crate::calendar::UnixSeconds;
use crate::model::cancel::{Cancel, Cancelled};

/// The outcome of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Outcome {
    Answered,
    Pending,
    Unanswered,
}

/// The outcome of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum SessionOutcome {
    Completed,
    Missed,
    Dropped,
    Open,
    Outreach,
}

/// A response pair: a turn and its reply. Durations are in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub asked_at: UnixSeconds,
    /// `seq` of the first message.
    pub asked_seq: u32,
    pub customer: u32,
    /// The worker who replied. Without a reply, the worker who received the last IN.
    pub worker: u32,
    pub first_worker: u32,
    pub customer_messages: u32,
    /// Seconds from the first IN to the last.
    pub asking_seconds: u32,
    pub response_seconds: Option<u32>,
    pub own_response_seconds: Option<u32>,
    pub business_seconds: Option<u32>,
    /// The local hour of `asked_at`.
    pub hour: u8,
    pub outcome: Outcome,
    pub is_first: bool,
    /// None without a schedule.
    pub asked_in_hours: Option<bool>,
}

/// A session, with its messages up to the third day after the day of the first one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub started_at: UnixSeconds,
    pub ended_at: UnixSeconds,
    /// `seq` of the first message.
    pub started_seq: u32,
    pub customer: u32,
    pub first_response_seconds: Option<u32>,
    pub customer_messages: u32,
    pub worker_messages: u32,
    pub turns: u32,
    pub answered: u32,
    pub workers: u32,
    pub by_customer: bool,
    pub outcome: SessionOutcome,
}

/// A turn in which `worker` received an IN, but another worker is credited.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandOff {
    pub worker: u32,
    /// Whether it is the first hand-off of its turn. The account counts only these.
    pub is_first: bool,
}

/// A worker and a customer who wrote to each other on a day. One direction is enough.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub worker: u32,
    pub customer: u32,
    /// Whether the worker received a message from the customer.
    pub received: bool,
    /// Whether the worker sent a message to the customer.
    pub sent: bool,
    /// All visits of the customer on the day together. Only one of them has this.
    pub of_customer: Option<OfCustomer>,
}

/// Directions of the messages between a customer and any worker on a day.
#[derive(Clone, Copy, Debug)]
pub(super) struct OfCustomer {
    pub received: bool,
    pub sent: bool,
}

/// A span of a day, `[start, end)`, that a worker spent with one customer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub worker: u32,
    pub start: UnixSeconds,
    pub end: UnixSeconds,
}

/// A worker's messages within a local hour. Several rows may have the same hour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hour {
    pub hour: u8,
    pub worker: u32,
    pub received: i64,
    pub replies: i64,
    pub follow_ups: i64,
    pub outreach: i64,
    /// Instants of the first and the last message sent.
    pub sent: Option<(UnixSeconds, UnixSeconds)>,
}

/// The rows of a range of customers on a day. Turns, sessions and visits are in order of customers.
/// Those of one customer are in order of time.
#[derive(Debug, Default)]
pub(super) struct DayRows {
    /// The turns asked on the day.
    pub turns: Vec<Turn>,
    /// The hand-offs of these turns.
    pub hand_offs: Vec<HandOff>,
    /// The sessions that began on the day.
    pub sessions: Vec<Session>,
    pub visits: Vec<Visit>,
    pub segments: Vec<Segment>,
    pub hours: Vec<Hour>,
}

impl DayRows {
    /// Merges the rows of ranges, in order, into the rows of all customers on a day. Turns are
    /// sorted by (`asked_at`, `openid`), sessions by (`started_at`, `openid`).
    pub(super) fn of_ranges(mut ranges: Vec<Self>, cancel: &Cancel) -> Result<Self, Cancelled> {
        cancel.check()?;
        let turns = in_order_of_time(
            &ranges.iter().map(|range| range.turns.as_slice()).collect::<Vec<_>>(),
            |turn| turn.asked_at,
        );
        ranges.iter_mut().for_each(|range| range.turns = Vec::new());
        cancel.check()?;
        let sessions = in_order_of_time(
            &ranges.iter().map(|range| range.sessions.as_slice()).collect::<Vec<_>>(),
            |session| session.started_at,
        );
        let mut all = Self { turns, sessions, ..Self::default() };
        for mut range in ranges {
            all.hand_offs.append(&mut range.hand_offs);
            all.visits.append(&mut range.visits);
            all.segments.append(&mut range.segments);
            all.hours.append(&mut range.hours);
        }
        Ok(all)
    }
}

/// The largest number of ranges: the number of a range has 12 bits (see [`in_order_of_time`]).
pub(super) const RANGES_MAX: usize = 1 << 12;

/// Sorts the rows of all ranges by instant. Rows with the same instant keep their order.
fn in_order_of_time<T: Copy + Sync>(
    ranges: &[&[T]],
    instant: impl Fn(&T) -> UnixSeconds,
) -> Vec<T> {
    // The second, the range and the index in the range fit into one number. Such keys sort fast,
    // and no two are equal.
    let first = ranges.iter().copied().flatten().map(&instant).min().unwrap_or_default();
    let mut order = Vec::with_capacity(ranges.iter().map(|range| range.len()).sum());
    for (range, rows) in ranges.iter().zip(0u64..) {
        order.extend(
            range
                .iter()
                .zip(0u64..)
                .map(|(row, place)| ((instant(row) - first) as u64) << 44 | rows << 32 | place),
        );
    }
    if order.len() < ROWS_SIDE_BY_SIDE {
        order.sort_unstable()
    } else {
        order.par_sort_unstable()
    }
    let row = |key: u64| {
        ranges.get((key >> 32 & 0xFFF) as usize)?.get((key & 0xFFFF_FFFF) as usize).copied()
    };
    order.into_iter().filter_map(row).collect()
}
