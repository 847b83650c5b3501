//! The figures of a period. The page shows them all. As JSON, they are part of kefu's contract.

use serde::Serialize;

use super::metric::Values;
use crate::calendar::Day;
use crate::lake::Account;
use crate::pipeline::{DayStatus, Mark};

#[derive(Debug, Serialize)]
pub struct Figures {
    pub timezone: String,
    pub first: Day,
    pub last: Day,
    /// Later days in the lake that are not reported because they are not final yet.
    pub left_out: Vec<Day>,
    /// Seconds within which a turn is answered in time.
    pub service_level_seconds: i64,
    /// The wanted service level, from 0 to 1. None when the settings name none.
    pub service_level_target: Option<f64>,
    /// Over all accounts together. A customer of two accounts counts twice.
    #[serde(flatten)]
    pub together: Scope,
    pub accounts: Vec<AccountFigures>,
    pub workers: Vec<WorkerFigures>,
    pub unanswered: UnansweredTurns,
    pub coverage: Vec<AccountCoverage>,
}

/// The figures of one account, or of all accounts together.
#[derive(Debug, Serialize)]
pub struct Scope {
    /// Number of accounts.
    #[serde(skip)]
    pub accounts: usize,
    /// Whether later days can no longer change any of the figures.
    pub is_final: bool,
    pub headline: Headline,
    pub totals: Totals,
    pub before: Before,
    pub days: Vec<DayFigures>,
    pub load: Vec<WeekdayLoad>,
}

/// What happened in the period: the facts of the sentence at the top of the page.
#[derive(Clone, Debug, Serialize)]
pub struct Headline {
    pub service_level: Option<f64>,
    /// The service level minus that of the days before, from -1 to 1.
    pub change: Option<f64>,
    /// Whether a change of this size is to be expected without any cause.
    pub change_is_within_chance: Option<bool>,
    pub worst_day: Option<WorstDay>,
    pub busiest_hours: Option<BusiestHours>,
}

/// The day with the lowest service level, of the days with enough turns.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WorstDay {
    pub date: Day,
    pub service_level: f64,
}

/// The two hours in a row in which customers wrote most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BusiestHours {
    /// Local hour in which they begin.
    pub first: u8,
    /// Local hour in which they end, from 2 to 24.
    pub end: u8,
    /// Their share of the messages received.
    pub share: f64,
}

/// The totals of a period. A value is None if its tables are missing for any day of the period, or
/// if there is nothing to compute it from.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    pub messages_received: i64,
    pub messages_sent: i64,
    /// Distinct customers who wrote.
    pub customers: Option<i64>,
    /// Of these customers, those to whom a worker wrote.
    pub customers_served: Option<i64>,
    /// Distinct workers who wrote.
    pub workers: i64,
    pub turns: i64,
    pub answered: i64,
    pub pending: i64,
    pub unanswered_first: i64,
    pub unanswered_later: i64,
    pub answered_within: i64,
    /// `answered_within / (answered + unanswered_first)`
    pub service_level: Option<f64>,
    pub response_seconds_mean: Option<f64>,
    pub response_seconds_p50: Option<f64>,
    pub response_seconds_p90: Option<f64>,
    pub first_response_seconds_p50: Option<f64>,
    /// Turns asked in business hours. None without a schedule, like the next four.
    pub asked_in_hours: Option<i64>,
    pub asked_out_of_hours: Option<i64>,
    /// The service level of the turns asked in business hours, by their seconds in these hours.
    pub business_service_level: Option<f64>,
    /// The part and the whole of the service level in business hours.
    #[serde(skip)]
    pub(super) business_counted: (i64, i64),
    /// Over answered turns that were asked in business hours.
    pub business_seconds_p50: Option<f64>,
    pub business_seconds_p90: Option<f64>,
    pub sessions_completed: i64,
    pub sessions_missed: i64,
    pub sessions_dropped: i64,
    pub sessions_open: i64,
    pub sessions_outreach: i64,
}

/// The days before the period. Both have the same number of days.
#[derive(Clone, Debug, Serialize)]
pub struct Before {
    pub first: Day,
    pub last: Day,
    /// None unless both periods are complete in the lake and final.
    pub totals: Option<Totals>,
    /// The figures that later days do not change. They need complete periods, but not final days.
    pub volume: Option<Values>,
    /// Why `totals` is None.
    pub missing: Option<NothingToCompare>,
}

