//! What `verify` can find, in the words of its contract.

use std::path::PathBuf;

use serde::Serialize;

use crate::lake::PartitionKey;

/// Something that is not as promised, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub kind: Kind,
    pub path: PathBuf,
    pub what: String,
    pub advice: String,
    /// The partition that a note is about, which people are shown together with others.
    #[serde(skip)]
    pub partition: Option<PartitionKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A promise is not kept.
    Broken,
    Note,
}

/// What a finding is about. The names are part of kefu's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Something below a table's folder that is no partition.
    Foreign,
    /// A file that is no Parquet, or whose rows cannot be decoded.
    Unreadable,
    /// A file with other columns than its table's.
    Schema,
    /// A file that says it belongs elsewhere.
    Misplaced,
    /// A footer that lacks something, or says something wrong.
    Footer,
    /// Rows other than those that were written.
    ContentHash,
    /// Counts in a footer that are not those of the rows.
    Counts,
    /// Rows of another account.
    Account,
    /// Rows that do not ascend.
    Order,
    /// Rows that are not numbered 0, 1, 2 …
    Seq,
    /// Rows outside their local day.
    Day,
    /// A file that is compressed, cut or indexed in another way than the lake's.
    Encoding,
    /// Row groups or pages whose values are not those that they claim, so that readers skip rows.
    Statistics,
    /// Bytes that kefu would not write for the file's rows and footer.
    Bytes,
    /// Rejects that are missing, or too many, by the count of the messages.
    Rejects,
    /// A file whose personal data was treated otherwise than the account's settings say.
    Openids,
    /// A redaction that was interrupted, or a record of privacy settings that cannot be read.
    Privacy,
    /// Messages of another app than the account's.
    App,
    /// An account whose files readers skip.
    HiddenAccount,
    /// A lake whose path readers take for that of a partition.
    Place,
    /// Metrics that count other messages than there are.
    Totals,
    /// Metrics other than those that their inputs give.
    Values,
    /// Metrics of messages that are lost: retention did not delete them.
    LostMessages,
    /// Metrics of other messages or parameters than those of now.
    Stale,
    MissingMetrics,
    MissingDays,
    /// Messages and rejects that may not belong together, because a run was killed while it changed them.
    Unfinished,
    /// What a run that was killed has left in staging.
    Staging,
    /// A mark of what was pruned is in the future, so that days would never be fetched.
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
            advice: advice.into(),
            partition: None,
        }
    }

    /// The same, about a partition.
    pub(super) fn of_partition(self, key: PartitionKey) -> Self {
        Self { partition: Some(key), ..self }
    }
}
