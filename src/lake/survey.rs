//! What can be told of a lake from outside, without reading its rows or changing anything: for `kefu doctor`.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::{Account, Lake, LakeError, OWN, Table, day_of, list};

/// What the file system has that the lake is on, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
}

impl Lake {
    /// How much space there is.
    ///
    /// # Errors
    /// When the lake is no folder, or this user may not write into one of its folders.
    pub fn space(&self) -> Result<Space, LakeError> {
        if self.root().exists() {
            self.require_folder()?;
        }
        let root = std::path::absolute(self.root())?;
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        // A lake that is not there yet will be where the nearest of the folders above it is.
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

    /// What stands below a table's folder and is not one of its files. Readers of the table would stumble over it.
    ///
    /// # Errors
    /// When a folder cannot be listed.
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
