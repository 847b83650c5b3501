//! The history of runs, one file each. What is in them is for others to say.

use std::io::Write;

use super::commit::StagedFile;
use super::{Lake, LakeError};

impl Lake {
    /// Writes the record of a run, in one step, over what it said before.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn enter_run(&self, run: &str, record: &str) -> Result<(), LakeError> {
        let folder = self.own_folder().join("runs");
        // First, because it fails where the lake is not the one that is held, and no other one must be begun.
        let staged = StagedFile::new(self, &format!("{run}.json"));
        staged.create()?.write_all(record.as_bytes())?;
        staged.sync()?;
        staged.put(&folder.join(format!("{run}.json")))
    }
}
