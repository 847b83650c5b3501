//! Examines a file of a table without trusting its footer or statistics.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Field, Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Compression;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData};

use super::encoder::{
    CREATED_BY, ENCODER_ROWS, EncodeError, Encoder, ROW_GROUP_ROWS, sorting_columns,
};
use super::guard::guarded;
use super::original::Original;
use super::read::read_file;
use super::statistics::Claims;
use super::store::{File, Key};
use super::{
    Account, ContentHash, Footer, Lake, LakeError, MessageCounts, PartitionKey, Table, bounds,
    schema,
};
use crate::calendar::UnixSeconds;

/// Footer and contents of a file.
#[derive(Debug)]
pub struct Contents {
    pub footer: Footer,
    /// The version of the table's schema that the file has.
    pub schema_version: &'static str,
    pub rows: u64,
    /// Content hash of the rows that the file has.
    pub content_hash: ContentHash,
    /// Whether the account of each row is that of the file.
    pub is_of_account: bool,
    /// Whether the rows are sorted by the columns of the table's order.
    pub is_sorted: bool,
    /// Whether `seq` is 0, 1, 2 … if the table has this column.
    pub is_numbered: bool,
    /// The earliest and the latest instant of the column that decides the day of a row.
    pub instants: Option<(UnixSeconds, UnixSeconds)>,
    /// Counts of messages: the rows by `opercode` for `messages`, the sums of the counts for
    /// `account_daily`.
    pub counts: MessageCounts,
    /// Differences between the encoding of the file and that of the lake's files.
    pub oddities: Vec<String>,
    /// Columns with wrong statistics in a row group or a page.
    pub misstated: Vec<String>,
    /// Whether kefu writes the same bytes for these rows and this footer. `None` if another version
    /// of the encoder wrote the file.
    pub is_as_encoded: Option<bool>,
}

/// Result of examining a file.
#[derive(Debug)]
pub enum Examined {
    Read(Box<Contents>),
    /// The file is not Parquet, or its rows cannot be decoded.
    Unreadable(String),
    /// The file has other columns than its table.
    OtherSchema(String),
}

impl Lake {
    /// Reads all of a partition.
    ///
    /// # Errors
    /// Fails when the disk cannot be read. A damaged file is not an error.
    pub fn examine(&self, key: &PartitionKey) -> Result<Examined, LakeError> {
        let path = self.path(key);
        let file = self.store.open(&Key::of_partition(key), None)?;
        match guarded(&path, || examine_file(file, key.table, &key.account)) {
            Err(LakeError::Damaged { reason, .. }) => Ok(Examined::Unreadable(reason)),
            examined => examined,
        }
    }
}

fn examine_file(file: File, table: Table, account: &Account) -> Result<Examined, LakeError> {
    let metadata = metadata_of(&file)?;
    let schema = schema::of_file(table, &table.schema(), metadata.schema());
    if let Some(difference) = difference(metadata.schema(), &schema) {
        return Ok(Examined::OtherSchema(difference));
    }
    let (footer, mut oddities) =
        (Footer::of(metadata.metadata()), oddities(metadata.metadata(), table));
    let is_ours = metadata.metadata().file_metadata().created_by() == Some(CREATED_BY.as_str());
    let damaged = |error: EncodeError| match error {
        EncodeError::Lake(error) => error,
        EncodeError::Parquet(error) => LakeError::unreadable(file.path(), &error),
    };
    let encoder = Encoder::new(table, schema.clone(), footer.clone(), Original::of(&file)?)
        .map_err(|error| damaged(EncodeError::Parquet(error)))?;
    let mut rows = RowsSeen::of(table, account, Claims::of(metadata.metadata()), encoder)?;
    match filters(&file, metadata.metadata(), table) {
        // The filter of a row is found by its row number, which needs row groups of the usual size.
        Ok(filters) if oddities.is_empty() => rows.filters = filters,
        Ok(_) => {}
        Err(error) => oddities.push(format!("its bloom filter cannot be read: {error}")),
    }
    let (original, columns) = (file.try_clone()?, table.names(|_| true));
    for batch in read_file(original, table, &schema, &columns, ENCODER_ROWS)? {
        rows.see(&batch?).map_err(damaged)?;
    }
    if !rows.is_findable {
        oddities.push("its bloom filter lacks some openids".to_owned());
    }
    let mut contents = rows.finish(footer, oddities).map_err(damaged)?;
    contents.is_as_encoded = contents.is_as_encoded.filter(|_| is_ours);
    contents.schema_version = schema::version(table, &schema, &contents.footer);
    Ok(Examined::Read(Box::new(contents)))
}

