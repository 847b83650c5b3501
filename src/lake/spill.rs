//! Stores batches on disk until they can be used in order.

use std::fmt;
use std::io::{BufReader, BufWriter};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::store::{StagedPath, WrittenFile};
use super::{Account, Lake, LakeError};
use crate::calendar::Day;

/// Batches in staging, as an Arrow stream. Dropping the spill removes its file.
pub struct Spill {
    // Declared before `staged`, so that a dropped spill closes its file before it is removed.
    writer: StreamWriter<BufWriter<WrittenFile>>,
    staged: StagedPath,
}

impl Lake {
    /// Creates a spill and appends its first batch. All batches must have the schema of the first.
    ///
    /// # Errors
    /// Fails when staging cannot be written.
    pub fn spill(
        &self,
        account: &Account,
        day: Day,
        first: &RecordBatch,
    ) -> Result<Spill, LakeError> {
        let name = format!("spill.{day}.{account}.arrows");
        let (staged, file) = self.staging.create(&self.disk, account, &name)?;
        let writer = StreamWriter::try_new(BufWriter::new(file), &first.schema())?;
        let mut spill = Spill { writer, staged: staged.close() };
        spill.append(first)?;
        Ok(spill)
    }
}

impl Spill {
    /// Appends a batch.
    ///
    /// # Errors
    /// Fails when the batch cannot be written to disk.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        Ok(self.writer.write(batch)?)
    }

    /// Passes the batches to `take`, one by one, in the order in which they were appended.
    ///
    /// # Errors
    /// Returns the errors of `take`. Fails when the batches cannot be written or read.
    pub fn replay(
        mut self,
        mut take: impl FnMut(&RecordBatch) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        self.writer.finish()?;
        let file = BufReader::new(self.staged.open()?);
        for batch in StreamReader::try_new(file, None)? {
            take(&batch?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spill({})", self.staged.as_path().display())
    }
}
