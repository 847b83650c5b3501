//! The history of runs, one file each. What is in them is for others to say.

use super::{Account, Lake, LakeError, account_folder};

impl Lake {
    /// Writes the record of a run, in one step, over what it said before.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn enter_run(&self, account: &Account, run: &str, record: &str) -> Result<(), LakeError> {
        let place = account_folder(account).join("runs").join(&format!("{run}.json"));
        // A run that has lost the lock can still say so.
        self.put_own_file(account, &place, record.as_bytes())
    }
}
