//! Writing a partition again with the same facts and other rows: without personal data, or with the
//! columns of today.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::Field;
use arrow::error::ArrowError;

use super::hash::ContentHasher;
use super::{FinishedPartition, Lake, LakeError, PartitionKey, Table, entry};
use crate::model::privacy::AppliedPrivacy;

impl Lake {
    /// Writes a partition of an older version of kefu again, so that it can be read beside those of
    /// today. Columns that it lacks become null.
    ///
    /// # Errors
    /// Those of [`redact`](Self::redact).
    pub fn rewrite_older(&self, key: &PartitionKey) -> Result<(), LakeError> {
        self.rewrite_rows(key, Ok)
    }

    /// Writes a partition again with the rows that `change` returns for each batch.
    ///
    /// # Errors
    /// Those of [`redact`](Self::redact).
    pub fn rewrite_rows(
        &self,
        key: &PartitionKey,
        change: impl FnMut(RecordBatch) -> Result<RecordBatch, LakeError>,
    ) -> Result<(), LakeError> {
        self.rewrite(key, None, change)?.commit()?;
        Ok(())
    }

    /// Stages a partition again with the rows that `change` returns for each batch, all columns as
    /// strings. Its footer then says `privacy`, and the hash of its rows before.
    ///
    /// # Errors
    /// When the partition cannot be read, its rows do not match its content hash, or the disk
    /// refuses the new file.
    pub fn redact(
        &self,
        key: &PartitionKey,
        privacy: &AppliedPrivacy,
        change: impl FnMut(RecordBatch) -> Result<RecordBatch, LakeError>,
    ) -> Result<FinishedPartition, LakeError> {
        self.rewrite(key, Some(privacy), change)
    }

    fn rewrite(
        &self,
        key: &PartitionKey,
        privacy: Option<&AppliedPrivacy>,
        mut change: impl FnMut(RecordBatch) -> Result<RecordBatch, LakeError>,
    ) -> Result<FinishedPartition, LakeError> {
        let table = key.table;
        let seen = self.see(key)?;
        let written = self.footer(key)?;
        let mut footer = written.clone();
        privacy.iter().for_each(|privacy| footer.set_privacy(table, privacy));
        footer.set(entry::SCHEMA_VERSION, table.schema_version());
        let batches = self.rows(key)?;
        let mut staged = self.stage_with(key.clone(), footer)?;
        let mut hasher = ContentHasher::default();
        let mut rows = 0;
        // A new name can change the order of rows.
        let is_sorted_again = privacy.is_some() && table.sorted_by().contains(&"openid");
        let mut unsorted = Vec::new();
        for batch in batches {
            let batch = batch?;
            hasher.update(&batch)?;
            rows += batch.num_rows();
            let batch = with_all_columns(table, &change(batch)?)?;
            match is_sorted_again {
                true => unsorted.push(batch),
                false => staged.append(batch)?,
            }
        }
        if is_sorted_again {
            let sorted = sorted(table, &concat_batches(&table.schema(), &unsorted)?)?;
            staged.append(sorted)?;
        }
        // Rewriting a damaged file would make the damage look intended.
        if rows > 0 && written.content_hash() != Some(hasher.finish()?) {
            return Err(self.damaged(key, "its rows do not match its content hash"));
        }
        if rows > 0 && privacy.is_some() {
            staged.footer().set_redacted(&written);
        }
        // In a bucket, a run may have replaced the partition meanwhile.
        Ok(staged.finish()?.if_unchanged(&seen))
    }
}

/// The rows with null in the columns that an older file lacks.
fn with_all_columns(table: Table, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = table.schema();
    let column = |field: &Arc<Field>| {
        rows.column_by_name(field.name())
            .cloned()
            .unwrap_or_else(|| new_null_array(field.data_type(), rows.num_rows()))
    };
    let columns = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(schema, columns)
}

/// The rows in the order of their table. Rows that are equal in it stay in the order they had.
fn sorted(table: Table, rows: &RecordBatch) -> Result<RecordBatch, LakeError> {
    let keys = table.sorted_by().into_iter().filter_map(|name| rows.column_by_name(name)).cloned();
    let places = UInt32Array::from_iter_values(0..rows.num_rows() as u32);
    let keys = keys.chain([Arc::new(places) as _]);
    let keys: Vec<SortColumn> = keys.map(|values| SortColumn { values, options: None }).collect();
    Ok(take_record_batch(rows, &lexsort_to_indices(&keys, None)?)?)
}
