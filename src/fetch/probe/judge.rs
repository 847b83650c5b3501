//! Derives the answers from the replies. Pure; makes no calls. Claims only what the records show.

use super::super::pager::is_round;
use super::{Answer, Evidence, Question, Reply, State, times};
use crate::calendar::UnixSeconds;
use crate::wechat::PAGE_RECORDS_MAX;

/// The state, and a description of what was found.
type Finding = (State, String);

/// Finds the answer to a question.
type Find = fn(&Evidence) -> Finding;

/// One answer for each question. Without evidence, every state is `NotTellable`.
pub(super) fn answers(evidence: Option<&Evidence>) -> Vec<Answer> {
    use Question::*;
    const QUESTIONS: [(Question, Find); 7] = [
        (WindowStart, window_start),
        (WindowEnd, window_end),
        (InsideWindow, inside_window),
        (Cursor, cursor),
        (LastPage, last_page),
        (PageSize, page_size),
        (TimeOrder, time_order),
    ];
    QUESTIONS
        .into_iter()
        .map(|(question, find)| {
            let nothing = || not_tellable("the day has no records");
            let (state, found) = evidence.map_or_else(nothing, find);
            Answer { question, state, found }
        })
        .collect()
}

fn not_tellable(why: impl Into<String>) -> Finding {
    (State::NotTellable, why.into())
}

fn holds(found: impl Into<String>) -> Finding {
    (State::Holds, found.into())
}

fn differs(found: impl Into<String>) -> Finding {
    (State::Differs, found.into())
}

fn window_start(evidence: &Evidence) -> Finding {
    let (Some((first, second)), Some(reply)) = (evidence.moments, &evidence.from_first) else {
        return not_tellable(NO_MOMENTS);
    };
    match bound(evidence, reply, first, second) {
        Ok(true) => holds("inclusive"),
        Ok(false) => differs("exclusive: records at the first second of a window are missing"),
        Err(why) => not_tellable(why),
    }
}

fn window_end(evidence: &Evidence) -> Finding {
    let (Some((first, second)), Some(reply)) = (evidence.moments, &evidence.until_second) else {
        return not_tellable(NO_MOMENTS);
    };
    match bound(evidence, reply, second, first) {
        Ok(true) => holds("inclusive"),
        Ok(false) => holds("exclusive"),
        Err(why) => not_tellable(why),
    }
}

const NO_MOMENTS: &str = "the day needs records at two different moments";

/// Whether a record exactly at the bound of a window is in the window. A record inside shows that
/// the window works.
fn bound(
    evidence: &Evidence,
    reply: &Reply,
    at_bound: UnixSeconds,
    inside: UnixSeconds,
) -> Result<bool, &'static str> {
    if times(reply).any(|time| time == at_bound) {
        return Ok(true);
    }
    if !times(reply).any(|time| time == inside) {
        return Err("a record inside the window is missing too");
    }
    let is_capped = last_page(evidence).0 != State::Holds;
    if reply.is_full() || is_capped && reply.records.len() >= evidence.whole.records.len() {
        return Err("the page may be incomplete");
    }
    Ok(false)
}

fn inside_window(evidence: &Evidence) -> Finding {
    let window = evidence.window;
    let records = evidence.whole.records.len();
    // Records at exactly the end are left to the question `window_end`.
    let outside = times(&evidence.whole)
        .filter(|time| !window.contains(*time) && *time != window.end)
        .count();
    match outside {
        0 => holds(format!("all of {records}")),
        _ => differs(format!("{outside} of {records} are outside the requested window")),
    }
}

