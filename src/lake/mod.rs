//! The lake: where things are on disk, in which shape, and how they get there.
//!
//! It owns every Parquet file and every path, and sees no HTTP and no metric. The invariant it keeps: a file below a table's
//! folder is complete and was put there by one rename, whatever happened on the way.

mod apps;
mod bounds;
mod commit;
mod days;
mod disk;
mod encoder;
mod error;
mod examine;
mod footer;
mod guard;
mod hash;
mod lock;
mod messages;
mod mounts;
mod original;
mod pairing;
mod place;
mod privacy;
mod prune;
mod read;
mod rewrite;
mod runs;
mod schema;
mod spill;
mod staging;
mod statistics;
mod survey;
mod thrift;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub use apps::AppId;
pub use disk::{Failpoint, Operation};
pub use encoder::PartitionFacts;
pub use error::LakeError;
pub use examine::{Contents, Examined, Survey};
pub use footer::{Footer, REDACTED_FROM};
pub use hash::ContentHash;
pub use lock::{Lock, Reading};
pub use messages::StagedMessages;
pub use privacy::AccountPrivacy;
pub(crate) use prune::in_the_future;
pub use prune::{PartitionFile, Pruned};
pub use spill::Spill;
pub use survey::Space;
pub use write::{FinishedPartition, StagedPartition};

use disk::{Disk, FileId};
use staging::Staging;

use crate::calendar::Day;
pub use crate::model::record::{MessageCounts, opercode};
pub use crate::model::{Account, PartitionKey, Table};

/// Folder of kefu's own, below the lake, that no query reads.
const OWN: &str = "_kefu";

/// Folder in kefu's own with a folder for each account.
const ACCOUNTS: &str = "accounts";

/// A folder with the tables of one or more accounts.
#[derive(Clone, Debug)]
pub struct Lake {
    root: PathBuf,
    disk: Disk,
    /// The lock files that this process has locked.
    locked: Arc<Mutex<BTreeMap<Account, FileId>>>,
    staging: Arc<Staging>,
}

impl Lake {
    /// Names the lake; touches nothing.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        let staging = Arc::new(Staging::new());
        Self { root: root.into(), disk: Disk::default(), locked: Arc::default(), staging }
    }

    /// The same lake, with something in the way of all that changes it.
    #[must_use]
    pub fn with_failpoint(self, failpoint: Arc<dyn Failpoint>) -> Self {
        Self { disk: Disk::with_failpoint(failpoint), ..self }
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
        self.partition_folder(key.table, key.date).join(format!("{}.parquet", key.account))
    }

    fn partition_folder(&self, table: Table, day: Day) -> PathBuf {
        self.root.join(table.name()).join(format!("date={day}"))
    }

    fn own_folder(&self) -> PathBuf {
        self.root.join(OWN)
    }

    fn accounts_folder(&self) -> PathBuf {
        self.own_folder().join(ACCOUNTS)
    }

    /// Where the lock, the staging, the retention mark and the run history of an account are.
    fn account_folder(&self, account: &Account) -> PathBuf {
        self.accounts_folder().join(account.as_str())
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
            let accounts = list(&folder)?.into_iter().filter_map(|file| {
                let name = file.file_name()?.to_str()?.strip_suffix(".parquet")?.to_owned();
                Account::new(name).ok()
            });
            partitions.extend(accounts.map(|account| account.partition(table, day)));
        }
        Ok(partitions)
    }

    /// The time zone in which the lake's days are cut, whoever's they are; none while there are no days.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn zone(&self) -> Result<Option<String>, LakeError> {
        self.find_zone(|_| true)
    }

    /// Checks that the lake's days are cut in this time zone. It is enough that one is: a file that says otherwise beside it is damaged, which must not keep
    /// anyone from fetching it again.
    ///
    /// # Errors
    /// [`LakeError::OtherZone`] when they are cut in another one.
    pub fn require_zone(&self, zone: &str) -> Result<(), LakeError> {
        match self.zone()? {
            Some(lake) if lake != zone && self.find_zone(|lake| lake == zone)?.is_none() => {
                Err(LakeError::OtherZone { lake, asked: zone.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The first zone that some file names and that is wanted: of messages, or of the metrics that are left of pruned ones.
    fn find_zone(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Option<String>, LakeError> {
        for table in [Table::Messages, Table::AccountDaily] {
            for folder in self.date_folders(table)?.into_values() {
                // Of a file that is damaged, or none of kefu's, the next one tells.
                let zones = list(&folder)?
                    .into_iter()
                    .filter_map(|path| Some(read::footer_of(&path).ok()?.zone().to_owned()));
                if let Some(zone) =
                    zones.into_iter().find(|zone| !zone.is_empty() && is_wanted(zone))
                {
                    return Ok(Some(zone));
                }
            }
        }
        Ok(None)
    }

    /// Whether a table has a file of any account and day.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn has_files(&self, table: Table) -> Result<bool, LakeError> {
        let folders = list(&self.root.join(table.name()))?;
        let files = folders.iter().map(|folder| list(folder)).collect::<Result<Vec<_>, _>>()?;
        Ok(files.into_iter().flatten().next().is_some())
    }

    /// The accounts that have a file in any table.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn accounts(&self) -> Result<BTreeSet<String>, LakeError> {
        let mut accounts = BTreeSet::new();
        for folder in Table::ALL.map(|table| self.date_folders(table)) {
            for files in folder?.into_values().map(|folder| list(&folder)) {
                accounts.extend(files?.iter().filter_map(|file| {
                    Some(file.file_name()?.to_str()?.strip_suffix(".parquet")?.to_owned())
                }));
            }
        }
        Ok(accounts)
    }

    /// The accounts that have a file in any table or a folder of their own, but for names that no
    /// account could have.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub(super) fn known_accounts(&self) -> Result<BTreeSet<Account>, LakeError> {
        let folders = list(&self.accounts_folder())?.into_iter();
        let named = folders.filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned()));
        let names = self.accounts()?.into_iter().chain(named);
        Ok(names.filter_map(|name| Account::existing(name).ok()).collect())
    }

    /// The accounts of these names; all that there are, if none is named. One whose name no account could have is for `kefu verify` to tell.
    ///
    /// # Errors
    /// [`LakeError::NoAccount`] when one is not there, or when a folder cannot be listed.
    pub fn accounts_named(&self, named: &[String]) -> Result<Vec<Account>, LakeError> {
        let there = self.accounts()?;
        if let Some(unknown) = named.iter().find(|name| !there.contains(*name)) {
            return Err(LakeError::NoAccount { unknown: unknown.clone(), there });
        }
        let wanted = there.into_iter().filter(|name| named.is_empty() || named.contains(name));
        Ok(wanted.filter_map(|name| Account::existing(name).ok()).collect())
    }

    /// Checks that there is a lake to read.
    ///
    /// # Errors
    /// [`LakeError::Absent`] when its folder is not there, [`LakeError::NoFolder`] when it is none.
    pub fn require_folder(&self) -> Result<(), LakeError> {
        match self.root.is_dir() {
            true => Ok(()),
            false if self.root.exists() => Err(LakeError::NoFolder { root: self.root.clone() }),
            false => Err(LakeError::Absent { root: self.root.clone() }),
        }
    }
}

/// The day of a folder with partitions.
fn day_of(folder: &Path) -> Option<Day> {
    folder.file_name()?.to_str()?.strip_prefix("date=")?.parse().ok()
}

/// What a folder holds; nothing when it is not there, or is none.
fn list(folder: &Path) -> Result<Vec<PathBuf>, LakeError> {
    match fs_err::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}
