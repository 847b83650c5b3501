//! Groups the days whose metrics are computed together.

use super::inputs::{Inputs, dependency_window};
use crate::calendar::{Day, DayRange};
use crate::metrics::{DAYS_AFTER, DAYS_BEFORE};

/// Maximum number of messages in memory at once. A single day may need more.
pub(super) const ROWS_AT_ONCE: usize = 12_000_000;

/// Days whose metrics are computed together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) first: Day,
    pub(super) last: Day,
    pub(super) days: Vec<Day>,
    /// Number of messages in their dependency windows.
    pub(super) rows: usize,
}

impl Chunk {
    /// The days on which the metrics of the chunk depend.
    pub(super) fn window(&self, inputs: &Inputs) -> DayRange {
        DayRange {
            first: dependency_window(&inputs.fetched, self.first).first,
            last: dependency_window(&inputs.fetched, self.last).last,
        }
    }
}

/// Groups the wanted days, in order, so that each day of messages is read once for several of them.
/// The days of a chunk are close together, in an unbroken run of fetched days. Their dependency
/// windows have at most [`ROWS_AT_ONCE`] messages in total.
pub(super) fn chunks(inputs: &Inputs, wanted: &[Day]) -> Vec<Chunk> {
    let rows = |first: Day, last: Day| -> usize {
        inputs
            .days
            .range(first.plus(-DAYS_BEFORE)..=last.plus(DAYS_AFTER))
            .map(|(_, input)| input.rows)
            .sum()
    };
    let is_unbroken = |first: Day, last: Day| {
        DayRange { first, last }.days().all(|day| inputs.fetched.contains(&day))
    };
    let mut chunks: Vec<Chunk> = Vec::new();
    for day in wanted.iter().copied() {
        match chunks.last_mut() {
            Some(chunk)
                if day <= chunk.last.plus(DAYS_BEFORE + DAYS_AFTER)
                    && is_unbroken(chunk.last, day)
                    && rows(chunk.first, day) <= ROWS_AT_ONCE =>
            {
                chunk.last = day;
                chunk.days.push(day);
                chunk.rows = rows(chunk.first, day);
            }
            _ => {
                chunks.push(Chunk { first: day, last: day, days: vec![day], rows: rows(day, day) })
            }
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::inputs::Input;
    use super::*;
    use crate::lake::{ContentHash, Pruned};

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn chunks_never_reach_over_a_missing_day() {
        let input = |rows| Input {
            content_hash: ContentHash::from(""),
            redacted_from: Vec::new(),
            rows,
            rejects: 0,
            openids: "keep".to_owned(),
            has_all_texts: true,
        };
        let days = ["2024-05-10", "2024-05-11", "2024-05-13", "2024-05-14"].map(day);
        let inputs = |rows| Inputs {
            days: days.map(|day| (day, input(rows))).into(),
            fetched: days.into(),
            damaged: BTreeMap::new(),
            pruned: Pruned::default(),
        };
        let chunked = chunks(&inputs(10), &days);
        assert_eq!(chunked.iter().map(|chunk| chunk.days.len()).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(chunks(&inputs(ROWS_AT_ONCE), &days).len(), 4);
    }
}
