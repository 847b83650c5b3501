//! Checks whether the two files of a day, its messages and its rejects, belong together.
//!
//! No rename can replace both files at once. So the rejects are committed first, then the messages,
//! whose footer contains the content hash of the rejects. Rejects that the messages do not name are
//! removed last. If a run is killed in between, the files of the day disagree, and the next run of
//! the account fetches the day again.
//!
//! Earlier versions of kefu wrote a note for such a day, `_kefu/unfinished/<day>.<account>`. Their
//! footers contain only the number of rejects.

use std::collections::BTreeSet;

use super::store::Key;
use super::{Account, ContentHash, Footer, Lake, LakeError, OWN, Table, entry};
use crate::calendar::Day;

/// Value of [`entry::REJECTS_HASH`] for messages without rejects.
const NONE: &str = "none";

/// Folder of the notes of earlier versions.
const NOTES: &str = "unfinished";

/// Length of a day in the name of a note.
const DAY_CHARACTERS: usize = "2016-06-01".len();

impl Footer {
    /// Records the rejects that were fetched with these messages.
    pub(super) fn set_rejects(&mut self, count: u64, content_hash: Option<&ContentHash>) {
        self.set(entry::REJECTS, count);
        self.set(entry::REJECTS_HASH, named(content_hash));
    }

    /// Whether these messages name rejects with this content hash. `None` for a file of an earlier
    /// version of kefu, which does not name them.
    pub fn names_rejects(&self, content_hash: Option<&ContentHash>) -> Option<bool> {
        Some(self.get(entry::REJECTS_HASH)? == named(content_hash))
    }

    /// Whether the entries about rejects are consistent: the hash is `none` exactly when the number
    /// is 0.
    pub(crate) fn has_possible_rejects(&self) -> bool {
        let names_none = self.get(entry::REJECTS_HASH).map(|named| named == NONE);
        names_none.is_none_or(|names_none| names_none == (self.get(entry::REJECTS) == Some("0")))
    }

    /// Whether these messages belong together with the rejects that have the footer `rejects`. In
    /// files of earlier versions, the number of rejects decides.
    pub fn belongs_with(&self, rejects: Option<&Self>) -> bool {
        let names = match rejects {
            None => self.names_rejects(None),
            // A redaction changes the rejects, but not the hash that the messages have of them.
            Some(rejects) => {
                self.get(entry::REJECTS_HASH).map(|named| rejects.is_known_as(&named.into()))
            }
        };
        names.unwrap_or_else(|| {
            let rows = rejects.map_or(Some("0"), |rejects| rejects.get(entry::ROWS));
            self.get(entry::REJECTS) == rows
        })
    }
}

fn named(content_hash: Option<&ContentHash>) -> String {
    content_hash.map_or_else(|| NONE.to_owned(), ToString::to_string)
}

impl Lake {
    /// Whether a run was killed while it changed the files of a day. `messages` is the footer of
    /// the day's messages, if they exist and can be read. A damaged file gives no answer, so this
    /// returns false unless there is a note. `kefu verify` reports damage.
    ///
    /// # Errors
    /// Fails when the lake cannot be read.
    pub fn is_unfinished(
        &self,
        account: &Account,
        day: Day,
        messages: Option<&Footer>,
    ) -> Result<bool, LakeError> {
        if self.has_older_note(account, day)? {
            return Ok(true);
        }
        let rejects = match self.see_footer(&account.partition(Table::Rejects, day))?.1 {
            Err(LakeError::Damaged { .. }) => return Ok(false),
            rejects => rejects?,
        };
        match (messages, &rejects) {
            (Some(messages), rejects) if messages.belongs_with(rejects.as_ref()) => Ok(false),
            (Some(_), Some(_)) => Ok(true),
            (Some(_), None) => Ok(!self.pruned(account)?.includes(Table::Rejects, day)),
            (None, Some(_)) if self.has(&account.partition(Table::Messages, day))? => Ok(false),
            (None, Some(_)) => Ok(!self.pruned(account)?.includes(Table::Messages, day)),
            (None, None) => Ok(false),
        }
    }

