//! Computes the totals of some days.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::facts::{DayFacts, Facts, Id, Turns, Wait};
use super::figures::Totals;
use super::statistics::{Waits, share};

impl Totals {
    /// The totals of all facts together. None without facts.
    pub(super) fn of(facts: &Facts<'_>, service_level_seconds: i64) -> Option<Self> {
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
        let turns = turns(facts);
        // None of them when the response pairs of a day are missing.
        let waits_of = |wanted: fn(&Wait) -> Option<i64>| {
            Waits::of(turns.iter().flatten().flat_map(|turns| &turns.waits).filter_map(wanted))
        };
        let response = waits_of(|wait| Some(wait.response_seconds));
        let first_response = waits_of(|wait| wait.is_first.then_some(wait.response_seconds));
        let customers = customers(facts);
        let totals = Self {
            messages_received: total(|day| day.counts.messages_received),
            messages_sent: total(|day| day.counts.messages_sent),
            customers: customers.map(|customers| customers.wrote),
            customers_served: customers.map(|customers| customers.served),
            workers: workers_who_wrote(facts),
            turns: answered + pending + unanswered_first + unanswered_later,
            answered,
            pending,
            unanswered_first,
            unanswered_later,
            answered_within,
            service_level: share(answered_within, answered + unanswered_first),
            response_seconds_mean: response.mean(),
            response_seconds_p50: response.percentile(0.5),
            response_seconds_p90: response.percentile(0.9),
            first_response_seconds_p50: first_response.percentile(0.5),
            sessions_completed: total(|day| day.counts.sessions_completed),
            sessions_missed: total(|day| day.counts.sessions_missed),
            sessions_dropped: total(|day| day.counts.sessions_dropped),
            sessions_open: total(|day| day.counts.sessions_open),
            sessions_outreach: total(|day| day.counts.sessions_outreach),
            ..Self::default()
        };
        let has_hours = facts.iter().all(|(_, day)| day.has_business_hours);
        Some(match &turns {
            Some(turns) if has_hours => totals.with_business_hours(
                turns,
                &waits_of(|wait| wait.business_seconds),
                service_level_seconds,
            ),
            _ => totals,
        })
    }

    /// Adds the figures by business hours. `waits` are those within them.
    fn with_business_hours(self, turns: &[&Turns], waits: &Waits, limit: i64) -> Self {
        let asked_in_hours = turns.iter().map(|turns| turns.in_hours.asked_in_hours).sum();
        let lost: i64 = turns.iter().map(|turns| turns.in_hours.unanswered_first).sum();
        let counted = (waits.within(limit), waits.len() + lost);
        Self {
            business_counted: counted,
            asked_in_hours: Some(asked_in_hours),
            asked_out_of_hours: Some(
                turns.iter().map(|turns| turns.in_hours.asked_out_of_hours).sum(),
            ),
            business_service_level: share(counted.0, counted.1),
            business_seconds_p50: waits.percentile(0.5),
            business_seconds_p90: waits.percentile(0.9),
            ..self
        }
    }
}

impl Totals {
    /// The part and the whole of a share, by the name of its metric. Of the unanswered turns, the
    /// whole is that of the service level.
    pub(super) fn part_and_whole(&self, metric: &str) -> Option<(i64, i64)> {
        let whole = self.answered + self.unanswered_first;
        match metric {
            "service_level" => Some((self.answered_within, whole)),
            "unanswered_first" => Some((self.unanswered_first, whole)),
            "business_service_level" => Some(self.business_counted),
            _ => None,
        }
    }
}

/// The turns of all days. None if the response pairs of any day are missing.
fn turns<'a>(facts: &Facts<'a>) -> Option<Vec<&'a Turns>> {
    facts.iter().map(|(_, day)| day.turns.as_ref()).collect()
}

fn workers_who_wrote(facts: &Facts<'_>) -> i64 {
    let rows = facts.iter().flat_map(|(_, day)| &day.workers);
    let wrote = rows.filter(|row| row.messages_sent > 0).map(|row| row.id);
    wrote.collect::<HashSet<Id>>().len() as i64
}

/// Numbers of distinct customers.
#[derive(Clone, Copy)]
struct Customers {
    wrote: i64,
    /// Of those who wrote, those to whom a worker wrote.
    served: i64,
}

/// None if the messages of any day are missing.
fn customers(facts: &Facts<'_>) -> Option<Customers> {
    let mut seen: HashMap<Id, (bool, bool), FixedState> = HashMap::default();
    for (_, day) in facts {
        for visit in day.visits.as_ref()? {
            let (wrote, was_served) = seen.entry(visit.customer).or_default();
            *wrote |= visit.was_received;
            *was_served |= visit.was_sent;
        }
    }
    let count = |wanted: fn(&(bool, bool)) -> bool| {
        seen.values().filter(|customer| wanted(customer)).count() as i64
    };
    Some(Customers {
        wrote: count(|(wrote, _)| *wrote),
        served: count(|(wrote, was_served)| *wrote && *was_served),
    })
}
