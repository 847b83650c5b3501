//! Writing one partition: record batches → a staged Parquet file → [`StagedPartition::commit`].

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::commit::StagedFile;
use super::disk::WrittenFile;
use super::footer::Footer;
use super::hash::ContentHasher;
use super::{Account, ContentHash, Lake, LakeError, Table, schema};
use crate::calendar::{Day, Span};

/// Rows of a row group: DuckDB's own size, which it reads in parallel best.
pub(super) const ROW_GROUP_ROWS: usize = 122_880;

/// Rows that are handed to the encoder at once. Pages of the API come in any size, and where a batch ends decides where Parquet's
/// pages end; cut alike, the same rows always give the same bytes. A row group is a whole number of these.
pub(super) const ENCODER_ROWS: usize = 8_192;

/// A dictionary of a row group's openids (28 bytes each) fits, so that the column never falls back to plain text halfway.
const DICTIONARY_BYTES: usize = 4 << 20;

/// Numbers the files in staging: a day that is merged from several runs has several.
static STAGED: AtomicUsize = AtomicUsize::new(0);

/// A partition being written. Nothing of it can be read before it is finished and [committed](FinishedPartition::commit); dropped, it vanishes.
pub struct StagedPartition {
    lake: Lake,
    table: Table,
    account: Account,
    day: Day,
    // Before `file`, so that a dropped partition closes its file before it removes it.
    writer: ArrowWriter<WrittenFile>,
    file: StagedFile,
    uncut: BatchCoalescer,
    hasher: ContentHasher,
    footer: Footer,
    rows: usize,
}

/// A partition that is complete and on the disk, but not in its place yet. Dropped, it vanishes.
#[derive(Debug)]
pub struct FinishedPartition {
    lake: Lake,
    table: Table,
    account: Account,
    day: Day,
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
        self.file.put(&self.lake, self.table, &self.account, self.day)?;
        tracing::debug!(event = "partition_committed", table = self.table.name(), date = %self.day, rows = self.facts.rows);
        Ok(self.facts)
    }
}

/// What a committed partition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    pub rows: usize,
    pub content_hash: ContentHash,
}

impl Lake {
    /// Begins a partition in staging.
    ///
    /// # Errors
    /// When staging cannot be written.
    pub fn stage(&self, table: Table, account: &Account, day: Day, zone: &str, window: Span) -> Result<StagedPartition, LakeError> {
        let footer = Footer::new(table, account, day, zone, window);
        let file = StagedFile::new(self, &format!("{table}.{day}.{account}.{}.parquet", STAGED.fetch_add(1, Ordering::Relaxed)));
        let schema = table.schema();
        let writer = ArrowWriter::try_new(file.create()?, schema.clone(), Some(properties(table)))
            .map_err(|error| LakeError::parquet(file.path(), error))?;
        Ok(StagedPartition {
            lake: self.clone(),
            table,
            account: account.clone(),
            day,
            writer,
            file,
            uncut: BatchCoalescer::new(schema, ENCODER_ROWS),
            hasher: ContentHasher::default(),
            footer,
            rows: 0,
        })
    }
}

impl StagedPartition {
    /// What the footer will say, beside what every file's footer says.
    pub fn footer(&mut self) -> &mut Footer {
        &mut self.footer
    }

    /// Adds rows, which must have the table's columns and follow its order.
    ///
    /// # Errors
    /// When the disk refuses them.
    pub fn append(&mut self, batch: RecordBatch) -> Result<(), LakeError> {
        self.rows += batch.num_rows();
        self.uncut.push_batch(batch)?;
        self.encode_cut()
    }

    /// Completes the file, which stays in staging. All that a full disk can refuse is done after this.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn finish(mut self) -> Result<FinishedPartition, LakeError> {
        let facts = self.complete()?;
        self.file.sync()?;
        let Self { lake, table, account, day, file, .. } = self;
        Ok(FinishedPartition { lake, table, account, day, file, facts })
    }

    /// Completes the file but leaves it in staging, for the merge of runs.
    pub(super) fn into_run(mut self) -> Result<StagedFile, LakeError> {
        self.complete()?;
        Ok(self.file)
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    fn complete(&mut self) -> Result<PartitionFacts, LakeError> {
        self.uncut.finish_buffered_batch()?;
        self.encode_cut()?;
        let facts = PartitionFacts { rows: self.rows, content_hash: self.hasher.finish() };
        self.footer.set("rows", facts.rows);
        self.footer.set("content_hash", &facts.content_hash);
        for entry in self.footer.key_values() {
            self.writer.append_key_value_metadata(entry);
        }
        self.writer.finish().map_err(|error| LakeError::parquet(self.file.path(), error))?;
        Ok(facts)
    }

    fn encode_cut(&mut self) -> Result<(), LakeError> {
        while let Some(batch) = self.uncut.next_completed_batch() {
            self.hasher.update(&batch)?;
            self.writer.write(&batch).map_err(|error| LakeError::parquet(self.file.path(), error))?;
        }
        Ok(())
    }
}

impl fmt::Debug for StagedPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StagedPartition({} {} {}, {} rows)", self.table, self.day, self.account, self.rows)
    }
}

/// What a file says about the order of its rows; nothing where they have none.
pub(super) fn sorting_columns(table: Table) -> Option<Vec<SortingColumn>> {
    let schema = table.schema();
    let sorting = table.sorted_by().iter().filter_map(|name| {
        let column_idx = i32::try_from(schema.index_of(name).ok()?).ok()?;
        Some(SortingColumn { column_idx, descending: false, nulls_first: false })
    });
    Some(sorting.collect::<Vec<_>>()).filter(|columns| !columns.is_empty())
}

fn properties(table: Table) -> WriterProperties {
    let schema = table.schema();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_sorting_columns(sorting_columns(table));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        if !schema::repeats(field.name()) {
            properties = properties.set_column_dictionary_enabled(column.clone(), false);
        }
        if schema::is_delta_coded(field.name()) {
            properties = properties.set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if schema::is_looked_up(table, field.name()) {
            properties = properties.set_column_bloom_filter_enabled(column, true);
        }
    }
    properties.build()
}
