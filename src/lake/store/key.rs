//! The name of a file or folder in the lake.

use crate::calendar::Day;
use crate::model::{Account, PartitionKey, Table};

/// A path relative to the lake's root, like `messages/date=2024-05-13/acme.parquet`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The folder of the lake itself.
    pub fn root() -> Self {
        Self(String::new())
    }

    /// A folder or a file of the root.
    pub fn of(name: &str) -> Self {
        Self(name.to_owned())
    }

    pub fn of_table(table: Table) -> Self {
        Self::of(table.name())
    }

    /// The folder of a day's partitions.
    pub fn of_date(table: Table, day: Day) -> Self {
        Self(format!("{table}/date={day}"))
    }

    pub fn of_partition(key: &PartitionKey) -> Self {
        Self::of_date(key.table, key.date).join(&format!("{}.parquet", key.account))
    }

    /// A file or a folder of this folder.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::of(name) } else { Self(format!("{}/{name}", self.0)) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder that it is in.
    #[must_use]
    pub fn folder(&self) -> Self {
        self.0.rsplit_once('/').map_or_else(Self::root, |(folder, _)| Self::of(folder))
    }

    /// Without the folders.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.as_str(), |(_, name)| name)
    }

    /// Whether it is in this folder, at any depth.
    pub fn is_below(&self, folder: &Self) -> bool {
        self.0.strip_prefix(&folder.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The day of the partition of this account and table, if it is one.
    pub fn day_of_partition(&self, table: Table, account: &Account) -> Option<Day> {
        let path = self.0.strip_prefix(table.name())?.strip_prefix("/date=")?;
        let (day, file) = path.split_once('/')?;
        let is_of_account = file.strip_suffix(".parquet") == Some(account.as_str());
        is_of_account.then(|| day.parse().ok()).flatten()
    }

    /// The day of a folder with partitions.
    pub fn day(&self) -> Option<Day> {
        self.name().strip_prefix("date=")?.parse().ok()
    }

    /// The name of a file with a partition, which may be none that an account can have.
    pub fn account_name(&self) -> Option<&str> {
        self.name().strip_suffix(".parquet")
    }

    /// The account of a file with a partition.
    pub fn account(&self) -> Option<Account> {
        Account::existing(self.account_name()?.to_owned()).ok()
    }
}
