//! The accounts that a command works on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::identity::Identity;
use super::{Settings, SettingsError};
use crate::lake::Account;
use crate::model::Shard;

impl Settings {
    /// The settings of each selected account, one by one.
    pub fn each_account(&self) -> impl Iterator<Item = Self> {
        self.identities.iter().map(|identity| self.of(identity))
    }

    /// The settings of the selected account with this index.
    pub fn nth_account(&self, index: usize) -> Option<Self> {
        self.identities.get(index).map(|identity| self.of(identity))
    }

    fn of(&self, identity: &Identity) -> Self {
        Self { identities: Arc::new(vec![identity.clone()]), ..self.clone() }
    }

    /// The names of the selected accounts.
    ///
    /// # Errors
    /// When an account has no name.
    pub fn account_names(&self) -> Result<Vec<Account>, SettingsError> {
        self.identities.iter().map(Identity::name).collect()
    }

    /// The names of all accounts of the shard, including those not selected by name. None for a
    /// single account, because the lake may have others.
    pub fn all_accounts(&self) -> Option<BTreeSet<String>> {
        let in_shard = |name: &&String| self.shard.is_none_or(|shard| shard.contains(name));
        Some(self.all_accounts.as_deref()?.iter().filter(in_shard).cloned().collect())
    }

    /// The same settings for those of the selected accounts that have one of these names. For all
    /// selected ones without names.
    #[must_use]
    pub fn for_names(mut self, names: &[String]) -> Self {
        let is_named = |identity: &Identity| {
            identity.name().is_ok_and(|name| names.iter().any(|picked| picked == name.as_str()))
        };
        Arc::make_mut(&mut self.identities)
            .retain(|identity| names.is_empty() || is_named(identity));
        self
    }

    /// The same settings for those of the selected accounts that are in the shard.
    #[must_use]
    pub fn in_shard(self, shard: Option<Shard>) -> Self {
        let identities = Arc::unwrap_or_clone(self.identities);
        Self { identities: Arc::new(in_shard(shard, identities)), shard, ..self }
    }

    /// The shard of the selected accounts, if they are not all.
    pub fn shard(&self) -> Option<Shard> {
        self.shard
    }

    /// The same settings for accounts with a known name only. That is enough for commands that make
    /// no calls.
    #[must_use]
    pub fn for_accounts(self, accounts: impl IntoIterator<Item = Account>) -> Self {
        let identities = accounts
            .into_iter()
            .map(|account| Identity::named(account, self.lake.origin.clone()))
            .collect();
        Self { identities: Arc::new(identities), all_accounts: None, ..self }
    }
}

/// The accounts in the shard. Keeps an account without a name, so that its use reports what is
/// missing.
pub(super) fn in_shard(shard: Option<Shard>, mut identities: Vec<Identity>) -> Vec<Identity> {
    if let Some(shard) = shard {
        identities
            .retain(|identity| identity.name().map_or(true, |name| shard.contains(name.as_str())));
    }
    identities
}

/// Maximum number of account names in an error.
const NAMES_SHOWN: usize = 20;

/// The names as a text, cut after the first ones.
pub(super) fn first_few(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(NAMES_SHOWN) {
        Some(others @ 1..) => format!("{shown} and {others} more"),
        _ => shown,
    }
}
