//! The key figures, each beside what it was before.

use super::{Unit, Value, value};
use crate::report::figures::{Figures, Totals, Volume};
use crate::report::language::Language;
use crate::report::words::Defined;

/// A key figure.
pub(super) struct Card {
    pub name: &'static str,
    pub label: String,
    pub definition: &'static str,
    pub value: Value,
    pub change: Option<Change>,
    /// What is shown instead of a change.
    pub without_change: &'static str,
}

pub(super) struct Change {
    pub symbol: char,
    pub shown: String,
    /// `better`, `worse` or `neutral`.
    pub tone: &'static str,
    pub tone_word: &'static str,
    pub before: String,
}

/// A part of a bar of 100.
pub(super) struct Share {
    pub class: &'static str,
    pub start: String,
    pub width: String,
    pub title: String,
}

/// In place of a change, where there is nothing to compare with.
const NO_CHANGE: &str = "—";

/// Which way a figure should go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Good {
    More,
    Less,
    Neither,
}

/// Makes them.
pub(super) struct Cards<'a> {
    pub figures: &'a Figures,
    pub language: Language,
}

impl Cards<'_> {
    fn card(
        &self,
        name: &'static str,
        defined: Defined,
        unit: Unit,
        good: Good,
        figure: impl Fn(&Totals) -> Option<f64>,
    ) -> Card {
        let now = figure(&self.figures.totals);
        let before = self.figures.before.totals.as_ref().and_then(figure);
        Card {
            name,
            label: defined.word.to_owned(),
            definition: defined.definition,
            value: value(unit, now, self.language),
            change: now.zip(before).map(|both| change(unit, good, both, self.language)),
            without_change: match self.figures.is_final {
                true => NO_CHANGE,
                false => self.language.words().not_final,
            },
        }
    }

    /// A figure that is compared whether or not the days are final.
    fn volume_card(
        &self,
        name: &'static str,
        defined: Defined,
        figure: impl Fn(&Volume) -> Option<i64>,
    ) -> Card {
        let count = |volume: &Volume| figure(volume).map(|count| count as f64);
        let now = count(&Volume::of(&self.figures.totals));
        let before = self.figures.before.volume.as_ref().and_then(count);
        let change =
            now.zip(before).map(|both| change(Unit::Count, Good::Neither, both, self.language));
        let card = self.card(name, defined, Unit::Count, Good::Neither, |_| now);
        Card { change, without_change: NO_CHANGE, ..card }
    }

    fn count(
        &self,
        name: &'static str,
        defined: Defined,
        good: Good,
        figure: fn(&Totals) -> i64,
    ) -> Card {
        self.card(name, defined, Unit::Count, good, |totals| Some(figure(totals) as f64))
    }

    fn seconds(
        &self,
        name: &'static str,
        defined: Defined,
        figure: fn(&Totals) -> Option<f64>,
    ) -> Card {
        self.card(name, defined, Unit::Seconds, Good::Less, figure)
    }

    pub(super) fn hero(&self) -> Vec<Card> {
        let words = self.language.words();
        let mut service =
            self.card("service_level", words.service, Unit::Share, Good::More, |totals| {
                totals.service_level
            });
        service.label = self
            .language
            .beside(words.service.word, &self.language.in_time(self.figures.service_level_seconds));
        vec![
            service,
            self.seconds("response_seconds_p50", words.response_p50, |totals| {
                totals.response_seconds_p50
            }),
            self.seconds("response_seconds_p90", words.response_p90, |totals| {
                totals.response_seconds_p90
            }),
            self.seconds("response_seconds_mean", words.response_mean, |totals| {
                totals.response_seconds_mean
            }),
            self.seconds("first_response_seconds_p50", words.first_response, |totals| {
                totals.first_response_seconds_p50
            }),
        ]
    }

    pub(super) fn volume(&self) -> Vec<Card> {
        let words = self.language.words();
        vec![
            self.volume_card("messages_received", words.messages_received, |volume| {
                Some(volume.messages_received)
            }),
            self.volume_card("messages_sent", words.messages_sent, |volume| {
                Some(volume.messages_sent)
            }),
            self.volume_card("customers", words.customers, |volume| volume.customers),
            self.volume_card("customers_served", words.customers_served, |volume| {
                volume.customers_served
            }),
            self.volume_card("workers", words.workers, |volume| Some(volume.workers)),
        ]
    }

    pub(super) fn turns(&self) -> Vec<Card> {
        let words = self.language.words();
        vec![
            self.count("turns", words.turns, Good::Neither, |totals| totals.turns),
            self.count("answered", words.answered, Good::Neither, |totals| totals.answered),
            self.count("unanswered_first", words.first, Good::Less, |totals| {
                totals.unanswered_first
            }),
            self.count("unanswered_later", words.later, Good::Neither, |totals| {
                totals.unanswered_later
            }),
            self.count("pending", words.pending, Good::Neither, |totals| totals.pending),
        ]
    }

    pub(super) fn sessions(&self) -> Vec<Card> {
        let words = self.language.words();
        vec![
            self.count("sessions_completed", words.completed, Good::Neither, |totals| {
                totals.sessions_completed
            }),
            self.count("sessions_missed", words.missed, Good::Less, |totals| {
                totals.sessions_missed
            }),
            self.count("sessions_dropped", words.dropped, Good::Neither, |totals| {
                totals.sessions_dropped
            }),
            self.count("sessions_open", words.open, Good::Neither, |totals| totals.sessions_open),
            self.count("sessions_outreach", words.outreach, Good::Neither, |totals| {
                totals.sessions_outreach
            }),
        ]
    }

    pub(super) fn session_bar(&self) -> Vec<Share> {
        let (totals, words) = (&self.figures.totals, self.language.words());
        let parts = [
            ("completed", words.completed.word, totals.sessions_completed),
            ("missed", words.missed.word, totals.sessions_missed),
            ("dropped", words.dropped.word, totals.sessions_dropped),
            ("open", words.open.word, totals.sessions_open),
            ("outreach", words.outreach.word, totals.sessions_outreach),
        ];
        let all = parts.iter().map(|(_, _, count)| count).sum::<i64>();
        let mut start = 0.0;
        let of_part = |(class, word, count): (&'static str, &str, i64)| {
            let share = count as f64 / all as f64;
            let place = start;
            start += 1_000.0 * share;
            let title =
                format!("{word} {} ({})", self.language.count(count), self.language.share(share));
            Share {
                class,
                start: format!("{place:.1}"),
                width: format!("{:.1}", 1_000.0 * share),
                title,
            }
        };
        parts.into_iter().filter(|(_, _, count)| *count > 0).map(of_part).collect()
    }
}

