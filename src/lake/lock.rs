//! Allows one run of an account at a time.
//!
//! A run locks `_kefu/accounts/<account>/lock` exclusively. A reader shares the locks of the
//! accounts that it reads, because files that a run is changing could look damaged.
//!
//! Runs never wait for readers, because a reader could hang. A run replaces a lock file that only
//! readers share. The reader then checks with [`Reading::require_undisturbed`] whether a run has
//! begun.
//!
//! The lock prevents two runs from doing the same work. Files are complete even without it: see
//! [`super::commit`].
//!
//! This file opens lock files itself, beside the store: only a folder has them, and they must be
//! opened for writing and compared with what is at their path.
//!
//! A bucket has no locks. There a reader compares names and versions of the files before and after.
//!
//! Earlier versions of kefu had one lock for the whole lake, `_kefu/lock`. If it exists, runs share
//! it. A run of such a version then cannot work at the same time.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::SystemTime;

use fs_err::os::unix::fs::OpenOptionsExt as _;
use fs_err::{File, OpenOptions};

use super::mounts::file_system_of;
use super::store::{FILE_MODE, FileId, Key, LockMode};
use super::{Account, Lake, LakeError, OWN, Table, account_folder, accounts_folder};
use crate::model::Shard;
use crate::plain_file::{self, is_absent};

/// The name of a lock file.
const FILE: &str = "lock";

/// Number of attempts. An attempt fails when the lock file is removed or replaced meanwhile.
const ATTEMPTS: usize = 8;

/// The lock of a run. The operating system releases it when this is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    /// None in a store that has no locks.
    file: Option<File>,
    /// The shared lock of the whole lake, if an earlier version of kefu created one.
    of_lake: Option<File>,
    account: Account,
    lake: Lake,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut locked = self.lake.locked.lock().unwrap_or_else(PoisonError::into_inner);
        locked.remove(&self.account);
        // A remaining note means to the next run that this one was killed.
        let _ = self.file.as_ref().map(|file| file.set_len(0));
        // Closing the file is not enough. A process that another thread is starting also has the
        // file open, until it executes its program.
        let _ = self.file.as_ref().map(|file| file.unlock());
        let _ = self.of_lake.as_ref().map(|file| file.unlock());
    }
}

/// Shared locks of accounts, for reading. They are released when this is dropped.
#[derive(Debug)]
pub struct Reading {
    /// The lock files that existed, by path.
    files: BTreeMap<PathBuf, File>,
    /// What the tables were like. Empty where there are locks.
    snapshots: Vec<blake3::Hash>,
    of: LocksOf,
    lake: Lake,
}

/// The accounts whose locks a reader shares.
#[derive(Clone, Debug)]
pub enum LocksOf {
    All,
    Accounts(Vec<Account>),
    Shard(Shard),
}

impl LocksOf {
    /// Whether the account of this name is one of them.
    fn includes(&self, account: &str) -> bool {
        match self {
            Self::All => true,
            Self::Accounts(accounts) => accounts.iter().any(|wanted| wanted.as_str() == account),
            Self::Shard(shard) => shard.contains(account),
        }
    }
}

impl Reading {
    /// Checks that no run has begun since the locks were acquired, and in a bucket that no file has
    /// changed.
    ///
    /// # Errors
    /// Fails with [`LakeError::Overtaken`] when a run has begun.
    pub fn require_undisturbed(&self) -> Result<(), LakeError> {
        let there = self.lake.lock_files(&self.of)?;
        let mut is_undisturbed =
            there.len() == self.files.len() && self.snapshots == self.lake.snapshots(&self.of)?;
        for path in there {
            is_undisturbed &= match self.files.get(&path) {
                Some(file) => is_file_at(file, &path)?,
                None => false,
            };
        }
        if is_undisturbed { Ok(()) } else { Err(LakeError::Overtaken) }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        for file in self.files.values() {
            // Closing the file is not enough, as for `Lock`.
            let _ = file.unlock();
        }
    }
}

