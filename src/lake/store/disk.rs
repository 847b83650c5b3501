//! Operations that change or lock files, each with a failpoint for tests. Removing an empty folder,
//! clearing staging, and writing into lock files have none.

use std::fmt;
use std::fs::{DirBuilder, Metadata, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use fs_err::{File, OpenOptions};

use super::ScratchFull;

/// Permissions of new files in the lake, from which the umask takes away: records name customers.
pub const FILE_MODE: u32 = 0o640;

/// Permissions of new folders.
const FOLDER_MODE: u32 = 0o750;

/// How often a folder may be removed while a file is put into it.
const ATTEMPTS: usize = 8;

/// An operation that changes or locks a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    CreateFile,
    Write,
    SyncFile,
    CreateFolder,
    Rename,
    SyncFolder,
    SyncFileSystem,
    RemoveFile,
    Lock,
}

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// By one process only.
    Exclusive,
    /// By any number of processes, and none exclusively.
    Shared,
}

/// Which file it is, whatever its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub fn of(facts: &Metadata) -> Self {
        Self { device: facts.dev(), inode: facts.ino() }
    }
}

/// Makes operations fail in tests, like a full disk, or like a process that is killed.
pub trait Failpoint: fmt::Debug + Send + Sync {
    /// Called before each operation.
    ///
    /// # Errors
    /// With an error, the operation is not done and fails with this error.
    fn before(&self, operation: Operation, path: &Path) -> io::Result<()>;
}

/// The disk, with an optional failpoint.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    failpoint: Option<Arc<dyn Failpoint>>,
    /// The local folder that all files are in, if they are of a lake in a bucket.
    scratch: Option<Arc<Path>>,
}

impl Disk {
    pub fn with_failpoint(failpoint: Arc<dyn Failpoint>) -> Self {
        Self { failpoint: Some(failpoint), scratch: None }
    }

    /// The disk for files in a local folder, of a lake in a bucket. Its errors name the folder when
    /// it is full.
    #[must_use]
    pub fn in_scratch(self, scratch: &Path) -> Self {
        Self { scratch: Some(scratch.into()), ..self }
    }

    /// Does something that needs space.
    pub(super) fn fill<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        work().map_err(|error| match &self.scratch {
            Some(scratch) => ScratchFull::instead_of(error, scratch),
            None => error,
        })
    }

    pub(super) fn begin(&self, operation: Operation, path: &Path) -> io::Result<()> {
        self.failpoint.as_ref().map_or(Ok(()), |failpoint| failpoint.before(operation, path))
    }

    /// Creates a file, which must not be there, with these permissions.
    pub fn create(&self, path: &Path, mode: u32) -> io::Result<File> {
        self.fill(|| {
            self.begin(Operation::CreateFile, path)?;
            OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
        })
    }

    /// Syncs the content of a file.
    pub fn sync_file(&self, file: &File) -> io::Result<()> {
        self.fill(|| {
            self.begin(Operation::SyncFile, file.path())?;
            file.sync_all()
        })
    }

    /// Syncs the whole file system of a folder.
    pub fn sync_file_system(&self, folder: &Path) -> io::Result<()> {
        self.begin(Operation::SyncFileSystem, folder)?;
        #[cfg(target_os = "linux")]
        match rustix::fs::syncfs(File::open(folder)?.file()).map_err(io::Error::from) {
            Err(error) if is_missing_call(&error) => {}
            synced => return synced,
        }
        rustix::fs::sync();
        Ok(())
    }

    /// Syncs the entries of a folder. Does nothing on a file system without fsync for folders. CIFS
    /// and some FUSE file systems have none, and answer with EINVAL or EOPNOTSUPP.
    pub fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let sync = || {
            self.begin(Operation::SyncFolder, path)?;
            File::open(path)?.sync_all()
        };
        match sync() {
            Err(error) if is_missing_call(&error) => Ok(()),
            synced => synced,
        }
    }

    /// Locks an open file. False while another process has it locked.
    ///
    /// # Errors
    /// When the file system refuses to lock files.
    pub fn try_lock(&self, file: &File, mode: LockMode) -> io::Result<bool> {
        self.begin(Operation::Lock, file.path())?;
        let locked = match mode {
            LockMode::Exclusive => file.try_lock(),
            LockMode::Shared => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    pub fn create_folders(&self, path: &Path) -> io::Result<()> {
        self.fill(|| {
            self.begin(Operation::CreateFolder, path)?;
            create_folder(path, true)
        })
    }

    /// Creates a folder, which must not be there, in one that must.
    pub fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.fill(|| {
            self.begin(Operation::CreateFolder, path)?;
            create_folder(path, false)
        })
    }

    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(Operation::Rename, to)?;
        fs_err::rename(from, to)
    }

    /// Moves a synced file to its place, in one step, and syncs the folder, so that a power cut
    /// cannot undo that. Creates missing folders. Calls `check` before it changes anything, and
    /// just before the rename.
    pub fn move_into_place<E: From<io::Error>>(
        &self,
        from: &Path,
        place: &Path,
        check: impl Fn() -> Result<(), E>,
    ) -> Result<(), E> {
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        check()?;
        let new: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.is_dir()).collect();
        for attempt in 1.. {
            self.create_folders(folder)?;
            check()?;
            match self.rename(from, place) {
                // Another process has removed the folder, because it was empty.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && !folder.is_dir()
                        && attempt < ATTEMPTS => {}
                renamed => {
                    renamed?;
                    break;
                }
            }
        }
        self.sync_folder(folder)?;
        // The entry of a new folder is in the one above.
        for above in new.into_iter().filter_map(Path::parent) {
            self.sync_folder(above)?;
        }
        Ok(())
    }

    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.begin(Operation::RemoveFile, path)?;
        fs_err::remove_file(path)
    }
}

