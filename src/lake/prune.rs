//! Deletes old partitions for good, and records that they were deleted on purpose.
//!
//! The record is written first, so that each missing day is known to be deleted or lost, even if a
//! prune is killed. The same prune again deletes the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::store::{Entry, Expected, Key, Kind, Look};
use super::{Account, DANGLING, Lake, LakeError, OWN, OwnRecord, Table, account_folder, entry};
use crate::calendar::Day;

/// The file in an account's own folder that says what was pruned. Earlier versions of kefu had one
/// for the whole lake.
pub(super) const MARK: &str = "pruned.json";

/// Up to where each table of an account was pruned: the first day that was not, by the table's
/// name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pruned(BTreeMap<String, Day>);

impl Pruned {
    /// Whether a partition that is not there was deleted on purpose.
    pub fn includes(&self, table: Table, day: Day) -> bool {
        self.0.get(table.name()).is_some_and(|first_kept| day < *first_kept)
    }

    /// The first day of a table that was not pruned. None where no day was.
    pub fn first_kept(&self, table: Table) -> Option<Day> {
        self.0.get(table.name()).copied()
    }

    /// A mark after this day: the table's name, and its first day that was not pruned.
    pub fn mark_after(&self, day: Day) -> Option<(&str, Day)> {
        let mut marks = self.0.iter().map(|(table, first_kept)| (table.as_str(), *first_kept));
        marks.find(|(_, first_kept)| *first_kept > day)
    }

    fn add(&mut self, table: Table, before: Day) {
        let first_kept = self.0.entry(table.name().to_owned()).or_insert(before);
        *first_kept = before.max(*first_kept);
    }
}

/// A partition as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFile {
    pub day: Day,
    /// The name of the account.
    pub account: String,
    pub path: PathBuf,
    pub bytes: u64,
}

/// How often a mark is written when another process writes it at the same time.
const MARK_ATTEMPTS: usize = 5;

/// What is wrong with a mark in the future.
pub(crate) fn in_the_future(table: &str, first_kept: Day) -> String {
    format!("the first kept day of {table} is {first_kept}, which is in the future")
}

impl Lake {
    /// What was pruned of an account so far.
    ///
    /// # Errors
    /// [`LakeError::DamagedRecord`] when there is a mark that kefu did not write.
    pub fn pruned(&self, account: &Account) -> Result<Pruned, LakeError> {
        let mut key = own_mark(account);
        let mut mark = self.small_file(&key, |reason| self.damaged_mark(&key, reason))?;
        if mark.is_none() {
            key = mark_of_lake();
            mark = self.small_file(&key, |reason| self.damaged_mark(&key, reason))?;
        }
        let Some(mark) = mark else { return Ok(Pruned::default()) };
        let damaged = |reason| self.damaged_mark(&key, reason);
        let pruned: Pruned =
            serde_json::from_slice(&mark).map_err(|error| damaged(error.to_string()))?;
        let is_table = |name: &String| Table::ALL.iter().any(|table| table.name() == name);
        match pruned.0.keys().find(|name| !is_table(name)) {
            Some(name) => Err(damaged(format!("it names a table that does not exist: {name}"))),
            None => Ok(pruned),
        }
    }

    /// Where it is noted what was pruned of an account. The mark of an earlier version of kefu is
    /// for all accounts that have none of their own.
    pub fn pruned_mark(&self, account: &Account) -> PathBuf {
        let marks = [own_mark(account), mark_of_lake()];
        let is_there = |key: &&Key| !matches!(self.store.look(key, 0), Ok(None));
        let [own, _] = &marks;
        self.path_of(marks.iter().find(is_there).unwrap_or(own))
    }

    fn damaged_mark(&self, key: &Key, reason: String) -> LakeError {
        LakeError::DamagedRecord { record: OwnRecord::Mark, path: self.path_of(key), reason }
    }

    /// Checks that no future day is marked as pruned: it would never be fetched.
    ///
    /// # Errors
    /// [`LakeError::DamagedRecord`] when one is, and when there is a note that cannot be read.
    pub fn require_no_mark_after(&self, account: &Account, today: Day) -> Result<(), LakeError> {
        match self.pruned(account)?.mark_after(today) {
            None => Ok(()),
            Some((table, first_kept)) => Err(LakeError::DamagedRecord {
                record: OwnRecord::Mark,
                path: self.pruned_mark(account),
                reason: in_the_future(table, first_kept),
            }),
        }
    }

