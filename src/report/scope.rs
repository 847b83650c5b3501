//! Computes the figures of some accounts together, and of each worker.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use rayon::prelude::*;

use super::AccountDays;
use super::facts::{DayFacts, Facts, Id, Wait, WorkerDay};
use super::figures::{
    Before, BusiestHours, DayFigures, Headline, NothingToCompare, Scope, Totals, WeekdayLoad,
    WorkerFigures, WorstDay,
};
use super::metric::{Place, SERVICE_LEVEL, Values};
use super::statistics::{Waits, is_within_chance, share};
use crate::calendar::{Day, DayRange};
use crate::lake::Account;

/// Turns below which a percentile or a share means little.
const SMALL_SAMPLE: i64 = 30;

/// The days of some accounts: of the period, and of the days before.
pub(super) struct Days<'a> {
    pub period: DayRange,
    pub now: Vec<&'a AccountDays>,
    pub before: Vec<&'a AccountDays>,
}

/// The figures of these accounts together. None when no day of the period has metrics.
pub(super) fn scope(days: &Days<'_>, service_level_seconds: i64) -> Option<Scope> {
    let facts = pooled(&days.now);
    let totals = Totals::of(&facts, service_level_seconds)?;
    let before = before(days, service_level_seconds);
    let is_final = is_final(&days.now);
    let by_day = by_day(days.period, &facts, service_level_seconds);
    Some(Scope {
        accounts: days.now.len(),
        is_final,
        headline: headline(&totals, before.totals.as_ref(), &by_day, &facts),
        totals,
        before,
        days: by_day,
        load: load(&facts),
    })
}

/// The facts of all accounts together.
pub(super) fn pooled<'a>(days: &[&'a AccountDays]) -> Vec<(&'a Account, &'a DayFacts)> {
    days.iter()
        .flat_map(|account| account.facts.iter().map(|day| (&account.account, day)))
        .collect()
}

/// Whether every day of every account is in the report.
fn is_complete(days: &[&AccountDays]) -> bool {
    days.iter().all(|account| account.covered.iter().all(|day| day.is_in_report))
}

/// Whether later days can no longer change any of the figures.
fn is_final(days: &[&AccountDays]) -> bool {
    days.iter().flat_map(|account| &account.facts).all(|day| day.is_final)
}

fn before(days: &Days<'_>, service_level_seconds: i64) -> Before {
    let is_complete = (is_complete(&days.now), is_complete(&days.before));
    let missing = if !is_complete.0 {
        Some(NothingToCompare::PeriodIncomplete)
    } else if !is_final(&days.now) {
        Some(NothingToCompare::PeriodNotFinal)
    } else if !is_complete.1 {
        Some(NothingToCompare::BeforeIncomplete)
    } else if !is_final(&days.before) {
        Some(NothingToCompare::BeforeNotFinal)
    } else {
        None
    };
    let totals = match is_complete {
        (true, true) => Totals::of(&pooled(&days.before), service_level_seconds),
        _ => None,
    };
    let DayRange { first, last } = days.period.before();
    Before {
        first,
        last,
        // Later days do not change the number of messages of a day.
        volume: totals.as_ref().map(|totals| Values::of(totals).only(Place::Volume)),
        totals: totals.filter(|_| missing.is_none()),
        missing,
    }
}

fn headline(
    totals: &Totals,
    before: Option<&Totals>,
    days: &[DayFigures],
    facts: &Facts<'_>,
) -> Headline {
    let counted = |totals: &Totals| totals.answered + totals.unanswered_first;
    let both = before.filter(|before| counted(before) > 0 && counted(totals) > 0);
    let levels = days.iter().filter_map(|day| {
        let totals = day.totals.as_ref().filter(|totals| counted(totals) >= SMALL_SAMPLE)?;
        Some(WorstDay { date: day.date, service_level: totals.service_level? })
    });
    let levels: Vec<WorstDay> = levels.collect();
    let worst = levels.iter().min_by(|one, two| one.service_level.total_cmp(&two.service_level));
    Headline {
        service_level: totals.service_level,
        change: both
            .and_then(|before| before.service_level)
            .zip(totals.service_level)
            .map(|(before, now)| now - before),
        change_is_within_chance: both
            .and_then(|before| changed_within_chance(SERVICE_LEVEL, totals, before)),
        worst_day: worst.filter(|_| levels.len() > 1).copied(),
        busiest_hours: busiest_hours(facts),
    }
}

/// Whether the change of a share is within chance. None for a metric that is no share.
pub(super) fn changed_within_chance(metric: &str, now: &Totals, before: &Totals) -> Option<bool> {
    Some(is_within_chance(now.part_and_whole(metric)?, before.part_and_whole(metric)?))
}