/// Replaces a file outside the lake in one step, or creates it. Writes the new file at `beside`
/// first, which must be in the same folder and not be there.
///
/// # Errors
/// When the disk refuses it. The file at `path` is then the one before, unless only the sync of the
/// folder failed.
pub fn replace_file(path: &Path, beside: &Path, contents: &[u8]) -> io::Result<()> {
    const MODE: u32 = 0o666;
    let disk = Disk::default();
    let mut file = disk.create(beside, MODE)?;
    let written = file
        .write_all(contents)
        .and_then(|()| disk.sync_file(&file))
        .and_then(|()| disk.move_into_place(beside, path, || Ok(())));
    match written {
        // The file is in its place. A folder that this user may only write into cannot be synced.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !beside.exists() => Ok(()),
        Err(error) => {
            // Report the first error, not an error of this removal.
            let _ = disk.remove_file(beside);
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

fn create_folder(path: &Path, with_those_above: bool) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(with_those_above).mode(FOLDER_MODE).create(path).map_err(|error| {
        let message = format!("failed to create directory `{}`: {error}", path.display());
        io::Error::new(error.kind(), message)
    })
}

/// Whether an error says that the file system does not have the call: EINVAL, EOPNOTSUPP or ENOSYS.
fn is_missing_call(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    /// Fails each operation with one error number, as the operating system would.
    #[derive(Debug)]
    struct Failing(Errno);

    impl Failpoint for Failing {
        fn before(&self, _: Operation, _: &Path) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_folder_that_cannot_be_synced_at_all_is_no_failure_and_any_other_error_is() {
        let folder = tempfile::tempdir().unwrap();
        let sync =
            |errno| Disk::with_failpoint(Arc::new(Failing(errno))).sync_folder(folder.path());
        for errno in [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP] {
            assert!(sync(errno).is_ok(), "{errno:?}");
        }
        for errno in [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::NOENT, Errno::BADF]
        {
            assert!(sync(errno).is_err(), "{errno:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_synced_is_a_failure() {
        let disk = Disk::with_failpoint(Arc::new(Failing(Errno::INVAL)));
        let file = File::from_parts(tempfile::tempfile().unwrap(), "anything");
        assert!(disk.sync_file(&file).is_err());
    }
}
