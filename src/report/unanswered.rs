//! Lists the turns without an answer, the most important first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ReportJob;
use super::figures::{Facts, Texts, UnansweredTurn, UnansweredTurns};
use super::reading::{Reader, Said, Unanswered};
use crate::calendar::{Day, DayRange};
use crate::failure::Failure;
use crate::lake::{Account, Table};

/// Number of turns that are listed.
const LISTED: usize = 50;

/// Number of characters that are shown of an openid.
const OPENID_SHOWN: usize = 6;

/// Number of texts that are shown of a turn.
const TEXTS_SHOWN: usize = 10;

/// Number of characters that are shown of a text.
const TEXT_SHOWN: usize = 280;

/// Lists turns that opened a session before the others, which are mostly a closing "thanks". In
/// both groups the latest turn comes first. Workers have no names yet.
pub(super) fn list(job: &ReportJob, facts: &Facts<'_>) -> Result<UnansweredTurns, Failure> {
    let of_days = facts
        .iter()
        .flat_map(|(account, day)| day.turns.iter().map(move |turns| (*account, turns)));
    let mut turns: Vec<(&Account, &Unanswered)> = of_days
        .flat_map(|(account, turns)| turns.unanswered.iter().map(move |turn| (account, turn)))
        .collect();
    turns.sort_by(|(account, turn), (other_account, other)| {
        let key = |turn: &Unanswered| (turn.is_first, turn.asked_at);
        key(other)
            .cmp(&key(turn))
            .then_with(|| (account, &turn.openid).cmp(&(other_account, &other.openid)))
    });
    // These counts include days whose response pairs were deleted.
    let all: i64 = facts
        .iter()
        .map(|(_, day)| day.counts.unanswered_first + day.counts.unanswered_later)
        .sum();
    turns.truncate(LISTED);
    let texts = if job.with_text { texts_of(job, &turns)? } else { BTreeMap::new() };
    let listed = turns.iter().enumerate().map(|(place, (account, turn))| UnansweredTurn {
        account: (*account).clone(),
        customer: end_of(&turn.openid),
        worker: turn.worker.to_string(),
        name: None,
        asked_at: job.zone.written(turn.asked_at),
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
    turns: &[(&Account, &Unanswered)],
) -> Result<BTreeMap<usize, Vec<Option<String>>>, Failure> {
    let mut by_day: BTreeMap<(&Account, Day), Vec<usize>> = BTreeMap::new();
    for (place, (account, turn)) in turns.iter().enumerate() {
        let days = DayRange {
            first: job.zone.day_of(turn.asked_at),
            last: job.zone.day_of(turn.last_asked_at),
        };
        days.days().for_each(|day| by_day.entry((account, day)).or_default().push(place));
    }
    let reader = Reader { lake: &job.lake, service_level_seconds: job.service_level_seconds };
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
                .any(|(_, turn)| *turn.openid == *openid)
        };
        // Unreadable messages must not fail the report. A warning at the top of the page names
        // these days.
        for said in reader.texts(account, day, is_wanted).unwrap_or_default() {
            of_customer.entry(said.openid.clone()).or_default().push(said);
        }
        for (place, (_, turn)) in
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
