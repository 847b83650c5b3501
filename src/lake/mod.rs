//! The lake: the places and the formats of files, and how they are written and read.
//!
//! It owns every Parquet file and every path. It sees no HTTP of WeChat and no metric. All
//! partitions pass through `store`, so that a file below a table's folder is always complete.

mod accounts;
mod apps;
mod bounds;
mod commit;
mod days;
mod encoder;
mod error;
mod examine;
mod footer;
mod guard;
mod hash;
mod lock;
mod looks;
mod messages;
mod mounts;
mod original;
mod pairing;
mod parts;
mod place;
mod privacy;
mod prune;
mod read;
mod rewrite;
mod runs;
mod schema;
mod spill;
mod statistics;
mod store;
mod survey;
mod thrift;
mod workers;
mod write;
mod zone;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;

pub use apps::{AppId, KnownApps};
pub use encoder::PartitionFacts;
pub use error::{LakeError, OwnRecord};
pub use examine::{Contents, Examined};
pub use footer::{Footer, entry};
pub use hash::ContentHash;
pub use lock::{Lock, LocksOf, Reading};
pub use messages::StagedMessages;
pub use privacy::AccountPrivacy;
pub(crate) use prune::in_the_future;
pub use prune::{PartitionFile, Pruned};
pub use spill::Spill;
pub(crate) use store::replace_file;
pub use store::{
    Addressing, AnonymousAccess, BucketCredentials, BucketError, BucketOptions, Conditions,
    Failpoint, Operation, SCRATCH_HINT, Space,
};
pub use survey::Survey;
pub use write::{FinishedPartition, Seen, StagedPartition};

use accounts::{ACCOUNTS, account_folder, accounts_folder};
use looks::{Looks, SharedRejects};
use store::{Bucket, Disk, FileId, Key, Staging, Store};

pub use crate::model::record::{MessageCounts, opercode};
pub use crate::model::{Account, PartitionKey, Table};
use crate::threads;

/// Folder of kefu's own, below the lake, that no query reads.
const OWN: &str = "_kefu";

/// What is wrong with a record that is a link to nothing.
const DANGLING: &str = "it is a link to a file that does not exist";

/// Where a lake is.
#[derive(Clone, Debug)]
pub enum LakePlace {
    Folder(PathBuf),
    Bucket(Box<BucketOptions>),
}

/// A place with the tables of one or more accounts.
#[derive(Clone, Debug)]
pub struct Lake {
    root: PathBuf,
    disk: Disk,
    store: Arc<dyn Store>,
    /// The lock files that this process has locked.
    locked: Arc<Mutex<BTreeMap<Account, FileId>>>,
    staging: Arc<Staging>,
    /// What the accounts of a command share.
    shared: Arc<Shared>,
    /// What a run has seen of the lake. None where each look is a new one.
    looks: Option<Arc<Looks>>,
}

/// Facts about a lake that one account of a command has read, for its other accounts.
#[derive(Debug, Default)]
struct Shared {
    /// See [`Lake::known_apps`].
    apps: OnceLock<KnownApps>,
    /// Locked while an account reads the records of apps.
    reads_apps: Mutex<()>,
    /// What [`Lake::require_zone`] has found, by time zone: None when some file of the lake names
    /// it, else the zone of the lake.
    zones: Mutex<BTreeMap<String, Option<String>>>,
    rejects: Mutex<SharedRejects>,
}

