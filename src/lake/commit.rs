//! Making a file visible: the one place where anything appears below a table's folder.

use std::path::{Path, PathBuf};

use fs_err::File;

use super::{Account, Lake, LakeError, Table};
use crate::calendar::Day;

/// A finished file in staging. Dropped without [`put`](Self::put), it vanishes.
#[derive(Debug)]
pub(super) struct StagedFile {
    path: PathBuf,
}

impl StagedFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Sees to it that the content is on the disk.
    pub(super) fn sync(&self) -> Result<(), LakeError> {
        Ok(File::open(&self.path)?.sync_all()?)
    }

    /// Moves the file, which must be synced, to its place, where it replaces the one before, and sees to it that a power cut cannot
    /// undo that.
    pub(super) fn put(self, lake: &Lake, table: Table, account: &Account, day: Day) -> Result<(), LakeError> {
        let folder = lake.partition_folder(table, day);
        let table_folder = lake.root().join(table.name());
        let (is_new, is_new_table) = (!folder.is_dir(), !table_folder.is_dir());
        fs_err::create_dir_all(&folder)?;
        fs_err::rename(&self.path, lake.path(table, account, day))?;
        sync_folder(&folder)?;
        // The entries that lead to a new folder are in the one above.
        if is_new {
            sync_folder(&table_folder)?;
        }
        if is_new_table {
            sync_folder(lake.root())?;
        }
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // After `put` there is nothing left to remove; otherwise the next run's `hold` tries again.
        let _ = fs_err::remove_file(&self.path);
    }
}

impl Lake {
    /// Takes a partition away, if it is there.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove(&self, table: Table, account: &Account, day: Day) -> Result<(), LakeError> {
        match fs_err::remove_file(self.path(table, account, day)) {
            Ok(()) => {
                let folder = self.partition_folder(table, day);
                sync_folder(&folder)?;
                // Other accounts may have files there; then it stays.
                let _ = fs_err::remove_dir(&folder);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn sync_folder(folder: &Path) -> Result<(), LakeError> {
    Ok(File::open(folder)?.sync_all()?)
}
