//! How much can be written to the file system of a folder.

use std::io;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use crate::lake::{LakeError, OWN, Table};

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
    pub(super) fn of(root: &Path) -> Result<Self, LakeError> {
        let root = std::path::absolute(root)?;
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        // A missing lake will be on the file system of its nearest existing parent folder.
        let nearest = root.ancestors().find(|path| is_there(path)).unwrap_or(&root).to_owned();
        if !nearest.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("{} is not a folder", nearest.display()),
            )
            .into());
        }
        let tables = Table::ALL.iter().map(|table| root.join(table.name()));
        for folder in
            tables.chain([root.join(OWN), nearest.clone()]).filter(|folder| is_there(folder))
        {
            let refused = |error: rustix::io::Errno| {
                io::Error::new(
                    error.kind(),
                    format!("{} cannot be written: {error}", folder.display()),
                )
            };
            access(&folder, Access::WRITE_OK | Access::EXEC_OK).map_err(refused)?;
        }
        let facts = statvfs(&nearest).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", nearest.display()))
        })?;
        Ok(Self { free_bytes: facts.f_bavail.saturating_mul(facts.f_frsize) })
    }
}
