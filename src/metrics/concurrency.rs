//! Counts how many customers a worker served at once.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::ROWS_QUICK;
use super::day_rows::Segment;
use crate::calendar::UnixSeconds;

/// Concurrency of the segments of one worker, or of all workers: the maximum, and the sums for the
/// mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Concurrency {
    pub most: i64,
    /// The sum of the segments' lengths.
    pub segment_seconds: i64,
    /// The length of their union.
    pub covered_seconds: i64,
}

/// Computes the concurrency of the segments of each key.
pub(super) fn by<'a, K: Ord + Send>(
    segments: impl Iterator<Item = (K, &'a Segment)>,
) -> Vec<(K, Concurrency)> {
    let mut bounds: BTreeMap<K, (Vec<UnixSeconds>, Vec<UnixSeconds>)> = BTreeMap::new();
    for (key, segment) in segments {
        let (starts, ends) = bounds.entry(key).or_default();
        starts.push(segment.start);
        ends.push(segment.end);
    }
    let segments: usize = bounds.values().map(|(starts, _)| starts.len()).sum();
    let count = |(key, (starts, ends))| (key, of(starts, ends));
    match segments {
        0..=ROWS_QUICK => bounds.into_iter().map(count).collect(),
        _ => bounds.into_par_iter().map(count).collect(),
    }
}

/// Sweeps over the sorted bounds. Between two bounds, the number of segments is constant: those
/// that have begun and not ended. A segment does not include its end.
fn of(mut starts: Vec<UnixSeconds>, mut ends: Vec<UnixSeconds>) -> Concurrency {
    starts.sort_unstable();
    ends.sort_unstable();
    let mut found = Concurrency::default();
    let mut starts = starts.into_iter().peekable();
    let mut concurrent = 0;
    let mut since = 0;
    for end in ends {
        while let Some(start) = starts.next_if(|start| *start < end) {
            found.count(concurrent, start - since);
            concurrent += 1;
            found.most = found.most.max(concurrent);
            since = start;
        }
        found.count(concurrent, end - since);
        concurrent -= 1;
        since = end;
    }
    found
}

impl Concurrency {
    fn count(&mut self, concurrent: i64, seconds: i64) {
        if concurrent > 0 {
            self.segment_seconds += concurrent * seconds;
            self.covered_seconds += seconds;
        }
    }

    /// The mean concurrency over the covered time. None without a segment.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.covered_seconds > 0)
            .then(|| self.segment_seconds as f64 / self.covered_seconds as f64)
    }
}