/// Reads the footer and the page indexes.
fn metadata_of(file: &File) -> Result<ArrowReaderMetadata, LakeError> {
    bounds::check_footer_of(file)?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let load = |options: ArrowReaderOptions| {
        ArrowReaderMetadata::load(file.file(), options)
            .map_err(|error| LakeError::unreadable(file.path(), &error))
    };
    bounds::check_indexes(load(options.clone())?.metadata())
        .map_err(|reason| LakeError::damaged(file.path(), reason))?;
    load(options.with_page_index_policy(PageIndexPolicy::Optional))
}

/// Facts about the rows of a file, collected batch by batch.
struct RowsSeen<'a> {
    table: Table,
    account: &'a Account,
    /// Encodes the rows again and compares the bytes with those of the file.
    encoder: Encoder<Original>,
    /// `None` for a table whose rows are not sorted.
    order: Option<RowConverter>,
    last: Option<OwnedRow>,
    rows: u64,
    is_of_account: bool,
    is_sorted: bool,
    is_numbered: bool,
    /// Bloom filters of the row groups, in order. Empty if there are none.
    filters: Vec<Sbbf>,
    /// Whether the bloom filters contain all openids.
    is_findable: bool,
    claims: Claims,
    /// The earliest and the latest instant, in microseconds.
    instants: Option<(i64, i64)>,
    counts: MessageCounts,
}

impl<'a> RowsSeen<'a> {
    fn of(
        table: Table,
        account: &'a Account,
        claims: Claims,
        encoder: Encoder<Original>,
    ) -> Result<Self, ArrowError> {
        let schema = table.schema();
        let keys = table
            .sorted_by()
            .into_iter()
            .map(|column| Ok(SortField::new(schema.field_with_name(column)?.data_type().clone())));
        let keys: Vec<SortField> = keys.collect::<Result<_, ArrowError>>()?;
        Ok(Self {
            table,
            account,
            encoder,
            order: if keys.is_empty() { None } else { Some(RowConverter::new(keys)?) },
            last: None,
            rows: 0,
            is_of_account: true,
            is_sorted: true,
            is_numbered: true,
            filters: Vec::new(),
            is_findable: true,
            claims,
            instants: None,
            counts: MessageCounts::default(),
        })
    }

    fn see(&mut self, batch: &RecordBatch) -> Result<(), EncodeError> {
        let strings = |name: &str| {
            batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>())
        };
        let numbers = |name: &str| {
            batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>())
        };
        self.is_of_account &= strings("account")
            .is_some_and(|names| names.iter().all(|name| name == Some(self.account.as_str())));
        if let Some(seq) = numbers("seq") {
            self.is_numbered &=
                seq.values().iter().copied().eq((self.rows as i64..).take(batch.num_rows()));
        }
        let dated_by = self.table.dated_by().and_then(|column| {
            batch.column_by_name(column)?.as_primitive_opt::<TimestampMicrosecondType>()
        });
        if let Some((first, last)) = dated_by
            .and_then(|column| column.values().iter().min().zip(column.values().iter().max()))
        {
            let (earliest, latest) = self.instants.unwrap_or((*first, *last));
            self.instants = Some((earliest.min(*first), latest.max(*last)));
        }
        let opercodes = batch
            .column_by_name("opercode")
            .and_then(|column| column.as_primitive_opt::<Int32Type>());
        opercodes.into_iter().for_each(|opercodes| self.counts.add(opercodes));
        if self.table == Table::AccountDaily {
            let total = |name: &str| {
                numbers(name).map_or(0, |column| column.values().iter().sum::<i64>()) as u64
            };
            self.counts.received += total("messages_received");
            self.counts.sent += total("messages_sent") + total("auto_messages_sent");
        }
        // Each batch is in one row group, because a row group is a multiple of the batch size.
        if let Some((filter, openids)) =
            self.filters.get(self.rows as usize / ROW_GROUP_ROWS).zip(strings("openid"))
        {
            self.is_findable &= openids.iter().flatten().all(|openid| filter.check(openid));
        }
        self.claims.see(batch);
        self.see_order(batch)?;
        self.rows += batch.num_rows() as u64;
        self.encoder.append(batch.clone())
    }

    fn see_order(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let Some(order) = &self.order else { return Ok(()) };
        let keys: Vec<_> = self
            .table
            .sorted_by()
            .iter()
            .filter_map(|column| batch.column_by_name(column).cloned())
            .collect();
        let keys = order.convert_columns(&keys)?;
        let follows = |last: &OwnedRow| keys.iter().next().is_none_or(|first| last.row() <= first);
        self.is_sorted &= self.last.as_ref().is_none_or(follows) && keys.iter().is_sorted();
        self.last = keys.iter().next_back().map(|last| last.owned()).or(self.last.take());
        Ok(())
    }

    fn finish(mut self, footer: Footer, oddities: Vec<String>) -> Result<Contents, EncodeError> {
        let content_hash = self.encoder.finish()?.content_hash;
        let is_as_encoded = Some(self.encoder.sink().is_repeated());
        let Self { rows, is_of_account, is_sorted, is_numbered, counts, .. } = self;
        let instants = self
            .instants
            .map(|(first, last)| (first.div_euclid(1_000_000), last.div_euclid(1_000_000)));
        let misstated = self.claims.wrong_columns();
        Ok(Contents {
            footer,
            schema_version: self.table.schema_version(),
            rows,
            content_hash,
            is_of_account,
            is_sorted,
            is_numbered,
            instants,
            counts,
            oddities,
            misstated,
            is_as_encoded,
        })
    }
}

