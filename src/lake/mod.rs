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
mod prune;
mod read;
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
pub use examine::{Contents, Examined, Survey};
pub use footer::Footer;
pub use hash::ContentHash;
pub use lock::{Lock, Reading};
pub use messages::StagedMessages;
pub(crate) use prune::in_the_future;
pub use prune::{PartitionFile, Pruned};
pub use spill::Spill;
pub use survey::Space;
pub use write::{FinishedPartition, StagedPartition};

use arrow::error::ArrowError;
use disk::{Disk, FileId};
use parquet::errors::ParquetError;
use staging::Staging;

use crate::calendar::Day;
use crate::failure::{Class, Classified, MEMORY_HINT, os_code};
pub use crate::model::record::{MessageCounts, opercode};
pub use crate::model::{Account, PartitionKey, Table};
use crate::plain_file::NotPlain;

/// Folder of kefu's own, below the lake, that no query reads.
const OWN: &str = "_kefu";

/// Folder in kefu's own with a folder for each account.
const ACCOUNTS: &str = "accounts";

#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    // fs-err's errors name the operation and the path.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{path} cannot be written as Parquet")]
    Parquet { path: PathBuf, source: ParquetError },
    #[error("the rows do not have the shape of the table")]
    Shape(#[source] ArrowError),
    #[error("{path} is not as kefu wrote it: {reason}")]
    Damaged {
        /// None while only the path is known.
        key: Option<PartitionKey>,
        path: PathBuf,
        reason: String,
    },
    #[error("{path} is not as kefu wrote it: {reason}")]
    DamagedApp { path: PathBuf, reason: String },
    #[error("{path} is not as kefu wrote it: {reason}")]
    DamagedMark { path: PathBuf, reason: String },
    #[error("{what} is locked by another run: {owner}")]
    Occupied { what: String, owner: String },
    #[error("{} was removed or replaced by another process", path.display())]
    Displaced { path: PathBuf },
    #[error("a run has begun while the lake was read: what was found may only be its work")]
    Overtaken,
    #[error("{} cannot be locked{}", path.display(), on(file_system.as_deref()))]
    NoLocks { path: PathBuf, file_system: Option<String>, source: std::io::Error },
    #[error("the lake at {} is below a folder that readers take for a partition: {folder}", root.display())]
    Misread { root: PathBuf, folder: String },
    #[error("there is no lake at {root}")]
    Absent { root: PathBuf },
    #[error("{root} is not a folder")]
    NoFolder { root: PathBuf },
    #[error("the lake has no account `{}`; there are: {}", unknown.escape_debug(), one_or_more(there))]
    NoAccount { unknown: String, there: BTreeSet<String> },
    #[error(
        "the lake was begun in the time zone {lake}, and its days cannot be continued in {asked}"
    )]
    OtherZone { lake: String, asked: String },
    #[error(
        "the texts of {} on {} were dropped, and the rules for automatic replies need them",
        key.account, key.date
    )]
    TextsDropped { key: PartitionKey },
}

/// ENOMEM, ENFILE, EMFILE and EAGAIN: the machine or the process has no more of something.
const EXHAUSTED: [i32; 4] = [12, 23, 24, 11];

/// A file that cannot be read for want of something that the machine has no more of.
#[derive(Debug, thiserror::Error)]
#[error("failed to read file `{}`: {source}", path.display())]
struct Unread {
    path: PathBuf,
    source: std::io::Error,
}

impl LakeError {
    /// A file of a table is not as kefu wrote it.
    fn damaged(path: impl Into<PathBuf>, reason: String) -> Self {
        Self::Damaged { key: None, path: path.into(), reason }
    }

    /// The same, about this partition.
    #[must_use]
    fn of(self, key: &PartitionKey) -> Self {
        match self {
            Self::Damaged { path, reason, .. } => {
                Self::Damaged { key: Some(key.clone()), path, reason }
            }
            other => other,
        }
    }

    /// An error of the Parquet reader. The file is damaged, unless reading it takes more of
    /// something than the machine has: that says nothing about the file.
    fn unreadable(path: &Path, error: &dyn std::error::Error) -> Self {
        match os_code(error).filter(|code| EXHAUSTED.contains(code)) {
            Some(code) => {
                let source = std::io::Error::from_raw_os_error(code);
                let unread = Unread { path: path.to_owned(), source };
                Self::Io(std::io::Error::new(unread.source.kind(), unread))
            }
            None => Self::damaged(path, error.to_string()),
        }
    }

    /// An error of the Parquet writer: of the disk, as a rule, and then it should say so.
    fn parquet(path: &Path, error: ParquetError) -> Self {
        match error {
            ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
                Ok(cause) => Self::Io(*cause),
                Err(cause) => {
                    Self::Parquet { path: path.to_owned(), source: ParquetError::External(cause) }
                }
            },
            source => Self::Parquet { path: path.to_owned(), source },
        }
    }
}

