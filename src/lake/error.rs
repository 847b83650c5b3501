//! Errors of the lake, with hints for the user.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use super::store::{BucketError, NotPlain, SCRATCH_HINT, ScratchFull};
use super::{PartitionKey, Table};
use crate::failure::{Classified, EXHAUSTED, ErrorKind, MEMORY_HINT, os_code};
use crate::threads::ThreadsError;

#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    // fs-err's errors name the operation and the path.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Bucket(Box<BucketError>),
    #[error(transparent)]
    Threads(#[from] ThreadsError),
    #[error("{path} cannot be written as Parquet")]
    Parquet { path: PathBuf, source: ParquetError },
    #[error("the rows do not match the schema of the table")]
    Shape(#[source] ArrowError),
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// `None` while only the path is known.
        key: Option<PartitionKey>,
        path: PathBuf,
        reason: String,
    },
    #[error("{path} is not valid: {reason}")]
    DamagedRecord { record: OwnRecord, path: PathBuf, reason: String },
    #[error("{what} is locked by another run: {owner}")]
    Occupied { what: String, owner: String },
    #[error("{} was removed or replaced by another process", path.display())]
    Displaced { path: PathBuf },
    #[error("{} was replaced by another run while this run fetched its day", path.display())]
    Changed { path: PathBuf },
    #[error("{} is a link to a file that does not exist", path.display())]
    Dangling { path: PathBuf },
    #[error("a run began while the lake was being read, so the findings may come from its changes")]
    Overtaken,
    #[error("{} cannot be locked{}", path.display(), on(file_system.as_deref()))]
    NoLocks { path: PathBuf, file_system: Option<String>, source: std::io::Error },
    #[error("the path of the lake at {} has a folder that readers take for a partition: {folder}", root.display())]
    Misread { root: PathBuf, folder: String },
    #[error("there is no lake at {root}")]
    Absent { root: PathBuf },
    #[error("{root} is not a folder")]
    NoFolder { root: PathBuf },
    #[error("the lake has no account `{}`; known accounts: {}", unknown.escape_debug(), one_or_more(there))]
    NoAccount { unknown: String, there: BTreeSet<String> },
    #[error("the days of the lake are in the time zone {lake}, so no days in {asked} can be added")]
    OtherZone { lake: String, asked: String },
    #[error(
        "the texts of {} on {} were dropped, but the rules for automatic replies need them",
        key.account, key.date
    )]
    TextsDropped { key: PartitionKey },
}

/// A file of kefu's own, without which a run could lose data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnRecord {
    /// The account of an app.
    App,
    /// The retention mark of an account.
    Mark,
    /// The privacy settings and the forgotten customers of an account.
    Privacy,
}

impl OwnRecord {
    /// What to do when the file is damaged.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::App => {
                "write the name of the account with the records of this app into the file, or move the file out of the lake. The next run that fetches writes it again"
            }
            Self::Mark => {
                "restore the file from a backup, or write it again: for each pruned table, the first day that was kept, as in {\"messages\":\"2024-05-14\"}. \
                 Without it, metrics next to pruned days would be computed again from the remaining messages"
            }
            Self::Privacy => {
                "restore the file from a backup. It lists the forgotten customers, and without it a re-fetch would bring them back"
            }
        }
    }
}

/// A file that cannot be read because the machine or the process has run out of a resource.
#[derive(Debug, thiserror::Error)]
#[error("failed to read file `{}`: {source}", path.display())]
struct Unread {
    path: PathBuf,
    source: std::io::Error,
}

impl LakeError {
    /// Returns the error for a file of a table that is not as kefu wrote it.
    pub(super) fn damaged(path: impl Into<PathBuf>, reason: String) -> Self {
        Self::Damaged { key: None, path: path.into(), reason }
    }

    /// Adds the partition to the error.
    #[must_use]
    pub(super) fn of(self, key: &PartitionKey) -> Self {
        match self {
            Self::Damaged { path, reason, .. } => {
                Self::Damaged { key: Some(key.clone()), path, reason }
            }
            other => other,
        }
    }

    /// Converts an error of the Parquet reader. The file counts as damaged, unless the machine or
    /// the process has run out of a resource. Such an error says nothing about the file.
    pub(super) fn unreadable(path: &Path, error: &dyn std::error::Error) -> Self {
        match os_code(error).filter(|code| EXHAUSTED.contains(code)) {
            Some(code) => {
                let source = std::io::Error::from(code);
                let unread = Unread { path: path.to_owned(), source };
                Self::Io(std::io::Error::new(unread.source.kind(), unread))
            }
            None => Self::damaged(path, error.to_string()),
        }
    }

    /// The error for a file that does not exist.
    pub(super) fn not_there(path: &Path) -> Self {
        let source = std::io::Error::from(rustix::io::Errno::NOENT);
        let error = format!("failed to open file `{}`: {source}", path.display());
        Self::Io(std::io::Error::new(source.kind(), error))
    }

