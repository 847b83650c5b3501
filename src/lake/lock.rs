//! One run at a time.
//!
//! A run locks `_kefu/lock` exclusively. Whoever reads a whole lake shares the lock, so that no
//! run that is at work makes a good lake look broken. But runs never wait for readers, one of
//! which could hang: a lock file that only readers share is replaced by a new one. Files appear
//! whole, so that a reader loses nothing but certainty, and is told
//! ([`Reading::require_undisturbed`]).
//!
//! The lock keeps two runs from doing the same work. That files are whole does not depend on it:
//! see [`super::commit`].

use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::PoisonError;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use fs_err::{File, OpenOptions};

use super::disk::{FILE_MODE, FileId, LockMode};
use super::mounts::file_system_of;
use super::{Lake, LakeError};
use crate::plain_file;

/// How often the lock file may be removed or replaced while it is being locked.
const ATTEMPTS: usize = 8;

/// The lock of a run. The operating system releases it when this is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    lake: Lake,
}

impl Drop for Lock {
    fn drop(&mut self) {
        *self.lake.locked.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // A note that is still there tells the next run that this one was killed.
        let _ = self.file.set_len(0);
        // Closing it is not enough: a process that another thread is just starting has the file
        // open, too, until it executes its program.
        let _ = self.file.unlock();
    }
}

/// Shares the lock with other readers until dropped.
#[derive(Debug)]
pub struct Reading {
    /// None when there was no lock file.
    file: Option<File>,
    lake: Lake,
}

impl Reading {
    /// Checks that no run has begun since.
    ///
    /// # Errors
    /// [`LakeError::Overtaken`] when one has.
    pub fn require_undisturbed(&self) -> Result<(), LakeError> {
        let is_undisturbed = match &self.file {
            Some(file) => self.lake.is_lock_file(file)?,
            None => !self.lake.lock_path().exists(),
        };
        if is_undisturbed { Ok(()) } else { Err(LakeError::Overtaken) }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // As for `Lock`.
        let _ = self.file.as_ref().map(|file| file.unlock());
    }
}

