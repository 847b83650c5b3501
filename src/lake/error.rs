//! What can go wrong with the lake, and what to do about it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use super::store::NotPlain;
use super::{PartitionKey, Table};
use crate::failure::{Class, Classified, MEMORY_HINT, os_code};

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
    #[error("{path} is not as kefu wrote it: {reason}")]
    DamagedPrivacy { path: PathBuf, reason: String },
    #[error("{what} is locked by another run: {owner}")]
    Occupied { what: String, owner: String },
    #[error("{} was removed or replaced by another process", path.display())]
    Displaced { path: PathBuf },
    #[error("{} was replaced while its day was fetched: another run is at work on it", path.display())]
    Changed { path: PathBuf },
    #[error("{} is a link to a file that does not exist", path.display())]
    Dangling { path: PathBuf },
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
    pub(super) fn damaged(path: impl Into<PathBuf>, reason: String) -> Self {
        Self::Damaged { key: None, path: path.into(), reason }
    }

    /// The same, about this partition.
    #[must_use]
    pub(super) fn of(self, key: &PartitionKey) -> Self {
        match self {
            Self::Damaged { path, reason, .. } => {
                Self::Damaged { key: Some(key.clone()), path, reason }
            }
            other => other,
        }
    }

    /// An error of the Parquet reader. The file is damaged, unless reading it takes more of
    /// something than the machine has: that says nothing about the file.
    pub(super) fn unreadable(path: &Path, error: &dyn std::error::Error) -> Self {
        match os_code(error).filter(|code| EXHAUSTED.contains(code)) {
            Some(code) => {
                let source = std::io::Error::from_raw_os_error(code);
                let unread = Unread { path: path.to_owned(), source };
                Self::Io(std::io::Error::new(unread.source.kind(), unread))
            }
            None => Self::damaged(path, error.to_string()),
        }
    }

    /// A file that should be there is not.
    pub(super) fn not_there(path: &Path) -> Self {
        let source = std::io::Error::from(rustix::io::Errno::NOENT);
        let error = format!("failed to open file `{}`: {source}", path.display());
        Self::Io(std::io::Error::new(source.kind(), error))
    }

    /// An error of the Parquet writer: of the disk, as a rule, and then it should say so.
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
    fn class(&self) -> Class {
        match self {
            Self::Occupied { .. }
            | Self::Displaced { .. }
            | Self::Changed { .. }
            | Self::Overtaken => Class::Occupied,
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
            | Self::DamagedPrivacy { .. }
            | Self::Dangling { .. }
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
            Self::Changed { .. } => Some("run again when it has finished: every file in the lake is whole".into()),
            Self::Dangling { .. } => Some("put the file back to which it leads, or move the link away; then run again".into()),
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
            Self::DamagedPrivacy { .. } => Some(
                "put it back from a copy: it says which customers are forgotten, and without it a re-fetch would bring them back"
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
