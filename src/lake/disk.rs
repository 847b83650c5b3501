//! The operations that change the lake. All of them pass through here, so that tests can put anything in their way.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use fs_err::File;

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    CreateFile,
    Write,
    SyncFile,
    CreateFolder,
    Rename,
    SyncFolder,
    RemoveFile,
}

/// Something in the way: a disk that is full or refuses, a process that is killed and does nothing more.
pub trait Obstacle: fmt::Debug + Send + Sync {
    /// # Errors
    /// What the operation is to fail with. Then it is not done.
    fn before(&self, operation: Operation, path: &Path) -> io::Result<()>;
}

/// The disk, as it is unless there is an obstacle.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    obstacle: Option<Arc<dyn Obstacle>>,
}

impl Disk {
    pub(super) fn behind(obstacle: Arc<dyn Obstacle>) -> Self {
        Self { obstacle: Some(obstacle) }
    }

    fn begin(&self, operation: Operation, path: &Path) -> io::Result<()> {
        self.obstacle.as_ref().map_or(Ok(()), |obstacle| obstacle.before(operation, path))
    }

    pub(super) fn create(&self, path: &Path) -> io::Result<WrittenFile> {
        self.begin(Operation::CreateFile, path)?;
        Ok(WrittenFile { file: File::create(path)?, disk: self.clone() })
    }

    /// Sees to it that a file's content is on the disk.
    pub(super) fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.begin(Operation::SyncFile, path)?;
        File::open(path)?.sync_all()
    }

    /// Sees to it that a folder's entries are on the disk.
    pub(super) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.begin(Operation::SyncFolder, path)?;
        File::open(path)?.sync_all()
    }

    pub(super) fn create_folders(&self, path: &Path) -> io::Result<()> {
        self.begin(Operation::CreateFolder, path)?;
        fs_err::create_dir_all(path)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(Operation::Rename, to)?;
        fs_err::rename(from, to)
    }

    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.begin(Operation::RemoveFile, path)?;
        fs_err::remove_file(path)
    }
}

/// A file being written.
#[derive(Debug)]
pub(super) struct WrittenFile {
    file: File,
    disk: Disk,
}

impl Write for WrittenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.begin(Operation::Write, self.file.path())?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
