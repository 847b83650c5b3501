//! The sources of the simulator's records.

use std::path::PathBuf;

use crate::calendar::Day;
use crate::fetch::repair;
use crate::plain_file;

/// A page of records, as the API writes them.
#[derive(Debug, Default)]
pub struct RenderedPage {
    /// JSON objects separated by commas.
    pub records: Vec<u8>,
    pub number: usize,
    /// Id of the last record. 0 if there are no records.
    pub msgid: i64,
}

/// A source of records.
pub trait Records: Send + Sync + 'static {
    /// The first `limit` records, by ascending id, with `start <= time < end` and an id above
    /// `after`.
    fn page(&self, start: i64, end: i64, after: i64, limit: usize) -> RenderedPage;

    /// The workers that the list of workers has on a day, in Beijing time.
    fn workers(&self, day: Day) -> Vec<SimulatedWorker>;
}

/// An entry of the list of workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedWorker {
    /// `kf_account`
    pub account: String,
    /// `kf_nick`
    pub nick: String,
}

/// Records from files with one JSON object per line, in the API's format. The simulator returns
/// each line unchanged. Records of one file keep the order of its lines; records of several files
/// are sorted by time.
#[derive(Debug)]
pub struct Recorded {
    lines: Vec<Line>,
    workers: Vec<String>,
}

#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    /// Time of the record in Unix seconds. An unreadable time, or one outside the years 1970 to
    /// 9999, is replaced by that of the record before. Without one before, the first readable time
    /// is used.
    time: i64,
    msgid: i64,
}

#[derive(serde::Deserialize)]
struct Glimpse {
    #[serde(default)]
    time: serde_json::Value,
    #[serde(default)]
    worker: serde_json::Value,
}

impl Recorded {
    /// # Errors
    /// When a file cannot be read.
    pub fn read(paths: &[PathBuf]) -> std::io::Result<Self> {
        let files =
            paths.iter().map(|path| plain_file::read_named(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::from_lines(
            files.iter().flat_map(|file| file.split(|byte| *byte == b'\n')).map(<[u8]>::to_vec),
            paths.len() > 1,
        ))
    }

    /// Creates a source from lines. Each line is a JSON object, or a malformed one.
    pub fn from_lines(lines: impl IntoIterator<Item = Vec<u8>>, by_time: bool) -> Self {
        let mut workers = std::collections::BTreeSet::new();
        let mut time = None;
        let mut lines: Vec<Line> = lines
            .into_iter()
            .filter(|bytes| !bytes.trim_ascii().is_empty())
            .map(|bytes| {
                if let Ok(glimpse) = serde_json::from_str::<Glimpse>(&repair(&bytes)) {
                    time = glimpse
                        .time
                        .as_i64()
                        .or_else(|| glimpse.time.as_str()?.trim().parse().ok())
                        .filter(|time| POSSIBLE_TIMES.contains(time))
                        .or(time);
                    workers.extend(glimpse.worker.as_str().map(|worker| worker.trim().to_owned()));
                }
                Line { bytes, time: time.unwrap_or(i64::MIN), msgid: 0 }
            })
            .collect();
        // Records before the first readable time get that time.
        let first = lines.iter().map(|line| line.time).find(|time| *time > i64::MIN).unwrap_or(0);
        lines
            .iter_mut()
            .take_while(|line| line.time == i64::MIN)
            .for_each(|line| line.time = first);
        if by_time {
            lines.sort_by_key(|line| line.time);
        }
        for (line, ordinal) in lines.iter_mut().zip(0..) {
            line.msgid = sparse_id(ordinal);
        }
        Self { lines, workers: workers.into_iter().collect() }
    }
}

impl Records for Recorded {
    fn page(&self, start: i64, end: i64, after: i64, limit: usize) -> RenderedPage {
        let first = self.lines.partition_point(|line| line.msgid <= after);
        let mut page = RenderedPage::default();
        let lines = self.lines.get(first..).unwrap_or_default();
        for line in lines.iter().filter(|line| (start..end).contains(&line.time)).take(limit) {
            page.push(line.msgid, |records| records.extend_from_slice(line.bytes.trim_ascii()));
        }
        page
    }

    fn workers(&self, _day: Day) -> Vec<SimulatedWorker> {
        let worker = |account: &String| SimulatedWorker {
            account: account.clone(),
            nick: account.split('@').next().unwrap_or_default().to_owned(),
        };
        self.workers.iter().map(worker).collect()
    }
}

impl RenderedPage {
    pub(super) fn push(&mut self, msgid: i64, render: impl FnOnce(&mut Vec<u8>)) {
        if self.number > 0 {
            self.records.push(b',');
        }
        render(&mut self.records);
        self.number += 1;
        self.msgid = msgid;
    }
}

/// Unix seconds from 1970 to 9999.
const POSSIBLE_TIMES: std::ops::Range<i64> = 0..253_402_300_800;

/// The smallest id. Ids are global, sparse, and above 32 bits.
const FIRST_ID: i64 = 20_165_258_000;

/// The id of the record with this ordinal: ascending, with gaps.
pub(super) fn sparse_id(ordinal: i64) -> i64 {
    FIRST_ID + ordinal * 16 + (ordinal.wrapping_mul(0x9E37_79B9) >> 7 & 15)
}

/// The first ordinal whose id is above `after`.
pub(super) fn ordinal_after(after: i64) -> i64 {
    let guess = ((after - FIRST_ID).div_euclid(16)).max(0);
    if sparse_id(guess) > after { guess } else { guess + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinal_after_an_id_is_the_next_one() {
        for ordinal in 0..10_000 {
            assert!(sparse_id(ordinal) < sparse_id(ordinal + 1));
            assert_eq!(ordinal_after(sparse_id(ordinal)), ordinal + 1);
            assert_eq!(ordinal_after(sparse_id(ordinal) - 1), ordinal);
        }
        assert_eq!(ordinal_after(1), 0);
    }
}