fn cursor(evidence: &Evidence) -> Finding {
    let (whole, small) = (&evidence.whole.records, &evidence.small.records);
    let taken = small.len();
    let Some(next) = &evidence.after_small else {
        return match evidence.small.is_full() && taken < whole.len() {
            true => differs("a page that is not the last returns no msgid for the next request"),
            false => not_tellable("the page returned no msgid for the next request"),
        };
    };
    if taken == 0 || !whole.starts_with(small) {
        return not_tellable("the same window returned other records the second time");
    }
    let expected = |from: usize| {
        let rest = whole.get(from..).unwrap_or_default();
        rest.get(..evidence.small.number).unwrap_or(rest)
    };
    match (next.records == expected(taken), next.records == expected(taken - 1)) {
        (true, false) if !next.records.is_empty() && next.msgid <= evidence.small.msgid => {
            differs("the next page returns no later msgid, so the cursor is stuck")
        }
        (true, false) => holds("exclusive"),
        // The next record is unknown. It may be the same record again, or a different one with
        // equal values.
        _ if taken == whole.len() => not_tellable("the day needs more than one record"),
        (false, true) => differs("inclusive: the next page repeats the last record of a page"),
        (true, true) => not_tellable("all records around the end of the page are equal"),
        (false, false) => differs("the next page does not continue where the previous one ended"),
    }
}

fn last_page(evidence: &Evidence) -> Finding {
    let whole = &evidence.whole;
    let records = whole.records.len();
    if whole.is_full() {
        return not_tellable("every page of the day is full");
    }
    let Some(next) = &evidence.after_whole else {
        return not_tellable("the page returned no msgid for the next request");
    };
    let mut more = next.records.as_slice();
    if let Some((first, rest)) = more.split_first()
        && whole.records.last() == Some(first)
    {
        match cursor(evidence).0 {
            State::Holds => {}
            // A repeated last record is reported by the question `cursor`.
            State::Differs => more = rest,
            _ if rest.is_empty() => {
                return not_tellable("the request after the last record returned it again");
            }
            _ => {}
        }
    }
    match more.len() {
        0 => holds(format!("nothing followed a page of {records}")),
        more => capped(
            records,
            format!(
                "{more} more followed a page of {records}, although {} were requested",
                whole.number
            ),
        ),
    }
}

fn page_size(evidence: &Evidence) -> Finding {
    let (whole, small) = (&evidence.whole, &evidence.small);
    let records = whole.records.len();
    let (asked, given) = (small.number, small.records.len());
    if given != asked.min(records) {
        return differs(format!(
            "{asked} requested, {given} returned, although there are {records}"
        ));
    }
    match last_page(evidence).0 {
        State::Differs | State::Note => capped(
            records,
            format!("{PAGE_RECORDS_MAX} requested, {records} returned, although there are more"),
        ),
        State::Holds if records > asked => {
            holds(format!("{asked} requested, {asked} returned; the largest page had {records}"))
        }
        State::Holds => not_tellable("the day needs more than one record"),
        State::NotTellable => not_tellable("it is not known whether there are more"),
    }
}

/// The finding that pages are capped. kefu detects a cap that is a round number, and continues.
fn capped(records: usize, found: String) -> Finding {
    match is_round(records) {
        true => (State::Note, format!("{found}; kefu detects such a cap")),
        false => differs(found),
    }
}

fn time_order(evidence: &Evidence) -> Finding {
    if evidence.moments.is_none() {
        return not_tellable(NO_MOMENTS);
    }
    match times(&evidence.whole).is_sorted() {
        true => holds("ascending"),
        false => (State::Note, "not ascending; kefu sorts the records".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::*;
    use crate::calendar::Span;

    fn reply(hashes: &[u64], msgid: i64, number: usize) -> Reply {
        let records =
            hashes.iter().map(|hash| Seen { time: Some(*hash as i64), hash: *hash }).collect();
        Reply { records, msgid, number }
    }

    #[test]
    fn a_cursor_that_is_stuck_differs() {
        let found = |small: Reply, after_small: Option<Reply>| {
            let evidence = Evidence {
                window: Span { start: 0, end: 10 },
                whole: reply(&[1, 2, 3, 4], 40, 10_000),
                after_whole: None,
                small,
                after_small,
                moments: None,
                from_first: None,
                until_second: None,
            };
            cursor(&evidence).0
        };
        assert_eq!(found(reply(&[1, 2], 20, 2), Some(reply(&[3, 4], 40, 2))), State::Holds);
        assert_eq!(found(reply(&[1, 2], 20, 2), Some(reply(&[3, 4], 20, 2))), State::Differs);
        assert_eq!(found(reply(&[1, 2], 1, 2), None), State::Differs);
        assert_eq!(found(reply(&[1, 2, 3, 4], 0, 5), None), State::NotTellable);
    }
}
