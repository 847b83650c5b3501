//! The `kefu.` key-values in the Parquet footer of a file.

use std::collections::BTreeMap;

use parquet::file::metadata::{KeyValue, ParquetMetaData};

use super::{AppId, ContentHash, PartitionKey, Table};
use crate::calendar::{Day, Span};
use crate::model::privacy::AppliedPrivacy;

const PREFIX: &str = "kefu.";

/// The keys of the entries, without the prefix.
pub mod entry {
    // Of every file.
    pub const SCHEMA_VERSION: &str = "schema_version";
    pub const TABLE: &str = "table";
    pub const ACCOUNT: &str = "account";
    pub const DATE: &str = "date";
    pub const TIMEZONE: &str = "timezone";
    pub const WINDOW_START: &str = "window_start";
    pub const WINDOW_END: &str = "window_end";
    pub const ROWS: &str = "rows";
    pub const CONTENT_HASH: &str = "content_hash";

    /// How the personal data was treated. Missing if all of it was kept.
    pub const PRIVACY: &str = "privacy";
    /// The content hashes that the rows had before redactions. Missing without a redaction.
    pub const REDACTED_FROM: &str = "redacted_from";

    // Of `messages`.
    pub const MESSAGES_RECEIVED: &str = "messages_received";
    pub const MESSAGES_SENT: &str = "messages_sent";
    pub const MESSAGES_OTHER: &str = "messages_other";
    /// Number of rejects.
    pub const REJECTS: &str = "rejects";
    /// Content hash of the rejects. Missing in files of earlier versions.
    pub const REJECTS_HASH: &str = "rejects_hash";
    /// Missing in files of earlier versions, and of accounts with only a token.
    pub const APP_ID: &str = "app_id";

    // Of metrics.
    pub const DEFINITIONS_VERSION: &str = "definitions_version";
    pub const PARAMETERS: &str = "parameters";
    pub const INPUTS: &str = "inputs";
    pub const HORIZON: &str = "horizon";
    pub const FINAL: &str = "final";
}

/// Privacy of a file without a `privacy` entry.
const EVERYTHING_KEPT: &str = "text=keep openid=keep";

/// Privacy of a file of metrics without a `privacy` entry.
const OPENIDS_KEPT: &str = "openid=keep";

/// Key-values of a footer in the order of their keys, without the prefix. All values follow from
/// the records and parameters. Times and durations of the run are not allowed, because equal inputs
/// must give equal files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footer(BTreeMap<String, String>);

impl Footer {
    /// Returns the entries that every file has.
    pub fn new(key: &PartitionKey, zone: &str, window: Span) -> Self {
        let PartitionKey { account, date, table } = key;
        let mut footer = Self::default();
        footer.set(entry::SCHEMA_VERSION, table.schema_version());
        footer.set(entry::TABLE, table);
        footer.set(entry::ACCOUNT, account);
        footer.set(entry::DATE, date);
        footer.set(entry::TIMEZONE, zone);
        footer.set(entry::WINDOW_START, window.start);
        footer.set(entry::WINDOW_END, window.end);
        footer
    }

