//! A partition of the lake.

use std::fmt;

use super::calendar::Day;
use super::{Account, Table};

/// One file of the lake: the rows of a table for an account and a local day.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey {
    pub table: Table,
    pub account: Account,
    pub date: Day,
}

impl PartitionKey {
    pub fn new(table: Table, account: &Account, date: Day) -> Self {
        Self { table, account: account.clone(), date }
    }
}

/// `messages of acme, 2024-05-13`
impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, account, date } = self;
        write!(f, "{table} of {account}, {date}")
    }
}
