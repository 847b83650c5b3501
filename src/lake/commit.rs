//! Puts files into the lake. Every file that a reader can see passes through here.
//!
//! Commits are safe without the lock, because some network file systems ignore locks and a lock
//! file can be removed: [`super::store`] puts a file in one step, and only over the expected file.

use std::io::Write;

use super::store::{Expected, Key, StagedFile};
use super::{Account, Lake, LakeError, PartitionKey};

impl Lake {
    /// Moves a staged file, which must be synced, to its place, where it replaces the expected one.
    ///
    /// # Errors
    /// - [`LakeError::Displaced`] when another process has replaced the staged file or the lock
    ///   file of the account
    /// - [`LakeError::Changed`] when the file in place is not the expected one
    ///
    /// The file in place is then unchanged.
    pub(super) fn put(
        &self,
        account: &Account,
        staged: StagedFile,
        place: &Key,
        expected: &Expected,
    ) -> Result<(), LakeError> {
        let put = self.store.put(place, staged, expected, &|| self.require_lock(account));
        self.forget(place);
        put
    }

    /// Puts a file with this content at a place in the lake, in one step.
    pub(super) fn put_file(
        &self,
        account: &Account,
        place: &Key,
        content: &[u8],
        expected: &Expected,
    ) -> Result<(), LakeError> {
        self.put(account, self.stage_file(account, place, content)?, place, expected)
    }

    /// The same for a file that no other run writes. Does not need the lock.
    pub(super) fn put_own_file(
        &self,
        account: &Account,
        place: &Key,
        content: &[u8],
    ) -> Result<(), LakeError> {
        let staged = self.stage_file(account, place, content)?;
        let put = self.store.put(place, staged, &Expected::Any, &|| Ok(()));
        self.forget(place);
        put
    }

    fn stage_file(
        &self,
        account: &Account,
        place: &Key,
        content: &[u8],
    ) -> Result<StagedFile, LakeError> {
        let (staged, mut file) = self.staging.create(&self.disk, account, place.name())?;
        file.write_all(content)?;
        staged.sync()?;
        Ok(staged)
    }

    /// Removes a partition, if it exists.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn remove(&self, key: &PartitionKey) -> Result<(), LakeError> {
        self.require_lock(&key.account)?;
        let place = Key::of_partition(key);
        let removed =
            self.store.remove(&Key::of_date(key.table, key.date), std::slice::from_ref(&place));
        self.forget(&place);
        removed
    }
}
