//! Marks of days in calendars. A calendar has room for one mark per day.

use serde::Serialize;

use super::{DayStatus, Freshness};

/// Mark of a day: the most important fact about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Retention deleted its messages.
    Pruned,
    Missing,
    /// Its messages cannot be read, or are lost.
    Damaged,
    /// Its metrics are out of date.
    Stale,
    /// Some of its metrics were never computed.
    NotComputed,
    WithRejects,
    /// Fetched, without messages.
    Empty,
    /// Later days may change its metrics.
    NotFinal,
    Final,
}

impl Mark {
    pub const ALL: [Self; 9] = [
        Self::Final,
        Self::NotFinal,
        Self::Empty,
        Self::WithRejects,
        Self::Stale,
        Self::NotComputed,
        Self::Damaged,
        Self::Missing,
        Self::Pruned,
    ];

    pub fn symbol(self) -> char {
        match self {
            Self::Pruned => '-',
            Self::Missing => '·',
            Self::Damaged => 'x',
            Self::Stale => '!',
            Self::NotComputed => '?',
            Self::WithRejects => 'r',
            Self::Empty => '0',
            Self::NotFinal => '~',
            Self::Final => '■',
        }
    }
}

impl DayStatus {
    pub fn mark(&self) -> Mark {
        match self {
            day if day.pruned => Mark::Pruned,
            day if day.metrics == Some(Freshness::Damaged) => Mark::Damaged,
            day if !day.fetched => Mark::Missing,
            day if day.metrics == Some(Freshness::Stale) => Mark::Stale,
            day if day.metrics == Some(Freshness::Missing) => Mark::NotComputed,
            day if day.rejects > 0 => Mark::WithRejects,
            day if day.messages == 0 => Mark::Empty,
            day if !day.is_final => Mark::NotFinal,
            _ => Mark::Final,
        }
    }
}
