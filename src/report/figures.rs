//! The figures of a period. The page shows them all. As JSON, they are part of kefu's contract.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;

use super::metric::Values;
use super::reading::{DayFacts, Wait};
use super::statistics::Waits;
use crate::calendar::{Day, DayRange};
use crate::lake::Account;
use crate::pipeline::{DayStatus, Mark};

/// Answered turns below which a worker's percentiles mean little.
const SMALL_SAMPLE: i64 = 30;

#[derive(Debug, Serialize)]
pub struct Figures {
    pub timezone: String,
    pub first: Day,
    pub last: Day,
    /// Whether later days can no longer change any of the figures.
    pub is_final: bool,
    /// Later days in the lake that are not reported because they are not final yet.
    pub left_out: Vec<Day>,
    /// Seconds within which a turn is answered in time.
    pub service_level_seconds: i64,
    /// Over all accounts together. A customer of two accounts counts twice.
    pub totals: Totals,
    pub before: Before,
    pub accounts: Vec<AccountFigures>,
    pub days: Vec<DayFigures>,
    pub load: Vec<WeekdayLoad>,
    pub workers: Vec<WorkerFigures>,
    pub unanswered: UnansweredTurns,
    pub coverage: Vec<AccountCoverage>,
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
    pub sessions_completed: i64,
    pub sessions_missed: i64,
    pub sessions_dropped: i64,
    pub sessions_open: i64,
    pub sessions_outreach: i64,
}

/// The days before the period. Both have the same number of days.
#[derive(Debug, Serialize)]
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
    pub takeovers: i64,
    pub handed_off: i64,
    pub max_concurrent: i64,
    /// Fewer than 30 answered turns.
    pub is_small_sample: bool,
}

#[derive(Debug, Serialize)]
pub struct UnansweredTurns {
    /// Turns that opened a session come before the others. In both groups the latest comes first.
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

/// The facts of the days of some accounts.
pub(super) type Facts<'a> = [(&'a Account, &'a DayFacts)];

impl DayFigures {
    /// Whether the day has figures that later days may change.
    pub(super) fn is_provisional(&self) -> bool {
        self.accounts > 0 && !self.is_final
    }
}

impl Totals {
    /// The totals of all facts together. None without facts.
    pub(super) fn of(facts: &Facts<'_>) -> Option<Self> {
        if facts.is_empty() {
            return None;
        }
        let total =
            |count: fn(&DayFacts) -> i64| facts.iter().map(|(_, day)| count(day)).sum::<i64>();
        let (answered, pending) =
            (total(|day| day.counts.answered), total(|day| day.counts.pending));
        let (unanswered_first, unanswered_later) =
            (total(|day| day.counts.unanswered_first), total(|day| day.counts.unanswered_later));
        let answered_within = total(|day| day.counts.answered_within);
        let waits = waits(facts);
        let of_all = |wanted: fn(&Wait) -> Option<i64>| {
            waits.as_ref().map(|waits| Waits::of(waits.iter().filter_map(|wait| wanted(wait))))
        };
        let response = of_all(|wait| Some(wait.response_seconds));
        let first_response = of_all(|wait| wait.is_first.then_some(wait.response_seconds));
        let customers = Customers::of(facts);
        Some(Self {
            messages_received: total(|day| day.counts.messages_received),
            messages_sent: total(|day| day.counts.messages_sent),
            customers: customers.as_ref().map(Customers::wrote),
            customers_served: customers.as_ref().map(Customers::served),
            workers: workers_who_wrote(facts),
            turns: answered + pending + unanswered_first + unanswered_later,
            answered,
            pending,
            unanswered_first,
            unanswered_later,
            answered_within,
            service_level: share(answered_within, answered + unanswered_first),
            response_seconds_mean: response.as_ref().and_then(Waits::mean),
            response_seconds_p50: response.as_ref().and_then(|waits| waits.percentile(0.5)),
            response_seconds_p90: response.as_ref().and_then(|waits| waits.percentile(0.9)),
            first_response_seconds_p50: first_response
                .as_ref()
                .and_then(|waits| waits.percentile(0.5)),
            sessions_completed: total(|day| day.counts.sessions_completed),
            sessions_missed: total(|day| day.counts.sessions_missed),
            sessions_dropped: total(|day| day.counts.sessions_dropped),
            sessions_open: total(|day| day.counts.sessions_open),
            sessions_outreach: total(|day| day.counts.sessions_outreach),
        })
    }
}

fn share(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The waits of all answered turns. None if the response pairs of any day are missing.
fn waits<'a>(facts: &Facts<'a>) -> Option<Vec<&'a Wait>> {
    let of_days: Option<Vec<&[Wait]>> = facts
        .iter()
        .map(|(_, day)| day.turns.as_ref().map(|turns| turns.waits.as_slice()))
        .collect();
    Some(of_days?.into_iter().flatten().collect())
}

fn workers_who_wrote(facts: &Facts<'_>) -> i64 {
    let rows =
        facts.iter().flat_map(|(account, day)| day.workers.iter().map(move |row| (*account, row)));
    let wrote =
        rows.filter(|(_, row)| row.messages_sent > 0).map(|(account, row)| (account, &row.worker));
    wrote.collect::<HashSet<_>>().len() as i64
}

/// The distinct customers of a period.
struct Customers<'a> {
    received: HashSet<(&'a Account, &'a str)>,
    sent: HashSet<(&'a Account, &'a str)>,
}

