//! The findings of `verify`.

use std::path::PathBuf;

use serde::Serialize;

use crate::hint;
use crate::lake::PartitionKey;
use crate::printable::serialize_path;

/// A failed check, or a note.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub kind: Kind,
    #[serde(serialize_with = "serialize_path")]
    pub path: PathBuf,
    pub what: String,
    pub advice: String,
    /// The partition that the finding is about. Text output groups findings by partition.
    #[serde(skip)]
    pub partition: Option<PartitionKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A check failed.
    Broken,
    Note,
}

/// Kind of a finding. The names are part of kefu's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file or folder below a table's folder that is not a partition.
    Foreign,
    /// A file that is not Parquet, or whose rows cannot be decoded.
    Unreadable,
    /// A file whose columns differ from those of its table.
    Schema,
    /// A file whose footer names another table, account or day.
    Misplaced,
    /// A footer with missing or wrong entries.
    Footer,
    /// Rows that differ from those that were written.
    ContentHash,
    /// Counts in a footer that differ from those of the rows.
    Counts,
    /// Rows of another account.
    Account,
    /// Rows that are not in ascending order.
    Order,
    /// Rows that are not numbered 0, 1, 2 … in `seq`.
    Seq,
    /// Rows outside their local day.
    Day,
    /// A file with other compression, row groups or indexes than the lake's files have.
    Encoding,
    /// Row groups or pages with wrong statistics, so that readers skip rows.
    Statistics,
    /// Bytes that differ from what kefu writes for the file's rows and footer.
    Bytes,
    /// Rejects that the messages count and that are missing, or rejects without messages.
    Rejects,
    /// A file whose personal data does not match the account's privacy settings.
    Openids,
    /// An interrupted redaction, or a record of privacy settings that cannot be read.
    Privacy,
    /// Messages or a record of another app than the account's.
    App,
    /// An account whose name makes readers skip its files.
    HiddenAccount,
    /// A lake whose path readers take for that of a partition.
    Place,
    /// Metrics whose counts differ from those of the messages.
    Totals,
    /// Metrics that differ from a second computation from the same inputs.
    Values,
    /// Metrics whose messages are lost: missing, although retention did not delete them.
    LostMessages,
    /// Metrics that are missing and cannot be computed again, because retention deleted their
    /// messages.
    LostMetrics,
    /// Metrics of other messages or parameters than the current ones.
    Stale,
    MissingMetrics,
    MissingDays,
    /// Messages and rejects that may not belong together, because a run was killed while it changed
    /// them.
    Unfinished,
    /// Files that a killed run left in staging.
    Staging,
    /// A retention mark in the future, so that days would never be fetched.
    Mark,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Unreadable => "unreadable",
            Self::Schema => "schema",
            Self::Misplaced => "misplaced",
            Self::Footer => "footer",
            Self::ContentHash => "content_hash",
            Self::Counts => "counts",
            Self::Account => "account",
            Self::Order => "order",
            Self::Seq => "seq",
            Self::Day => "day",
            Self::Encoding => "encoding",
            Self::Statistics => "statistics",
            Self::Bytes => "bytes",
            Self::Rejects => "rejects",
            Self::Openids => "openids",
            Self::Privacy => "privacy",
            Self::App => "app",
            Self::HiddenAccount => "hidden_account",
            Self::Place => "place",
            Self::Totals => "totals",
            Self::Values => "values",
            Self::Stale => "stale",
            Self::MissingMetrics => "missing_metrics",
            Self::LostMessages => "lost_messages",
            Self::LostMetrics => "lost_metrics",
            Self::MissingDays => "missing_days",
            Self::Unfinished => "unfinished",
            Self::Staging => "staging",
            Self::Mark => "mark",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Self::Stale
            | Self::MissingMetrics
            | Self::MissingDays
            | Self::Unfinished
            | Self::Staging => Severity::Note,
            _ => Severity::Broken,
        }
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Finding {
    pub(super) fn new(
        kind: Kind,
        path: PathBuf,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            severity: kind.severity(),
            kind,
            path,
            what: what.into(),
            advice: hint::complete(advice),
            partition: None,
        }
    }

    /// Sets the partition that the finding is about.
    pub(super) fn of_partition(self, key: PartitionKey) -> Self {
        Self { partition: Some(key), ..self }
    }
}
