//! The lake: where things are on disk, in which shape, and how they get there.
//!
//! It owns every Parquet file and every path, and sees no HTTP and no metric. The invariant it keeps: a file below a table's
//! folder is complete and was put there by one rename, whatever happened on the way.

mod account;
mod commit;
mod disk;
mod examine;
mod footer;
mod hash;
mod lock;
mod messages;
mod read;
mod runs;
mod schema;
mod spill;
mod table;
mod write;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use account::Account;
pub use disk::{Obstacle, Operation};
pub use examine::{Contents, Examined, Survey};
pub use footer::Footer;
pub use hash::ContentHash;
pub use lock::Lock;
pub use messages::{MessageCounts, StagedMessages};
pub use read::RECORD_COLUMNS;
pub use schema::SCHEMA_VERSION;
pub use spill::Spill;
pub use table::Table;
pub use write::{FinishedPartition, PartitionFacts, StagedPartition};

use disk::Disk;
use parquet::errors::ParquetError;

use crate::calendar::Day;
use crate::failure::{Class, Classified};

/// The values of `messages.opercode` that metrics are made of; any other is kept as it came.
pub mod opercode {
    /// The worker sent a message (OUT).
    pub const WORKER_SENT: i32 = 2002;
    /// The worker received a customer's message (IN).
    pub const WORKER_RECEIVED: i32 = 2003;
}

/// Folder of kefu's own, below the lake, that no query reads.
const OWN: &str = "_kefu";

#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    // fs-err's errors name the operation and the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{path} cannot be written as Parquet")]
    Parquet { path: PathBuf, source: ParquetError },
    #[error("the rows do not have the shape of the table")]
    Shape(#[from] arrow::error::ArrowError),
    #[error("{path} is not as kefu wrote it: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("the lake is held by another run: {holder}")]
    Occupied { holder: String },
    #[error("there is no lake at {root}")]
    Absent { root: PathBuf },
    #[error("the lake was begun in the time zone {lake}, and its days cannot be continued in {asked}")]
    OtherZone { lake: String, asked: String },
}

impl LakeError {
    /// An error of the Parquet writer: of the disk, as a rule, and then it should say so.
    fn parquet(path: &Path, error: ParquetError) -> Self {
        match error {
            ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
                Ok(cause) => Self::Io(std::io::Error::new(cause.kind(), format!("cannot write {}: {cause}", path.display()))),
                Err(cause) => Self::Parquet { path: path.to_owned(), source: ParquetError::External(cause) },
            },
            source => Self::Parquet { path: path.to_owned(), source },
        }
    }
}

impl Classified for LakeError {
    fn class(&self) -> Class {
        match self {
            Self::Occupied { .. } => Class::Occupied,
            Self::OtherZone { .. } | Self::Absent { .. } => Class::Settings,
            Self::Shape(_) => Class::Bug,
            Self::Io(_) | Self::Parquet { .. } | Self::Damaged { .. } => Class::Lake,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Occupied { .. } => Some("run again when it has finished".into()),
            Self::Absent { .. } => Some("name it with --lake or KEFU_LAKE; `kefu run` makes one".into()),
            Self::OtherZone { lake, .. } => Some(format!("keep --timezone {lake}, or begin another lake with --lake")),
            Self::Damaged { .. } => Some(
                "fetch that day again: `kefu fetch --date … --force` replaces its messages, and `kefu metrics` then what depends on them"
                    .into(),
            ),
            Self::Io(error) => match error.kind() {
                std::io::ErrorKind::StorageFull => Some("free some space, then run again; nothing half-written was left".into()),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    Some("give this user write access to the lake, or choose another one with --lake".into())
                }
                _ => None,
            },
            Self::Parquet { .. } => Some("check that the disk has space and is healthy, then run again".into()),
            Self::Shape(_) => None,
        }
    }
}

/// A folder with the tables of one or more accounts.
#[derive(Clone, Debug)]
pub struct Lake {
    root: PathBuf,
    disk: Disk,
}

impl Lake {
    /// Names the lake; touches nothing.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), disk: Disk::default() }
    }

    /// The same lake, with something in the way of all that changes it.
    #[must_use]
    pub fn behind(self, obstacle: Arc<dyn Obstacle>) -> Self {
        Self { disk: Disk::behind(obstacle), ..self }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a partition is, or would be.
    pub fn path(&self, table: Table, account: &Account, day: Day) -> PathBuf {
        self.partition_folder(table, day).join(format!("{account}.parquet"))
    }

    fn partition_folder(&self, table: Table, day: Day) -> PathBuf {
        self.root.join(table.name()).join(format!("date={day}"))
    }

    fn own_folder(&self) -> PathBuf {
        self.root.join(OWN)
    }

    fn staging_folder(&self) -> PathBuf {
        self.own_folder().join("staging")
    }

    /// The days for which an account has a partition, in order.
    ///
    /// # Errors
    /// When the folder is there but cannot be listed.
    pub fn days(&self, table: Table, account: &Account) -> Result<BTreeSet<Day>, LakeError> {
        let mut days = BTreeSet::new();
        for folder in list(&self.root.join(table.name()))? {
            let name = folder.file_name().and_then(|name| name.to_str());
            let day = name.and_then(|name| name.strip_prefix("date=")).and_then(|day| day.parse().ok());
            if let Some(day) = day
                && self.path(table, account, day).is_file()
            {
                days.insert(day);
            }
        }
        Ok(days)
    }

    /// Checks that the lake's days are cut in this time zone, whoever's they are.
    ///
    /// # Errors
    /// [`LakeError::OtherZone`] when they are cut in another one.
    pub fn require_zone(&self, zone: &str) -> Result<(), LakeError> {
        let mut folders = list(&self.root.join(Table::Messages.name()))?;
        folders.sort();
        for path in folders.iter().map(|folder| list(folder)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            // A file that is damaged must not keep anyone from fetching it again; the next one tells as well.
            let Ok(footer) = read::footer_of(&path) else { continue };
            let lake = footer.zone();
            return if lake == zone { Ok(()) } else { Err(LakeError::OtherZone { lake: lake.to_owned(), asked: zone.to_owned() }) };
        }
        Ok(())
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

    /// The accounts that have messages.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn accounts(&self) -> Result<BTreeSet<String>, LakeError> {
        let folders = list(&self.root.join(Table::Messages.name()))?;
        let files = folders.iter().map(|folder| list(folder)).collect::<Result<Vec<_>, _>>()?;
        Ok(files.into_iter().flatten().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect())
    }

    /// Checks that there is a lake to read.
    ///
    /// # Errors
    /// [`LakeError::Absent`] when its folder is not there.
    pub fn require_folder(&self) -> Result<(), LakeError> {
        if self.root.is_dir() { Ok(()) } else { Err(LakeError::Absent { root: self.root.clone() }) }
    }
}

/// What a folder holds; nothing when it is not there, or is none.
fn list(folder: &Path) -> Result<Vec<PathBuf>, LakeError> {
    match fs_err::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}
