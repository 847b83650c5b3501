//! A lake in a folder of the file system.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{
    Check, Disk, Entry, Expected, File, Key, Kind, Look, Space, StagedFile, Store, Version,
};
use crate::lake::LakeError;
use crate::plain_file::{self, is_absent};

#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    disk: Disk,
}

impl Folder {
    pub fn at(root: PathBuf, disk: Disk) -> Self {
        Self { root, disk }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn require_expected(&self, key: &Key, expected: &Expected) -> Result<(), LakeError> {
        let Expected::Seen(seen) = expected else { return Ok(()) };
        match self.look(key, 0)?.map(|look| look.version) == *seen {
            true => Ok(()),
            false => Err(LakeError::Changed { path: self.path(key) }),
        }
    }
}

impl Store for Folder {
    fn require(&self) -> Result<(), LakeError> {
        match self.root.is_dir() {
            true => Ok(()),
            false if self.root.exists() => Err(LakeError::NoFolder { root: self.root.clone() }),
            false => Err(LakeError::Absent { root: self.root.clone() }),
        }
    }

    fn look(&self, key: &Key, tail: u64) -> Result<Option<Look>, LakeError> {
        let path = self.path(key);
        let (facts, file) = match facts_of(&path, tail > 0) {
            Err(error) if is_absent(&error) && path.is_symlink() => {
                return Err(LakeError::Dangling { path });
            }
            Err(error) if is_absent(&error) => return Ok(None),
            found => found?,
        };
        let tail = tail.min(facts.len());
        let mut end = vec![0; usize::try_from(tail).unwrap_or_default()];
        if let Some(file) = file {
            file.file().read_exact_at(&mut end, facts.len() - tail)?;
        }
        Ok(Some(Look { version: version(&facts), bytes: facts.len(), tail: end.into() }))
    }

    fn open(&self, key: &Key, expected: Option<&Version>) -> Result<File, LakeError> {
        let path = self.path(key);
        let file = plain_file::open(&path)?;
        match expected {
            Some(expected) if *expected != version(&file.metadata()?) => {
                Err(LakeError::Changed { path })
            }
            _ => Ok(file),
        }
    }

    fn put(
        &self,
        key: &Key,
        staged: StagedFile,
        expected: &Expected,
        check: Check<'_>,
    ) -> Result<(), LakeError> {
        // A lake that has vanished, with a disk that is no longer mounted say, is not created
        // again: then the staged file is gone.
        self.disk.move_into_place(staged.path(), &self.path(key), || {
            staged.require_own()?;
            check()?;
            self.require_expected(key, expected)
        })
    }

    fn remove(&self, folder: &Key, files: &[Key]) -> Result<(), LakeError> {
        let mut is_changed = files.is_empty();
        for file in files {
            match self.disk.remove_file(&self.path(file)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => {
                    removed?;
                    is_changed = true;
                }
            }
        }
        if !is_changed {
            return Ok(());
        }
        let folder = self.path(folder);
        match self.disk.sync_folder(&folder) {
            // Another process has removed it, because it was empty.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            synced => synced?,
        }
        // Something else may be in there; then it stays.
        let _ = fs_err::remove_dir(&folder);
        Ok(())
    }

    fn list(&self, folder: &Key) -> Result<Vec<Entry>, LakeError> {
        let entries = match fs_err::read_dir(self.path(folder)) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let kind = match name.to_str() {
                Some(_) => kind_of(&entry),
                None => Kind::Other,
            };
            listed.push(Entry { key: folder.join(&name.to_string_lossy()), kind });
        }
        listed.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(listed)
    }

    fn paths(&self) -> Result<Vec<PathBuf>, LakeError> {
        let given = std::path::absolute(&self.root)?;
        // A lake that does not exist yet will be below the nearest folder that exists.
        let real = given.ancestors().find_map(|folder| fs_err::canonicalize(folder).ok());
        Ok([given].into_iter().chain(real).collect())
    }

    fn space(&self) -> Result<Space, LakeError> {
        if self.root.exists() {
            self.require()?;
        }
        Space::of_lake(&self.root)
    }
}

/// The facts about a plain file, and the file itself, if it is to be opened.
fn facts_of(path: &Path, is_opened: bool) -> io::Result<(Metadata, Option<File>)> {
    if is_opened {
        let file = plain_file::open(path)?;
        return Ok((file.metadata()?, Some(file)));
    }
    let facts = fs_err::metadata(path)?;
    plain_file::require(path, facts.file_type())?;
    Ok((facts, None))
}

fn version(facts: &Metadata) -> Version {
    Version::Folder {
        inode: facts.ino(),
        bytes: facts.len(),
        modified: (facts.mtime(), facts.mtime_nsec()),
    }
}

/// What an entry is. A link is what it leads to.
fn kind_of(entry: &fs_err::DirEntry) -> Kind {
    let found = match entry.file_type() {
        Ok(found) if found.is_symlink() => {
            fs_err::metadata(entry.path()).map(|facts| facts.file_type())
        }
        found => found,
    };
    match found {
        Ok(found) if found.is_file() => Kind::File,
        Ok(found) if found.is_dir() => Kind::Folder,
        _ => Kind::Other,
    }
}

/// What a folder holds; nothing when it is not there, or is none.
pub(super) fn paths_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs_err::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::super::{Staging, contract};
    use super::*;
    use crate::lake::Account;

    fn folder() -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().to_owned(), Disk::default());
        (root, folder)
    }

    #[test]
    fn a_folder_keeps_the_contract_of_a_store() {
        let (root, folder) = folder();
        let staging = Staging::below(root.path().join("_kefu"));
        let account = Account::existing("客服".to_owned()).unwrap();
        fs_err::create_dir_all(staging.of_account(&account)).unwrap();
        contract::check(&folder, &staging);
    }

    #[test]
    fn what_no_store_writes_is_neither_a_file_nor_absent() {
        let (root, folder) = folder();
        let place = |name: &str| root.path().join(name);
        symlink("/nowhere", place("dangling")).unwrap();
        fs_err::write(place("file"), "x").unwrap();
        symlink(place("file"), place("link")).unwrap();
        fs_err::create_dir(place("folder")).unwrap();
        fs_err::write(root.path().join(OsStr::from_bytes(b"\xff.parquet")), "x").unwrap();
        let listed = folder.list(&Key::root()).unwrap();
        let kinds: Vec<_> = listed.iter().map(|entry| (entry.key.as_str(), entry.kind)).collect();
        let expected = [
            ("dangling", Kind::Other),
            ("file", Kind::File),
            ("folder", Kind::Folder),
            ("link", Kind::File),
            ("\u{fffd}.parquet", Kind::Other),
        ];
        assert_eq!(kinds, expected);
        for tail in [0, 1] {
            let look = |name: &str| folder.look(&Key::of(name), tail);
            assert!(matches!(look("dangling"), Err(LakeError::Dangling { .. })));
            let refused = look("folder").unwrap_err().to_string();
            assert!(refused.ends_with("is not a plain file but a folder"), "{refused}");
            assert_eq!(look("link").unwrap().unwrap().bytes, 1);
            assert!(look("file/below").unwrap().is_none() && look("absent").unwrap().is_none());
        }
    }
}
