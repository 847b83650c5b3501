//! Rules that a metric partition records, and their differences from other rules.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AutoReply, BusinessHours, Parameters, REPLY_WINDOW_MAX, SESSION_GAP_MAX, Shift};
use crate::calendar::Day;
use crate::model::Table;

/// The metric rules of a command. They belong to the lake. Without the lake's settings file, only
/// the partitions record them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rules {
    /// From a settings file. A partition that records other rules is out of date.
    Given(Parameters),
    /// No settings file was found. The rules that a partition records are valid. A lake without
    /// metrics uses these defaults.
    Defaults(Parameters),
}

impl Rules {
    /// The rules to compute with.
    pub fn parameters(&self) -> &Parameters {
        match self {
            Self::Given(parameters) | Self::Defaults(parameters) => parameters,
        }
    }

    /// Returns the same rules with local days in another time zone.
    #[must_use]
    pub fn in_zone(self, timezone: &str) -> Self {
        let in_zone =
            |parameters: Parameters| Parameters { timezone: timezone.to_owned(), ..parameters };
        match self {
            Self::Given(parameters) => Self::Given(in_zone(parameters)),
            Self::Defaults(parameters) => Self::Defaults(in_zone(parameters)),
        }
    }
}

impl From<Parameters> for Rules {
    fn from(parameters: Parameters) -> Self {
        Self::Given(parameters)
    }
}

/// A rule that differs from the one that a partition records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RuleChange {
    /// The name of the rule in the settings file.
    pub rule: &'static str,
    /// The value in the footer of the partition.
    pub from: String,
    /// The value to compute with.
    pub to: String,
}

impl fmt::Display for RuleChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from == self.to {
            // "1 rule → 1 rule" does not show a change.
            true => write!(f, "{} (changed)", self.rule),
            false => write!(f, "{} {} → {}", self.rule, self.from, self.to),
        }
    }
}

/// The JSON that [`Parameters::for_partition`] writes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    timezone: String,
    session_gap: i64,
    reply_window: i64,
    auto_reply: Vec<AutoReply>,
    business_hours: Option<BTreeMap<Day, Vec<Shift>>>,
}

impl Parameters {
    /// Rebuilds the rules from the footer of a partition. They can compute that partition again.
    /// None when [`for_partition`](Self::for_partition) would not write this text.
    pub fn recorded(text: &str, table: Table, day: Day) -> Option<Self> {
        let recorded: Recorded = serde_json::from_str(text).ok()?;
        let parameters = Self {
            timezone: recorded.timezone,
            session_gap: recorded.session_gap,
            reply_window: recorded.reply_window,
            auto_reply: recorded.auto_reply,
            business_hours: recorded
                .business_hours
                .map(|dates| BusinessHours { dates, ..BusinessHours::default() }),
        };
        let is_allowed = (1..=SESSION_GAP_MAX).contains(&parameters.session_gap)
            && (1..=REPLY_WINDOW_MAX).contains(&parameters.reply_window);
        let written = parameters.for_partition(table, day).to_string();
        (is_allowed && written == text).then_some(parameters)
    }

