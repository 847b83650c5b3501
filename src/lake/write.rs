//! Writing one partition: record batches → a staged Parquet file → [`StagedPartition::commit`].

use std::fmt;

use arrow::array::RecordBatch;

use super::encoder::{EncodeError, Encoder};
use super::footer::Footer;
use super::store::{Expected, Key, StagedFile, StagedPath, Version, WrittenFile};
use super::{ContentHash, Lake, LakeError, PartitionFacts, PartitionKey};
use crate::calendar::Span;

/// A partition that is being written. Readers see it only after it is finished and
/// [committed](FinishedPartition::commit). Dropping it deletes its file.
pub struct StagedPartition {
    lake: Lake,
    key: PartitionKey,
    // Before `file`, so that a dropped partition closes its file before it removes it.
    encoder: Encoder<WrittenFile>,
    file: StagedFile,
}

/// A partition that is complete and on the disk, but not committed. Dropping it deletes its file.
#[derive(Debug)]
pub struct FinishedPartition {
    lake: Lake,
    key: PartitionKey,
    file: StagedFile,
    footer: Footer,
    facts: PartitionFacts,
    expected: Expected,
}

/// What was in the place of a partition when it was looked at.
#[derive(Clone, Debug)]
pub struct Seen(Expected);

impl Seen {
    pub(super) fn nothing() -> Self {
        Self(Expected::Seen(None))
    }

    pub(super) fn version(version: Version) -> Self {
        Self(Expected::Seen(Some(version)))
    }

    /// The version of the file that was there.
    pub(super) fn there(&self) -> Option<&Version> {
        match &self.0 {
            Expected::Seen(version) => version.as_ref(),
            Expected::Any => None,
        }
    }

    pub(super) fn into_expected(self) -> Expected {
        self.0
    }

    /// Whether there was a file.
    pub fn is_there(&self) -> bool {
        self.there().is_some()
    }
}

impl FinishedPartition {
    /// What identifies its rows.
    pub fn content_hash(&self) -> &ContentHash {
        &self.facts.content_hash
    }

    /// The same, but it may only replace what was seen.
    #[must_use]
    pub fn if_unchanged(self, seen: &Seen) -> Self {
        self.replacing(seen.0.clone())
    }

    /// The same, but it may only replace what was expected.
    pub(super) fn replacing(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    /// Puts the partition in its place, in one step.
    ///
    /// # Errors
    /// When the store refuses it; the partition that was there before is then still there.
    pub fn commit(self) -> Result<PartitionFacts, LakeError> {
        let Self { lake, key, file, footer, facts, expected } = self;
        match lake.put(&key.account, file, &Key::of_partition(&key), &expected) {
            // Another run has put the same content there, or this one did and never learned it.
            Err(LakeError::Changed { .. })
                if lake.footer(&key).is_ok_and(|there| there == footer) => {}
            put => put?,
        }
        tracing::debug!(event = "partition_committed", table = key.table.name(), date = %key.date, rows = facts.rows);
        Ok(facts)
    }
}

impl Lake {
    /// Looks at what is in the place of a partition.
    ///
    /// # Errors
    /// When a bucket does not say. In a folder, what cannot be examined is no partition.
    pub fn see(&self, key: &PartitionKey) -> Result<Seen, LakeError> {
        if self.looks.is_some() {
            match self.look_at(key) {
                Ok(looked) => return Ok(looked.seen),
                Err(error @ (LakeError::Bucket(_) | LakeError::Threads(_))) => return Err(error),
                // What cannot be read is still there.
                Err(_) => {}
            }
        }
        match self.store.look(&Key::of_partition(key), 0) {
            Err(error @ (LakeError::Bucket(_) | LakeError::Threads(_))) => Err(error),
            Ok(look) => Ok(Seen(Expected::Seen(look.map(|look| look.version)))),
            // Something else is in its place, like a link to nothing.
            Err(_) => Ok(Seen(Expected::Any)),
        }
    }

    /// Begins a partition in staging.
    ///
    /// # Errors
    /// When staging cannot be written.
    pub fn stage(
        &self,
        key: PartitionKey,
        zone: &str,
        window: Span,
    ) -> Result<StagedPartition, LakeError> {
        let footer = Footer::new(&key, zone, window);
        self.stage_with(key, footer)
    }

    pub(super) fn stage_with(
        &self,
        key: PartitionKey,
        footer: Footer,
    ) -> Result<StagedPartition, LakeError> {
        let PartitionKey { account, date, table } = &key;
        let (file, written) = self.staging.create(
            &self.disk,
            account,
            &format!("{table}.{date}.{account}.parquet"),
        )?;
        let encoder = Encoder::new(*table, table.schema(), footer, written)
            .map_err(|error| LakeError::parquet(file.path(), error))?;
        Ok(StagedPartition { lake: self.clone(), key, encoder, file })
    }
}

impl StagedPartition {
    pub(super) fn key(&self) -> &PartitionKey {
        &self.key
    }

    /// What the footer will say, beside what every file's footer says.
    pub fn footer(&mut self) -> &mut Footer {
        self.encoder.footer()
    }

    /// Adds rows, which must have the table's columns and follow its order.
    ///
    /// # Errors
    /// When the disk refuses them.
    pub fn append(&mut self, batch: RecordBatch) -> Result<(), LakeError> {
        self.encoder.append(batch).map_err(|error| self.located(error))
    }

    /// Completes the file, which stays in staging. All that a full disk can refuse is done after
    /// this.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn finish(mut self) -> Result<FinishedPartition, LakeError> {
        let facts = self.complete()?;
        self.file.sync()?;
        let footer = self.footer().clone();
        let Self { lake, key, file, .. } = self;
        Ok(FinishedPartition { lake, key, file, footer, facts, expected: Expected::Any })
    }

    /// Completes the file but leaves it in staging, for the merge of runs.
    pub(super) fn into_run(mut self) -> Result<StagedPath, LakeError> {
        self.complete()?;
        Ok(self.file.close())
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.encoder.rows()
    }

    fn complete(&mut self) -> Result<PartitionFacts, LakeError> {
        self.encoder.finish().map_err(|error| self.located(error))
    }

    fn located(&self, error: EncodeError) -> LakeError {
        match error {
            EncodeError::Lake(error) => error,
            EncodeError::Parquet(error) => LakeError::parquet(self.file.path(), error),
        }
    }
}

impl fmt::Debug for StagedPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StagedPartition({}, {} rows)", self.key, self.rows())
    }
}