    /// Removes the rejects of a day whose messages name none. Looks at the messages again: in a
    /// bucket, another run may have replaced both files meanwhile.
    ///
    /// # Errors
    /// Fails when the lake cannot be read or written.
    pub(crate) fn remove_unnamed_rejects(
        &self,
        account: &Account,
        day: Day,
    ) -> Result<(), LakeError> {
        let rejects = account.partition(Table::Rejects, day);
        if !self.has(&rejects)? {
            return Ok(());
        }
        let messages = self.footer(&account.partition(Table::Messages, day))?;
        match messages.names_rejects(None) {
            Some(true) => self.remove(&rejects),
            _ => Ok(()),
        }
    }

    /// Returns the days with a note of an earlier version of kefu, with the names of their
    /// accounts. Such a note means that a run was changing the day.
    ///
    /// # Errors
    /// Fails when the folder exists and cannot be listed.
    pub fn older_notes(&self) -> Result<BTreeSet<(Day, String)>, LakeError> {
        let noted = |name: &str| {
            let (day, rest) = name.split_at_checked(DAY_CHARACTERS)?;
            Some((day.parse().ok()?, rest.strip_prefix('.')?.to_owned()))
        };
        // No bucket has such notes.
        if !self.is_in_folder() {
            return Ok(BTreeSet::new());
        }
        let notes = self.store.list(&notes())?;
        Ok(notes.iter().filter_map(|note| noted(note.key.name())).collect())
    }

    /// Removes the note of a day, if there is one. Call this when the files of the day belong
    /// together again.
    ///
    /// # Errors
    /// Fails when the disk cannot be written.
    pub(crate) fn remove_older_note(&self, account: &Account, day: Day) -> Result<(), LakeError> {
        if self.has_older_note(account, day)? {
            self.require_lock(account)?;
            self.store.remove(&notes(), &[older_note(account, day)])?;
        }
        Ok(())
    }

    /// No bucket has such notes.
    fn has_older_note(&self, account: &Account, day: Day) -> Result<bool, LakeError> {
        if !self.is_in_folder() {
            return Ok(false);
        }
        Ok(!matches!(self.store.look(&older_note(account, day), 0), Ok(None)))
    }
}

fn notes() -> Key {
    Key::of(OWN).join(NOTES)
}

fn older_note(account: &Account, day: Day) -> Key {
    notes().join(&format!("{day}.{account}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Zone;

    #[test]
    fn messages_belong_with_the_rejects_that_they_name_and_older_ones_with_as_many_as_they_count() {
        let rejects = |hash: &str, rows: u64| {
            let mut footer = Footer::default();
            footer.set(entry::CONTENT_HASH, hash);
            footer.set(entry::ROWS, rows);
            footer
        };
        let (one, other, more) = (rejects("a", 1), rejects("b", 1), rejects("c", 2));
        let mut messages = Footer::default();
        messages.set_rejects(1, Some(&ContentHash::from("a")));
        let belong = |messages: &Footer| {
            [None, Some(&one), Some(&other), Some(&more)]
                .map(|rejects| messages.belongs_with(rejects))
        };
        assert_eq!(belong(&messages), [false, true, false, false]);
        messages.set_rejects(0, None);
        assert_eq!(belong(&messages), [true, false, false, false]);
        let mut older = Footer::default();
        older.set(entry::REJECTS, 1);
        assert_eq!(belong(&older), [false, true, true, false]);
        older.set(entry::REJECTS, 0);
        assert_eq!(belong(&older), [true, false, false, false]);
    }

    #[test]
    fn only_rejects_that_the_messages_do_not_name_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::at(folder.path().join("lake"));
        let (account, zone) =
            (Account::new("acme".into()).unwrap(), Zone::named("Asia/Shanghai").unwrap());
        let day: Day = "2024-05-13".parse().unwrap();
        let _lock = lake.lock(&account).unwrap();
        let key = account.partition(Table::Rejects, day);
        let rejects = lake.stage(key.clone(), zone.name(), zone.bounds(day)).unwrap();
        let rejects = rejects.finish().unwrap();
        let rejects_hash = rejects.content_hash().clone();
        rejects.commit().unwrap();
        for (named, stays) in [(Some(&rejects_hash), true), (None, false)] {
            let messages =
                lake.stage_messages(&account, day, zone.name(), zone.bounds(day)).unwrap();
            let count = u64::from(named.is_some());
            messages.finish(count, named).unwrap().commit().unwrap();
            lake.remove_unnamed_rejects(&account, day).unwrap();
            assert_eq!(lake.has(&key).unwrap(), stays);
        }
    }
}
