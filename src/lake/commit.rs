//! Making a file visible: the one place where anything appears below a table's folder.
//!
//! This does not rest on the lock, which does nothing on some network file systems and can be
//! removed: a file is staged in a folder of its own process, is written through one descriptor, and
//! gets to its place only if the path in staging still leads to the file behind that descriptor.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fs_err::File;

use super::disk::{FileId, WrittenFile};
use super::{Account, Lake, LakeError, PartitionKey};

/// Numbers the files in staging.
static STAGED: AtomicUsize = AtomicUsize::new(0);

/// How often a folder may be taken away while a file is put into it.
const ATTEMPTS: usize = 8;

/// What must hold when a file gets to its place.
pub(super) type Condition = fn(&Lake, &Account) -> Result<(), LakeError>;

/// A path in staging. Dropped, its file is removed.
#[derive(Debug)]
pub(super) struct StagedPath {
    path: PathBuf,
    lake: Lake,
}

impl StagedPath {
    pub(super) fn as_path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StagedPath {
    fn drop(&mut self) {
        // After `put` there is nothing left to remove; otherwise the next run tries again.
        let _ = self.lake.disk.remove_file(&self.path);
    }
}

/// A file in staging, open. Dropped without [`put`](Self::put), it is removed.
#[derive(Debug)]
pub(super) struct StagedFile {
    // Before `staged`, so that it is closed before it is removed.
    file: Arc<File>,
    staged: StagedPath,
    account: Account,
}

impl StagedFile {
    /// Creates it, and begins to write it.
    pub(super) fn create(
        lake: &Lake,
        account: &Account,
        name: &str,
    ) -> Result<(Self, WrittenFile), LakeError> {
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let path = lake.own_staging(account)?.join(format!("{number}.{name}"));
        let file = Arc::new(lake.disk.create(&path)?);
        let written = WrittenFile::new(file.clone(), lake.disk.clone());
        let staged = StagedPath { path, lake: lake.clone() };
        Ok((Self { file, staged, account: account.clone() }, written))
    }

    pub(super) fn path(&self) -> &Path {
        self.staged.as_path()
    }

    /// Closes it, for what is only read again and never gets to a place in the lake.
    pub(super) fn close(self) -> StagedPath {
        self.staged
    }

    /// Sees to it that the content is on the disk.
    pub(super) fn sync(&self) -> Result<(), LakeError> {
        Ok(self.staged.lake.disk.sync_file(&self.file)?)
    }

    /// Moves the file, which must be synced, to its place in the lake, where it replaces the one
    /// before, and syncs the folder, so that a power cut cannot undo that.
    ///
    /// # Errors
    /// [`LakeError::Displaced`] when another process has replaced the file in staging or the lock
    /// file of the account. Then the place is as it was.
    pub(super) fn put(self, place: &Path) -> Result<(), LakeError> {
        self.put_if(Lake::require_lock, place)
    }

    /// The same, on another condition than the lock.
    fn put_if(self, condition: Condition, place: &Path) -> Result<(), LakeError> {
        let disk = &self.staged.lake.disk;
        let folder = place.parent().unwrap_or(place);
        // A lake that has vanished, with a disk that is no longer mounted say, is not begun anew.
        self.require_own(condition)?;
        let new: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.is_dir()).collect();
        for attempt in 1.. {
            disk.create_folders(folder)?;
            self.require_own(condition)?;
            match disk.rename(self.path(), place) {
                // A run of another account has taken the folder away, because it was empty.
                Err(error)
                    if error.kind() == std::io::ErrorKind::NotFound
                        && !folder.is_dir()
                        && attempt < ATTEMPTS => {}
                renamed => {
                    renamed?;
                    break;
                }
            }
        }
        disk.sync_folder(folder)?;
        // The entry of a new folder is in the one above.
        for above in new.into_iter().filter_map(Path::parent) {
            disk.sync_folder(above)?;
        }
        Ok(())
    }

    /// Checks that nobody has replaced the file in staging, and the condition.
    fn require_own(&self, condition: Condition) -> Result<(), LakeError> {
        let there = FileId::of(&fs_err::symlink_metadata(self.path())?);
        if there != FileId::of(&self.file.metadata()?) {
            return Err(LakeError::Displaced { path: self.path().to_owned() });
        }
        condition(&self.staged.lake, &self.account)
    }
}

impl Lake {
    /// Puts a file with this content at a place in the lake, in one step.
    pub(super) fn put_file(
        &self,
        account: &Account,
        condition: Condition,
        name: &str,
        content: &[u8],
        place: &Path,
    ) -> Result<(), LakeError> {
        let (staged, mut file) = StagedFile::create(self, account, name)?;
        file.write_all(content)?;
        staged.sync()?;
        staged.put_if(condition, place)
    }

    /// Takes a partition away, if it is there.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove(&self, key: &PartitionKey) -> Result<(), LakeError> {
        self.require_lock(&key.account)?;
        match self.disk.remove_file(&self.path(key)) {
            Ok(()) => {
                let folder = self.partition_folder(key.table, key.date);
                match self.disk.sync_folder(&folder) {
                    // A run of another account has taken it away, because it was empty.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    synced => synced?,
                }
                // Other accounts may have files there; then it stays.
                let _ = fs_err::remove_dir(&folder);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
