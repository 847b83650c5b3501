//! Encodes record batches as the bytes of a partition's file. The same rows and footer entries
//! always give the same bytes.

use std::io::Write;
use std::sync::LazyLock;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::footer::Footer;
use super::hash::ContentHasher;
use super::thrift::Thrift;
use super::{ContentHash, LakeError, Table, entry};
use crate::model::column::Encoding as Stored;

/// Rows of a row group. DuckDB uses the same size, and reads such row groups best in parallel.
pub(super) const ROW_GROUP_ROWS: usize = 122_880;

/// Rows that are passed to the encoder at once. Pages of the API have any size, and the end of a
/// batch decides where Parquet's pages end. Batches of a fixed size give the same bytes for the
/// same rows. A row group is a multiple of this size.
pub(super) const ENCODER_ROWS: usize = 8_192;

/// Largest dictionary in bytes. A dictionary of a row group's openids (28 bytes each) fits. The
/// column therefore never falls back to plain text within a row group.
const DICTIONARY_BYTES: usize = 4 << 20;

/// Facts about the rows of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    pub rows: usize,
    pub content_hash: ContentHash,
}

/// Encodes a partition into `W`.
pub(super) struct Encoder<W: Write + Send> {
    writer: ArrowWriter<Tail<W>>,
    uncut: BatchCoalescer,
    hasher: ContentHasher,
    footer: Footer,
    rows: usize,
}

/// Why rows could not be encoded. The caller adds the path.
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
    /// Creates an encoder. `schema` is the table's schema, or an older version of it.
    pub(super) fn new(
        table: Table,
        schema: SchemaRef,
        footer: Footer,
        sink: W,
    ) -> Result<Self, ParquetError> {
        let sink = Tail { sink, written: 0, held: None };
        let writer = ArrowWriter::try_new(sink, schema.clone(), Some(properties(table, &schema)))?;
        Ok(Self {
            writer,
            uncut: BatchCoalescer::new(schema, ENCODER_ROWS),
            hasher: ContentHasher::default(),
            footer,
            rows: 0,
        })
    }

    /// The footer entries to write. [`finish`](Self::finish) adds the number of rows and their
    /// hash.
    pub(super) fn footer(&mut self) -> &mut Footer {
        &mut self.footer
    }

    /// The number of rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows. They must have the table's columns and follow its order.
    pub(super) fn append(&mut self, batch: RecordBatch) -> Result<(), EncodeError> {
        self.rows += batch.num_rows();
        let mut from = 0;
        while from < batch.num_rows() {
            let waiting = self.uncut.get_buffered_rows();
            let rows = (ENCODER_ROWS - waiting).min(batch.num_rows() - from);
            let cut = batch.slice(from, rows);
            from += rows;
            match rows {
                // Rows that are not joined with others are not copied.
                ENCODER_ROWS => self.encode(&cut)?,
                _ => {
                    self.uncut.push_batch(cut)?;
                    self.encode_cut()?;
                }
            }
        }
        Ok(())
    }

    /// Writes the remaining rows and the footer.
    pub(super) fn finish(&mut self) -> Result<PartitionFacts, EncodeError> {
        self.uncut.finish_buffered_batch()?;
        self.encode_cut()?;
        let facts = PartitionFacts { rows: self.rows, content_hash: self.hasher.finish()? };
        self.footer.set(entry::ROWS, facts.rows);
        self.footer.set(entry::CONTENT_HASH, &facts.content_hash);
        for entry in self.footer.key_values() {
            self.writer.append_key_value_metadata(entry);
        }
        self.finish_file().map_err(EncodeError::Parquet)?;
        Ok(facts)
    }

    /// The sink to which the bytes are written.
    pub(super) fn sink(&self) -> &W {
        &self.writer.inner().sink
    }

    /// Writes the last row group, the page index and the footer.
    fn finish_file(&mut self) -> Result<(), ParquetError> {
        self.writer.flush()?;
        self.writer.inner_mut().held = Some(Vec::new());
        let metadata = self.writer.finish()?;
        self.writer.sync()?;
        let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
        let indexes: Vec<i64> = columns.filter_map(|column| column.column_index_offset()).collect();
        Ok(self.writer.inner_mut().release(&indexes)?)
    }

    fn encode_cut(&mut self) -> Result<(), EncodeError> {
        while let Some(batch) = self.uncut.next_completed_batch() {
            self.encode(&batch)?;
        }
        Ok(())
    }

    /// Encodes [`ENCODER_ROWS`], or the last rows.
    fn encode(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        self.hasher.update(batch)?;
        self.writer.write(batch).map_err(EncodeError::Parquet)
    }
}

