//! Record batches → the bytes of a partition's file. The same rows and the same words in the footer always give the same bytes.

use std::io::Write;
use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::footer::Footer;
use super::hash::ContentHasher;
use super::{ContentHash, LakeError, Table, schema};

/// Rows of a row group: DuckDB's own size, which it reads in parallel best.
pub(super) const ROW_GROUP_ROWS: usize = 122_880;

/// Rows that are handed to the encoder at once. Pages of the API come in any size, and where a batch ends decides where Parquet's
/// pages end; cut alike, the same rows always give the same bytes. A row group is a whole number of these.
pub(super) const ENCODER_ROWS: usize = 8_192;

/// A dictionary of a row group's openids (28 bytes each) fits, so that the column never falls back to plain text halfway.
const DICTIONARY_BYTES: usize = 4 << 20;

/// What a partition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    pub rows: usize,
    pub content_hash: ContentHash,
}

/// Encodes a partition into `W`.
pub(super) struct Encoder<W: Write + Send> {
    writer: ArrowWriter<W>,
    uncut: BatchCoalescer,
    hasher: ContentHasher,
    footer: Footer,
    rows: usize,
}

/// Why rows could not be encoded. Whoever knows where they were to go says so.
#[derive(Debug)]
pub(super) enum EncodeError {
    Lake(LakeError),
    Parquet(ParquetError),
}

impl<E: Into<LakeError>> From<E> for EncodeError {
    fn from(error: E) -> Self {
        Self::Lake(error.into())
    }
}

impl<W: Write + Send> Encoder<W> {
    pub(super) fn new(table: Table, footer: Footer, sink: W) -> Result<Self, ParquetError> {
        let schema = table.schema();
        let writer = ArrowWriter::try_new(sink, schema.clone(), Some(properties(table)))?;
        Ok(Self {
            writer,
            uncut: BatchCoalescer::new(schema, ENCODER_ROWS),
            hasher: ContentHasher::default(),
            footer,
            rows: 0,
        })
    }

    /// What the footer will say, beside the rows and their hash.
    pub(super) fn footer(&mut self) -> &mut Footer {
        &mut self.footer
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows, which must have the table's columns and follow its order.
    pub(super) fn append(&mut self, batch: RecordBatch) -> Result<(), EncodeError> {
        self.rows += batch.num_rows();
        self.uncut.push_batch(batch)?;
        self.encode_cut()
    }

    /// Writes what is left, and the footer.
    pub(super) fn finish(&mut self) -> Result<PartitionFacts, EncodeError> {
        self.uncut.finish_buffered_batch()?;
        self.encode_cut()?;
        let facts = PartitionFacts { rows: self.rows, content_hash: self.hasher.finish() };
        self.footer.set("rows", facts.rows);
        self.footer.set("content_hash", &facts.content_hash);
        for entry in self.footer.key_values() {
            self.writer.append_key_value_metadata(entry);
        }
        self.writer.finish().map_err(EncodeError::Parquet)?;
        Ok(facts)
    }

    /// Where the bytes went.
    pub(super) fn sink(&self) -> &W {
        self.writer.inner()
    }

    fn encode_cut(&mut self) -> Result<(), EncodeError> {
        while let Some(batch) = self.uncut.next_completed_batch() {
            self.hasher.update(&batch)?;
            self.writer.write(&batch).map_err(EncodeError::Parquet)?;
        }
        Ok(())
    }
}

/// What a file says of the program that wrote its bytes. Another version may write the same rows in other bytes.
pub(super) static CREATED_BY: LazyLock<String> = LazyLock::new(|| {
    let encoder = WriterProperties::builder().build().created_by().replace(" version ", " ");
    format!("kefu version {} (build {encoder})", env!("CARGO_PKG_VERSION"))
});

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
        .set_created_by(CREATED_BY.clone())
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
            properties =
                properties.set_column_encoding(column.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if schema::is_looked_up(table, field.name()) {
            properties = properties.set_column_bloom_filter_enabled(column, true);
        }
    }
    properties.build()
}