    /// The newest day, up to `last`, for which any account has a partition of any table [of
    /// days](Table::of_days). A file
    /// that does not say of itself that it is of that day does not count: retention is counted back
    /// from here, and a stray file of a far day would make it delete everything.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn newest_day(&self, last: Day) -> Result<Option<Day>, LakeError> {
        let mut newest = None;
        for table in Table::of_days() {
            for (day, folder) in self.date_folders(table)?.range(..=last).rev() {
                let day = *day;
                if newest >= Some(day) {
                    break;
                }
                let written = day.to_string();
                let is_partition = |file: &Entry| {
                    self.footer_of(&file.key)
                        .is_ok_and(|footer| footer.get(entry::DATE) == Some(written.as_str()))
                };
                if self.store.list(folder)?.iter().any(is_partition) {
                    newest = Some(day);
                }
            }
        }
        Ok(newest)
    }

    /// A table's partitions of the days before one, of every account, in order of the days.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn partitions_before(
        &self,
        table: Table,
        before: Day,
    ) -> Result<Vec<PartitionFile>, LakeError> {
        let files = self.files_before(table, before)?.into_iter();
        let files = files.flat_map(|(day, keys)| keys.into_iter().map(move |key| (day, key)));
        let (days, wanted): (Vec<Day>, Vec<(Key, u64)>) =
            files.map(|(day, key)| (day, (key, 0))).unzip();
        let looks = self.store.look_all(&wanted)?;
        let partition = |((day, (key, _)), look): ((Day, &(Key, u64)), Option<Look>)| {
            let account = key.account_name()?.to_owned();
            let (path, bytes) = (self.path_of(key), look.map_or(0, |look| look.bytes));
            Some(PartitionFile { day, account, path, bytes })
        };
        Ok(days.into_iter().zip(&wanted).zip(looks).filter_map(partition).collect())
    }

    /// The files to delete in the folders of a table's days before one, in order. The latest list
    /// of each account's workers stays: it is still valid.
    fn files_before(&self, table: Table, before: Day) -> Result<Vec<(Day, Vec<Key>)>, LakeError> {
        let is_list = table == Table::Workers;
        let (days, folders): (Vec<Day>, Vec<Key>) = self
            .date_folders(table)?
            .into_iter()
            .filter(|(day, _)| is_list || *day < before)
            .unzip();
        let listed = self.store.list_all(&folders)?;
        let partitions = |entries: Vec<Entry>| -> Vec<Key> {
            let files = entries.into_iter().filter(|file| file.kind == Kind::File);
            files.map(|file| file.key).filter(|key| key.account_name().is_some()).collect()
        };
        let mut found: Vec<(Day, Vec<Key>)> =
            days.into_iter().zip(listed.into_iter().map(partitions)).collect();
        if is_list {
            let mut latest = BTreeSet::new();
            for (_, files) in found.iter_mut().rev() {
                files.retain(|file| !latest.insert(file.name().to_owned()));
            }
            found.retain(|(day, _)| *day < before);
        }
        Ok(found)
    }

    /// Deletes the tables' partitions of the days before one, of every account. They must be
    /// [locked](Lake::lock_all). Calls `next` before each day of a
    /// table.
    ///
    /// # Errors
    /// When the disk refuses it, and the errors of `next`. What was deleted until then stays so,
    /// and the same again goes on from there.
    pub fn prune<E: From<LakeError>>(
        &self,
        tables: &[Table],
        before: Day,
        next: impl Fn(Table, Day) -> Result<(), E>,
    ) -> Result<(), E> {
        self.remember_pruned(tables, before)?;
        for table in tables {
            for (day, files) in self.files_before(*table, before)? {
                next(*table, day)?;
                // Kefu wrote no file of another name.
                files
                    .iter()
                    .filter_map(Key::account)
                    .try_for_each(|account| self.require_lock(&account))?;
                // Also the folders that a prune left empty when it was killed.
                self.store.remove(&Key::of_date(*table, day), &files)?;
            }
        }
        if tables.contains(&Table::Messages) {
            for (day, account) in self.older_notes()?.into_iter().filter(|(day, _)| *day < before) {
                Account::existing(account)
                    .map_or(Ok(()), |account| self.remove_older_note(&account, day))?;
            }
        }
        Ok(())
    }

    fn remember_pruned(&self, tables: &[Table], before: Day) -> Result<(), LakeError> {
        for account in self.known_accounts()? {
            let mut added = self.add_to_mark(&account, tables, before);
            // In a bucket, another prune may write the mark at the same time.
            for _ in 1..MARK_ATTEMPTS {
                if matches!(added, Err(LakeError::Changed { .. })) {
                    added = self.add_to_mark(&account, tables, before);
                }
            }
            added?;
        }
        Ok(())
    }

    /// Adds tables to the mark of an account.
    ///
    /// # Errors
    /// [`LakeError::Changed`] when another process has written it meanwhile.
    fn add_to_mark(
        &self,
        account: &Account,
        tables: &[Table],
        before: Day,
    ) -> Result<(), LakeError> {
        let key = own_mark(account);
        let look = self.store.look(&key, 0).map_err(|error| match error {
            LakeError::Dangling { .. } => self.damaged_mark(&key, DANGLING.to_owned()),
            error => error,
        });
        let seen = look?.map(|look| look.version);
        self.forget(&key);
        let mut pruned = self.pruned(account)?;
        // No list of workers is ever missed.
        let missed = tables.iter().filter(|table| **table != Table::Workers);
        missed.for_each(|table| pruned.add(*table, before));
        let mark = format!("{}\n", serde_json::json!(pruned));
        self.put_file(account, &key, mark.as_bytes(), &Expected::Seen(seen))
    }
}

fn own_mark(account: &Account) -> Key {
    account_folder(account).join(MARK)
}

fn mark_of_lake() -> Key {
    Key::of(OWN).join(MARK)
}
