//! Opens partitions to read some of their columns. Of a large file in a bucket, only these columns
//! are fetched: most of a day of messages is texts, which few metrics need.

use std::ops::Range;

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::guard::guarded;
use super::read::parse_metadata;
use super::store::{File, Key, Look, TAIL_BYTES};
use super::{Lake, LakeError, PartitionKey};

/// Smaller files are fetched whole: one more request takes longer than the bytes that it saves.
const FETCHED_WHOLE_BYTES: u64 = 4 << 20;

/// Parts of a file that are fetched in place of all of it.
struct Parts {
    look: Look,
    ranges: Vec<Range<u64>>,
}

impl Lake {
    /// Opens a partition to read the named columns: the version that this run has looked at, if it
    /// has.
    ///
    /// # Errors
    /// [`LakeError::Changed`] when another version is there; when the file is missing or cannot be
    /// read.
    pub(super) fn open_columns(
        &self,
        key: &PartitionKey,
        columns: &[&str],
    ) -> Result<File, LakeError> {
        let place = Key::of_partition(key);
        let seen = self.looks.as_ref().and_then(|looks| looks.version(&place));
        let opened = match self.parts(&place, columns)? {
            None => self.store.open(&place, seen.as_ref()),
            Some(Parts { look, ranges }) => {
                let version = seen.as_ref().unwrap_or(&look.version);
                self.store.open_parts(&place, version, look.bytes, &ranges)
            }
        };
        if matches!(opened, Err(LakeError::Changed { .. })) {
            self.forget(&place);
        }
        opened
    }

    /// The parts of a large file in a bucket that hold the named columns and the footer, if they
    /// are less than half of it.
    fn parts(&self, place: &Key, columns: &[&str]) -> Result<Option<Parts>, LakeError> {
        let bytes_seen = || self.looks.as_ref().and_then(|looks| looks.bytes(place));
        if self.is_in_folder() || bytes_seen().is_some_and(|bytes| bytes < FETCHED_WHOLE_BYTES) {
            return Ok(None);
        }
        let is_large = |look: &Look| look.bytes >= FETCHED_WHOLE_BYTES;
        let Some(look) = self.store.look(place, TAIL_BYTES)?.filter(is_large) else {
            return Ok(None);
        };
        let path = self.path_of(place);
        // A damaged file is fetched whole. Reading it says what is wrong.
        let Ok(Ok(metadata)) = parse_metadata(&path, &look) else { return Ok(None) };
        let ranges = guarded(&path, || Ok(ranges_of(&metadata, look.bytes, columns)));
        Ok(ranges.ok().flatten().map(|ranges| Parts { look, ranges }))
    }
}

/// The parts of a file of this size with the named columns, and all that is after the columns. None
/// when they are at least half of the file, or when a column would be outside the file.
fn ranges_of(metadata: &ParquetMetaData, bytes: u64, columns: &[&str]) -> Option<Vec<Range<u64>>> {
    let chunks = || metadata.row_groups().iter().flat_map(|group| group.columns());
    let range = |chunk: &ColumnChunkMetaData| {
        let (start, length) = chunk.byte_range();
        start.checked_add(length).filter(|end| *end <= bytes).map(|end| start..end)
    };
    let ranges: Vec<Range<u64>> = chunks().map(range).collect::<Option<_>>()?;
    let end = ranges.iter().map(|range| range.end).max()?;
    let is_wanted = |chunk: &ColumnChunkMetaData| columns.contains(&chunk.column_descr().name());
    let wanted = ranges.into_iter().zip(chunks()).filter(|(_, chunk)| is_wanted(chunk));
    let footer = Some(end..bytes);
    let mut wanted: Vec<Range<u64>> = wanted.map(|(range, _)| range).chain(footer).collect();
    wanted.sort_by_key(|range| range.start);
    let mut parts: Vec<Range<u64>> = Vec::new();
    for range in wanted {
        match parts.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => parts.push(range),
        }
    }
    let fetched: u64 = parts.iter().map(|part| part.end - part.start).sum();
    (fetched < bytes / 2).then_some(parts)
}
