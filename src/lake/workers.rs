//! The lists of an account's workers: one partition for each day on which the list had changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use rayon::prelude::*;

use super::store::{Expected, Key};
use super::{Account, ContentHash, Lake, LakeError, Table, account_folder};
use crate::calendar::{Day, Zone};
use crate::model::ListedWorker;
use crate::model::column::typed;

/// The file in an account's own folder that has the day of its latest list.
const NOTE: &str = "workers";

impl Lake {
    /// Writes the list of an account's workers, sorted by `worker`, as that of a day. Does nothing
    /// when the latest list up to that day is the same. The account must be [locked](Lake::lock).
    ///
    /// Returns whether the list was written.
    ///
    /// # Errors
    /// When the lake cannot be read or written. A damaged list counts as another one.
    pub fn record_workers(
        &self,
        account: &Account,
        day: Day,
        zone: &Zone,
        workers: &[ListedWorker],
    ) -> Result<bool, LakeError> {
        let key = account.partition(Table::Workers, day);
        let mut staged = self.stage(key, zone.name(), zone.bounds(day))?;
        staged.append(rows(account, workers)?)?;
        let finished = staged.finish()?;
        let is_the_same = self.latest_list(account, day)?.as_ref() == Some(finished.content_hash());
        if !is_the_same {
            // The note comes first: one that names a list that is not there does no harm.
            self.put_file(
                account,
                &note_of(account),
                format!("{day}\n").as_bytes(),
                &Expected::Any,
            )?;
            finished.commit()?;
        }
        Ok(!is_the_same)
    }

    /// The content hash of the latest list up to a day. None when that list is damaged.
    fn latest_list(&self, account: &Account, day: Day) -> Result<Option<ContentHash>, LakeError> {
        let hash_of = |latest: Day| match self.footer(&account.partition(Table::Workers, latest)) {
            Err(LakeError::Damaged { .. }) => Ok(None),
            footer => Ok(footer?.content_hash()),
        };
        let noted = self.noted_list(account)?.filter(|noted| *noted <= day);
        if let Some(noted) = noted
            && self.has(&account.partition(Table::Workers, noted))?
        {
            return hash_of(noted);
        }
        let latest = self.last_day_before(Table::Workers, account, day.plus(1))?;
        latest.map_or(Ok(None), hash_of)
    }

    /// The day of the latest list, as the account's own folder has it. Without the note, each day
    /// of the table must be looked at.
    fn noted_list(&self, account: &Account) -> Result<Option<Day>, LakeError> {
        let key = note_of(account);
        let damaged = |reason| LakeError::damaged(self.path_of(&key), reason);
        match self.small_file(&key, damaged) {
            Err(LakeError::Damaged { .. }) => Ok(None),
            note => Ok(note?.and_then(|day| std::str::from_utf8(&day).ok()?.trim().parse().ok())),
        }
    }

    /// The latest name of each worker that ever had one, by account. `kefu verify` reports damaged
    /// lists.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub fn worker_names(
        &self,
        accounts: &[Account],
    ) -> Result<BTreeMap<Account, BTreeMap<String, String>>, LakeError> {
        let accounts: BTreeMap<&str, &Account> =
            accounts.iter().map(|account| (account.as_str(), account)).collect();
        let files = self.store.files_of_days(&Key::of_table(Table::Workers))?;
        let list = |file: &Key| Some((*accounts.get(file.account_name()?)?, file.folder().day()?));
        let mut lists: Vec<(&Account, Day)> = files.iter().filter_map(list).collect();
        lists.sort_unstable();
        let read = |(account, day): (&Account, Day)| match self.names_of(account, day) {
            Err(LakeError::Damaged { .. }) => Ok((account.clone(), Vec::new())),
            listed => Ok((account.clone(), listed?)),
        };
        let read_all = || lists.into_par_iter().map(read).collect::<Result<Vec<_>, LakeError>>();
        let mut names: BTreeMap<Account, BTreeMap<String, String>> = BTreeMap::new();
        for (account, listed) in self.reading(read_all)?? {
            names.entry(account).or_default().extend(listed);
        }
        Ok(names)
    }

    fn names_of(&self, account: &Account, day: Day) -> Result<Vec<(String, String)>, LakeError> {
        let mut listed = Vec::new();
        for batch in self.rows(&account.partition(Table::Workers, day))? {
            let batch = batch?;
            let workers = typed::<StringArray>(&batch, "worker")?.iter();
            let named = workers.zip(typed::<StringArray>(&batch, "nick")?);
            let named = named.filter_map(|(worker, nick)| Some((worker?.into(), nick?.into())));
            listed.extend(named);
        }
        Ok(listed)
    }
}

/// The file with the day of the latest list.
fn note_of(account: &Account) -> Key {
    account_folder(account).join(NOTE)
}

fn rows(account: &Account, workers: &[ListedWorker]) -> Result<RecordBatch, LakeError> {
    let names = std::iter::repeat_n(account.as_str(), workers.len());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(names)),
        Arc::new(StringArray::from_iter_values(workers.iter().map(|worker| &worker.worker))),
        Arc::new(Int64Array::from_iter_values(workers.iter().map(|worker| worker.kf_id))),
        Arc::new(StringArray::from_iter(workers.iter().map(|worker| worker.nick.as_deref()))),
    ];
    Ok(RecordBatch::try_new(Table::Workers.schema(), columns)?)
}
