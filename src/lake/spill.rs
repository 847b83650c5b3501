//! Batches that must wait on the disk until it is their turn.

use std::fmt;
use std::io::{BufReader, BufWriter};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use fs_err::File;

use super::commit::{StagedFile, StagedPath};
use super::disk::WrittenFile;
use super::{Account, Lake, LakeError};
use crate::calendar::Day;

/// Batches in staging, as an Arrow stream. Dropped, they vanish.
pub struct Spill {
    // Before `staged`, so that a dropped spill closes its file before it removes it.
    writer: StreamWriter<BufWriter<WrittenFile>>,
    staged: StagedPath,
}

impl Lake {
    /// Begins a spill of batches like the first one, which is its first.
    ///
    /// # Errors
    /// When staging cannot be written.
    pub fn spill(
        &self,
        account: &Account,
        day: Day,
        first: &RecordBatch,
    ) -> Result<Spill, LakeError> {
        let name = format!("spill.{day}.{account}.arrows");
        let (staged, file) = StagedFile::create(self, account, &name)?;
        let writer = StreamWriter::try_new(BufWriter::new(file), &first.schema())?;
        let mut spill = Spill { writer, staged: staged.close() };
        spill.append(first)?;
        Ok(spill)
    }
}

impl Spill {
    /// # Errors
    /// When the disk refuses the batch.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        Ok(self.writer.write(batch)?)
    }

    /// Gives the batches back, one after the other, in the order in which they came.
    ///
    /// # Errors
    /// Those of `take`, and when the disk refuses them.
    pub fn replay(
        mut self,
        mut take: impl FnMut(&RecordBatch) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        self.writer.finish()?;
        let file = BufReader::new(File::open(self.staged.as_path())?);
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