/// Why two periods cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NothingToCompare {
    /// The period itself lacks days.
    PeriodIncomplete,
    /// Days of the period are not final yet: turns may still be answered.
    PeriodNotFinal,
    /// The period before lacks days.
    BeforeIncomplete,
    /// Days of the period before are not final.
    BeforeNotFinal,
}

#[derive(Debug, Serialize)]
pub struct AccountFigures {
    pub account: Account,
    /// None when no day of the account has metrics.
    pub totals: Option<Totals>,
    /// The figures that the page shows when a reader picks this account. None for an account
    /// alone, for many accounts, and without metrics.
    #[serde(skip)]
    pub scope: Option<Scope>,
}

/// A day over all accounts. It has no totals when no account has metrics.
#[derive(Debug, Serialize)]
pub struct DayFigures {
    pub date: Day,
    /// Number of accounts that have metrics for the day.
    pub accounts: usize,
    /// Whether later days can no longer change the figures. False when there are none.
    pub is_final: bool,
    #[serde(flatten)]
    pub totals: Option<Totals>,
}

/// Mean messages received on a weekday. With several accounts, it is the sum of their means. Each
/// mean covers the account's own days.
#[derive(Debug, Serialize)]
pub struct WeekdayLoad {
    /// 1 is Monday.
    pub weekday: u8,
    /// Number of averaged days. A day of one account counts as one.
    pub days: i64,
    /// By local hour. None when an account has no such day.
    pub messages_received_mean: Option<Vec<f64>>,
}

#[derive(Debug, Serialize)]
pub struct WorkerFigures {
    pub account: Account,
    pub worker: String,
    /// The latest name in the lake. None for a worker without one.
    pub name: Option<String>,
    pub messages_received: i64,
    pub messages_sent: i64,
    pub customers: Option<i64>,
    pub answered: i64,
    pub pending: i64,
    pub unanswered_first: i64,
    pub unanswered_later: i64,
    pub response_seconds_p50: Option<f64>,
    pub response_seconds_p90: Option<f64>,
    pub response_seconds_mean: Option<f64>,
    pub answered_within: i64,
    pub service_level: Option<f64>,
    pub own_response_seconds_p50: Option<f64>,
    /// None without a schedule of business hours.
    pub business_seconds_p50: Option<f64>,
    pub takeovers: i64,
    pub handed_off: i64,
    pub max_concurrent: i64,
    /// Fewer than 30 answered turns.
    pub is_small_sample: bool,
}

#[derive(Debug, Serialize)]
pub struct UnansweredTurns {
    /// Turns that opened a session come before the others. In both groups the longest wait comes
    /// first.
    pub turns: Vec<UnansweredTurn>,
    /// Number of turns that are not listed.
    pub more: i64,
}

#[derive(Debug, Serialize)]
pub struct UnansweredTurn {
    pub account: Account,
    /// The end of the openid.
    pub customer: String,
    pub worker: String,
    /// The latest name of the worker in the lake.
    pub name: Option<String>,
    /// Local time.
    pub asked_at: String,
    /// Seconds until the customer asked again, or until no reply was possible any more.
    pub waited_seconds: i64,
    pub customer_messages: i64,
    pub is_first: bool,
    /// The texts that the customer wrote, shortened. None unless requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texts: Option<Texts>,
}

#[derive(Debug, Serialize)]
pub struct Texts {
    /// None for a text that is not in the lake.
    pub texts: Vec<Option<String>>,
    /// Number of messages that are not shown.
    pub more: usize,
}

#[derive(Debug, Serialize)]
pub struct AccountCoverage {
    pub account: Account,
    pub days: Vec<CoveredDay>,
}

#[derive(Debug, Serialize)]
pub struct CoveredDay {
    #[serde(flatten)]
    pub status: DayStatus,
    /// Whether the figures of the day are in the report.
    pub is_in_report: bool,
    pub mark: Mark,
}

impl Figures {
    /// Whether a service level reaches the target. None without a target.
    pub(super) fn is_on_target(&self, level: f64) -> Option<bool> {
        self.service_level_target.map(|target| level >= target)
    }

    /// Whether any account has a schedule of business hours.
    pub(super) fn has_business_hours(&self) -> bool {
        let totals = self.accounts.iter().filter_map(|account| account.totals.as_ref());
        totals.chain([&self.together.totals]).any(|totals| totals.asked_in_hours.is_some())
    }
}

impl DayFigures {
    /// Whether the day has figures that later days may change.
    pub(super) fn is_provisional(&self) -> bool {
        self.accounts > 0 && !self.is_final
    }
}
