//! Days of which two files are being changed, the messages and the rejects. No rename can change both at once, so a note in kefu's own folder says for as long as it takes
//! that they may not belong together. The next run finds what a run that was killed has left of them, and fetches those days again.

use std::collections::BTreeSet;

use super::{Account, Lake, LakeError, list};
use crate::calendar::Day;

/// Folder of the notes, in kefu's own.
const FOLDER: &str = "unfinished";

/// Length of a day's name.
const DAY_CHARACTERS: usize = "2016-06-01".len();

impl Lake {
    /// Takes note that a day's files are about to be changed. The lake must be held.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn begin_changing(&self, account: &Account, day: Day) -> Result<(), LakeError> {
        self.require_lock()?;
        let folder = self.own_folder().join(FOLDER);
        // Kefu's own folder must be there: a lake that has vanished is not begun anew.
        match self.disk.create_folder(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error.into());
            }
            _ => {}
        }
        self.disk.create_note(&self.note_of(account, day))?;
        self.disk.sync_folder(&folder)?;
        Ok(self.disk.sync_folder(&self.own_folder())?)
    }

    /// Takes the note away: the files belong together, whether they were changed or not. Were this lost in a power cut, the day would be fetched again for nothing.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn end_changing(&self, account: &Account, day: Day) -> Result<(), LakeError> {
        self.require_lock()?;
        match self.disk.remove_file(&self.note_of(account, day)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether a day's files may not belong together.
    pub fn is_unfinished(&self, account: &Account, day: Day) -> bool {
        self.note_of(account, day).exists()
    }

    /// The days whose files may not belong together, with the names of their accounts.
    ///
    /// # Errors
    /// When the folder is there and cannot be listed.
    pub fn unfinished(&self) -> Result<BTreeSet<(Day, String)>, LakeError> {
        let noted = |name: &str| {
            let (day, rest) = name.split_at_checked(DAY_CHARACTERS)?;
            Some((day.parse().ok()?, rest.strip_prefix('.')?.to_owned()))
        };
        let notes = list(&self.own_folder().join(FOLDER))?;
        Ok(notes.iter().filter_map(|note| noted(note.file_name()?.to_str()?)).collect())
    }

    /// The same, of one account.
    ///
    /// # Errors
    /// When the folder is there and cannot be listed.
    pub fn unfinished_days(&self, account: &Account) -> Result<BTreeSet<Day>, LakeError> {
        let of_account = |(day, name): (Day, String)| (name == account.as_str()).then_some(day);
        Ok(self.unfinished()?.into_iter().filter_map(of_account).collect())
    }

    fn note_of(&self, account: &Account, day: Day) -> std::path::PathBuf {
        self.own_folder().join(FOLDER).join(format!("{day}.{account}"))
    }
}