impl Lake {
    /// Names the lake; touches nothing.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let (root, disk) = (root.into(), Disk::default());
        let store = store::open(&root, &disk);
        let staging = Staging::below(root.join(OWN));
        Self::of(root, disk, store, staging)
    }

    fn of(root: PathBuf, disk: Disk, store: Arc<dyn Store>, staging: Staging) -> Self {
        let (locked, shared) = (Arc::default(), Arc::default());
        Self { root, disk, store, locked, staging: Arc::new(staging), shared, looks: None }
    }

    /// The lake at this place.
    ///
    /// # Errors
    /// When a bucket cannot be reached in the way that its options say.
    pub fn open(place: &LakePlace) -> Result<Self, LakeError> {
        match place {
            LakePlace::Folder(root) => Ok(Self::at(root)),
            LakePlace::Bucket(options) => {
                let store = Bucket::at(options)?;
                let staging = Staging::below(store::own_scratch(&options.scratch, &options.url())?);
                let disk = Disk::default().in_scratch(&options.scratch);
                Ok(Self::of(options.url().into(), disk, Arc::new(store), staging))
            }
        }
    }

    /// Whether it is in a folder of this machine.
    pub fn is_in_folder(&self) -> bool {
        self.scratch().is_none()
    }

    /// The local folder for files of a lake in a bucket.
    pub fn scratch(&self) -> Option<&Path> {
        self.store.scratch()
    }

    /// Does parallel work that reads the lake. For a bucket, more threads than compute do it,
    /// because each of them waits for the store.
    ///
    /// # Errors
    /// When the threads cannot be created.
    pub fn reading<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LakeError> {
        match self.is_in_folder() {
            true => Ok(work()),
            false => Ok(threads::writers()?.install(work)),
        }
    }

    /// Whether nothing keeps two runs of one account from replacing each other's days.
    pub fn is_unprotected(&self) -> bool {
        self.store.is_unprotected()
    }

    /// What the store does with the conditions of a PUT, tried out. None for a folder, which has
    /// locks.
    ///
    /// # Errors
    /// When the store cannot be written, or does not answer.
    pub fn conditions(&self) -> Result<Option<Conditions>, LakeError> {
        self.store.conditions()
    }

    /// Seconds that this machine's clock is ahead of that of the store (behind, when negative).
    /// None for a folder, and while no answer had a date.
    pub fn clock_skew_seconds(&self) -> Option<i64> {
        self.store.clock_skew_seconds()
    }

    /// What anybody can do with the bucket of the lake, without credentials.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    pub fn anonymous_access(&self) -> Result<AnonymousAccess, LakeError> {
        let file = self.last_partitions(Table::AccountDaily, 1)?.into_iter().next();
        Ok(self.store.anonymous_access(file.as_ref().map(Key::of_partition).as_ref()))
    }

    /// The size of a partition. None when it is not there.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub fn bytes(&self, key: &PartitionKey) -> Result<Option<u64>, LakeError> {
        match self.looks {
            Some(_) => {
                let looked = self.look_at(key)?;
                Ok(looked.seen.is_there().then_some(looked.bytes))
            }
            None => Ok(self.store.look(&Key::of_partition(key), 0)?.map(|look| look.bytes)),
        }
    }

    /// The same lake, with a failpoint before each operation that changes it.
    #[must_use]
    pub fn with_failpoint(self, failpoint: Arc<dyn Failpoint>) -> Self {
        let disk = Disk::with_failpoint(failpoint);
        let store = store::open(&self.root, &disk);
        Self { disk, store, ..self }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The error that a partition is not as kefu wrote it.
    pub fn damaged(&self, key: &PartitionKey, reason: impl Into<String>) -> LakeError {
        LakeError::damaged(self.path(key), reason.into()).of(key)
    }

    /// Where a partition is, or would be.
    pub fn path(&self, key: &PartitionKey) -> PathBuf {
        self.path_of(&Key::of_partition(key))
    }

    /// Where a file or a folder is, or would be, for messages and other readers.
    fn path_of(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// The content of a small file of kefu's own. None when it is not there.
    ///
    /// # Errors
    /// `damaged` for a link to nothing: without the file, what it says would be lost unnoticed.
    fn small_file(
        &self,
        key: &Key,
        damaged: impl FnOnce(String) -> LakeError,
    ) -> Result<Option<Bytes>, LakeError> {
        if let Some(read) = self.looks.as_ref().and_then(|looks| looks.small(key)) {
            return Ok(read.map(|(_, content)| content));
        }
        let began = self.looks.as_ref().map_or(0, |looks| looks.changes());
        let look = match self.store.look(key, u64::MAX) {
            Err(LakeError::Dangling { .. }) => {
                return Err(damaged(DANGLING.to_owned()));
            }
            looked => looked?,
        };
        let content = look.as_ref().map(|look| look.tail.clone());
        if let Some(looks) = &self.looks {
            looks.add_small(began, key.clone(), look);
        }
        Ok(content)
    }

    /// The partitions of a table on its last days, of every account, the last day first.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn last_partitions(
        &self,
        table: Table,
        days: usize,
    ) -> Result<Vec<PartitionKey>, LakeError> {
        let mut partitions = Vec::new();
        for (day, folder) in self.date_folders(table)?.into_iter().rev().take(days) {
            let accounts = self
                .store
                .list(&folder)?
                .into_iter()
                .filter_map(|file| Account::new(file.key.account_name()?.to_owned()).ok());
            partitions.extend(accounts.map(|account| account.partition(table, day)));
        }
        Ok(partitions)
    }

    /// Whether a table has a file of any account and day.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn has_files(&self, table: Table) -> Result<bool, LakeError> {
        for folder in self.store.list(&Key::of_table(table))? {
            if !self.store.list(&folder.key)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Checks that there is a lake to read.
    ///
    /// # Errors
    /// [`LakeError::Absent`] when its folder is not there, [`LakeError::NoFolder`] when it is none.
    pub fn require_folder(&self) -> Result<(), LakeError> {
        self.store.require()
    }

    /// How much space there is.
    ///
    /// # Errors
    /// When the lake is no folder, or this user may not write into one of its folders.
    pub fn space(&self) -> Result<Space, LakeError> {
        self.store.space()
    }
}