    /// Converts an error of the Parquet writer. Most of them come from the disk, and are returned
    /// as errors of the disk.
    pub(super) fn parquet(path: &Path, error: ParquetError) -> Self {
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
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Occupied { .. }
            | Self::Displaced { .. }
            | Self::Changed { .. }
            | Self::Overtaken => ErrorKind::Occupied,
            Self::OtherZone { .. }
            | Self::TextsDropped { .. }
            | Self::Absent { .. }
            | Self::Misread { .. }
            | Self::NoAccount { .. } => ErrorKind::Settings,
            Self::Shape(_) => ErrorKind::Bug,
            Self::Bucket(error) => error.kind(),
            Self::Threads(error) => error.kind(),
            Self::Io(_)
            | Self::Parquet { .. }
            | Self::Damaged { .. }
            | Self::DamagedRecord { .. }
            | Self::Dangling { .. }
            | Self::NoFolder { .. }
            | Self::NoLocks { .. } => ErrorKind::Lake,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Occupied { .. } => Some("run again when the other run has finished".into()),
            Self::Displaced { .. } => Some(
                "do not remove the files named `lock` below `_kefu`, and run kefu on only one of the hosts that share the file system. Then run again. \
                 Another run has the account locked, or its lock file was removed. Every file in the lake is complete"
                    .into(),
            ),
            Self::Changed { .. } => {
                Some("run again when the other run has finished. Every file in the lake is complete".into())
            }
            Self::Dangling { .. } => {
                Some("restore the file that the link names, or move the link away. Then run again".into())
            }
            Self::Overtaken => Some("run again when the other run has finished".into()),
            Self::NoLocks { .. } => Some(
                "move the lake to a local disk and name it with --lake or KEFU_LAKE, or mount this file system with locks \
                 (NFS as version 4 or with rpc.statd running, SMB without `nobrl`). Without the lock, two runs could replace each other's files"
                    .into(),
            ),
            Self::Misread { folder, .. } => Some(format!(
                "move the whole folder of the lake to another path, or name another path with --lake or KEFU_LAKE. The lake stays valid when it is moved as a whole. \
                 In this folder, DuckDB, Spark and pyarrow would add a column for `{folder}` to all rows"
            )),
            Self::Absent { .. } => Some("name the lake with --lake or KEFU_LAKE, or create one with `kefu run`".into()),
            Self::NoFolder { .. } => Some("name the folder of the lake with --lake or KEFU_LAKE".into()),
            Self::NoAccount { .. } => Some("name one of these with --account, or omit --account".into()),
            Self::OtherZone { lake, .. } => Some(format!("use --timezone {lake}, or start another lake with --lake")),
            Self::TextsDropped { .. } => {
                Some("remove the rules in [metrics] with a text, a prefix or a regex, or fetch the day again with --force".into())
            }
            Self::Damaged { key, .. } => key.as_ref().map(|key| match Table::METRICS.contains(&key.table) {
                true => "run `kefu verify`. Unless it says how to compute the file again, restore the file from a backup".into(),
                false => format!(
                    "restore the file from a backup. Or, while WeChat has the day's records, run `kefu fetch --date {} --force` to fetch it again, then `kefu metrics` \
                     to compute what depends on it", key.date
                ),
            }),
            Self::DamagedRecord { record, .. } => Some(record.advice().into()),
            Self::Io(error) if error.get_ref().is_some_and(|cause| cause.is::<NotPlain>()) => {
                Some("move what is at this path out of the lake, then run again: a regular file belongs there".into())
            }
            Self::Io(error) if error.get_ref().is_some_and(|cause| cause.is::<ScratchFull>()) => {
                Some(format!("{SCRATCH_HINT}, then run again. No partial file was left"))
            }
            Self::Io(error) => match error.kind() {
                std::io::ErrorKind::FileTooLarge => {
                    Some("raise the limit of file sizes (`ulimit -f`, LimitFSIZE= of systemd), then run again. No partial file was left".into())
                }
                std::io::ErrorKind::QuotaExceeded => Some("free some space, then run again: this user's disk quota is used up. No partial file was left".into()),
                std::io::ErrorKind::StorageFull => Some("free some space, then run again. No partial file was left".into()),
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    Some("give this user access to the lake, or choose another lake with --lake. Commands that only read need no write access".into())
                }
                std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::IsADirectory => {
                    Some("move what is at this path out of the lake, then run again: a folder or a file of the lake belongs there".into())
                }
                std::io::ErrorKind::NotFound => {
                    Some("mount the disk of the lake if it is no longer mounted, then run again. A folder of the lake disappeared during the run; the next run creates what is missing".into())
                }
                std::io::ErrorKind::OutOfMemory | std::io::ErrorKind::WouldBlock => {
                    Some(MEMORY_HINT.to_owned())
                }
                _ => None,
            },
            Self::Parquet { .. } => Some("check that the disk has space and is healthy, then run again".into()),
            Self::Bucket(error) => error.hint(),
            Self::Threads(error) => error.hint(),
            Self::Shape(_) => None,
        }
    }
}

impl From<ArrowError> for LakeError {
    fn from(error: ArrowError) -> Self {
        match error {
            // Comes from a spill file, which Arrow writes itself.
            ArrowError::IoError(_, error) => Self::Io(error),
            other => Self::Shape(other),
        }
    }
}

impl From<BucketError> for LakeError {
    fn from(error: BucketError) -> Self {
        Self::Bucket(Box::new(error))
    }
}

fn on(file_system: Option<&str>) -> String {
    file_system
        .map_or_else(String::new, |file_system| format!(" on its file system ({file_system})"))
}

fn one_or_more(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.iter().cloned().collect::<Vec<_>>().join(", ")
    }
}
