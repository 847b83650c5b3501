//! The facts of an account's day, as the lake's tables record them.

use std::sync::Arc;

use crate::calendar::{Day, UnixSeconds};
use crate::lake::Account;

/// The facts of the days of some accounts.
pub(super) type Facts<'a> = [(&'a Account, &'a DayFacts)];

/// The facts of an account's day that has metrics.
#[derive(Debug)]
pub(super) struct DayFacts {
    pub day: Day,
    /// Whether later days can no longer change its metrics.
    pub is_final: bool,
    /// Whether its metrics were computed with a schedule of business hours.
    pub has_business_hours: bool,
    pub counts: Counts,
    pub workers: Vec<WorkerDay>,
    /// Messages received in each hour.
    pub hours: [i64; 24],
    /// None when the response pairs were deleted.
    pub turns: Option<Turns>,
    /// None when the messages are missing or cannot be read.
    pub visits: Option<Vec<Visit>>,
}

/// The counts of a day, as `account_daily` records them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub messages_received: i64,
    pub messages_sent: i64,
    pub answered: i64,
    pub pending: i64,
    pub unanswered_first: i64,
    pub unanswered_later: i64,
    pub answered_within: i64,
    pub sessions_completed: i64,
    pub sessions_missed: i64,
    pub sessions_dropped: i64,
    pub sessions_open: i64,
    pub sessions_outreach: i64,
}

/// A row of `worker_daily`.
#[derive(Clone, Debug)]
pub(super) struct WorkerDay {
    pub id: Id,
    pub worker: Arc<str>,
    pub messages_received: i64,
    pub messages_sent: i64,
    pub answered: i64,
    pub pending: i64,
    pub unanswered_first: i64,
    pub unanswered_later: i64,
    pub answered_within: i64,
    pub takeovers: i64,
    pub handed_off: i64,
    pub max_concurrent: i64,
}

/// The number of a customer or a worker of an account. No two names of a report have the same.
pub(super) type Id = u32;

/// The turns of a day.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    pub waits: Vec<Wait>,
    pub unanswered: Vec<Unanswered>,
    /// The customer of each turn, and when the turn began. Also of pending turns.
    pub asked: Vec<(Id, UnixSeconds)>,
    /// Turns asked in business hours and outside. Both 0 without a schedule.
    pub in_hours: InHours,
}

/// Turns by business hours.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InHours {
    pub asked_in_hours: i64,
    pub asked_out_of_hours: i64,
    /// Turns asked in business hours that opened a session and got no reply.
    pub unanswered_first: i64,
}

/// The wait of an answered turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub worker: Id,
    pub is_first: bool,
    pub response_seconds: i64,
    pub own_response_seconds: Option<i64>,
    /// Seconds within business hours, for a turn that was asked in them.
    pub business_seconds: Option<i64>,
}

/// A turn without an answer.
#[derive(Clone, Debug)]
pub(super) struct Unanswered {
    pub customer: Id,
    pub openid: Arc<str>,
    pub worker: Arc<str>,
    pub asked_at: UnixSeconds,
    pub last_asked_at: UnixSeconds,
    /// Seconds after the last message within which a reply was possible.
    pub reply_window: i64,
    pub customer_messages: i64,
    pub is_first: bool,
}

/// A customer and a worker who wrote to each other on a day. A pair may occur several times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub customer: Id,
    pub worker: Id,
    /// Whether the worker received a message from the customer.
    pub was_received: bool,
    /// Whether the worker sent the customer a message that was not automatic.
    pub was_sent: bool,
}

/// A message that a customer wrote.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub openid: Arc<str>,
    pub sent_at: UnixSeconds,
    /// None if WeChat gave no text, or the text was dropped.
    pub text: Option<String>,
}
