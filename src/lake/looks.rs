//! What a run remembers of its lake. One look at a file answers every question about it, until the
//! run itself changes the file.
//!
//! What another run changes meanwhile is not lost: a commit and a read name the version that was
//! looked at, and fail with [`LakeError::Changed`] when another one is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::store::{Key, Look, TAIL_BYTES, Version};
use super::{
    Account, AppId, Footer, Lake, LakeError, OWN, PartitionKey, Seen, Table, account_folder,
    privacy, prune,
};
use crate::calendar::Day;

/// Number of files that are looked at before their footers are read. The ends of that many files
/// are in memory at once, up to 64 KiB of each.
pub(super) const LOOKS_AT_ONCE: usize = 512;

/// What a look at the place of a partition found.
#[derive(Clone, Debug)]
pub(super) struct Looked {
    pub(super) seen: Seen,
    /// Size of the file.
    pub(super) bytes: u64,
    /// None when nothing is there. The inner error says why the file is damaged.
    pub(super) footer: Result<Option<Footer>, String>,
}

impl Looked {
    fn nothing() -> Self {
        Self { seen: Seen::nothing(), bytes: 0, footer: Ok(None) }
    }
}

/// What the accounts of a command know of the files of `rejects` in a bucket.
#[derive(Debug, Default)]
pub(super) struct SharedRejects {
    listed: Option<Arc<RejectsFiles>>,
    /// Files that this process has written or removed.
    changed: BTreeSet<Key>,
}

/// The files of `rejects`, of all accounts.
#[derive(Debug)]
pub(super) struct RejectsFiles {
    files: BTreeSet<Key>,
    /// By the name of the account.
    days: BTreeMap<String, BTreeSet<Day>>,
}

impl RejectsFiles {
    fn of(files: Vec<Key>) -> Self {
        let mut days: BTreeMap<String, BTreeSet<Day>> = BTreeMap::new();
        for file in &files {
            if let (Some(name), Some(day)) = (file.account_name(), file.folder().day()) {
                days.entry(name.to_owned()).or_default().insert(day);
            }
        }
        Self { files: files.into_iter().collect(), days }
    }
}

fn is_of_rejects(place: &Key) -> bool {
    place.is_below(&Key::of_table(Table::Rejects))
}

/// The looks of a run.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    partitions: BTreeMap<Key, Looked>,
    /// Version and content of small files of kefu's own. None for those that are not there.
    small: BTreeMap<Key, Option<(Version, Bytes)>>,
    /// The files of `rejects`, once they were listed.
    rejects: Option<Arc<RejectsFiles>>,
    /// Files of `rejects` that may exist although they were not listed.
    new_rejects: BTreeSet<Key>,
    /// The app whose record this run has written or confirmed.
    app: Option<AppId>,
    /// Number of changes that this run has made. A look that began before one says nothing after
    /// it.
    changes: u64,
}

impl Looks {
    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partition(&self, place: &Key) -> Option<Looked> {
        let remembered = self.remembered();
        let is_listed = |rejects: &Arc<RejectsFiles>| {
            rejects.files.contains(place) || remembered.new_rejects.contains(place)
        };
        match remembered.partitions.get(place) {
            Some(looked) => Some(looked.clone()),
            None if is_of_rejects(place) && !remembered.rejects.as_ref().is_none_or(is_listed) => {
                Some(Looked::nothing())
            }
            None => None,
        }
    }

    pub(super) fn small(&self, place: &Key) -> Option<Option<(Version, Bytes)>> {
        self.remembered().small.get(place).cloned()
    }

    /// The number of changes so far, to be given with what is then looked at.
    pub(super) fn changes(&self) -> u64 {
        self.remembered().changes
    }

    fn add(&self, began: u64, add: impl FnOnce(&mut Remembered)) {
        let mut remembered = self.remembered();
        if remembered.changes == began {
            add(&mut remembered);
        }
    }

