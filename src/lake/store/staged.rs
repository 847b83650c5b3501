//! Files in staging. Each is written through one descriptor. It gets to its place only if the path
//! in staging still leads to the file behind that descriptor.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Disk, FILE_MODE, File, FileId, Operation};
use crate::lake::LakeError;

/// Numbers the files in staging.
static STAGED: AtomicUsize = AtomicUsize::new(0);

/// A path in staging. Dropped, its file is removed.
#[derive(Debug)]
pub struct StagedPath {
    path: PathBuf,
    disk: Disk,
}

impl StagedPath {
    pub fn as_path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

impl Drop for StagedPath {
    fn drop(&mut self) {
        // After `put` there is nothing left to remove; otherwise the next run tries again.
        let _ = self.disk.remove_file(&self.path);
    }
}

/// A file in staging, open. Dropped before it is put into its place, it is removed.
#[derive(Debug)]
pub struct StagedFile {
    // Before `staged`, so that it is closed before it is removed.
    file: Arc<File>,
    staged: StagedPath,
}

impl StagedFile {
    /// Creates a file in a folder of staging, and begins to write it.
    pub(super) fn create(
        folder: &Path,
        name: &str,
        disk: &Disk,
    ) -> io::Result<(Self, WrittenFile)> {
        let number = STAGED.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{number}.{name}"));
        let file = Arc::new(disk.create(&path, FILE_MODE)?);
        let written = WrittenFile { file: file.clone(), disk: disk.clone() };
        Ok((Self { file, staged: StagedPath { path, disk: disk.clone() } }, written))
    }

    pub fn path(&self) -> &Path {
        self.staged.as_path()
    }

    /// Closes the file. For files that are only read again, and never put into the lake.
    pub fn close(self) -> StagedPath {
        self.staged
    }

    /// Syncs the content.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn sync(&self) -> io::Result<()> {
        self.staged.disk.sync_file(&self.file)
    }

    /// Checks that nobody has replaced the file in staging.
    ///
    /// # Errors
    /// [`LakeError::Displaced`] when somebody has.
    pub fn require_own(&self) -> Result<(), LakeError> {
        let there = FileId::of(&fs_err::symlink_metadata(self.path())?);
        match there == FileId::of(&self.file.metadata()?) {
            true => Ok(()),
            false => Err(LakeError::Displaced { path: self.path().to_owned() }),
        }
    }
}

/// A file being written.
#[derive(Debug)]
pub struct WrittenFile {
    file: Arc<File>,
    disk: Disk,
}

impl Write for WrittenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.fill(|| {
            self.disk.begin(Operation::Write, self.file.path())?;
            (&*self.file).write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.file).flush()
    }
}