/// Returns the first column that differs between two schemas.
fn difference(found: &SchemaRef, expected: &SchemaRef) -> Option<String> {
    let describe = |field: Option<&Field>| match field {
        None => "no column".to_owned(),
        Some(field) => {
            format!(
                "{} {}{}",
                field.name(),
                field.data_type(),
                if field.is_nullable() { ", nullable" } else { "" }
            )
        }
    };
    let columns = found.fields().len().max(expected.fields().len());
    (0..columns).find_map(|place| {
        let column = |schema: &SchemaRef| describe(schema.fields().get(place).map(AsRef::as_ref));
        let (found, expected) = (column(found), column(expected));
        (found != expected)
            .then(|| format!("column {} is {found} instead of {expected}", place + 1))
    })
}

/// Whether a column has a bloom filter in the files of a table.
fn is_looked_up(table: Table, column: &ColumnChunkMetaData) -> bool {
    let column = table.column(&column.column_path().string());
    column.is_some_and(|column| column.has_bloom_filter)
}

/// Reads the bloom filters of all row groups.
fn filters(
    file: &File,
    metadata: &ParquetMetaData,
    table: Table,
) -> Result<Vec<Sbbf>, ParquetError> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let columns = columns.filter(|column| is_looked_up(table, column));
    columns
        .filter_map(|column| Sbbf::read_from_column_chunk(column, file.file()).transpose())
        .collect()
}

/// Returns the differences between the encoding of a file and that of the lake's files.
fn oddities(metadata: &ParquetMetaData, table: Table) -> Vec<String> {
    let mut oddities = Vec::new();
    let groups = metadata.row_groups();
    let full = ROW_GROUP_ROWS as i64;
    if groups.iter().rev().skip(1).any(|group| group.num_rows() != full)
        || groups.last().is_some_and(|group| group.num_rows() > full)
    {
        oddities.push(format!("its row groups do not have {full} rows"));
    }
    if groups.iter().any(|group| group.sorting_columns() != sorting_columns(table).as_ref()) {
        oddities.push("it does not declare the columns by which its rows are sorted".to_owned());
    }
    let columns = || groups.iter().flat_map(|group| group.columns());
    if columns().any(|column| !matches!(column.compression(), Compression::ZSTD(_))) {
        oddities.push("it is not compressed with zstd".to_owned());
    }
    if columns()
        .any(|column| column.statistics().is_none() || column.column_index_offset().is_none())
    {
        oddities.push("it lacks statistics".to_owned());
    }
    if columns().any(|column| is_looked_up(table, column) && column.bloom_filter_offset().is_none())
    {
        oddities.push("it lacks the bloom filter on openid".to_owned());
    }
    oddities
}