/// Writes a file. Buffers its end to correct what old readers do not understand.
struct Tail<W> {
    sink: W,
    /// Number of bytes written to the sink.
    written: u64,
    held: Option<Vec<u8>>,
}

impl<W: Write> Tail<W> {
    /// Corrects and writes the buffered end. `column_indexes` are the offsets of the column indexes
    /// in the file.
    ///
    /// A column index begins with a list of flags (which pages are null). Thrift has two codes for
    /// the type of flags in a list. parquet writes code 2 since version 57. Before, every program
    /// wrote code 1.
    ///
    /// DataFusion up to 43 knows only code 1. With code 2, every query with a condition fails with
    /// "bad data". All readers know code 1, so it is written here.
    fn release(&mut self, column_indexes: &[i64]) -> std::io::Result<()> {
        /// Header of field 1 of a struct, which is a list.
        const FIELD: u8 = 0x19;
        let mut held = self.held.take().unwrap_or_default();
        for place in column_indexes {
            let place =
                u64::try_from(*place).ok().and_then(|place| place.checked_sub(self.written));
            let Some(place) = place.and_then(|place| usize::try_from(place).ok()) else { continue };
            if let Some([FIELD, list]) = held.get_mut(place..place + 2)
                && *list & 0x0F == 2
            {
                *list = *list & 0xF0 | 1;
            }
        }
        correct_column_orders(&mut held);
        self.write_all(&held)?;
        self.sink.flush()
    }
}

/// Replaces the order of float columns with the order of their type, at the end of a file.
///
/// Since version 60, parquet marks float columns with the IEEE 754 total order. Polars up to 1.42,
/// DataFusion up to 50 and Daft refuse such files. The two orders differ only for NaN and for zeros
/// with a sign. kefu writes neither.
fn correct_column_orders(end: &mut [u8]) {
    /// Header of field 1 of a union, which is an empty struct. `TOTAL` is the header of field 2.
    const BY_TYPE: u8 = 0x1C;
    const TOTAL: u8 = 0x2C;
    let Some((rest, [length @ .., b'P', b'A', b'R', b'1'])) = end.split_last_chunk::<8>() else {
        return;
    };
    let length = u32::from_le_bytes(*length) as usize;
    let Some(start) = rest.len().checked_sub(length) else { return };
    let mut orders = Vec::new();
    let mut thrift = Thrift::new(rest.get(start..).unwrap_or_default());
    // Field 7 of the footer is a list with a union for each column.
    let _ = thrift.each_field(|thrift, field, wire| {
        if (field, wire) != (7, Thrift::LIST) {
            return thrift.skip(wire, 0);
        }
        let (count, kind) = thrift.list()?;
        (0..count).try_for_each(|_| {
            orders.push(start + thrift.at);
            thrift.skip(kind, 0)
        })
    });
    for place in orders {
        if let Some(order) = end.get_mut(place).filter(|order| **order == TOTAL) {
            *order = BY_TYPE;
        }
    }
}

impl<W: Write> Write for Tail<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.held {
            Some(held) => held.write(bytes),
            None => {
                let written = self.sink.write(bytes)?;
                self.written += written as u64;
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.held {
            Some(_) => Ok(()),
            None => self.sink.flush(),
        }
    }
}

