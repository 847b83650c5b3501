//! The privacy settings of an account: `_kefu/accounts/<account>/privacy.json`, written by `kefu
//! redact` and `kefu forget`. Where it does not exist, the newest files tell the settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::store::{Expected, Key};
use super::{Account, Footer, Lake, LakeError, OwnRecord, Table, account_folder};
use crate::model::privacy::AppliedPrivacy;
use crate::model::redaction::Forgotten;

pub(super) const FILE: &str = "privacy.json";

/// What was done to the personal data of an account.
#[derive(Clone, Debug)]
pub struct AccountPrivacy {
    pub applied: AppliedPrivacy,
    /// Whether files may still hold what the settings or `forgotten` exclude: a redaction was
    /// interrupted.
    pub is_pending: bool,
    pub forgotten: Forgotten,
}

/// The same, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    privacy: String,
    pending: bool,
    forgotten: WrittenForgotten,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenForgotten {
    key: String,
    names: BTreeMap<String, String>,
}

impl Lake {
    /// The privacy settings of an account. None while it has no files.
    ///
    /// # Errors
    /// [`LakeError::DamagedRecord`] when the record is not as kefu wrote it; when the lake cannot
    /// be read.
    pub fn privacy(&self, account: &Account) -> Result<Option<AccountPrivacy>, LakeError> {
        if let Some(recorded) = self.recorded_privacy(account)? {
            return Ok(Some(recorded));
        }
        // A run has just looked at some days. Without a record, older files say the same.
        for (_, footer) in self.seen_footers(Table::Messages, account) {
            if let Some(said) = self.privacy_in(account, Table::Messages, &footer)? {
                return Ok(Some(said));
            }
        }
        for table in std::iter::once(Table::Messages).chain(Table::with_openids()) {
            let mut days = self.date_folders(table)?;
            while let Some(day) = self.first_with(table, account, days.keys().rev().copied())? {
                // A damaged file does not tell.
                let footer = self.footer(&account.partition(table, day)).ok();
                let said = footer.map(|footer| self.privacy_in(account, table, &footer));
                if let Some(said) = said.transpose()?.flatten() {
                    return Ok(Some(said));
                }
                days.retain(|other, _| *other < day);
            }
        }
        Ok(None)
    }

