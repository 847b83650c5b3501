//! Writing one partition: record batches → a staged Parquet file → [`StagedPartition::commit`].

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::Field;

use super::commit::{StagedFile, StagedPath};
use super::disk::WrittenFile;
use super::encoder::{EncodeError, Encoder, ROW_GROUP_ROWS};
use super::footer::Footer;
use super::read::read_file;
use super::{ContentHash, Lake, LakeError, PartitionFacts, PartitionKey};
use crate::calendar::Span;
use crate::plain_file;

/// A partition being written. Nothing of it can be read before it is finished and [committed](FinishedPartition::commit); dropped, it vanishes.
pub struct StagedPartition {
    lake: Lake,
    key: PartitionKey,
    // Before `file`, so that a dropped partition closes its file before it removes it.
    encoder: Encoder<WrittenFile>,
    file: StagedFile,
}

/// A partition that is complete and on the disk, but not in its place yet. Dropped, it vanishes.
#[derive(Debug)]
pub struct FinishedPartition {
    lake: Lake,
    key: PartitionKey,
    file: StagedFile,
    facts: PartitionFacts,
}

impl FinishedPartition {
    /// What identifies its rows.
    pub fn content_hash(&self) -> &ContentHash {
        &self.facts.content_hash
    }

    /// Puts the partition in its place, in one step.
    ///
    /// # Errors
    /// When the folder refuses it; the partition that was there before is then still there.
    pub fn commit(self) -> Result<PartitionFacts, LakeError> {
        let Self { lake, key, file, facts } = self;
        file.put(&lake.path(&key))?;
        tracing::debug!(event = "partition_committed", table = key.table.name(), date = %key.date, rows = facts.rows);
        Ok(facts)
    }
}

impl Lake {
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

    fn stage_with(&self, key: PartitionKey, footer: Footer) -> Result<StagedPartition, LakeError> {
        let PartitionKey { account, date, table } = &key;
        let (file, written) =
            StagedFile::create(self, account, &format!("{table}.{date}.{account}.parquet"))?;
        let encoder = Encoder::new(*table, table.schema(), footer, written)
            .map_err(|error| LakeError::parquet(file.path(), error))?;
        Ok(StagedPartition { lake: self.clone(), key, encoder, file })
    }

    /// Writes a partition of an older version of kefu once more, so that it can be read beside
    /// those of now. Columns that it lacks have no values. Its rows and what its footer says of
    /// them stay.
    ///
    /// # Errors
    /// When the partition cannot be read, its rows are not those that were written, or the disk
    /// refuses the new file.
    pub fn rewrite_older(&self, key: &PartitionKey) -> Result<(), LakeError> {
        let mut footer = self.footer(key)?;
        let (table, schema) = (key.table, key.table.schema());
        let (names, file) = (table.names(|_| true), plain_file::open(&self.path(key))?);
        let rows = read_file(file, table, &schema, &names, ROW_GROUP_ROWS)
            .and_then(|batches| batches.collect::<Result<Vec<_>, _>>());
        let rows = rows.map_err(|error| error.of(key))?;
        let older = rows.first().map_or_else(|| schema.clone(), RecordBatch::schema);
        let rows = concat_batches(&older, &rows)?;
        // Rewriting a damaged file would make the damage look intended.
        if rows.num_rows() > 0 && footer.content_hash() != Some(ContentHash::of(&rows)?) {
            let reason = "its rows are not those that were written";
            return Err(self.damaged(key, reason));
        }
        let column = |field: &Arc<Field>| {
            rows.column_by_name(field.name())
                .cloned()
                .unwrap_or_else(|| new_null_array(field.data_type(), rows.num_rows()))
        };
        let columns = schema.fields().iter().map(column).collect();
        footer.set("schema_version", table.schema_version());
        let mut staged = self.stage_with(key.clone(), footer)?;
        staged.append(RecordBatch::try_new(schema.clone(), columns)?)?;
        staged.finish()?.commit()?;
        Ok(())
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

    /// Completes the file, which stays in staging. All that a full disk can refuse is done after this.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn finish(mut self) -> Result<FinishedPartition, LakeError> {
        let facts = self.complete()?;
        self.file.sync()?;
        let Self { lake, key, file, .. } = self;
        Ok(FinishedPartition { lake, key, file, facts })
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
