//! Batches that must wait on the disk until it is their turn.

use std::fmt;
use std::io::{BufReader, BufWriter};
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use fs_err::File;

use super::commit::StagedFile;
use super::disk::WrittenFile;
use super::{Account, Lake, LakeError};
use crate::calendar::Day;

static SPILLED: AtomicUsize = AtomicUsize::new(0);

/// Batches in staging, as an Arrow stream. Dropped, they vanish.
pub struct Spill {
    // Before `file`, so that a dropped spill closes its file before it removes it.
    writer: StreamWriter<BufWriter<WrittenFile>>,
    file: StagedFile,
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
        let name =
            format!("spill.{day}.{account}.{}.arrows", SPILLED.fetch_add(1, Ordering::Relaxed));
        let file = StagedFile::new(self, &name);
        let writer = StreamWriter::try_new(BufWriter::new(file.create()?), &first.schema())?;
        let mut spill = Spill { writer, file };
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
        for batch in StreamReader::try_new(BufReader::new(File::open(self.file.path())?), None)? {
            take(&batch?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Spill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spill({})", self.file.path().display())
    }
}
