//! A partition of the lake.

use std::fmt;

use super::calendar::Day;
use super::{Account, Table};

/// One file of the lake: the rows of a table for an account and a local day.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey {
    pub account: Account,
    pub date: Day,
    pub table: Table,
}

impl Account {
    /// The key of one of the account's partitions.
    pub fn partition(&self, table: Table, date: Day) -> PartitionKey {
        PartitionKey { account: self.clone(), date, table }
    }
}

impl PartitionKey {
    /// The partition of another table for the same account and day.
    #[must_use]
    pub fn of(&self, table: Table) -> Self {
        Self { table, ..self.clone() }
    }
}

/// Renders a key like `messages of acme, 2024-05-13`.
impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, date, table } = self;
        write!(f, "{table} of {account}, {date}")
    }
}