/// The two hours in a row that received the most messages: of equal ones, the earliest. None
/// without messages.
fn busiest_hours(facts: &Facts<'_>) -> Option<BusiestHours> {
    let mut hours = [0; 24];
    for (_, day) in facts {
        hours.iter_mut().zip(day.hours).for_each(|(total, received)| *total += received);
    }
    let all: i64 = hours.iter().sum();
    let pairs = hours.windows(2).map(|pair| pair.iter().sum::<i64>()).zip(0_u8..);
    let (most, first) = pairs.max_by_key(|(sum, first)| (*sum, std::cmp::Reverse(*first)))?;
    Some(BusiestHours { first, end: first + 2, share: share(most, all)? })
}

/// The figures of each day of the period.
fn by_day(range: DayRange, facts: &Facts<'_>, service_level_seconds: i64) -> Vec<DayFigures> {
    let mut by_day: BTreeMap<Day, Vec<(&Account, &DayFacts)>> = BTreeMap::new();
    for (account, day) in facts {
        by_day.entry(day.day).or_default().push((account, day));
    }
    let of_day = |date: Day| {
        let facts = by_day.get(&date).map(Vec::as_slice).unwrap_or_default();
        let is_final = !facts.is_empty() && facts.iter().all(|(_, day)| day.is_final);
        let totals = Totals::of(facts, service_level_seconds);
        DayFigures { date, accounts: facts.len(), is_final, totals }
    };
    range.days().collect::<Vec<_>>().into_par_iter().map(of_day).collect()
}

/// The load of each weekday.
fn load(facts: &Facts<'_>) -> Vec<WeekdayLoad> {
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

/// The figures of each worker of each account, in order of account and worker.
pub(super) fn workers<'a>(facts: &Facts<'a>) -> Vec<WorkerFigures> {
    let mut rows_of: BTreeMap<(&'a Account, &'a str), Vec<&WorkerDay>> = BTreeMap::new();
    let mut waits_of: HashMap<Id, Vec<&Wait>> = HashMap::new();
    let mut customers_of: HashMap<Id, HashSet<Id>> = HashMap::new();
    let has_turns = facts.iter().all(|(_, day)| day.turns.is_some());
    let has_visits = facts.iter().all(|(_, day)| day.visits.is_some());
    for (account, day) in facts {
        for row in &day.workers {
            rows_of.entry((account, &row.worker)).or_default().push(row);
        }
        for wait in day.turns.iter().flat_map(|turns| &turns.waits) {
            waits_of.entry(wait.worker).or_default().push(wait);
        }
        for visit in day.visits.iter().flatten().filter(|visit| visit.was_received) {
            customers_of.entry(visit.worker).or_default().insert(visit.customer);
        }
    }
    let of_worker = |((account, worker), rows): ((&Account, &str), Vec<&WorkerDay>)| {
        let id = rows.first().map_or(Id::MAX, |row| row.id);
        let waits = waits_of.remove(&id).filter(|_| has_turns).unwrap_or_default();
        let total = |count: fn(&WorkerDay) -> i64| rows.iter().map(|row| count(row)).sum::<i64>();
        let response = Waits::of(waits.iter().map(|wait| wait.response_seconds));
        let own = Waits::of(waits.iter().filter_map(|wait| wait.own_response_seconds));
        let business = Waits::of(waits.iter().filter_map(|wait| wait.business_seconds));
        let (answered, unanswered_first) =
            (total(|row| row.answered), total(|row| row.unanswered_first));
        let answered_within = total(|row| row.answered_within);
        WorkerFigures {
            account: account.clone(),
            worker: worker.to_owned(),
            name: None,
            messages_received: total(|row| row.messages_received),
            messages_sent: total(|row| row.messages_sent),
            customers: has_visits.then(|| customers_of.get(&id).map_or(0, HashSet::len) as i64),
            answered,
            pending: total(|row| row.pending),
            unanswered_first,
            unanswered_later: total(|row| row.unanswered_later),
            response_seconds_p50: response.percentile(0.5),
            response_seconds_p90: response.percentile(0.9),
            response_seconds_mean: response.mean(),
            answered_within,
            service_level: share(answered_within, answered + unanswered_first),
            own_response_seconds_p50: own.percentile(0.5),
            business_seconds_p50: business.percentile(0.5),
            takeovers: total(|row| row.takeovers),
            handed_off: total(|row| row.handed_off),
            max_concurrent: rows.iter().map(|row| row.max_concurrent).max().unwrap_or_default(),
            is_small_sample: answered < SMALL_SAMPLE,
        }
    };
    rows_of.into_iter().map(of_worker).collect()
}