impl<'a> Customers<'a> {
    /// None if the messages of any day are missing.
    fn of(facts: &Facts<'a>) -> Option<Self> {
        let mut customers = Self { received: HashSet::new(), sent: HashSet::new() };
        for (account, day) in facts {
            for visit in day.visits.as_ref()? {
                let customer = (*account, &*visit.customer);
                if visit.was_received {
                    customers.received.insert(customer);
                }
                if visit.was_sent {
                    customers.sent.insert(customer);
                }
            }
        }
        Some(customers)
    }

    fn wrote(&self) -> i64 {
        self.received.len() as i64
    }

    fn served(&self) -> i64 {
        self.received.intersection(&self.sent).count() as i64
    }
}

/// The figures of each day of the period.
pub(super) fn days(range: DayRange, facts: &Facts<'_>) -> Vec<DayFigures> {
    let mut by_day: BTreeMap<Day, Vec<(&Account, &DayFacts)>> = BTreeMap::new();
    for (account, day) in facts {
        by_day.entry(day.day).or_default().push((account, day));
    }
    let of_day = |date: Day| {
        let facts = by_day.remove(&date).unwrap_or_default();
        let is_final = !facts.is_empty() && facts.iter().all(|(_, day)| day.is_final);
        DayFigures { date, accounts: facts.len(), is_final, totals: Totals::of(&facts) }
    };
    range.days().map(of_day).collect()
}

/// The load of each weekday.
pub(super) fn load(facts: &Facts<'_>) -> Vec<WeekdayLoad> {
    let accounts: BTreeSet<&Account> = facts.iter().map(|(account, _)| *account).collect();
    let of_weekday = |weekday: u8| {
        let mut by_account: BTreeMap<&Account, Vec<&DayFacts>> = BTreeMap::new();
        for (account, day) in
            facts.iter().filter(|(_, day)| day.day.weekday().number_from_monday() == weekday)
        {
            by_account.entry(account).or_default().push(day);
        }
        let mean = |hour: usize, days: &[&DayFacts]| {
            days.iter().filter_map(|day| day.hours.get(hour)).sum::<i64>() as f64
                / days.len().max(1) as f64
        };
        let hours = (0..24).map(|hour| by_account.values().map(|days| mean(hour, days)).sum());
        let days: usize = by_account.values().map(Vec::len).sum();
        // A sum without one of the accounts would look like a quiet day.
        let is_whole = days > 0 && by_account.len() == accounts.len();
        WeekdayLoad {
            weekday,
            days: days as i64,
            messages_received_mean: is_whole.then(|| hours.collect()),
        }
    };
    (1..=7).map(of_weekday).collect()
}

/// The figures of each worker of each account, in order of account and worker. Without names.
pub(super) fn workers<'a>(facts: &Facts<'a>) -> Vec<WorkerFigures> {
    let names: BTreeSet<(&'a Account, &'a str)> = facts
        .iter()
        .flat_map(|(account, day)| day.workers.iter().map(|row| (*account, &*row.worker)))
        .collect();
    let mut waits_of: HashMap<(&Account, &str), Vec<&Wait>> = HashMap::new();
    let mut customers_of: HashMap<(&Account, &str), HashSet<&str>> = HashMap::new();
    let mut rows_of: HashMap<(&Account, &str), Vec<_>> = HashMap::new();
    let has_turns = facts.iter().all(|(_, day)| day.turns.is_some());
    let has_visits = facts.iter().all(|(_, day)| day.visits.is_some());
    for (account, day) in facts {
        for row in &day.workers {
            rows_of.entry((account, &row.worker)).or_default().push(row);
        }
        for wait in day.turns.iter().flat_map(|turns| &turns.waits) {
            waits_of.entry((account, &wait.worker)).or_default().push(wait);
        }
        for visit in day.visits.iter().flatten().filter(|visit| visit.was_received) {
            customers_of.entry((account, &visit.worker)).or_default().insert(&visit.customer);
        }
    }
    let of_worker = |key: (&'a Account, &'a str)| {
        let rows = rows_of.remove(&key).unwrap_or_default();
        let waits = waits_of.remove(&key).unwrap_or_default();
        let total = |count: fn(&super::reading::WorkerDay) -> i64| {
            rows.iter().map(|row| count(row)).sum::<i64>()
        };
        let response = Waits::of(waits.iter().map(|wait| wait.response_seconds));
        let own = Waits::of(waits.iter().filter_map(|wait| wait.own_response_seconds));
        let (answered, unanswered_first) =
            (total(|row| row.answered), total(|row| row.unanswered_first));
        let answered_within = total(|row| row.answered_within);
        WorkerFigures {
            account: key.0.clone(),
            worker: key.1.to_owned(),
            name: None,
            messages_received: total(|row| row.messages_received),
            messages_sent: total(|row| row.messages_sent),
            customers: has_visits.then(|| customers_of.get(&key).map_or(0, HashSet::len) as i64),
            answered,
            pending: total(|row| row.pending),
            unanswered_first,
            unanswered_later: total(|row| row.unanswered_later),
            response_seconds_p50: response.percentile(0.5).filter(|_| has_turns),
            response_seconds_p90: response.percentile(0.9).filter(|_| has_turns),
            response_seconds_mean: response.mean().filter(|_| has_turns),
            answered_within,
            service_level: share(answered_within, answered + unanswered_first),
            own_response_seconds_p50: own.percentile(0.5).filter(|_| has_turns),
            takeovers: total(|row| row.takeovers),
            handed_off: total(|row| row.handed_off),
            max_concurrent: rows.iter().map(|row| row.max_concurrent).max().unwrap_or_default(),
            is_small_sample: answered < SMALL_SAMPLE,
        }
    };
    names.into_iter().map(of_worker).collect()
}
