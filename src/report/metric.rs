//! Describes the metrics of the report. Cards, tables, definitions and the summary on the terminal
//! are made from the rows in [`METRICS`]. The values come from the figures, by the metric's name.

use serde::Serialize;
use serde_json::{Map, Value};

use super::figures::Figures;
use super::language::Language;
use super::registry::METRICS;

/// The metric that a target is about.
pub(super) const SERVICE_LEVEL: &str = "service_level";

/// A metric of the report.
#[derive(Debug)]
pub(super) struct Metric {
    /// The name of its field in the figures and in the JSON.
    pub name: &'static str,
    pub unit: Unit,
    pub better: Better,
    /// Places that show the metric. Each place shows its metrics in the order of the rows.
    pub places: &'static [Place],
    pub en: Words,
    pub zh: Words,
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Seconds,
    /// Share of turns answered within the service level, from 0 to 1.
    Share,
}

/// Whether a larger or a smaller value is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    More,
    Less,
    Neither,
}

/// A place where metrics are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The large cards at the top.
    Hero,
    /// The cards below them.
    Cards,
    /// Figures that later days cannot change.
    Volume,
    /// Figures by business hours. They are shown only with a schedule.
    Business,
    /// The sessions by outcome.
    Sessions,
    /// Columns in the tables of days and accounts.
    Totals,
    /// Columns in the table of workers.
    Workers,
    /// The table on the terminal.
    Summary,
}

/// The name and the meaning of a metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub label: &'static str,
    /// The label at the head of a column.
    pub short: &'static str,
    pub definition: &'static str,
}

/// The metrics that are shown in a place.
pub(super) fn shown_in(place: Place) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().filter(move |metric| metric.is_in(place))
}

/// The metrics of a place that these figures have. Those by business hours need a schedule.
pub(super) fn shown_of(place: Place, figures: &Figures) -> impl Iterator<Item = &'static Metric> {
    let has_hours = figures.has_business_hours();
    shown_in(place).filter(move |metric| has_hours || !metric.is_in(Place::Business))
}

/// The value of each field of some figures, by the name of the field.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Values(Map<String, Value>);

impl Values {
    /// Keeps the metrics that are shown in a place.
    pub(super) fn only(mut self, place: Place) -> Self {
        self.0.retain(|name, _| shown_in(place).any(|metric| metric.name == name));
        self
    }

    pub(super) fn of(figures: &impl Serialize) -> Self {
        match serde_json::to_value(figures) {
            Ok(Value::Object(values)) => Self(values),
            // Figures are structs, or absent.
            _ => Self(Map::new()),
        }
    }

    /// None when there is no value.
    pub(super) fn get(&self, metric: &Metric) -> Option<f64> {
        self.0.get(metric.name)?.as_f64()
    }
}

impl Metric {
    pub(super) fn is_in(&self, place: Place) -> bool {
        self.places.contains(&place)
    }

    pub(super) fn words(&self, language: Language) -> Words {
        match language {
            Language::En => self.en,
            Language::Zh => self.zh,
        }
    }

    /// The label of a card or a row.
    pub(super) fn label(&self, figures: &Figures, language: Language) -> String {
        let label = self.words(language).label;
        match self.unit {
            Unit::Share => language.beside(label, &language.in_time(figures.service_level_seconds)),
            Unit::Count | Unit::Seconds => label.to_owned(),
        }
    }

    /// The label of a column.
    pub(super) fn short_label(&self, figures: &Figures, language: Language) -> String {
        match self.unit {
            Unit::Share => language.in_time(figures.service_level_seconds),
            Unit::Count | Unit::Seconds => self.words(language).short.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::Totals;

    #[test]
    fn every_metric_has_a_value_where_it_is_shown() {
        let Values(totals) = Values::of(&Totals::default());
        let of_totals = METRICS.iter().filter(|metric| metric.places != [Place::Workers]);
        of_totals.for_each(|metric| assert!(totals.contains_key(metric.name), "{}", metric.name));
        let mut names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
    }
}
