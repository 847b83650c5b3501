//! The only door to the bytes of a lake.
//!
//! What each [`Store`] guarantees:
//!
//! - A file is complete or absent. [`put`](Store::put) makes it visible in one step, and replaces
//!   the file before it in the same step.
//! - After `put` and [`remove`](Store::remove) have returned, a power cut cannot undo them.
//! - `put` changes nothing when its check fails, when the file in place is not the expected one,
//!   and when the file cannot be moved to its place. If only the sync of the folder fails, the new
//!   file is in its place, and a power cut could still undo that.
//! - A file that was put or removed is seen so by every later [`look`](Store::look),
//!   [`open`](Store::open) and [`list`](Store::list), of every process.
//!
//! What it does not guarantee: that two files belong together (see [`super::pairing`]), and that a
//! folder notices another writer between its last check and the rename (the lock of the account
//! keeps other runs away). The same holds in a bucket for objects above 64 MiB, and for all where
//! the store has no conditions.
//!
//! Files are written locally, in [`staging`], before they are put. A file that is opened is a
//! local file, too: that of the folder, or a copy.

mod bucket;
#[cfg(test)]
mod contract;
mod disk;
mod folder;
mod key;
mod space;
mod staged;
mod staging;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::LakeError;
pub use bucket::{Addressing, Bucket, BucketCredentials, BucketError, BucketOptions, Conditions};
use folder::Folder;

pub(crate) use crate::plain_file::NotPlain;
pub use disk::{Disk, FILE_MODE, Failpoint, FileId, LockMode, Operation, replace_file};
pub use key::Key;
pub use space::{SCRATCH_HINT, ScratchFull, Space};
pub use staged::{StagedFile, StagedPath, WrittenFile};
pub use staging::{Staging, own_scratch};

/// A local file, open for reading.
pub type File = fs_err::File;

/// Bytes at the end of a partition that are read to find its footer. The largest footer seen has
/// 12 KiB.
pub const TAIL_BYTES: u64 = 64 << 10;

/// What must hold when a file gets to its place.
pub type Check<'a> = &'a dyn Fn() -> Result<(), LakeError>;

/// Which content of a file it is. Each `put` gives the file another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// `modified` is in seconds and nanoseconds.
    Folder {
        inode: u64,
        bytes: u64,
        modified: (i64, i64),
    },
    Bucket {
        e_tag: String,
    },
}

/// The file that `put` may replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    Any,
    /// What a look has found: this version, or no file.
    Seen(Option<Version>),
}

/// What a look at a file finds.
#[derive(Debug)]
pub struct Look {
    pub version: Version,
    /// Bytes of the whole file.
    pub bytes: u64,
    /// The last bytes of the file, as many as were asked for, or all.
    pub tail: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A plain file.
    File,
    Folder,
    /// What no store of kefu writes, like a named pipe, or a file whose name is not UTF-8.
    Other,
}

/// Tells whether an account of this name is wanted.
pub type IsWanted = Box<dyn Fn(&str) -> bool + Send>;

/// Whether requests without credentials can list a store and read a file of it. None when that is
/// not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnonymousAccess {
    pub list: Option<bool>,
    pub read: Option<bool>,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub key: Key,
    pub kind: Kind,
}

impl Entry {
    /// Whether it is the folder of a day with partitions.
    pub fn is_day(&self) -> bool {
        self.kind == Kind::Folder && self.key.day().is_some()
    }
}

/// Names the store of the lake at this place; touches nothing.
pub fn open(root: &Path, disk: &Disk) -> Arc<dyn Store> {
    Arc::new(Folder::at(root.to_owned(), disk.clone()))
}

/// A place for the files of a lake. See the guarantees above.
pub trait Store: fmt::Debug + Send + Sync {
    /// Checks that there is a lake to read.
    ///
    /// # Errors
    /// [`LakeError::Absent`] and [`LakeError::NoFolder`].
    fn require(&self) -> Result<(), LakeError>;

    /// Looks at a file, and reads up to `tail` bytes at its end. None when nothing is there.
    ///
    /// # Errors
    /// [`LakeError::Dangling`] for a link to nothing; when something is there that is not a file,
    /// or it cannot be read.
    fn look(&self, key: &Key, tail: u64) -> Result<Option<Look>, LakeError>;

    /// Looks at several files, each with its own `tail`, in the same order. A store that takes long
    /// to answer is asked for several at the same time.
    ///
    /// # Errors
    /// The first of those of [`look`](Self::look).
    fn look_all(&self, wanted: &[(Key, u64)]) -> Result<Vec<Option<Look>>, LakeError> {
        wanted.iter().map(|(key, tail)| self.look(key, *tail)).collect()
    }

    /// Opens a file for reading: the one with this version, if one is given.
    ///
    /// # Errors
    /// [`LakeError::Changed`] when another version is there; also when no file is there.
    fn open(&self, key: &Key, version: Option<&Version>) -> Result<File, LakeError>;

