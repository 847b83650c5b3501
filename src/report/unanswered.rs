//! Lists the turns without an answer, the most important first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::facts::{Facts, Id, Said, Unanswered};
use super::figures::{Texts, UnansweredTurn, UnansweredTurns};
use super::reading::{self, Reader};
use super::{AccountDays, ReportJob};
use crate::calendar::{Day, DayRange, UnixSeconds};
use crate::failure::Failure;
use crate::lake::{Account, Table};
use crate::metrics::DAYS_AFTER;

/// Number of turns that are listed.
const LISTED: usize = 50;

/// Number of characters that are shown of an openid.
const OPENID_SHOWN: usize = 6;

/// Number of texts that are shown of a turn.
const TEXTS_SHOWN: usize = 10;

/// Number of characters that are shown of a text.
const TEXT_SHOWN: usize = 280;

/// When the customers of unanswered turns asked again.
#[derive(Debug, Default)]
pub(super) struct NextTurns {
    /// The customer of each turn, and when the turn began.
    asked: Vec<(Id, UnixSeconds)>,
}

impl NextTurns {
    /// Adds the turns of an account's days, and of the days after them on which a customer may have
    /// asked again.
    pub(super) fn add(
        &mut self,
        reader: &Reader<'_>,
        period: DayRange,
        days: &AccountDays,
    ) -> Result<(), Failure> {
        let turns = || days.facts.iter().filter_map(|day| day.turns.as_ref());
        let unanswered = turns().flat_map(|turns| &turns.unanswered).map(|turn| turn.customer);
        let customers: HashSet<Id> = unanswered.collect();
        if customers.is_empty() {
            return Ok(());
        }
        for day in (1..=DAYS_AFTER).map(|days| period.last.plus(days)) {
            let asked = reader.asked(day)?;
            self.asked.extend(asked.iter().filter(|(id, _)| customers.contains(id)));
        }
        let asked = turns().flat_map(|turns| &turns.asked);
        self.asked.extend(asked.filter(|(id, _)| customers.contains(id)));
        Ok(())
    }

    fn sorted(mut self) -> Self {
        self.asked.sort_unstable();
        self
    }

    /// Seconds until the customer asked again, or until no reply was possible any more.
    fn waited(&self, turn: &Unanswered) -> i64 {
        let end = turn.last_asked_at + turn.reply_window;
        let place = self.asked.partition_point(|asked| *asked <= (turn.customer, turn.asked_at));
        let next = self.asked.get(place).filter(|(customer, _)| *customer == turn.customer);
        next.map_or(end, |(_, asked_at)| end.min(*asked_at)) - turn.asked_at
    }
}

/// Lists turns that opened a session before the others, which are mostly a closing "thanks". In
/// both groups the longest wait comes first, then the one with the most messages, then the latest.
pub(super) fn list(
    job: &ReportJob,
    facts: &Facts<'_>,
    next_turns: NextTurns,
) -> Result<UnansweredTurns, Failure> {
    let next_turns = next_turns.sorted();
    let of_days = facts
        .iter()
        .flat_map(|(account, day)| day.turns.iter().map(move |turns| (*account, turns)));
    let mut turns: Vec<(&Account, &Unanswered, i64)> = of_days
        .flat_map(|(account, turns)| turns.unanswered.iter().map(move |turn| (account, turn)))
        .map(|(account, turn)| (account, turn, next_turns.waited(turn)))
        .collect();
    turns.sort_by(|(account, turn, waited), (other_account, other, other_waited)| {
        let key = |turn: &Unanswered, waited: &i64| {
            (turn.is_first, *waited, turn.customer_messages, turn.asked_at)
        };
        key(other, other_waited)
            .cmp(&key(turn, waited))
            .then_with(|| (account, &turn.openid).cmp(&(other_account, &other.openid)))
    });
    // These counts include days whose response pairs were deleted.
    let all: i64 = facts
        .iter()
        .map(|(_, day)| day.counts.unanswered_first + day.counts.unanswered_later)
        .sum();
    turns.truncate(LISTED);
    let texts = if job.with_text { texts_of(job, &turns)? } else { BTreeMap::new() };
    let listed = turns.iter().enumerate().map(|(place, (account, turn, waited))| UnansweredTurn {
        account: (*account).clone(),
        customer: end_of(&turn.openid),
        worker: turn.worker.to_string(),
        name: None,
        asked_at: job.zone.written(turn.asked_at),
        waited_seconds: *waited,
        customer_messages: turn.customer_messages,
        is_first: turn.is_first,
        texts: job.with_text.then(|| {
            shown(texts.get(&place).map(Vec::as_slice).unwrap_or_default(), turn.customer_messages)
        }),
    });
    Ok(UnansweredTurns { more: all - turns.len() as i64, turns: listed.collect() })
}

