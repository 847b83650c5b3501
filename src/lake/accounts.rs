//! The accounts of a lake, and the folder that kefu keeps for each.

use std::collections::BTreeSet;

use super::store::Key;
use super::{Account, Lake, LakeError, OWN, Table};

/// Folder in kefu's own with a folder for each account.
pub(super) const ACCOUNTS: &str = "accounts";

pub(super) fn accounts_folder() -> Key {
    Key::of(OWN).join(ACCOUNTS)
}

/// Where the lock, the staging, the retention mark and the run history of an account are.
pub(super) fn account_folder(account: &Account) -> Key {
    accounts_folder().join(account.as_str())
}

impl Lake {
    /// The accounts that have a file in any table [of days](Table::of_days).
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn accounts(&self) -> Result<BTreeSet<String>, LakeError> {
        self.accounts_in(Table::of_days())
    }

    /// The accounts that have a file in any of these tables.
    fn accounts_in(
        &self,
        tables: impl Iterator<Item = Table>,
    ) -> Result<BTreeSet<String>, LakeError> {
        let mut accounts = BTreeSet::new();
        for table in tables {
            let files = self.store.files_of_days(&Key::of_table(table))?;
            let names = files.iter().filter_map(|file| file.account_name());
            accounts.extend(names.map(str::to_owned));
        }
        Ok(accounts)
    }

    /// The accounts that have a file in any table or a folder of their own, but for names that no
    /// account could have.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub(super) fn known_accounts(&self) -> Result<BTreeSet<Account>, LakeError> {
        let folders = self.store.list(&accounts_folder())?.into_iter();
        let named = folders.map(|folder| folder.key.name().to_owned());
        let names = self.accounts()?.into_iter().chain(named);
        Ok(names.filter_map(|name| Account::existing(name).ok()).collect())
    }

    /// The accounts of these names, or all accounts if no name is given. Leaves out names that no
    /// account could have; `kefu verify` reports those.
    ///
    /// # Errors
    /// [`LakeError::NoAccount`] when one is not there, or when a folder cannot be listed.
    pub fn accounts_named(&self, named: &[String]) -> Result<Vec<Account>, LakeError> {
        among(self.accounts()?, named)
    }

    /// The accounts of these names, like [`accounts_named`](Self::accounts_named). Includes
    /// accounts that have only lists of workers, because these have names.
    ///
    /// # Errors
    /// Those of [`accounts_named`](Self::accounts_named).
    pub fn accounts_to_redact(&self, named: &[String]) -> Result<Vec<Account>, LakeError> {
        among(self.accounts_in(Table::ALL.into_iter())?, named)
    }
}

/// The accounts of these names among those that are there; all of them, if none is named.
fn among(there: BTreeSet<String>, named: &[String]) -> Result<Vec<Account>, LakeError> {
    if let Some(unknown) = named.iter().find(|name| !there.contains(*name)) {
        return Err(LakeError::NoAccount { unknown: unknown.clone(), there });
    }
    let wanted = there.into_iter().filter(|name| named.is_empty() || named.contains(name));
    Ok(wanted.filter_map(|name| Account::existing(name).ok()).collect())
}
