//! Which days of an account are there.

use std::collections::{BTreeMap, BTreeSet};

use super::store::Key;
use super::{Account, Lake, LakeError, PartitionKey, Table};
use crate::calendar::Day;
use crate::threads;

/// Days that a bucket is asked about at the same time.
const DAYS_AT_ONCE: usize = 32;

impl Lake {
    /// Whether a partition is there.
    ///
    /// # Errors
    /// When a bucket does not say. In a folder, what cannot be examined is no partition.
    pub fn has(&self, key: &PartitionKey) -> Result<bool, LakeError> {
        Ok(self.see(key)?.is_there())
    }

    /// The first of the days for which an account has a partition.
    pub(super) fn first_with(
        &self,
        table: Table,
        account: &Account,
        days: impl IntoIterator<Item = Day>,
    ) -> Result<Option<Day>, LakeError> {
        let mut days = days.into_iter();
        // Most often the first one is there. Further ones in a bucket are asked for together.
        let mut count = 1;
        loop {
            let some: Vec<Day> = days.by_ref().take(count).collect();
            let there = self.days_among(table, account, some.iter().copied())?;
            if some.is_empty() || !there.is_empty() {
                return Ok(some.into_iter().find(|day| there.contains(day)));
            }
            count = if self.is_in_folder() { 1 } else { DAYS_AT_ONCE };
        }
    }

    /// Those of the days for which an account has a partition.
    ///
    /// # Errors
    /// When a bucket does not say.
    pub fn days_among(
        &self,
        table: Table,
        account: &Account,
        days: impl IntoIterator<Item = Day>,
    ) -> Result<BTreeSet<Day>, LakeError> {
        let keys: Vec<_> = days.into_iter().map(|day| account.partition(table, day)).collect();
        if !self.is_in_folder() && self.looks.is_none() {
            let places = keys.iter().map(|key| (Key::of_partition(key), 0));
            let looks = self.store.look_all(&places.collect::<Vec<_>>())?;
            let there = keys.iter().zip(looks).filter(|(_, look)| look.is_some());
            return Ok(there.map(|(key, _)| key.date).collect());
        }
        self.look_ahead(keys.iter().cloned())?;
        let is_there = |key: PartitionKey| Ok::<_, LakeError>(self.has(&key)?.then_some(key.date));
        let there: Vec<Option<Day>> = threads::map(keys, true, is_there)?;
        Ok(there.into_iter().flatten().collect())
    }

    /// The days for which an account has a partition, in order.
    ///
    /// # Errors
    /// When the folder is there but cannot be listed.
    pub fn days(&self, table: Table, account: &Account) -> Result<BTreeSet<Day>, LakeError> {
        if table == Table::Rejects && !self.is_in_folder() {
            return self.days_with_rejects(account);
        }
        self.days_among(table, account, self.date_folders(table)?.into_keys())
    }

    /// The last day for which an account has a partition.
    ///
    /// # Errors
    /// When the folder is there but cannot be listed.
    pub fn last_day(&self, table: Table, account: &Account) -> Result<Option<Day>, LakeError> {
        self.first_with(table, account, self.date_folders(table)?.into_keys().rev())
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
        self.first_with(table, account, folders.range(..day).rev().map(|(day, _)| *day))
    }

    /// The first day for which an account has a partition of any table [of days](Table::of_days):
    /// of messages, or of what is left of days that were deleted by retention.
    ///
    /// # Errors
    /// When a folder is there but cannot be listed.
    pub fn first_day(&self, account: &Account) -> Result<Option<Day>, LakeError> {
        let first = |table: Table| -> Result<Option<Day>, LakeError> {
            self.first_with(table, account, self.date_folders(table)?.into_keys())
        };
        let firsts = Table::of_days().map(first).collect::<Result<Vec<_>, _>>()?;
        Ok(firsts.into_iter().flatten().min())
    }

    /// Whether an account has a partition of any table [of days](Table::of_days).
    ///
    /// # Errors
    /// When a folder is there but cannot be listed.
    pub fn has_account(&self, account: &Account) -> Result<bool, LakeError> {
        for table in Table::of_days() {
            // As a rule, an account that is there has the newest day.
            let days = self.date_folders(table)?.into_keys().rev();
            if self.first_with(table, account, days)?.is_some() {
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