impl Lake {
    /// Acquires the lock of an account for this process. Creates the folders of the lake and of the
    /// account if needed. Deletes what a killed run left in staging: of this account, and of all
    /// accounts where staging is in a scratch folder.
    ///
    /// # Errors
    /// - [`LakeError::Occupied`], which names the owner, when another run has the lock
    /// - [`LakeError::Misread`] when readers would misread a lake in this place
    /// - [`LakeError::NoLocks`] when the file system refuses the lock
    pub fn lock(&self, account: &Account) -> Result<Lock, LakeError> {
        self.require_place()?;
        if !self.is_in_folder() {
            return self.begin_without_lock(account);
        }
        if self.root().exists() {
            self.require_folder()?;
        }
        let of_lake = self.share_lock_of_lake()?;
        self.make_account_folder(account)?;
        let (mut file, note) = self.lock_exclusively(account)?;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "process {}", std::process::id())?;
        let (of_lake, note_of_lake) = of_lake.unzip();
        if !note.is_empty() || note_of_lake.is_some_and(|note| !note.is_empty()) {
            // A run may be killed between a rename and the sync of the folder. A power cut could
            // undo such a rename. Sync now, because the day counts as fetched from now on.
            self.disk.sync_file_system(&self.path_of(&Key::of(OWN)))?;
            of_lake.iter().try_for_each(|file| file.set_len(0))?;
        }
        self.disk.create_folders(&self.staging.of_account(account))?;
        // Use the clock of the file system, because it also dates the files in staging.
        self.staging.clear(account, file.metadata()?.modified()?)?;
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        locked.insert(account.clone(), FileId::of(&file.metadata()?));
        Ok(Lock { file: Some(file), of_lake, account: account.clone(), lake: self.clone() })
    }

    /// Begins a run in a store without locks. Conditions of the store protect its files.
    fn begin_without_lock(&self, account: &Account) -> Result<Lock, LakeError> {
        self.store.begin_run()?;
        let now = SystemTime::now();
        // An account that was killed on this machine may run on another one from now on.
        self.staging.clear_all_once(now)?;
        self.disk.create_folders(&self.staging.of_account(account))?;
        self.staging.clear(account, now)?;
        Ok(Lock { file: None, of_lake: None, account: account.clone(), lake: self.clone() })
    }

    /// Acquires the locks of all accounts that the lake knows.
    ///
    /// # Errors
    /// Returns the errors of [`lock`](Self::lock).
    pub fn lock_all(&self) -> Result<Vec<Lock>, LakeError> {
        self.known_accounts()?.iter().map(|account| self.lock(account)).collect()
    }

    /// Checks that the lock file of an account is still the one that this process has locked. Does
    /// nothing if this process has locked none.
    ///
    /// # Errors
    /// Fails with [`LakeError::Displaced`] when another process has removed or replaced the file.
    pub(super) fn require_lock(&self, account: &Account) -> Result<(), LakeError> {
        let locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(locked) = locked.get(account).copied() else { return Ok(()) };
        let path = self.lock_path(account);
        match fs_err::metadata(&path) {
            Ok(facts) if FileId::of(&facts) == locked => Ok(()),
            // If the whole lake is missing, the error must say that.
            Err(error)
                if error.kind() != std::io::ErrorKind::NotFound
                    || !self.path_of(&account_folder(account)).is_dir() =>
            {
                Err(error.into())
            }
            _ => Err(LakeError::Displaced { path }),
        }
    }

    /// Locks the lock file exclusively. Returns it with the note that the previous owner left in
    /// it.
    fn lock_exclusively(&self, account: &Account) -> Result<(File, String), LakeError> {
        let path = self.lock_path(account);
        let mut note_before = String::new();
        for _ in 0..ATTEMPTS {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
            let mut file = plain_file::open_with(&mut options, &path)?;
            if self.try_lock(&file, LockMode::Exclusive)? {
                // Another process may have removed the file after it was opened.
                if is_file_at(&file, &path)? {
                    note_before.push_str(&note_in(&mut file));
                    return Ok((file, note_before));
                }
            } else if self.try_lock(&file, LockMode::Shared)? {
                // Only readers have locked the file. No run can lock it now.
                if is_file_at(&file, &path)? {
                    note_before.push_str(&note_in(&mut file));
                    self.disk.remove_file(&path)?;
                }
            } else {
                return Err(occupied(&mut file));
            }
            let _ = file.unlock();
        }
        Err(LakeError::Displaced { path })
    }

    /// Shares the lock file that an earlier version of kefu created for the whole lake. Returns it
    /// with the note that its owner left in it. None when there is no such file.
    fn share_lock_of_lake(&self) -> Result<Option<(File, String)>, LakeError> {
        let path = self.lock_of_lake();
        for _ in 0..ATTEMPTS {
            let mut options = OpenOptions::new();
            let mut file = match plain_file::open_with(options.read(true).write(true), &path) {
                Err(error) if is_absent(&error) => return Ok(None),
                file => file?,
            };
            if !self.try_lock(&file, LockMode::Shared)? {
                return Err(occupied(&mut file));
            }
            // Otherwise, a run of such a version has replaced the file after it was opened.
            if is_file_at(&file, &path)? {
                let note = note_in(&mut file);
                return Ok(Some((file, note)));
            }
        }
        Err(LakeError::Displaced { path })
    }

    fn lock_path(&self, account: &Account) -> PathBuf {
        self.path_of(&account_folder(account).join(FILE))
    }

    fn lock_of_lake(&self) -> PathBuf {
        self.path_of(&Key::of(OWN).join(FILE))
    }

    /// The lock files that exist: of some accounts or of all, and of the whole lake.
    fn lock_files(&self, of: &LocksOf) -> Result<Vec<PathBuf>, LakeError> {
        if !self.is_in_folder() {
            return Ok(Vec::new());
        }
        let mut files: Vec<PathBuf> = match of {
            LocksOf::Accounts(accounts) => {
                accounts.iter().map(|account| self.lock_path(account)).collect()
            }
            LocksOf::All | LocksOf::Shard(_) => {
                let folders = self.store.list(&accounts_folder())?.into_iter();
                let wanted = folders.filter(|folder| of.includes(folder.key.name()));
                wanted.map(|folder| self.path_of(&folder.key.join(FILE))).collect()
            }
        };
        files.push(self.lock_of_lake());
        files.retain(|path| path.exists());
        Ok(files)
    }

    /// Creates an account's own folder, and the lake if it is missing. A power cut cannot undo
    /// this.
    fn make_account_folder(&self, account: &Account) -> Result<(), LakeError> {
        let root = std::path::absolute(self.root())?;
        let own = std::path::absolute(self.path_of(&account_folder(account)))?;
        let new = own.ancestors().take_while(|folder| !folder.is_dir()).count();
        self.disk.create_folders(&own)?;
        // The entry of each new folder is in its parent folder.
        for folder in own.ancestors().skip(1).take(new) {
            match self.disk.sync_folder(folder) {
                // A folder outside the lake that this user may not read belongs to another user.
                // Syncing it is best effort.
                Err(error)
                    if error.kind() == std::io::ErrorKind::PermissionDenied
                        && !folder.starts_with(&root) => {}
                synced => synced?,
            }
        }
        Ok(())
    }

    /// The process and the account of a run that is writing to the lake. None when there is no run.
    ///
    /// # Errors
    /// Fails when a lock exists but cannot be read.
    pub fn owner(&self) -> Result<Option<String>, LakeError> {
        for path in self.lock_files(&LocksOf::All)? {
            let Some(mut file) = open(&path)? else { continue };
            if !self.try_lock(&file, LockMode::Shared)? {
                let owner = owner_in(&mut file);
                return Ok(Some(match account_of(&path) {
                    Some(account) => format!("{owner} ({account})"),
                    None => owner,
                }));
            }
            let _ = file.unlock();
        }
        Ok(None)
    }

    /// Shares the locks of some accounts while this process reads. Changes nothing, so it works on
    /// a lake that cannot be written. In a lake without any run, there is nothing to lock.
    ///
    /// # Errors
    /// Fails with [`LakeError::Occupied`], which names the owner, while a run writes.
    pub fn lock_shared(&self, of: LocksOf) -> Result<Reading, LakeError> {
        let mut files = BTreeMap::new();
        for path in self.lock_files(&of)? {
            if let Some(file) = self.share(&path)? {
                files.insert(path, file);
            }
        }
        let snapshots = self.snapshots(&of)?;
        Ok(Reading { files, snapshots, of, lake: self.clone() })
    }

    fn snapshots(&self, of: &LocksOf) -> Result<Vec<blake3::Hash>, LakeError> {
        let snapshot = |table: Table| {
            let of = of.clone();
            let is_wanted = move |name: &str| of.includes(name);
            self.store.snapshot(&Key::of_table(table), Box::new(is_wanted)).transpose()
        };
        Table::ALL.into_iter().filter_map(snapshot).collect()
    }

    fn share(&self, path: &Path) -> Result<Option<File>, LakeError> {
        for _ in 0..ATTEMPTS {
            let Some(mut file) = open(path)? else { return Ok(None) };
            if !self.try_lock(&file, LockMode::Shared)? {
                return Err(occupied(&mut file));
            }
            // Otherwise, a run has replaced the file after it was opened.
            if is_file_at(&file, path)? {
                return Ok(Some(file));
            }
        }
        Err(LakeError::Displaced { path: path.to_owned() })
    }

    /// Locks an open lock file, without waiting. Returns false while another process has it locked.
    fn try_lock(&self, file: &File, mode: LockMode) -> Result<bool, LakeError> {
        let path = file.path();
        self.disk.try_lock(file, mode).map_err(|source| LakeError::NoLocks {
            path: path.to_owned(),
            file_system: file_system_of(path),
            source,
        })
    }
}