impl Classified for LakeError {
    fn class(&self) -> Class {
        match self {
            Self::Occupied { .. } | Self::Displaced { .. } | Self::Overtaken => Class::Occupied,
            Self::OtherZone { .. }
            | Self::TextsDropped { .. }
            | Self::Absent { .. }
            | Self::Misread { .. }
            | Self::NoAccount { .. } => Class::Settings,
            Self::Shape(_) => Class::Bug,
            Self::Io(_)
            | Self::Parquet { .. }
            | Self::Damaged { .. }
            | Self::DamagedApp { .. }
            | Self::DamagedMark { .. }
            | Self::NoFolder { .. }
            | Self::NoLocks { .. } => Class::Lake,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Occupied { .. } => Some("run again when it has finished".into()),
            Self::Displaced { .. } => Some(
                "another run is at work on this account, or somebody has removed its lock: leave the files named `lock` below `_kefu` alone, and run kefu on one host only where several share \
                 the file system; then run again: every file in the lake is whole"
                    .into(),
            ),
            Self::Overtaken => Some("run it again when the run has finished".into()),
            Self::NoLocks { .. } => Some(
                "move the lake to a local disk and name it with --lake or KEFU_LAKE, or mount this file system with locks \
                 (NFS as version 4 or with rpc.statd running, SMB without `nobrl`); without the lock two runs could replace each other's files"
                    .into(),
            ),
            Self::Misread { folder, .. } => Some(format!(
                "DuckDB, Spark and pyarrow give all rows a column that `{folder}` names: move the lake, or name another place with --lake or KEFU_LAKE; \
                 a folder that is moved with all that is in it stays a good lake"
            )),
            Self::Absent { .. } => Some("name it with --lake or KEFU_LAKE; `kefu run` makes one".into()),
            Self::NoFolder { .. } => Some("name the folder of the lake with --lake or KEFU_LAKE".into()),
            Self::NoAccount { .. } => Some("pick one of those with --account, or leave it out".into()),
            Self::OtherZone { lake, .. } => Some(format!("keep --timezone {lake}, or begin another lake with --lake")),
            Self::TextsDropped { .. } => {
                Some("remove the rules in [metrics] with a text, a prefix or a regex, or fetch the day again with --force".into())
            }
            Self::Damaged { key, .. } => key.as_ref().map(|key| match Table::METRICS.contains(&key.table) {
                true => "move it away: `kefu metrics` computes it again, unless its messages are gone; then put it back from a copy".into(),
                false => format!(
                    "put the file back from a copy; or, while WeChat has the day's records, `kefu fetch --date {} --force` fetches it again, and `kefu metrics` \
                     then computes what depends on it", key.date
                ),
            }),
            Self::DamagedApp { .. } => {
                Some("write into it the name of the account whose files have the records of this app, or move it away: the next run that fetches writes it again".into())
            }
            Self::DamagedMark { .. } => Some(
                "put it back from a copy, or write it again: for each pruned table the first day that was kept, as in {\"messages\":\"2024-05-14\"}; \
                 without it, metrics next to pruned days would be computed again from what is left"
                    .into(),
            ),
            Self::Io(error) if error.get_ref().is_some_and(|cause| cause.is::<NotPlain>()) => {
                Some("something stands where a file of the lake belongs: move it away, then run again".into())
            }
            Self::Io(error) => match error.kind() {
                std::io::ErrorKind::FileTooLarge => {
                    Some("files may only grow so large here (`ulimit -f`, LimitFSIZE): raise that, then run again; nothing half-written was left".into())
                }
                std::io::ErrorKind::QuotaExceeded => Some("this user's quota of the disk is used up: free some space, then run again; nothing half-written was left".into()),
                std::io::ErrorKind::StorageFull => Some("free some space, then run again; nothing half-written was left".into()),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    Some("give this user access to the lake (write access, but for commands that only read), or choose another one with --lake".into())
                }
                std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::IsADirectory => {
                    Some("something stands where a folder or a file of the lake belongs: move it away, then run again".into())
                }
                std::io::ErrorKind::NotFound => {
                    Some("something has taken a folder of the lake away while kefu was at work: if its disk is no longer mounted, mount it; then run again, which makes what is missing".into())
                }
                std::io::ErrorKind::OutOfMemory | std::io::ErrorKind::WouldBlock => {
                    Some(MEMORY_HINT.to_owned())
                }
                _ => None,
            },
            Self::Parquet { .. } => Some("check that the disk has space and is healthy, then run again".into()),
            Self::Shape(_) => None,
        }
    }
}

impl From<ArrowError> for LakeError {
    fn from(error: ArrowError) -> Self {
        match error {
            // Of a spill, which Arrow writes itself.
            ArrowError::IoError(_, error) => Self::Io(error),
            other => Self::Shape(other),
        }
    }
}

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

fn on(file_system: Option<&str>) -> String {
    file_system
        .map_or_else(String::new, |file_system| format!(" on its file system ({file_system})"))
}

/// The day of a folder with partitions.
fn day_of(folder: &Path) -> Option<Day> {
    folder.file_name()?.to_str()?.strip_prefix("date=")?.parse().ok()
}

fn one_or_more(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.iter().cloned().collect::<Vec<_>>().join(", ")
    }
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