fn change(unit: Unit, good: Good, (now, before): (f64, f64), language: Language) -> Change {
    let words = language.words();
    let difference = now - before;
    // What looks the same is the same.
    let is_same =
        value(unit, Some(now), language).shown == value(unit, Some(before), language).shown;
    let sign = if difference > 0.0 { '+' } else { '−' };
    let absolute = match unit {
        Unit::Count => language.count(difference.abs() as i64),
        // Of what is shown in whole seconds, the difference is, too.
        Unit::Seconds if now.max(before) >= 60.0 => language.duration(difference.abs().round()),
        Unit::Seconds => language.duration(difference.abs()),
        Unit::Share => language.points(100.0 * difference.abs()),
    };
    let relative = match unit {
        Unit::Count | Unit::Seconds if before > 0.0 => {
            format!(" ({sign}{:.1}%)", 100.0 * difference.abs() / before)
        }
        _ => String::new(),
    };
    let (tone, tone_word) = match (good, difference > 0.0) {
        (Good::Neither, _) => ("neutral", ""),
        (Good::More, true) | (Good::Less, false) => ("better", words.better),
        (Good::More, false) | (Good::Less, true) => ("worse", words.worse),
    };
    let before = format!("{} {}", words.before, value(unit, Some(before), language).shown);
    if is_same {
        return Change {
            symbol: '=',
            shown: words.no_change.to_owned(),
            tone: "neutral",
            tone_word: "",
            before,
        };
    }
    let symbol = if difference > 0.0 { '▲' } else { '▼' };
    Change { symbol, shown: format!("{sign}{absolute}{relative}"), tone, tone_word, before }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_better_or_worse_by_what_the_figure_means() {
        let shown = |unit, good, both| {
            let change = change(unit, good, both, Language::En);
            format!("{} {} {} {}", change.symbol, change.shown, change.tone, change.before)
        };
        assert_eq!(
            shown(Unit::Seconds, Good::Less, (94.0, 60.0)),
            "▲ +34 s (+56.7%) worse before 1 min"
        );
        assert_eq!(shown(Unit::Share, Good::More, (0.95, 0.9)), "▲ +5 points better before 90.0%");
        assert_eq!(
            shown(Unit::Count, Good::Neither, (1_000.0, 2_000.0)),
            "▼ −1,000 (−50.0%) neutral before 2,000"
        );
        assert_eq!(shown(Unit::Count, Good::Less, (3.0, 0.0)), "▲ +3 worse before 0");
        assert_eq!(
            shown(Unit::Seconds, Good::Less, (26.01, 26.0)),
            "= unchanged neutral before 26 s"
        );
    }
}
