//! Examines a lake for `kefu doctor`, without reading rows or changing anything.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::{Account, Lake, LakeError, OWN, Table, day_of, list};

/// Space on the file system of the lake. If the lake does not exist yet, on its future file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Number of bytes that this user can still write.
    pub free_bytes: u64,
}

impl Lake {
    /// Returns the space that is left for the lake.
    ///
    /// # Errors
    /// Fails when the lake is not a folder, or when this user may not write into one of its
    /// folders.
    pub fn space(&self) -> Result<Space, LakeError> {
        if self.root().exists() {
            self.require_folder()?;
        }
        let root = std::path::absolute(self.root())?;
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
        Ok(Space { free_bytes: facts.f_bavail.saturating_mul(facts.f_frsize) })
    }

    /// Returns the paths below the folders of the tables that are not partitions. Readers of a
    /// table fail on them or read them as data.
    ///
    /// # Errors
    /// Fails when a folder cannot be listed.
    pub fn strays(&self) -> Result<Vec<PathBuf>, LakeError> {
        let mut strays = Vec::new();
        for table in Table::ALL {
            for folder in list(&self.root().join(table.name()))? {
                if day_of(&folder).is_none() || !folder.is_dir() {
                    strays.push(folder);
                    continue;
                }
                let is_partition = |file: &PathBuf| {
                    let account = name(file).and_then(|name| name.strip_suffix(".parquet"));
                    account.is_some_and(|account| Account::existing(account.to_owned()).is_ok())
                        && file.is_file()
                };
                strays.extend(list(&folder)?.into_iter().filter(|file| !is_partition(file)));
            }
        }
        strays.sort();
        Ok(strays)
    }
}

fn name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}
