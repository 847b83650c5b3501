//! The history of runs, one file each. What is in them is for others to say.

use super::{Account, Lake, LakeError};

impl Lake {
    /// Writes the record of a run, in one step, over what it said before.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn enter_run(&self, account: &Account, run: &str, record: &str) -> Result<(), LakeError> {
        let name = format!("{run}.json");
        let place = self.account_folder(account).join("runs").join(&name);
        // No other run writes this file, so that one that has lost the lock can still say so.
        self.put_file(account, |_, _| Ok(()), &name, record.as_bytes(), &place)
    }
}