/// The program that wrote the bytes of a file. Another version may encode the same rows
/// differently.
pub(super) static CREATED_BY: LazyLock<String> = LazyLock::new(|| {
    let encoder = WriterProperties::builder().build().created_by().replace(" version ", " ");
    format!("kefu version {} (build {encoder})", env!("CARGO_PKG_VERSION"))
});

/// The columns by which a file's rows are sorted. None for a table without an order.
pub(super) fn sorting_columns(table: Table) -> Option<Vec<SortingColumn>> {
    let schema = table.schema();
    let sorting = table.sorted_by().into_iter().filter_map(|name| {
        let column_idx = i32::try_from(schema.index_of(name).ok()?).ok()?;
        Some(SortingColumn { column_idx, descending: false, nulls_first: false })
    });
    Some(sorting.collect::<Vec<_>>()).filter(|columns| !columns.is_empty())
}

fn properties(table: Table, schema: &Schema) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.clone())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_sorting_columns(sorting_columns(table));
    for column in table.columns().filter(|column| schema.field_with_name(column.name).is_ok()) {
        let path = ColumnPath::from(column.name);
        properties = match column.encoding {
            Stored::Dictionary => properties,
            Stored::Plain => properties.set_column_dictionary_enabled(path.clone(), false),
            Stored::Delta => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED),
        };
        if column.has_bloom_filter {
            properties = properties.set_column_bloom_filter_enabled(path, true);
        }
    }
    properties.build()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, StringArray};
    use arrow::compute::cast;
    use arrow::datatypes::DataType;
    use parquet::basic::ColumnOrder;
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};

    use super::*;

    #[test]
    fn old_readers_know_the_lists_of_flags_in_the_page_index() {
        let schema = Table::WorkerHourly.schema();
        let mut encoder = Encoder::new(
            Table::WorkerHourly,
            Table::WorkerHourly.schema(),
            Footer::default(),
            Vec::new(),
        )
        .unwrap();
        let columns = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Utf8 => Arc::new(StringArray::from(vec!["x"; 200_000])) as ArrayRef,
            data_type => cast(&Int32Array::from(vec![7; 200_000]), data_type).unwrap(),
        });
        let rows = RecordBatch::try_new(Table::WorkerHourly.schema(), columns.collect()).unwrap();
        encoder.append(rows).unwrap();
        encoder.finish().unwrap();
        let bytes = bytes::Bytes::from(encoder.sink().clone());
        let mut reader =
            ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        reader.try_parse(&bytes).unwrap();
        let metadata = reader.finish().unwrap();
        let mut indexes = 0;
        for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
            let place = column.column_index_offset().unwrap() as usize;
            assert_eq!((bytes[place], bytes[place + 1] & 0x0F), (0x19, 1));
            indexes += 1;
        }
        assert_eq!(indexes, 2 * Table::WorkerHourly.schema().fields().len());
    }

    /// parquet 60 writes footers that order floats by IEEE 754. Polars up to 1.42, DataFusion up to
    /// 50 and Daft refuse such files.
    #[test]
    fn old_readers_know_the_order_of_every_column() {
        for table in Table::ALL {
            let mut encoder =
                Encoder::new(table, table.schema(), Footer::default(), Vec::new()).unwrap();
            encoder.append(RecordBatch::new_empty(table.schema())).unwrap();
            encoder.finish().unwrap();
            let bytes = bytes::Bytes::from(encoder.sink().clone());
            let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
            let orders = metadata.file_metadata().column_orders().unwrap();
            assert_eq!(orders.len(), table.schema().fields().len());
            assert!(
                orders.iter().all(|order| matches!(order, ColumnOrder::TYPE_DEFINED_ORDER(_))),
                "{table}: {orders:?}"
            );
        }
    }
}