    /// Whether a redaction of the account was interrupted. A record that cannot be read does not
    /// tell; `kefu verify` reports it.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub fn has_pending_redaction(&self, account: &Account) -> Result<bool, LakeError> {
        match self.recorded_privacy(account) {
            Err(LakeError::DamagedRecord { .. }) => Ok(false),
            recorded => Ok(recorded?.is_some_and(|recorded| recorded.is_pending)),
        }
    }

    /// The privacy settings that a file says, if no record exists.
    fn privacy_in(
        &self,
        account: &Account,
        table: Table,
        footer: &Footer,
    ) -> Result<Option<AccountPrivacy>, LakeError> {
        // A redaction writes the record first, so it was lost.
        if footer.redacted_from().next().is_some() {
            let reason = "the file is missing, although files were redacted".to_owned();
            return Err(self.damaged_privacy(account, reason));
        }
        let of = |applied| {
            let forgotten = Forgotten::default();
            AccountPrivacy { applied, is_pending: false, forgotten }
        };
        Ok(AppliedPrivacy::parse(footer.privacy_of(table)).map(of))
    }

    /// Checks that the privacy record of an account is still the one that this run has read. In a
    /// folder, the lock of the account ensures that.
    ///
    /// # Errors
    /// [`LakeError::Changed`] when another process has written the record.
    pub fn require_same_privacy(&self, account: &Account) -> Result<(), LakeError> {
        let key = record_of(account);
        let looks = self.looks.as_ref().filter(|_| !self.is_in_folder());
        let Some(read) = looks.and_then(|looks| looks.small(&key)) else { return Ok(()) };
        match self.store.look(&key, u64::MAX)?.map(|look| look.version) == read.map(|read| read.0) {
            true => Ok(()),
            false => Err(LakeError::Changed { path: self.path_of(&key) }),
        }
    }

    /// Makes the next command repeat the redaction of an account, if another process has written
    /// the privacy record since this run has read it: files that this run has written may hold what
    /// that process removes.
    ///
    /// # Errors
    /// [`LakeError::Changed`] when another process has written the record.
    pub fn repeat_redaction_if_changed(&self, account: &Account) -> Result<(), LakeError> {
        let same = self.require_same_privacy(account);
        if !matches!(same, Err(LakeError::Changed { .. })) {
            return same;
        }
        loop {
            self.forget(&record_of(account));
            let Some(privacy) = self.recorded_privacy(account)? else { return same };
            // The blank line makes it another version than the other process has written, even if
            // the redaction is pending already. So that process cannot end the redaction.
            let pending = AccountPrivacy { is_pending: true, ..privacy };
            match self.write_privacy(account, &pending, "\n\n") {
                Err(LakeError::Changed { .. }) => {}
                written => return written.and(same),
            }
        }
    }

    fn recorded_privacy(&self, account: &Account) -> Result<Option<AccountPrivacy>, LakeError> {
        let damaged = |reason| self.damaged_privacy(account, reason);
        let Some(written) = self.small_file(&record_of(account), damaged)? else {
            return Ok(None);
        };
        let Written { privacy, pending, forgotten } =
            serde_json::from_slice(&written).map_err(|error| damaged(error.to_string()))?;
        let applied = AppliedPrivacy::parse(&privacy)
            .ok_or_else(|| damaged("`privacy` is not a valid setting".to_owned()))?;
        let forgotten = Forgotten::from_parts(forgotten.key, forgotten.names);
        Ok(Some(AccountPrivacy { applied, is_pending: pending, forgotten }))
    }

    /// Records the privacy settings of an account, which must be [locked](Lake::lock), in place of
    /// those that this run has read.
    ///
    /// # Errors
    /// [`LakeError::Changed`] when another process has written the record since. A bucket has no
    /// locks.
    pub fn record_privacy(
        &self,
        account: &Account,
        privacy: &AccountPrivacy,
    ) -> Result<(), LakeError> {
        self.write_privacy(account, privacy, "\n")
    }

    fn write_privacy(
        &self,
        account: &Account,
        privacy: &AccountPrivacy,
        end: &str,
    ) -> Result<(), LakeError> {
        let (key, names) = privacy.forgotten.parts();
        let written = Written {
            privacy: privacy.applied.to_string(),
            pending: privacy.is_pending,
            forgotten: WrittenForgotten { key: key.to_owned(), names: names.clone() },
        };
        let written = format!("{}{end}", serde_json::json!(written));
        let key = record_of(account);
        let read = || self.looks.as_ref().and_then(|looks| looks.small(&key));
        let expected = match read() {
            Some(read) => Expected::Seen(read.map(|(version, _)| version)),
            None => Expected::Any,
        };
        self.put_file(account, &key, written.as_bytes(), &expected)?;
        // Read it once more, so that this run knows the version of its own record.
        match self.small_file(&key, |reason| self.damaged_privacy(account, reason))? {
            Some(content) if content == written.as_bytes() => Ok(()),
            _ => Err(LakeError::Changed { path: self.path_of(&key) }),
        }
    }

    fn damaged_privacy(&self, account: &Account, reason: String) -> LakeError {
        let (record, path) = (OwnRecord::Privacy, self.privacy_record(account));
        LakeError::DamagedRecord { record, path, reason }
    }

    /// Where the privacy settings of an account are recorded.
    pub fn privacy_record(&self, account: &Account) -> PathBuf {
        self.path_of(&record_of(account))
    }
}

fn record_of(account: &Account) -> Key {
    account_folder(account).join(FILE)
}
