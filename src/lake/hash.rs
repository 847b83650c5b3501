//! Computes the hash of a partition's rows. Two hashes are equal exactly when both partitions have
//! the same rows in the same order. Encoding and sizes of batches do not matter.
//!
//! The hash is BLAKE3 over blocks of 8,192 rows. The last block may be shorter. A block has the
//! number of its rows (8 bytes), then for each column:
//!
//! - whether there are nulls (1 byte), and if so which rows are null (a byte for each row)
//! - the lengths of texts (4 bytes each)
//! - the values
//!
//! Numbers are little-endian. A null is hashed as zero.
//!
//! Footers of every lake contain such hashes. A change of the hash makes all metrics out of date.

use std::fmt;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::compute::concat_batches;
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

impl ContentHash {
    /// Computes the hash of a partition with these rows.
    ///
    /// # Errors
    /// Fails when a column has a type that no table has.
    pub fn of(rows: &RecordBatch) -> Result<Self, LakeError> {
        let mut hasher = ContentHasher::default();
        hasher.update(rows)?;
        hasher.finish()
    }
}

/// Rows that are hashed together.
const BLOCK_ROWS: usize = 8_192;

/// Hashes rows from batches of any size.
#[derive(Default)]
pub(super) struct ContentHasher {
    hasher: blake3::Hasher,
    scratch: Vec<u8>,
    /// Rows that do not fill a block yet.
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
}

impl ContentHasher {
    pub(super) fn update(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let mut from = 0;
        while from < batch.num_rows() {
            let rows = (BLOCK_ROWS - self.waiting_rows).min(batch.num_rows() - from);
            self.waiting.push(batch.slice(from, rows));
            self.waiting_rows += rows;
            from += rows;
            if self.waiting_rows == BLOCK_ROWS {
                self.hash_block()?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<ContentHash, LakeError> {
        self.hash_block()?;
        Ok(ContentHash(self.hasher.finalize().to_hex().to_string()))
    }

    fn hash_block(&mut self) -> Result<(), LakeError> {
        let parts = std::mem::take(&mut self.waiting);
        self.waiting_rows = 0;
        let block = match parts.as_slice() {
            [] => return Ok(()),
            // The encoder passes whole blocks. They need no copy.
            [whole] => whole.clone(),
            [first, ..] => concat_batches(&first.schema(), &parts)?,
        };
        self.hasher.update(&(block.num_rows() as u64).to_le_bytes());
        block.columns().iter().try_for_each(|column| self.update_column(column))
    }

    /// Hashes whether there are nulls, which rows are null, the lengths of texts, and the values. A
    /// null is hashed as zero, because the value behind it is undefined.
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
                let (from, to) = match column.value_offsets() {
                    [from, .., to] if !has_nulls => (*from as usize, *to as usize),
                    _ => (0, 0),
                };
                if has_nulls {
                    let values = column.iter().flatten();
                    values.for_each(|value| scratch.extend_from_slice(value.as_bytes()));
                }
                self.hasher.update(scratch);
                // Without nulls, the values follow each other.
                self.hasher.update(column.value_data().get(from..to).unwrap_or_default());
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

    /// Hashes the content of `scratch`, then the values in little-endian order.
    fn update_values<T: ArrowPrimitiveType>(&mut self, column: &PrimitiveArray<T>) {
        let Self { hasher, scratch, .. } = self;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray};
    use proptest::prelude::*;

    use super::*;

    fn rows(count: usize) -> RecordBatch {
        let numbers = 0..count as i64;
        let text = |row: i64| (row % 7 > 0).then(|| "字".repeat((row % 5) as usize));
        let columns = [
            ("text", Arc::new(numbers.clone().map(text).collect::<StringArray>()) as ArrayRef),
            ("whole", Arc::new(Int64Array::from_iter_values(numbers.clone()))),
            (
                "some",
                Arc::new(
                    numbers.clone().map(|row| (row > 9_000).then_some(row)).collect::<Int64Array>(),
                ),
            ),
            (
                "number",
                Arc::new(Float64Array::from_iter_values(
                    numbers.clone().map(|row| row as f64 / 3.0),
                )),
            ),
            ("flag", Arc::new(numbers.map(|row| Some(row % 3 == 0)).collect::<BooleanArray>())),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// Metrics of every lake record hashes of messages. Other hashes would make all metrics out of
    /// date.
    #[test]
    fn the_hash_of_rows_stays_what_it_was_in_the_first_version() {
        let hashes = [0, 1, 8_192, 20_000].map(|count| ContentHash::of(&rows(count)).unwrap().0);
        assert_eq!(
            hashes,
            [
                "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
                "2892b0170276a0c0eb884c8cda804540e11ff15bfe534a71b88dfe74a06d20ed",
                "aa5f425bc63b5b60a4daa3babe3f4fc2cd1830ca773f0471309b550932ae9940",
                "cd228c6d185c05a9f37ee0927c8a5c9c8df98f2c0198678a1d9eee7ceeba1e3e",
            ]
        );
    }

    proptest! {
        #[test]
        fn the_hash_does_not_depend_on_the_batches_in_which_rows_come(
            sizes in prop::collection::vec(0usize..9_000, 1..6)
        ) {
            let all = rows(20_000);
            let mut hasher = ContentHasher::default();
            let mut from = 0;
            for size in sizes.into_iter().cycle().map(|size| size + 1) {
                let size = size.min(all.num_rows() - from);
                hasher.update(&all.slice(from, size)).unwrap();
                from += size;
                if from == all.num_rows() {
                    break;
                }
            }
            prop_assert_eq!(hasher.finish().unwrap(), ContentHash::of(&all).unwrap());
        }
    }
}