    fn add_partition(&self, began: u64, place: Key, looked: &Looked) {
        self.add(began, |remembered| {
            remembered.partitions.insert(place, looked.clone());
        });
    }

    pub(super) fn add_small(&self, began: u64, place: Key, look: Option<Look>) {
        self.add(began, |remembered| {
            remembered.small.insert(place, look.map(|look| (look.version, look.tail)));
        });
    }

    /// Forgets what was seen of a file, because it was or will be changed. A file of `rejects` that
    /// was not listed may exist now, so it is looked at again.
    pub(super) fn forget(&self, place: &Key) {
        let mut remembered = self.remembered();
        remembered.changes += 1;
        remembered.partitions.remove(place);
        remembered.small.remove(place);
        if is_of_rejects(place) {
            remembered.new_rejects.insert(place.clone());
        }
    }

    pub(super) fn note_recorded(&self, app: &AppId) {
        self.remembered().app = Some(app.clone());
    }

    pub(super) fn has_recorded(&self, app: &AppId) -> bool {
        self.remembered().app.as_ref() == Some(app)
    }

    /// The version of a file that was looked at.
    pub(super) fn version(&self, place: &Key) -> Option<Version> {
        self.remembered().partitions.get(place)?.seen.there().cloned()
    }

    /// The size of a file that was looked at.
    pub(super) fn bytes(&self, place: &Key) -> Option<u64> {
        Some(self.remembered().partitions.get(place)?.bytes)
    }

    /// The footers of an account in a table that were looked at, the last day first.
    fn footers(&self, table: Table, account: &Account) -> Vec<(Day, Footer)> {
        let remembered = self.remembered();
        let of_account = remembered.partitions.iter().rev().filter_map(|(place, looked)| {
            let day = place.day_of_partition(table, account)?;
            Some((day, looked.footer.as_ref().ok()?.clone()?))
        });
        of_account.collect()
    }
}

impl Lake {
    /// The same lake, which remembers from now on what it looks at. For the work of one run on one
    /// account, or for a command that only reads.
    #[must_use]
    pub fn remembering(&self) -> Self {
        Self { looks: Some(Default::default()), ..self.clone() }
    }

    /// Forgets what this run has seen of a file.
    pub(super) fn forget(&self, place: &Key) {
        self.looks.iter().for_each(|looks| looks.forget(place));
        if is_of_rejects(place) {
            self.shared_rejects().changed.insert(place.clone());
        }
    }

    /// The footers of an account in a table that this run has looked at, the last day first.
    pub(super) fn seen_footers(&self, table: Table, account: &Account) -> Vec<(Day, Footer)> {
        self.looks.iter().flat_map(|looks| looks.footers(table, account)).collect()
    }

    /// Looks at the place of a partition, once in a run.
    ///
    /// # Errors
    /// When a bucket does not say, and when what is there is no file.
    pub(super) fn look_at(&self, key: &PartitionKey) -> Result<Looked, LakeError> {
        let place = Key::of_partition(key);
        let Some(looks) = &self.looks else {
            return self.understood(&place, self.store.look(&place, TAIL_BYTES)?);
        };
        if let Some(looked) = looks.partition(&place) {
            return Ok(looked);
        }
        let began = looks.changes();
        let looked = self.understood(&place, self.store.look(&place, TAIL_BYTES)?)?;
        looks.add_partition(began, place, &looked);
        Ok(looked)
    }

    /// Looks at partitions at the same time, so that later questions about them wait for nothing.
    /// Does nothing in a folder, where a look is quick.
    ///
    /// # Errors
    /// When a bucket does not say.
    pub fn look_ahead(
        &self,
        keys: impl IntoIterator<Item = PartitionKey>,
    ) -> Result<(), LakeError> {
        let places = keys.into_iter().map(|key| Key::of_partition(&key));
        self.look_ahead_at(places.collect(), Vec::new())
    }