    /// The rules that differ from the recorded ones. Only rules on which the partition depends are
    /// compared.
    pub fn changes_from(&self, recorded: &Self, table: Table, day: Day) -> Vec<RuleChange> {
        let hours = |parameters: &Self| parameters.shifts_for(table, day);
        let render = |parameters: &Self| match hours(parameters) {
            Some(_) => "a schedule".to_owned(),
            None => "none".to_owned(),
        };
        let rules = |parameters: &Self| match parameters.auto_reply.len() {
            0 => "none".to_owned(),
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        };
        let change = |is_changed: bool, rule: &'static str, render: &dyn Fn(&Self) -> String| {
            is_changed.then(|| RuleChange { rule, from: render(recorded), to: render(self) })
        };
        [
            change(self.timezone != recorded.timezone, "timezone", &|rules| rules.timezone.clone()),
            change(self.session_gap != recorded.session_gap, "session_gap", &|rules| {
                rules.session_gap.to_string()
            }),
            change(self.reply_window != recorded.reply_window, "reply_window", &|rules| {
                rules.reply_window.to_string()
            }),
            change(self.auto_reply != recorded.auto_reply, "auto_reply", &rules),
            change(hours(self) != hours(recorded), "business_hours", &render),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Adds the schedule of another day's rules, if one set of rules can compute both days. Returns
    /// whether it can. If not, nothing changes.
    pub fn try_join(&mut self, other: &Self) -> bool {
        let is_alike = self.timezone == other.timezone
            && self.session_gap == other.session_gap
            && self.reply_window == other.reply_window
            && self.auto_reply == other.auto_reply;
        match (&mut self.business_hours, &other.business_hours) {
            (None, None) => is_alike,
            (Some(hours), Some(others)) if is_alike => {
                let agrees = |(day, shifts): (&Day, &Vec<Shift>)| {
                    hours.dates.get(day).is_none_or(|known| known == shifts)
                };
                let can_join = others.dates.iter().all(agrees);
                if can_join {
                    let dates = others.dates.iter();
                    hours.dates.extend(dates.map(|(day, shifts)| (*day, shifts.clone())));
                }
                can_join
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn with_rules() -> Parameters {
        let hours = toml::from_str("monday = ['09:00-18:00', '21:00-02:00']\n").unwrap();
        let greeting = AutoReply { prefix: Some("您好".into()), ..AutoReply::default() };
        Parameters {
            session_gap: 900,
            auto_reply: vec![greeting],
            business_hours: Some(hours),
            ..Parameters::in_zone("Asia/Shanghai")
        }
    }

    fn recorded(parameters: &Parameters, table: Table, day: Day) -> Parameters {
        Parameters::recorded(&parameters.for_partition(table, day).to_string(), table, day).unwrap()
    }

    #[test]
    fn rules_rebuilt_from_a_footer_record_the_same_again() {
        let monday = day("2024-05-13");
        for table in Table::METRICS {
            let rebuilt = recorded(&with_rules(), table, monday);
            assert_eq!(
                rebuilt.for_partition(table, monday),
                with_rules().for_partition(table, monday)
            );
            assert_eq!(with_rules().changes_from(&rebuilt, table, monday), []);
        }
        assert_eq!(recorded(&with_rules(), Table::Sessions, monday).business_hours, None);
    }

    #[test]
    fn a_footer_that_was_changed_is_not_taken_for_rules() {
        let (table, monday) = (Table::WorkerDaily, day("2024-05-13"));
        let text = with_rules().for_partition(table, monday).to_string();
        for (old, new) in [
            ("session_gap\":900", "session_gap\":0"),
            ("session_gap\":900", "session_gap\":43201"),
            ("session_gap", "session_gep"),
            ("reply_window\":172800", "reply_window\":172801"),
            ("2024-05-13", "2024-05-19"),
            ("{\"auto_reply", "{ \"auto_reply"),
        ] {
            let changed = text.replace(old, new);
            assert!(changed != text && Parameters::recorded(&changed, table, monday).is_none());
        }
        assert!(Parameters::recorded("{}", table, monday).is_none());
    }

    #[test]
    fn a_change_names_the_rule_with_both_values() {
        let monday = day("2024-05-13");
        let defaults = Parameters::in_zone("Asia/Shanghai");
        let shown = |table: Table, to: &Parameters, from: &Parameters| {
            let changes = to.changes_from(&recorded(from, table, monday), table, monday);
            changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            shown(Table::AccountDaily, &defaults, &with_rules()),
            [
                "session_gap 900 → 1800",
                "auto_reply 1 rule → none",
                "business_hours a schedule → none"
            ]
        );
        let mut other = with_rules();
        other.auto_reply[0].prefix = Some("Hello".into());
        // Sessions do not depend on the schedule.
        other.business_hours = None;
        assert_eq!(shown(Table::Sessions, &other, &with_rules()), ["auto_reply (changed)"]);
        // A holiday next year does not affect the partition.
        let mut later = with_rules();
        later.business_hours.as_mut().unwrap().dates.insert(day("2025-05-01"), Vec::new());
        assert_eq!(shown(Table::AccountDaily, &later, &with_rules()), Vec::<String>::new());
    }

    #[test]
    fn days_join_as_long_as_their_schedules_agree() {
        let of = |rules: &Parameters, date: &str| recorded(rules, Table::AccountDaily, day(date));
        let mut joined = of(&with_rules(), "2024-05-13");
        assert!(joined.try_join(&of(&with_rules(), "2024-05-14")));
        assert!(joined.try_join(&of(&with_rules(), "2024-06-30")));
        let before = joined.clone();
        let mut closed = with_rules();
        closed.business_hours.as_mut().unwrap().dates.insert(day("2024-05-13"), Vec::new());
        assert!(!joined.try_join(&of(&closed, "2024-05-14")), "it says that the 13th was closed");
        // Two days later nothing depends on the 13th.
        assert!(joined.clone().try_join(&of(&closed, "2024-05-15")));
        assert!(!joined.try_join(&of(&Parameters::in_zone("UTC"), "2024-05-15")));
        assert!(!joined.try_join(&recorded(&with_rules(), Table::Sessions, day("2024-05-15"))));
        assert_eq!(joined, before);
    }
}