    /// Opens a file of this version and size to read parts of it. A store that copies files leaves
    /// out the rest, which then reads as zeros.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    fn open_parts(
        &self,
        key: &Key,
        version: &Version,
        _bytes: u64,
        _parts: &[Range<u64>],
    ) -> Result<File, LakeError> {
        self.open(key, Some(version))
    }

    /// Moves a file, which must be complete and synced, to its place. Calls `check` before it
    /// changes anything, and just before the file gets visible.
    ///
    /// # Errors
    /// [`LakeError::Changed`] when the file in place is not the expected one, and
    /// [`LakeError::Displaced`] when another process has replaced the staged file.
    fn put(
        &self,
        key: &Key,
        staged: StagedFile,
        expected: &Expected,
        check: Check<'_>,
    ) -> Result<(), LakeError>;

    /// Removes files of one folder, if they are there, and the folder once it is empty. Without
    /// files, only the folder.
    ///
    /// # Errors
    /// When a file is there and cannot be removed.
    fn remove(&self, folder: &Key, files: &[Key]) -> Result<(), LakeError>;

    /// The entries of a folder, in order of their names. Nothing when there is no such folder.
    ///
    /// # Errors
    /// When the folder is there and cannot be listed.
    fn list(&self, folder: &Key) -> Result<Vec<Entry>, LakeError>;

    /// The entries of several folders, in the order of the folders. A store that takes long to
    /// answer is asked for several at the same time.
    ///
    /// # Errors
    /// The first of those of [`list`](Self::list).
    fn list_all(&self, folders: &[Key]) -> Result<Vec<Vec<Entry>>, LakeError> {
        folders.iter().map(|folder| self.list(folder)).collect()
    }

    /// What tells whether any file in a table's folder has changed, of the wanted accounts. None
    /// for a store with locks, which readers share.
    ///
    /// # Errors
    /// Those of [`list`](Self::list).
    fn snapshot(
        &self,
        _folder: &Key,
        _is_wanted: IsWanted,
    ) -> Result<Option<blake3::Hash>, LakeError> {
        Ok(None)
    }

    /// The entries of a table's folder, each day with the entries of its own folder. In order of
    /// their names.
    ///
    /// # Errors
    /// Those of [`list`](Self::list).
    fn list_table(&self, folder: &Key) -> Result<Vec<(Entry, Vec<Entry>)>, LakeError> {
        let entries = self.list(folder)?;
        let days = entries.iter().filter(|entry| entry.is_day());
        let mut inside =
            self.list_all(&days.map(|day| day.key.clone()).collect::<Vec<_>>())?.into_iter();
        let mut with_its_own = |entry: Entry| {
            let own = if entry.is_day() { inside.next() } else { None };
            (entry, own.unwrap_or_default())
        };
        Ok(entries.into_iter().map(&mut with_its_own).collect())
    }

    /// The files in the folders of a table's days, in order of their names.
    ///
    /// # Errors
    /// Those of [`list`](Self::list).
    fn files_of_days(&self, folder: &Key) -> Result<Vec<Key>, LakeError> {
        let files = self.list_table(folder)?.into_iter().flat_map(|(_, inside)| inside);
        Ok(files.filter(|entry| entry.kind == Kind::File).map(|entry| entry.key).collect())
    }

    /// The paths by which other readers may reach the lake.
    ///
    /// # Errors
    /// When the current folder is not known.
    fn paths(&self) -> Result<Vec<PathBuf>, LakeError>;

    /// How much can be written.
    ///
    /// # Errors
    /// When the lake is no folder, or this user may not write into it.
    fn space(&self) -> Result<Space, LakeError>;

    /// The local folder for files that are being written, if they are not written in the lake. Such
    /// a store has no locks.
    fn scratch(&self) -> Option<&Path> {
        None
    }

    /// Checks once whether the store can be written by several runs. Called before a run writes.
    ///
    /// # Errors
    /// When it cannot, or does not answer.
    fn begin_run(&self) -> Result<(), LakeError> {
        Ok(())
    }

    /// Whether nothing keeps two runs of one account from replacing each other's days.
    fn is_unprotected(&self) -> bool {
        false
    }

    /// Seconds that this machine's clock is ahead of the store's (behind, when negative), by its
    /// last answer. None where the store has no clock of its own.
    fn clock_skew_seconds(&self) -> Option<i64> {
        None
    }

    /// What anybody can do without credentials. `file` is a file of the store, if it has one.
    fn anonymous_access(&self, _file: Option<&Key>) -> AnonymousAccess {
        AnonymousAccess { list: Some(false), read: Some(false) }
    }

    /// What the store does with the conditions of `put`, tried out. None where there are locks.
    /// Also reads what it writes, and deletes what earlier trials have left.
    ///
    /// # Errors
    /// When it cannot be written or read, or does not answer.
    fn conditions(&self) -> Result<Option<Conditions>, LakeError> {
        Ok(None)
    }
}
