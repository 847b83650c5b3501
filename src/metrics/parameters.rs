//! The rules on which metrics depend, besides the messages.

use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{BusinessHours, DAYS_AFTER, REPLY_WINDOW_MAX, Shift};
use crate::calendar::{Day, DayRange};
use crate::model::Table;

/// Rules on which metrics depend. The footer of each metric file records the ones that the file
/// depends on ([`for_partition`](Self::for_partition)). When one of them changes, the file is
/// computed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Time zone of local days and hours.
    pub timezone: String,
    /// Seconds of silence after which a customer's message opens a new session.
    pub session_gap: i64,
    /// Seconds within which a worker's message counts as a reply.
    pub reply_window: i64,
    /// Rules that mark a worker's message as automatic.
    pub auto_reply: Vec<AutoReply>,
    pub business_hours: Option<BusinessHours>,
}

impl Parameters {
    /// The rules of WeChat: it stops forwarding to a worker after 30 minutes of silence, and lets a
    /// worker write within 48 hours.
    pub fn in_zone(timezone: &str) -> Self {
        Self {
            timezone: timezone.to_owned(),
            session_gap: 1_800,
            reply_window: REPLY_WINDOW_MAX,
            auto_reply: Vec::new(),
            business_hours: None,
        }
    }

    /// Whether the metrics need the text of messages.
    pub fn needs_texts(&self) -> bool {
        self.auto_reply.iter().any(AutoReply::needs_text)
    }

    /// Whether a worker's message is automatic. Metrics do not count it as a message to the
    /// customer.
    pub fn is_automatic(&self, worker: &str, text: Option<&str>) -> bool {
        self.auto_reply.iter().any(|rule| rule.matches(worker, text))
    }
}

impl Parameters {
    /// The parameters on which a partition depends, as its footer records them. Of the business
    /// hours, it has the shifts of the days on which a turn of that day can wait. Tables that do
    /// not use business hours record none.
    pub fn for_partition(&self, table: Table, day: Day) -> serde_json::Value {
        serde_json::json!({
            "timezone": self.timezone,
            "session_gap": self.session_gap,
            "reply_window": self.reply_window,
            "auto_reply": self.auto_reply,
            "business_hours": self.shifts_for(table, day),
        })
    }

    /// The shifts on which a partition depends. None without a schedule, and for a table that does
    /// not depend on one.
    pub(super) fn shifts_for(&self, table: Table, day: Day) -> Option<BTreeMap<Day, Vec<Shift>>> {
        // A shift of the day before may end in this day.
        let days = DayRange { first: day.plus(-1), last: day.plus(DAYS_AFTER) };
        let hours = self.business_hours.as_ref().filter(|_| table.needs_hours())?;
        Some(days.days().map(|day| (day, hours.shifts(day).to_vec())).collect())
    }
}

/// A rule that marks a worker's message (OUT) as automatic. All conditions of a rule must match. A
/// message is automatic when any rule matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoReply {
    /// The worker who sent the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// The exact text of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The beginning of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A regular expression that matches somewhere in the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<Pattern>,
}

impl AutoReply {
    /// Whether the rule has usable conditions. A rule without conditions would mark all messages as
    /// automatic. An empty worker, prefix or pattern is refused too.
    pub fn is_telling(&self) -> bool {
        let is_empty =
            |condition: &Option<String>| condition.as_ref().is_some_and(String::is_empty);
        let is_empty_pattern =
            self.regex.as_ref().is_some_and(|pattern| pattern.0.as_str().is_empty());
        *self != Self::default()
            && !is_empty(&self.worker)
            && !is_empty(&self.prefix)
            && !is_empty_pattern
    }

    /// Whether the rule needs the text of a message.
    pub fn needs_text(&self) -> bool {
        self.text.is_some() || self.prefix.is_some() || self.regex.is_some()
    }

    /// Tests a message against the rule. A message without text does not match a rule that needs
    /// one.
    pub(super) fn matches(&self, worker: &str, text: Option<&str>) -> bool {
        let asks =
            |condition: bool, holds: &dyn Fn(&str) -> bool| !condition || text.is_some_and(holds);
        self.worker.as_ref().is_none_or(|wanted| wanted == worker)
            && asks(self.text.is_some(), &|text| self.text.as_deref() == Some(text))
            && asks(self.prefix.is_some(), &|text| {
                self.prefix.as_ref().is_some_and(|prefix| text.starts_with(prefix))
            })
            && asks(self.regex.is_some(), &|text| {
                self.regex.as_ref().is_some_and(|pattern| pattern.0.is_match(text))
            })
    }
}

/// A regular expression, in the syntax of the `regex` crate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        Regex::new(&pattern)
            .map(Self)
            .map_err(|error| format!("`{pattern}` is not a regular expression: {error}"))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}
