//! One run at a time.

use std::io::{Read, Seek, Write};

use fs_err::{File, OpenOptions};

use super::disk::LockMode;
use super::mounts::file_system_of;
use super::{Lake, LakeError};

/// Holds the lake until dropped, or until the process ends in whatever way: the lock is the operating system's.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing it would do, were it not for a process that another thread is just starting: until that is a program of its own, it has the file open, too.
        let _ = self.file.unlock();
    }
}

impl Lake {
    /// Takes the lake for this process, making its folder if need be, and clears what a run that was killed left in staging.
    ///
    /// # Errors
    /// [`LakeError::Occupied`], naming the holder, when another process has it;
    /// [`LakeError::Misread`] when readers would misread a lake in this place;
    /// [`LakeError::NoLocks`] when the file system refuses the lock.
    pub fn hold(&self) -> Result<Lock, LakeError> {
        self.require_place()?;
        if self.root().exists() {
            self.require_folder()?;
        }
        self.make_own_folder()?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.own_folder().join("lock"))?;
        if !self.try_lock(&file, LockMode::Exclusive)? {
            let holder = if self.try_lock(&file, LockMode::Shared)? {
                drop(Lock { file });
                "`kefu verify`, which reads it".to_owned()
            } else {
                note_in(&mut file)
            };
            return Err(LakeError::Occupied { holder });
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "process {}", std::process::id())?;
        self.clear_staging()?;
        fs_err::create_dir_all(self.staging_folder())?;
        Ok(Lock { file })
    }

    /// Makes kefu's own folder, and the lake where it is not there yet, in a way that a power cut cannot undo.
    fn make_own_folder(&self) -> Result<(), LakeError> {
        let (root, own) =
            (std::path::absolute(self.root())?, std::path::absolute(self.own_folder())?);
        let new = own.ancestors().take_while(|folder| !folder.is_dir()).count();
        fs_err::create_dir_all(&own)?;
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

    /// Takes away what is in staging. Only whoever holds the lake may do so.
    ///
    /// # Errors
    /// When something there cannot be removed.
    pub fn clear_staging(&self) -> Result<(), LakeError> {
        let clear = || match fs_err::remove_dir_all(self.staging_folder()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        };
        // Where a writer of this process is still at work, a file may appear meanwhile; without the folder none can.
        (0..3).find_map(|_| clear().ok()).map_or_else(clear, Ok)
    }

    /// Who holds the lake, if anybody does. A run that begins in the very instant of the question finds it held.
    ///
    /// # Errors
    /// When the lock is there and cannot be looked at.
    pub fn holder(&self) -> Result<Option<String>, LakeError> {
        let mut file = match File::open(self.own_folder().join("lock")) {
            Ok(file) => file,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if self.try_lock(&file, LockMode::Shared)? {
            drop(Lock { file });
            return Ok(None);
        }
        Ok(Some(note_in(&mut file)))
    }

    /// Keeps runs from beginning while others read. Changes nothing, so that it works on a lake that cannot be written; a lake that no run has ever
    /// held has nothing to lock.
    ///
    /// # Errors
    /// [`LakeError::Occupied`], naming the holder, while a run writes.
    pub fn hold_for_reading(&self) -> Result<Option<Lock>, LakeError> {
        let mut file = match File::open(self.own_folder().join("lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match self.try_lock(&file, LockMode::Shared)? {
            true => Ok(Some(Lock { file })),
            false => Err(LakeError::Occupied { holder: note_in(&mut file) }),
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
fn note_in(file: &mut File) -> String {
    let mut note = String::new();
    let _ = file.read_to_string(&mut note);
    note.lines().next().filter(|line| !line.is_empty()).unwrap_or("an unknown process").to_owned()
}
