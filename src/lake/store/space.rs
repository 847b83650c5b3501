//! How much can be written to the file system of a folder.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use crate::lake::{LakeError, OWN, Table};

/// What to do when the local folder for files of a bucket is full.
pub const SCRATCH_HINT: &str =
    "free some space there, or name another folder with `scratch` under [lake_options]";

/// The local folder for files of a bucket is full.
#[derive(Debug, thiserror::Error)]
#[error("{source}; {} has {} MiB free", folder.display(), free_bytes >> 20)]
pub struct ScratchFull {
    folder: PathBuf,
    free_bytes: u64,
    source: io::Error,
}

impl ScratchFull {
    /// An error of a file in this folder: this one, if it says that the folder is full.
    pub fn instead_of(source: io::Error, folder: &Path) -> io::Error {
        let kind = source.kind();
        if !matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return source;
        }
        let free_bytes = Space::of(folder).map_or(0, |space| space.free_bytes);
        io::Error::new(kind, Self { folder: folder.to_owned(), free_bytes, source })
    }
}

/// Space on the file system of the lake. If the lake does not exist yet, on its future file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Number of bytes that this user can still write.
    pub free_bytes: u64,
}

impl Space {
    /// The space for a lake in this folder, which may be missing yet.
    ///
    /// # Errors
    /// When there is no folder above it, or this user may not write into one of its folders.
    pub(super) fn of_lake(root: &Path) -> Result<Self, LakeError> {
        let space = Self::of(root)?;
        let folders = Table::ALL.iter().map(|table| table.name()).chain([OWN]);
        let mut folders = folders.map(|name| root.join(name)).filter(|folder| is_there(folder));
        folders.try_for_each(|folder| require_writable(&folder))?;
        Ok(space)
    }

    /// The space in this folder, which may be missing yet.
    ///
    /// # Errors
    /// When there is no folder above it, or this user may not write into it.
    pub(super) fn of(root: &Path) -> Result<Self, LakeError> {
        let root = std::path::absolute(root)?;
        // A missing folder will be on the file system of its nearest existing parent folder.
        let nearest = root.ancestors().find(|path| is_there(path)).unwrap_or(&root).to_owned();
        if !nearest.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("{} is not a folder", nearest.display()),
            )
            .into());
        }
        require_writable(&nearest)?;
        let facts = statvfs(&nearest).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", nearest.display()))
        })?;
        Ok(Self { free_bytes: facts.f_bavail.saturating_mul(facts.f_frsize) })
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn require_writable(folder: &Path) -> io::Result<()> {
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        io::Error::new(error.kind(), format!("{} cannot be written: {error}", folder.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Classified;
    use crate::lake::store::{Disk, Failpoint, Operation};

    #[test]
    fn scratch_may_have_anything_of_others_in_it_and_a_lake_may_not() {
        let folder = tempfile::tempdir().unwrap();
        // Nobody can execute it, not even root.
        fs_err::write(folder.path().join("sessions"), "").unwrap();
        assert!(Space::of(folder.path()).is_ok());
        let error = Space::of_lake(folder.path()).unwrap_err().to_string();
        assert!(error.contains("sessions cannot be written"), "{error}");
    }

    #[derive(Debug)]
    struct Full;

    impl Failpoint for Full {
        fn before(&self, operation: Operation, _: &Path) -> io::Result<()> {
            match operation {
                Operation::Write => Err(rustix::io::Errno::NOSPC.into()),
                _ => Ok(()),
            }
        }
    }

    #[test]
    fn a_full_scratch_folder_is_named_with_its_setting_and_its_free_space() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::with_failpoint(std::sync::Arc::new(Full)).in_scratch(folder.path());
        let account = crate::lake::Account::existing("acme".to_owned()).unwrap();
        let staging = crate::lake::store::Staging::below(folder.path().to_owned());
        fs_err::create_dir_all(staging.of_account(&account)).unwrap();
        let (_staged, mut file) = staging.create(&disk, &account, "x").unwrap();
        let error = LakeError::from(io::Write::write(&mut file, b"x").unwrap_err());
        let said = error.to_string();
        let name = folder.path().display().to_string();
        assert!(said.contains(&name) && said.contains(" MiB free"), "{said}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("`scratch`") && hint.contains("[lake_options]"), "{hint}");
    }
}