/// Whether an open file is the one at a path.
fn is_file_at(file: &File, path: &Path) -> Result<bool, LakeError> {
    match fs_err::metadata(path) {
        Ok(facts) => Ok(FileId::of(&facts) == FileId::of(&file.metadata()?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Opens a lock file for reading. None when there is none.
fn open(path: &Path) -> Result<Option<File>, LakeError> {
    match plain_file::open(path) {
        Err(error) if is_absent(&error) => Ok(None),
        file => Ok(Some(file?)),
    }
}

/// The account of a lock file. None for the lock file of the whole lake.
fn account_of(path: &Path) -> Option<&str> {
    let folder = path.parent()?;
    let is_of_account = folder.parent()?.file_name()? == super::ACCOUNTS;
    folder.file_name()?.to_str().filter(|_| is_of_account)
}

fn occupied(file: &mut File) -> LakeError {
    let what = match account_of(file.path()) {
        Some(account) => format!("the account {account}"),
        None => "the lake".to_owned(),
    };
    LakeError::Occupied { what, owner: owner_in(file) }
}

/// The note of the owner, for the error message. An unreadable note must not hide that there is an
/// owner.
fn owner_in(file: &mut File) -> String {
    match note_in(file) {
        note if note.is_empty() => "an unknown process".to_owned(),
        note => note,
    }
}

fn note_in(file: &mut File) -> String {
    // A note is short. Longer content is not a note.
    const BYTES_MAX: u64 = 1_000;
    let mut note = String::new();
    let _ = file.rewind();
    let _ = file.take(BYTES_MAX).read_to_string(&mut note);
    note.lines().next().unwrap_or_default().to_owned()
}