    /// Looks at messages of an account, and at what is recorded of it, at the same time.
    ///
    /// # Errors
    /// When a bucket does not say.
    pub fn look_ahead_at_account(
        &self,
        account: &Account,
        days: impl IntoIterator<Item = Day>,
    ) -> Result<(), LakeError> {
        let of_messages = |day| Key::of_partition(&account.partition(Table::Messages, day));
        let own = [prune::MARK, privacy::FILE].map(|file| account_folder(account).join(file));
        let small = own.into_iter().chain([Key::of(OWN).join(prune::MARK)]);
        self.look_ahead_at(days.into_iter().map(of_messages).collect(), small.collect())
    }

    fn look_ahead_at(&self, partitions: Vec<Key>, small: Vec<Key>) -> Result<(), LakeError> {
        let Some(looks) = self.looks.as_ref().filter(|_| !self.is_in_folder()) else {
            return Ok(());
        };
        let partitions = partitions.into_iter().filter(|place| looks.partition(place).is_none());
        let partitions = partitions.map(|place| (place, TAIL_BYTES));
        let small = small.into_iter().filter(|place| looks.small(place).is_none());
        let wanted: Vec<(Key, u64)> =
            partitions.chain(small.map(|place| (place, u64::MAX))).collect();
        let began = looks.changes();
        for wanted in wanted.chunks(LOOKS_AT_ONCE) {
            let found = self.store.look_all(wanted)?;
            for ((place, tail), look) in wanted.iter().cloned().zip(found) {
                match tail {
                    TAIL_BYTES => {
                        let looked = self.understood(&place, look)?;
                        looks.add_partition(began, place, &looked);
                    }
                    _ => looks.add_small(began, place, look),
                }
            }
        }
        Ok(())
    }

    /// The days of an account with a file of `rejects`. There are few in a lake, so all of them are
    /// listed at once, for all accounts of a command.
    pub(super) fn days_with_rejects(&self, account: &Account) -> Result<BTreeSet<Day>, LakeError> {
        let began = self.looks.as_ref().map_or(0, |looks| looks.changes());
        let (listed, changed) = self.listed_rejects()?;
        let mut days = listed.days.get(account.as_str()).cloned().unwrap_or_default();
        // Those that this process has removed do no harm: each day is looked at.
        let changed = changed.into_iter();
        let changed: BTreeSet<Key> = changed
            .filter(|place| place.day_of_partition(Table::Rejects, account).is_some())
            .collect();
        days.extend(changed.iter().filter_map(|place| place.folder().day()));
        if let Some(looks) = &self.looks {
            looks.add(began, |remembered| {
                remembered.rejects = Some(listed);
                remembered.new_rejects.extend(changed);
            });
        }
        Ok(days)
    }

    /// The files of `rejects` when they were listed, and those that this process has changed since.
    fn listed_rejects(&self) -> Result<(Arc<RejectsFiles>, BTreeSet<Key>), LakeError> {
        // Other accounts wait for the one that lists.
        let mut shared = self.shared_rejects();
        let listed = match &shared.listed {
            Some(listed) => listed.clone(),
            None => {
                let files = self.store.files_of_days(&Key::of_table(Table::Rejects))?;
                shared.listed.insert(Arc::new(RejectsFiles::of(files))).clone()
            }
        };
        Ok((listed, shared.changed.clone()))
    }

    fn shared_rejects(&self) -> MutexGuard<'_, SharedRejects> {
        self.shared.rejects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a look found, with the footer.
    fn understood(&self, place: &Key, look: Option<Look>) -> Result<Looked, LakeError> {
        let Some(look) = look else { return Ok(Looked::nothing()) };
        let (seen, bytes) = (Seen::version(look.version.clone()), look.bytes);
        let footer = match self.footer_in(place, look) {
            Ok(footer) => Ok(Some(footer)),
            Err(LakeError::Damaged { reason, .. }) => Err(reason),
            Err(error) => return Err(error),
        };
        Ok(Looked { seen, bytes, footer })
    }
}
