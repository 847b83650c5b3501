//! Which days of an account are there.

use std::collections::{BTreeMap, BTreeSet};

use super::store::Key;
use super::{Account, Lake, LakeError, PartitionKey, Table};
use crate::calendar::{Day, DayRange};

impl Lake {
    /// Whether a partition is there.
    pub fn has(&self, key: &PartitionKey) -> bool {
        matches!(self.store.look(&Key::of_partition(key), 0), Ok(Some(_)))
    }

    /// The days for which an account has a partition, in order.
    ///
    /// # Errors
    /// When the folder is there but cannot be listed.
    pub fn days(&self, table: Table, account: &Account) -> Result<BTreeSet<Day>, LakeError> {
        let days = self.date_folders(table)?.into_keys();
        Ok(days.filter(|day| self.has(&account.partition(table, *day))).collect())
    }

    /// The first and the last day for which an account has a partition.
    ///
    /// # Errors
    /// When the folder is there but cannot be listed.
    pub fn first_and_last(
        &self,
        table: Table,
        account: &Account,
    ) -> Result<Option<DayRange>, LakeError> {
        let folders = self.date_folders(table)?;
        let is_there = |day: &&Day| self.has(&account.partition(table, **day));
        let (first, last) = (folders.keys().find(is_there), folders.keys().rfind(is_there));
        Ok(first.zip(last).map(|(first, last)| DayRange { first: *first, last: *last }))
    }

    /// The last day before one for which an account has a partition.
    ///
    /// # Errors
    /// When the folder is there but cannot be listed.
    pub fn last_day_before(
        &self,
        table: Table,
        account: &Account,
        day: Day,
    ) -> Result<Option<Day>, LakeError> {
        let folders = self.date_folders(table)?;
        let mut before = folders.range(..day).rev().map(|(day, _)| *day);
        Ok(before.find(|day| self.has(&account.partition(table, *day))))
    }

    /// The first day for which an account has a partition of any table: of messages, or of what is
    /// left of days that were deleted by retention.
    ///
    /// # Errors
    /// When a folder is there but cannot be listed.
    pub fn first_day(&self, account: &Account) -> Result<Option<Day>, LakeError> {
        let first = |table: Table| -> Result<Option<Day>, LakeError> {
            let mut days = self.date_folders(table)?.into_keys();
            Ok(days.find(|day| self.has(&account.partition(table, *day))))
        };
        let firsts = Table::ALL.into_iter().map(first).collect::<Result<Vec<_>, _>>()?;
        Ok(firsts.into_iter().flatten().min())
    }

    /// Whether an account has a partition of any table.
    ///
    /// # Errors
    /// When a folder is there but cannot be listed.
    pub fn has_account(&self, account: &Account) -> Result<bool, LakeError> {
        for table in Table::ALL {
            // As a rule, an account that is there has the newest day.
            if self
                .date_folders(table)?
                .into_keys()
                .rev()
                .any(|day| self.has(&account.partition(table, day)))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn date_folders(&self, table: Table) -> Result<BTreeMap<Day, Key>, LakeError> {
        let folders = self.store.list(&Key::of_table(table))?.into_iter();
        Ok(folders.filter_map(|folder| Some((folder.key.day()?, folder.key))).collect())
    }
}
