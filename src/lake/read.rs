//! Reads partitions.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::guard::guarded;
use super::store::{File, Key, Look, TAIL_BYTES};
use super::{Account, Footer, Lake, LakeError, PartitionKey, Seen, Table, bounds, schema};
use crate::calendar::Day;
use crate::model::column::Role;
use crate::model::record;

/// Rows of a batch, unless the caller needs another number.
const BATCH_ROWS: usize = 122_880;

impl Lake {
    /// Reads the footer of a partition. Reads nothing else.
    ///
    /// # Errors
    /// Fails when the partition is missing or not Parquet.
    pub fn footer(&self, key: &PartitionKey) -> Result<Footer, LakeError> {
        let path = || self.path(key);
        match self.look_at(key).map_err(|error| error.of(key))?.footer {
            Ok(Some(footer)) => Ok(footer),
            Ok(None) => Err(LakeError::not_there(&path())),
            Err(reason) => Err(LakeError::damaged(path(), reason).of(key)),
        }
    }

    /// Reads the footer of a file.
    pub(super) fn footer_of(&self, key: &Key) -> Result<Footer, LakeError> {
        match self.store.look(key, TAIL_BYTES)? {
            Some(look) => self.footer_in(key, look),
            None => Err(LakeError::not_there(&self.path_of(key))),
        }
    }

    /// Reads the footer in a look at a file. Looks once more at a file whose footer is longer.
    pub(super) fn footer_in(&self, key: &Key, look: Look) -> Result<Footer, LakeError> {
        let path = self.path_of(key);
        let longer = match parse_footer(&path, &look)? {
            Ok(footer) => return Ok(footer),
            Err(bytes) => bytes,
        };
        let changed = || LakeError::Changed { path: path.clone() };
        let again = self.store.look(key, longer)?.filter(|again| again.version == look.version);
        let damaged = |_| LakeError::damaged(path.clone(), "its footer has no end".to_owned());
        parse_footer(&path, &again.ok_or_else(changed)?)?.map_err(damaged)
    }

    /// Looks at what is in the place of a partition, and reads its footer from the same look. No
    /// footer when nothing is there.
    ///
    /// # Errors
    /// When a bucket does not say. The inner error is about the file that is there.
    pub fn see_footer(
        &self,
        key: &PartitionKey,
    ) -> Result<(Seen, Result<Option<Footer>, LakeError>), LakeError> {
        let damaged = |reason| LakeError::damaged(self.path(key), reason).of(key);
        match self.look_at(key) {
            Ok(looked) => Ok((looked.seen, looked.footer.map_err(damaged))),
            Err(error @ (LakeError::Bucket(_) | LakeError::Threads(_))) => Err(error),
            Err(error) => {
                let seen = self.see(key)?;
                // What is no file is no partition.
                let footer = if seen.is_there() { Err(error) } else { Ok(None) };
                Ok((seen, footer))
            }
        }
    }

    /// Reads the named columns of a partition, in the table's order of columns. Names are
    /// dictionaries: their distinct values once per row group, and an int32 key per row. Free text
    /// is a column of strings.
    ///
    /// # Errors
    /// Fails when the partition is missing, or differs from its table's schema. The iterator fails
    /// when the partition cannot be decoded.
    pub fn read(
        &self,
        key: &PartitionKey,
        columns: &[&str],
    ) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>> + use<>, LakeError> {
        self.read_as(key, &dictionaries(key.table), columns)
    }

    fn read_as(
        &self,
        key: &PartitionKey,
        schema: &SchemaRef,
        columns: &[&str],
    ) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>> + use<>, LakeError> {
        let (key, file) = (key.clone(), self.open_columns(key, columns)?);
        match read_file(file, key.table, schema, columns, BATCH_ROWS) {
            Ok(batches) => Ok(batches.map(move |batch| batch.map_err(|error| error.of(&key)))),
            Err(error) => Err(error.of(&key)),
        }
    }

    /// All columns of a partition that its file has, names and texts as strings.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn rows(
        &self,
        key: &PartitionKey,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>> + use<>, LakeError> {
        self.read_as(key, &key.table.schema(), &key.table.names(|_| true))
    }

