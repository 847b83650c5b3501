//! The hash of a partition's rows: two partitions hold the same rows in the same order exactly when their hashes are equal, however they are encoded.

use std::fmt;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, ToByteSlice,
};

use super::LakeError;

/// BLAKE3 of the rows, as hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ContentHash(String);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ContentHash {
    fn from(digits: &str) -> Self {
        Self(digits.to_owned())
    }
}

/// Takes in batches, column by column. The rows must come cut in the same way each time; [`super::write`] sees to that.
#[derive(Default)]
pub(super) struct ContentHasher {
    hasher: blake3::Hasher,
    scratch: Vec<u8>,
}

impl ContentHasher {
    pub(super) fn update(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        self.hasher.update(&(batch.num_rows() as u64).to_le_bytes());
        for column in batch.columns() {
            self.update_column(column)?;
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> ContentHash {
        ContentHash(self.hasher.finalize().to_hex().to_string())
    }

    /// Whether there are nulls and which, then (for text) their lengths, then the values, with zero in place of what hides behind a null.
    fn update_column(&mut self, column: &ArrayRef) -> Result<(), LakeError> {
        let scratch = &mut self.scratch;
        scratch.clear();
        let has_nulls = column.null_count() > 0;
        scratch.push(u8::from(has_nulls));
        scratch.extend(
            (0..column.len()).filter(|_| has_nulls).map(|row| u8::from(column.is_null(row))),
        );
        match column.data_type() {
            DataType::Int32 => self.update_values(column.as_primitive::<Int32Type>()),
            DataType::Int64 => self.update_values(column.as_primitive::<Int64Type>()),
            DataType::Float64 => self.update_values(column.as_primitive::<Float64Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                self.update_values(column.as_primitive::<TimestampMicrosecondType>())
            }
            DataType::Boolean => {
                scratch.extend(
                    column.as_boolean().iter().map(|value| u8::from(value.unwrap_or_default())),
                );
                self.hasher.update(scratch);
            }
            DataType::Utf8 => {
                let column = column.as_string::<i32>();
                for value in column {
                    scratch.extend_from_slice(&(value.map_or(0, str::len) as u32).to_le_bytes());
                }
                column
                    .iter()
                    .flatten()
                    .for_each(|value| scratch.extend_from_slice(value.as_bytes()));
                self.hasher.update(scratch);
            }
            other => {
                return Err(arrow::error::ArrowError::NotYetImplemented(format!(
                    "hash of {other}"
                ))
                .into());
            }
        }
        Ok(())
    }

    /// What is in the scratch, then the values in little-endian order.
    fn update_values<T: ArrowPrimitiveType>(&mut self, column: &PrimitiveArray<T>) {
        let Self { hasher, scratch } = self;
        if column.null_count() == 0 && cfg!(target_endian = "little") {
            hasher.update(scratch);
            hasher.update(column.values().inner().as_slice());
            return;
        }
        for value in column {
            let value = value.unwrap_or_default();
            let first = scratch.len();
            scratch.extend_from_slice(value.to_byte_slice());
            if cfg!(target_endian = "big")
                && let Some(bytes) = scratch.get_mut(first..)
            {
                bytes.reverse();
            }
        }
        hasher.update(scratch);
    }
}