    pub fn set(&mut self, key: &str, value: impl ToString) {
        self.0.insert(key.to_owned(), value.to_string());
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The keys of all entries.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Describes where entries of this footer differ from those of `other`, or are missing.
    pub fn contradictions(&self, other: &Self) -> Vec<String> {
        let contradiction = |(key, expected): (&String, &String)| match self.get(key) {
            Some(said) if said == expected => None,
            Some(said) => Some(format!("`{key}` is {said} instead of {expected}")),
            None => Some(format!("`{key}` is missing")),
        };
        other.0.iter().filter_map(contradiction).collect()
    }

    pub fn zone(&self) -> &str {
        self.get(entry::TIMEZONE).unwrap_or_default()
    }

    /// How the personal data of messages or rejects was treated before it was written.
    pub fn privacy(&self) -> &str {
        self.get(entry::PRIVACY).unwrap_or(EVERYTHING_KEPT)
    }

    /// How the personal data in a file of this table was treated. Metrics have no texts.
    pub fn privacy_of(&self, table: Table) -> &str {
        let unchanged = if table.names_customers() { OPENIDS_KEPT } else { EVERYTHING_KEPT };
        self.get(entry::PRIVACY).unwrap_or(unchanged)
    }

    /// Records how the personal data in a file of this table was treated. Without a change, there
    /// is no entry.
    pub fn set_privacy(&mut self, table: Table, privacy: &AppliedPrivacy) {
        let privacy = if table.names_customers() { privacy.of_openids() } else { privacy.clone() };
        match privacy.to_string() {
            kept if [OPENIDS_KEPT, EVERYTHING_KEPT].contains(&kept.as_str()) => {
                self.0.remove(entry::PRIVACY);
            }
            applied => self.set(entry::PRIVACY, applied),
        }
    }

    /// How the openids were treated, from the `privacy` entry.
    pub fn openids(&self) -> &str {
        self.privacy()
            .split_whitespace()
            .find_map(|word| word.strip_prefix("openid="))
            .unwrap_or_default()
    }

    /// Content hashes of the messages that metrics were computed from, for each day. Empty if the
    /// entry is missing or cannot be read.
    pub fn inputs(&self) -> BTreeMap<Day, ContentHash> {
        self.get(entry::INPUTS)
            .and_then(|inputs| serde_json::from_str(inputs).ok())
            .unwrap_or_default()
    }

    /// Whether the messages still have their texts.
    pub fn has_texts(&self) -> bool {
        !self.privacy().starts_with("text=drop")
    }

    /// App id of the messages. Missing in files of earlier versions, and in files that were fetched
    /// with only a token.
    pub fn app_id(&self) -> Option<AppId> {
        AppId::new(self.get(entry::APP_ID)?.to_owned()).ok()
    }

    /// Whether the metrics can no longer change, because the three days after their day are
    /// fetched.
    pub fn is_final(&self) -> bool {
        self.get(entry::FINAL) == Some("true")
    }

    /// Content hash of the file's rows.
    pub fn content_hash(&self) -> Option<ContentHash> {
        self.get(entry::CONTENT_HASH).map(ContentHash::from)
    }

    /// Whether no text was removed from the file, of any customer.
    pub fn has_all_texts(&self) -> bool {
        self.has_texts() && self.get(entry::REDACTED_FROM).is_none()
    }

    /// Content hashes that the file's rows had before redactions, the latest first. Metrics of
    /// those rows are still up to date.
    pub fn redacted_from(&self) -> impl Iterator<Item = ContentHash> {
        self.get(entry::REDACTED_FROM)
            .into_iter()
            .flat_map(|hashes| hashes.split(' '))
            .map(ContentHash::from)
    }

    /// Whether the file's rows have this content hash, or had it before a redaction.
    pub fn is_known_as(&self, content_hash: &ContentHash) -> bool {
        self.content_hash().into_iter().chain(self.redacted_from()).any(|own| own == *content_hash)
    }

    /// Adds the content hashes of the file `before` its redaction.
    pub(super) fn set_redacted(&mut self, before: &Self) {
        let before = before.content_hash().into_iter().chain(before.redacted_from());
        let before: Vec<String> = before.map(|hash| hash.to_string()).collect();
        self.set(entry::REDACTED_FROM, before.join(" "));
    }

    pub(super) fn key_values(&self) -> impl Iterator<Item = KeyValue> {
        self.0.iter().map(|(key, value)| KeyValue::new(format!("{PREFIX}{key}"), value.clone()))
    }

    pub(super) fn of(metadata: &ParquetMetaData) -> Self {
        let entries = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        Self(
            entries
                .filter_map(|entry| {
                    Some((entry.key.strip_prefix(PREFIX)?.to_owned(), entry.value.clone()?))
                })
                .collect(),
        )
    }
}