impl Lake {
    /// Acquires the lock for this process, makes the folder of the lake if need be, and clears what
    /// a run that was killed left in staging.
    ///
    /// # Errors
    /// [`LakeError::Occupied`], naming the owner, when another run has the lock;
    /// [`LakeError::Misread`] when readers would misread a lake in this place;
    /// [`LakeError::NoLocks`] when the file system refuses the lock.
    pub fn hold(&self) -> Result<Lock, LakeError> {
        self.require_place()?;
        if self.root().exists() {
            self.require_folder()?;
        }
        self.make_own_folder()?;
        let (mut file, note) = self.lock_exclusively()?;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "process {}", std::process::id())?;
        if !note.is_empty() {
            // A run that is killed between a rename and the sync of the folder leaves a day in its
            // place that a power cut would take away again. From now on it counts as fetched.
            self.disk.sync_file_system(&self.own_folder())?;
        }
        self.disk.create_folders(&self.staging_folder())?;
        // The file system's own clock, by which the files in staging are dated, too.
        self.clear_staging(file.metadata()?.modified()?)?;
        *self.locked.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(FileId::of(&file.metadata()?));
        Ok(Lock { file, lake: self.clone() })
    }

    /// Checks that the lock file is still the one that this process has locked, if it has one.
    ///
    /// # Errors
    /// [`LakeError::Displaced`] when another process has removed or replaced it.
    pub(super) fn require_lock(&self) -> Result<(), LakeError> {
        let locked = *self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(locked) = locked else { return Ok(()) };
        let path = self.lock_path();
        match fs_err::metadata(&path) {
            Ok(facts) if FileId::of(&facts) == locked => Ok(()),
            // Where the whole lake is gone, the error should say that.
            Err(error)
                if error.kind() != std::io::ErrorKind::NotFound || !self.own_folder().is_dir() =>
            {
                Err(error.into())
            }
            _ => Err(LakeError::Displaced { path }),
        }
    }

    /// The lock file, locked by this process alone, and what the holder before has left in it.
    fn lock_exclusively(&self) -> Result<(File, String), LakeError> {
        let mut note_before = String::new();
        for _ in 0..ATTEMPTS {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
            let mut file = plain_file::open_with(&mut options, &self.lock_path())?;
            if self.try_lock(&file, LockMode::Exclusive)? {
                // Another process may have removed it after it was opened.
                if self.is_lock_file(&file)? {
                    note_before.push_str(&note_in(&mut file));
                    return Ok((file, note_before));
                }
            } else if self.try_lock(&file, LockMode::Shared)? {
                // Readers have it, and no run can take it now.
                if self.is_lock_file(&file)? {
                    note_before.push_str(&note_in(&mut file));
                    self.disk.remove_file(&self.lock_path())?;
                }
            } else {
                return Err(LakeError::Occupied { holder: holder_in(&mut file) });
            }
            let _ = file.unlock();
        }
        Err(LakeError::Displaced { path: self.lock_path() })
    }

    /// Whether an open file is the lock file.
    fn is_lock_file(&self, file: &File) -> Result<bool, LakeError> {
        match fs_err::metadata(self.lock_path()) {
            Ok(facts) => Ok(FileId::of(&facts) == FileId::of(&file.metadata()?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn lock_path(&self) -> PathBuf {
        self.own_folder().join("lock")
    }

    /// Makes kefu's own folder, and the lake where it is not there yet, in a way that a power cut cannot undo.
    fn make_own_folder(&self) -> Result<(), LakeError> {
        let (root, own) =
            (std::path::absolute(self.root())?, std::path::absolute(self.own_folder())?);
        let new = own.ancestors().take_while(|folder| !folder.is_dir()).count();
        self.disk.create_folders(&own)?;
        // The entry of each new folder is in the one above.
        for folder in own.ancestors().skip(1).take(new) {
            match self.disk.sync_folder(folder) {
                // One in which this user may make folders but not look is somebody else's; best effort.
                Err(error)
                    if error.kind() == std::io::ErrorKind::PermissionDenied
                        && !folder.starts_with(&root) => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    /// Who holds the lake, if anybody does.
    ///
    /// # Errors
    /// When the lock is there and cannot be looked at.
    pub fn holder(&self) -> Result<Option<String>, LakeError> {
        let Some(mut file) = self.open_lock()? else { return Ok(None) };
        if self.try_lock(&file, LockMode::Shared)? {
            let _ = file.unlock();
            return Ok(None);
        }
        Ok(Some(holder_in(&mut file)))
    }

    /// Shares the lock while this process reads. Changes nothing, so that it works on a lake that
    /// cannot be written; a lake that no run has ever held has nothing to lock.
    ///
    /// # Errors
    /// [`LakeError::Occupied`], naming the holder, while a run writes.
    pub fn hold_for_reading(&self) -> Result<Reading, LakeError> {
        for _ in 0..ATTEMPTS {
            let Some(mut file) = self.open_lock()? else {
                return Ok(Reading { file: None, lake: self.clone() });
            };
            if !self.try_lock(&file, LockMode::Shared)? {
                return Err(LakeError::Occupied { holder: holder_in(&mut file) });
            }
            // Else a run has replaced it after it was opened.
            if self.is_lock_file(&file)? {
                return Ok(Reading { file: Some(file), lake: self.clone() });
            }
        }
        Err(LakeError::Displaced { path: self.lock_path() })
    }

    /// The lock file, open for reading. None when there is none.
    fn open_lock(&self) -> Result<Option<File>, LakeError> {
        match plain_file::open(&self.lock_path()) {
            Ok(file) => Ok(Some(file)),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Locks the open lock file. False while another process has it locked.
    fn try_lock(&self, file: &File, mode: LockMode) -> Result<bool, LakeError> {
        let path = file.path();
        self.disk.try_lock(file, mode).map_err(|source| LakeError::NoLocks {
            path: path.to_owned(),
            file_system: file_system_of(path),
            source,
        })
    }
}

/// What the holder wrote of itself. Only for the message: an unreadable note must not hide that the lake is held.
fn holder_in(file: &mut File) -> String {
    match note_in(file) {
        note if note.is_empty() => "an unknown process".to_owned(),
        note => note,
    }
}

fn note_in(file: &mut File) -> String {
    // Whatever else is there is no note.
    const BYTES_MAX: u64 = 1_000;
    let mut note = String::new();
    let _ = file.rewind();
    let _ = file.take(BYTES_MAX).read_to_string(&mut note);
    note.lines().next().unwrap_or_default().to_owned()
}