/// The texts of each turn, by the index of the turn in the list.
fn texts_of(
    job: &ReportJob,
    turns: &[(&Account, &Unanswered, i64)],
) -> Result<BTreeMap<usize, Vec<Option<String>>>, Failure> {
    let mut by_day: BTreeMap<(&Account, Day), Vec<usize>> = BTreeMap::new();
    for (place, (account, turn, _)) in turns.iter().enumerate() {
        let days = DayRange {
            first: job.zone.day_of(turn.asked_at),
            last: job.zone.day_of(turn.last_asked_at),
        };
        days.days().for_each(|day| by_day.entry((account, day)).or_default().push(place));
    }
    let mut texts: BTreeMap<usize, Vec<Option<String>>> = BTreeMap::new();
    for ((account, day), places) in by_day {
        // The messages of the day may have been deleted.
        if !job.lake.has(&account.partition(Table::Messages, day))? {
            continue;
        }
        let mut of_customer: HashMap<Arc<str>, Vec<Said>> = HashMap::new();
        let is_wanted = |openid: &str| {
            places
                .iter()
                .filter_map(|place| turns.get(*place))
                .any(|(_, turn, _)| *turn.openid == *openid)
        };
        // Unreadable messages must not fail the report. A warning at the top of the page names
        // these days.
        for said in reading::texts(&job.lake, account, day, is_wanted).unwrap_or_default() {
            of_customer.entry(said.openid.clone()).or_default().push(said);
        }
        for (place, (_, turn, _)) in
            places.iter().filter_map(|place| Some((*place, turns.get(*place)?)))
        {
            let written = of_customer.get(&turn.openid).into_iter().flatten();
            let of_turn =
                written.filter(|said| (turn.asked_at..=turn.last_asked_at).contains(&said.sent_at));
            texts.entry(place).or_default().extend(of_turn.map(|said| said.text.clone()));
        }
    }
    Ok(texts)
}

fn shown(texts: &[Option<String>], customer_messages: i64) -> Texts {
    let shortened = |text: &String| match text.char_indices().nth(TEXT_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.clone(),
    };
    let shown: Vec<Option<String>> =
        texts.iter().take(TEXTS_SHOWN).map(|text| text.as_ref().map(shortened)).collect();
    Texts {
        more: usize::try_from(customer_messages).unwrap_or_default().saturating_sub(shown.len()),
        texts: shown,
    }
}

/// The end of an openid. It is enough to tell a team's customers apart, but it is not an openid.
fn end_of(openid: &str) -> String {
    let characters = openid.chars().count();
    if characters <= OPENID_SHOWN {
        return openid.to_owned();
    }
    format!("…{}", openid.chars().skip(characters - OPENID_SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_and_many_are_cut_between_characters() {
        let texts: Vec<Option<String>> =
            (0..12).map(|_| Some("很".repeat(10_000))).chain([None]).collect();
        let Texts { texts, more } = shown(&texts, 13);
        assert_eq!((texts.len(), more), (10, 3));
        assert_eq!(texts[0].as_ref().unwrap().chars().count(), TEXT_SHOWN + 1);
    }

    #[test]
    fn of_an_openid_only_the_end_is_shown() {
        assert_eq!(
            (end_of("oABCDEFGH客户"), end_of("o1")),
            ("…EFGH客户".to_owned(), "o1".to_owned())
        );
    }
}
