//! Making a file visible: the one place where anything appears below a table's folder.

use std::path::{Path, PathBuf};

use super::disk::{Disk, WrittenFile};
use super::{Account, Lake, LakeError, Table};
use crate::calendar::Day;

/// A finished file in staging. Dropped without [`put`](Self::put), it vanishes.
#[derive(Debug)]
pub(super) struct StagedFile {
    path: PathBuf,
    disk: Disk,
}

impl StagedFile {
    pub(super) fn new(lake: &Lake, name: &str) -> Self {
        Self { path: lake.staging_folder().join(name), disk: lake.disk.clone() }
    }

    /// Begins to write it.
    pub(super) fn create(&self) -> Result<WrittenFile, LakeError> {
        Ok(self.disk.create(&self.path)?)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sees to it that the content is on the disk.
    pub(super) fn sync(&self) -> Result<(), LakeError> {
        Ok(self.disk.sync_file(&self.path)?)
    }

    /// Moves the file, which must be synced, to its place in the lake, where it replaces the one
    /// before, and sees to it that a power cut cannot undo that.
    pub(super) fn put(self, place: &Path) -> Result<(), LakeError> {
        let folder = place.parent().unwrap_or(place);
        // A lake that has vanished, with a disk that is no longer mounted say, must not be begun anew beside what was staged.
        fs_err::metadata(&self.path)?;
        let new: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.is_dir()).collect();
        self.disk.create_folders(folder)?;
        self.disk.rename(&self.path, place)?;
        self.disk.sync_folder(folder)?;
        // The entry of a new folder is in the one above.
        for above in new.into_iter().filter_map(Path::parent) {
            self.disk.sync_folder(above)?;
        }
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // After `put` there is nothing left to remove; otherwise the next run's `hold` tries again.
        let _ = self.disk.remove_file(&self.path);
    }
}

impl Lake {
    /// Takes a partition away, if it is there.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove(&self, table: Table, account: &Account, day: Day) -> Result<(), LakeError> {
        match self.disk.remove_file(&self.path(table, account, day)) {
            Ok(()) => {
                let folder = self.partition_folder(table, day);
                self.disk.sync_folder(&folder)?;
                // Other accounts may have files there; then it stays.
                let _ = fs_err::remove_dir(&folder);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
