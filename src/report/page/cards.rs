//! Cards of the key figures, each with its change since the days before.

use super::{Value, value};
use crate::report::figures::Figures;
use crate::report::language::Language;
use crate::report::metric::{Better, Metric, Place, Unit, Values, shown_in};

/// A key figure.
pub(super) struct Card {
    pub name: &'static str,
    pub label: String,
    pub definition: &'static str,
    pub value: Value,
    pub change: Option<Change>,
    /// Shown in place of a change.
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

/// A part of a bar of width 1,000.
pub(super) struct Share {
    pub class: &'static str,
    pub start: String,
    pub width: String,
    pub title: String,
}

/// Shown in place of a change when there is nothing to compare with.
const NO_CHANGE: &str = "—";

/// Makes the cards of the figures.
pub(super) struct Cards<'a> {
    pub figures: &'a Figures,
    pub language: Language,
}

impl Cards<'_> {
    /// The cards of a place, in order.
    pub(super) fn of(&self, place: Place) -> Vec<Card> {
        let before = &self.figures.before;
        // Volume is compared even if days are not final, because later days cannot change it.
        let (before, without_change) = match place {
            Place::Volume => (before.volume.clone(), NO_CHANGE),
            _ if self.figures.is_final => (before.totals.as_ref().map(Values::of), NO_CHANGE),
            _ => (before.totals.as_ref().map(Values::of), self.language.words().not_final),
        };
        let now = Values::of(&self.figures.totals);
        let card = |metric: &'static Metric| {
            let now = now.get(metric);
            let before = before.as_ref().and_then(|before| before.get(metric));
            Card {
                name: metric.name,
                label: metric.label(self.figures, self.language),
                definition: metric.words(self.language).definition,
                value: value(metric.unit, now, self.language),
                change: now
                    .zip(before)
                    .map(|both| change(metric.unit, metric.better, both, self.language)),
                without_change,
            }
        };
        shown_in(place).map(card).collect()
    }

    /// The sessions by outcome, as parts of a bar.
    pub(super) fn session_bar(&self) -> Vec<Share> {
        let totals = Values::of(&self.figures.totals);
        let parts: Vec<(&Metric, f64)> = shown_in(Place::Sessions)
            .map(|metric| (metric, totals.get(metric).unwrap_or_default()))
            .collect();
        let all = parts.iter().map(|(_, count)| count).sum::<f64>();
        let mut start = 0.0;
        let of_part = |(metric, count): (&Metric, f64)| {
            let share = count / all;
            let place = start;
            start += 1_000.0 * share;
            let title = format!(
                "{} {} ({})",
                metric.words(self.language).label,
                self.language.count(count as i64),
                self.language.share(share)
            );
            Share {
                class: metric.name.strip_prefix("sessions_").unwrap_or(metric.name),
                start: format!("{place:.1}"),
                width: format!("{:.1}", 1_000.0 * share),
                title,
            }
        };
        parts.into_iter().filter(|(_, count)| *count > 0.0).map(of_part).collect()
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
