//! Cards of the key figures, each with its change since the days before.

use super::{Value, value};
use crate::report::figures::{Figures, Scope};
use crate::report::language::Language;
use crate::report::metric::{Better, Metric, Place, SERVICE_LEVEL, Unit, Values, shown_in};
use crate::report::scope::changed_within_chance;
use crate::report::statistics::share;

/// A key figure.
pub(super) struct Card {
    pub name: &'static str,
    pub label: String,
    pub definition: &'static str,
    pub value: Value,
    pub change: Option<Change>,
    /// Shown in place of a change.
    pub without_change: &'static str,
    /// The distance from the target, with its tone: `better` or `worse`.
    pub target: Option<(&'static str, String)>,
}

/// A part of the sessions.
pub(super) struct Outcome {
    pub name: &'static str,
    pub class: &'static str,
    pub label: &'static str,
    pub definition: &'static str,
    pub value: Value,
    pub share: String,
}

pub(super) struct Change {
    pub symbol: char,
    pub shown: String,
    /// `better`, `worse` or `neutral`.
    pub tone: &'static str,
    pub tone_word: &'static str,
    pub before: String,
}

/// A part of a bar of width 1,000.
pub(super) struct Share {
    pub class: &'static str,
    pub start: String,
    pub width: String,
    pub title: String,
}

/// Shown in place of a change when there is nothing to compare with.
const NO_CHANGE: &str = "—";

/// Stands before a change that is none.
const UNCHANGED: char = '=';

/// Makes the cards of the figures.
pub(super) struct Cards<'a> {
    pub figures: &'a Figures,
    pub scope: &'a Scope,
    pub language: Language,
}

impl Cards<'_> {
    /// The cards of a place, in order.
    pub(super) fn of(&self, place: Place) -> Vec<Card> {
        let (before, words) = (&self.scope.before, self.language.words());
        let totals = Values::of(&before.totals);
        let without_change = if self.scope.is_final { NO_CHANGE } else { words.not_final };
        let now = Values::of(&self.scope.totals);
        let card = |metric: &'static Metric| {
            // Volume is compared even if days are not final, because later days cannot change it.
            let (before, without_change) = match metric.is_in(Place::Volume) {
                true => (before.volume.as_ref(), NO_CHANGE),
                false => (Some(&totals), without_change),
            };
            let now = now.get(metric);
            let before = before.and_then(|before| before.get(metric));
            let is_within_chance =
                self.scope.before.totals.as_ref().and_then(|before| {
                    changed_within_chance(metric.name, &self.scope.totals, before)
                });
            let change = now.zip(before).map(|both| {
                let change = change(metric.unit, metric.better, both, self.language);
                match is_within_chance {
                    Some(true) => change.within_chance(self.language),
                    _ => change,
                }
            });
            Card {
                name: metric.name,
                label: metric.label(self.figures, self.language),
                definition: metric.words(self.language).definition,
                value: value(metric.unit, now, self.language),
                change,
                without_change,
                target: if metric.name == SERVICE_LEVEL { self.target() } else { None },
            }
        };
        shown_in(place).map(card).collect()
    }

    fn target(&self) -> Option<(&'static str, String)> {
        let level = self.scope.totals.service_level?;
        let tone = if self.figures.is_on_target(level)? { "better" } else { "worse" };
        Some((tone, self.language.against_target(self.scope, self.figures)?))
    }

    /// The sessions by outcome, with their counts.
    fn sessions(&self) -> Vec<(&'static Metric, i64)> {
        let totals = Values::of(&self.scope.totals);
        let count = |metric| totals.get(metric).unwrap_or_default() as i64;
        shown_in(Place::Sessions).map(|metric| (metric, count(metric))).collect()
    }

    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let sessions = self.sessions();
        let all: i64 = sessions.iter().map(|(_, count)| count).sum();
        let outcome = |(metric, count): (&'static Metric, i64)| Outcome {
            name: metric.name,
            class: class_of(metric),
            label: metric.words(self.language).label,
            definition: metric.words(self.language).definition,
            value: value(metric.unit, Some(count as f64), self.language),
            share: self.language.share_or_none(share(count, all)),
        };
        sessions.into_iter().map(outcome).collect()
    }

    /// The sessions by outcome, as parts of a bar.
    pub(super) fn outcome_bar(&self) -> Vec<Share> {
        let sessions = self.sessions();
        let all: i64 = sessions.iter().map(|(_, count)| count).sum();
        let mut start = 0.0;
        let of_part = |(metric, count): (&'static Metric, i64)| {
            let share = count as f64 / all as f64;
            let place = start;
            start += 1_000.0 * share;
            let title = format!(
                "{} {} ({})",
                metric.words(self.language).label,
                self.language.count(count),
                self.language.share(share)
            );
            Share {
                class: class_of(metric),
                start: format!("{place:.1}"),
                width: format!("{:.1}", 1_000.0 * share),
                title,
            }
        };
        sessions.into_iter().filter(|(_, count)| *count > 0).map(of_part).collect()
    }
}

/// The CSS class of an outcome.
fn class_of(metric: &Metric) -> &'static str {
    metric.name.strip_prefix("sessions_").unwrap_or(metric.name)
}

impl Change {
    /// The same change, said to be within chance.
    fn within_chance(self, language: Language) -> Self {
        if self.symbol == UNCHANGED {
            return self;
        }
        let shown = language.beside(&self.shown, language.words().within_chance);
        Self { symbol: '≈', shown, tone: "neutral", tone_word: "", ..self }
    }
}

fn change(unit: Unit, better: Better, (now, before): (f64, f64), language: Language) -> Change {
    let words = language.words();
    let difference = now - before;
    // Values that are rendered alike count as unchanged.
    let is_same =
        value(unit, Some(now), language).shown == value(unit, Some(before), language).shown;
    let sign = if difference > 0.0 { '+' } else { '−' };
    let absolute = match unit {
        Unit::Count => language.count(difference.abs() as i64),
        // From one minute on, values are shown in whole seconds. Show their difference in whole
        // seconds too.
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
    let (tone, tone_word) = match (better, difference > 0.0) {
        (Better::Neither, _) => ("neutral", ""),
        (Better::More, true) | (Better::Less, false) => ("better", words.better),
        (Better::More, false) | (Better::Less, true) => ("worse", words.worse),
    };
    let before = format!("{} {}", words.before, value(unit, Some(before), language).shown);
    if is_same {
        return Change {
            symbol: UNCHANGED,
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
        let shown = |unit, better, both| {
            let change = change(unit, better, both, Language::En);
            format!("{} {} {} {}", change.symbol, change.shown, change.tone, change.before)
        };
        assert_eq!(
            shown(Unit::Seconds, Better::Less, (94.0, 60.0)),
            "▲ +34 s (+56.7%) worse before 1 min"
        );
        assert_eq!(
            shown(Unit::Share, Better::More, (0.95, 0.9)),
            "▲ +5 points better before 90.0%"
        );
        assert_eq!(
            shown(Unit::Count, Better::Neither, (1_000.0, 2_000.0)),
            "▼ −1,000 (−50.0%) neutral before 2,000"
        );
        assert_eq!(shown(Unit::Count, Better::Less, (3.0, 0.0)), "▲ +3 worse before 0");
        assert_eq!(
            shown(Unit::Seconds, Better::Less, (26.01, 26.0)),
            "= unchanged neutral before 26 s"
        );
    }
}