    /// Reads the [columns of records](record::columns) of a day's messages. Names and texts are
    /// strings.
    ///
    /// # Errors
    /// Returns the errors of [`read`](Self::read).
    pub fn read_records(
        &self,
        account: &Account,
        day: Day,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>> + use<>, LakeError> {
        let key = account.partition(Table::Messages, day);
        self.read_as(&key, &Table::Messages.schema(), &record::columns())
    }
}

/// Reads the footer at the end of a file. The inner error is the number of bytes that it takes.
fn parse_footer(path: &Path, look: &Look) -> Result<Result<Footer, u64>, LakeError> {
    Ok(parse_metadata(path, look)?.map(|metadata| Footer::of(&metadata)))
}

/// Reads Parquet's metadata at the end of a file. The inner error is the number of bytes that they
/// take.
pub(super) fn parse_metadata(
    path: &Path,
    look: &Look,
) -> Result<Result<ParquetMetaData, u64>, LakeError> {
    let mut reader = ParquetMetaDataReader::new();
    guarded(path, || {
        bounds::check_footer(path, &look.tail)?;
        match reader.try_parse_sized(&look.tail, look.bytes) {
            Err(ParquetError::NeedMoreData(bytes)) => Ok(Err(bytes as u64)),
            parsed => parsed
                .and_then(|()| reader.finish())
                .map(Ok)
                .map_err(|error| LakeError::unreadable(path, &error)),
        }
    })
}

/// The table's schema, with columns of names as dictionaries.
fn dictionaries(table: Table) -> SchemaRef {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = table.columns().map(|column| match column.role {
        Role::Name => column.field().with_data_type(dictionary.clone()),
        _ => column.field(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Reads batches of the named columns from an open file of a table. The file must have the given
/// schema. Columns that an older version of kefu did not write are not in the batches.
pub(super) fn read_file(
    file: File,
    table: Table,
    schema: &SchemaRef,
    columns: &[&str],
    batch_rows: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>> + use<>, LakeError> {
    let path = file.path().to_owned();
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let place = path.clone();
    let unreadable = |error: &dyn std::error::Error| LakeError::unreadable(&place, error);
    let (mut decoded, mut decoded_max) = (0, 0);
    let reader = guarded(&path, || {
        bounds::check_footer_of(&file)?;
        let metadata = ArrowReaderMetadata::load(file.file(), options.clone())
            .map_err(|error| unreadable(&error))?;
        let options = options.with_schema(schema::of_file(table, schema, metadata.schema()));
        let metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)
            .map_err(|error| unreadable(&error))?;
        let mask = ProjectionMask::columns(metadata.parquet_schema(), columns.iter().copied());
        let places: Vec<usize> = (0..metadata.parquet_schema().num_columns())
            .filter(|place| mask.leaf_included(*place))
            .collect();
        let are_expanded = |place: usize| {
            let column = metadata.parquet_schema().column(place);
            let field = schema.field_with_name(column.name());
            field.is_ok_and(|field| field.data_type() == &DataType::Utf8)
        };
        decoded_max = bounds::decoded_bytes_max(metadata.metadata());
        let batch_rows =
            bounds::check(&file, metadata.metadata(), &places, are_expanded, batch_rows)
                .map_err(|reason| LakeError::damaged(&path, reason))?;
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file.into_parts().0, metadata);
        reader
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .build()
            .map_err(|error| unreadable(&error))
    })?;
    let mut reader = Some(reader);
    Ok(std::iter::from_fn(move || {
        let batch = guarded(&path, || {
            let batch = reader.as_mut().and_then(Iterator::next).transpose();
            let batch = batch.map_err(|error| LakeError::unreadable(&path, &error))?;
            decoded += batch.as_ref().map_or(0, RecordBatch::get_array_memory_size);
            let reason = || format!("its rows take more than {decoded_max} bytes");
            match decoded > decoded_max {
                true => Err(LakeError::damaged(&path, reason())),
                false => Ok(batch),
            }
        });
        if batch.is_err() {
            // After an error, the position of the reader is unknown.
            reader = None;
        }
        batch.transpose()
    }))
}
