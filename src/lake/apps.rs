//! The app of each account. WeChat identifies an account by its app id, the lake by a name that the
//! user chooses. `_kefu/apps/<appid>` contains the account name of an app. The footers of
//! `messages` contain the app id, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::PoisonError;

use super::looks::LOOKS_AT_ONCE;
use super::store::{Expected, Key};
use super::{Account, DANGLING, Lake, LakeError, OWN, OwnRecord, Table};

/// Folder of the records, in kefu's own.
const FOLDER: &str = "apps";

/// The id of a WeChat app, safe as a file name: ASCII letters, digits, `-` and `_`. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(String);

impl AppId {
    /// # Errors
    /// Says what is wrong with the id.
    pub fn new(id: String) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_begun = id.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        if !is_begun || id.len() > 64 || !id.bytes().all(is_plain) {
            return Err(format!(
                "`{}` is not an app id; an app id has only letters and digits, like wx0123456789abcdef",
                id.escape_debug()
            ));
        }
        Ok(Self(id))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The accounts of apps, as a lake knew them when it was first asked.
#[derive(Debug)]
pub struct KnownApps {
    recorded: BTreeMap<AppId, Account>,
    /// Accounts without a record, by the app of their newest messages. The record is missing when a
    /// lake was copied without the folder `_kefu`.
    unrecorded: BTreeMap<AppId, Account>,
    /// The recorded apps, by the name of their account in lowercase.
    by_name: BTreeMap<String, Vec<AppId>>,
}

impl KnownApps {
    fn new(recorded: BTreeMap<AppId, Account>, unrecorded: BTreeMap<AppId, Account>) -> Self {
        let mut by_name: BTreeMap<String, Vec<AppId>> = BTreeMap::new();
        for (app, account) in &recorded {
            by_name.entry(in_lowercase(account)).or_default().push(app.clone());
        }
        Self { recorded, unrecorded, by_name }
    }

    /// The account that is recorded for an app. Without a record of it, the one whose newest
    /// messages are from the app.
    pub fn account_of(&self, app: &AppId) -> Option<&Account> {
        self.recorded.get(app).or_else(|| self.unrecorded.get(app))
    }

    pub fn is_recorded(&self, app: &AppId) -> bool {
        self.recorded.contains_key(app)
    }

    /// The apps that are recorded for an account, in order.
    pub fn apps_of(&self, account: &Account) -> impl Iterator<Item = &AppId> {
        self.with_name_like(account).filter(move |(_, name)| *name == account).map(|(app, _)| app)
    }

    /// The recorded accounts whose names differ from this one only in case, in the order of their
    /// apps.
    pub fn alike(&self, account: &Account) -> impl Iterator<Item = &Account> {
        self.with_name_like(account).filter(move |(_, name)| *name != account).map(|(_, name)| name)
    }

    fn with_name_like(&self, account: &Account) -> impl Iterator<Item = (&AppId, &Account)> {
        let apps = self.by_name.get(&in_lowercase(account)).into_iter().flatten();
        apps.filter_map(|app| Some((app, self.recorded.get(app)?)))
    }
}

fn in_lowercase(account: &Account) -> String {
    account.as_str().to_lowercase()
}

impl Lake {
    /// The apps that are recorded, each with the account under which its records are kept.
    ///
    /// # Errors
    /// When a record cannot be read, or does not hold the name of an account.
    pub fn apps(&self) -> Result<BTreeMap<AppId, Account>, LakeError> {
        let names = self.store.list(&folder())?.into_iter();
        // Whatever else is there is no record.
        let apps = names.filter_map(|record| AppId::new(record.key.name().to_owned()).ok());
        let apps: Vec<(AppId, Key)> = apps.map(|app| (app.clone(), record_of(&app))).collect();
        let mut recorded = BTreeMap::new();
        for apps in apps.chunks(LOOKS_AT_ONCE) {
            let places: Vec<_> = apps.iter().map(|(_, place)| (place.clone(), u64::MAX)).collect();
            let looks = self.store.look_all(&places).map_err(|error| match error {
                LakeError::Dangling { path } => damaged(path, DANGLING.to_owned()),
                other => other,
            })?;
            for ((app, _), look) in apps.iter().zip(looks) {
                if let Some(look) = look {
                    recorded.insert(app.clone(), self.account_in_record(app, &look.tail)?);
                }
            }
        }
        Ok(recorded)
    }

    /// What the lake knew of apps when it was first asked. With thousands of new accounts, reading
    /// all records for each of them would take longer than the night.
    ///
    /// # Errors
    /// Those of [`apps`](Self::apps), and when the newest day cannot be listed.
    pub fn known_apps(&self) -> Result<&KnownApps, LakeError> {
        let known = &self.shared.apps;
        if let Some(apps) = known.get() {
            return Ok(apps);
        }
        let _reads = self.shared.reads_apps.lock().unwrap_or_else(PoisonError::into_inner);
        // Another account may have read them meanwhile.
        if let Some(apps) = known.get() {
            return Ok(apps);
        }
        let recorded = self.apps()?;
        let names: BTreeSet<&Account> = recorded.values().collect();
        let newest = self.last_partitions(Table::Messages, 1)?.into_iter();
        let unrecorded = newest.filter(|key| !names.contains(&key.account));
        // A damaged file has no readable app id.
        let unrecorded = unrecorded
            .filter_map(|key| Some((self.footer(&key).ok()?.app_id()?, key.account)))
            .collect();
        Ok(known.get_or_init(|| KnownApps::new(recorded, unrecorded)))
    }

    /// Shares what another lake at the same place has found out about its apps and its time zone.
    #[must_use]
    pub fn sharing_with(self, other: &Self) -> Self {
        Self { shared: other.shared.clone(), ..self }
    }

    /// The account under which an app's records are kept, if that is recorded.
    ///
    /// # Errors
    /// When the record cannot be read, or does not hold the name of an account.
    pub fn account_of_app(&self, app: &AppId) -> Result<Option<Account>, LakeError> {
        let written =
            self.small_file(&record_of(app), |reason| damaged(self.path_of_app(app), reason))?;
        written.map(|written| self.account_in_record(app, &written)).transpose()
    }

    fn account_in_record(&self, app: &AppId, written: &[u8]) -> Result<Account, LakeError> {
        let name = String::from_utf8_lossy(written).trim().to_owned();
        Account::existing(name).map_err(|reason| damaged(self.path_of_app(app), reason))
    }

    /// The same, looked up again in a run that has looked before: another run may have begun since.
    ///
    /// # Errors
    /// Those of [`account_of_app`](Self::account_of_app).
    pub fn account_of_app_now(&self, app: &AppId) -> Result<Option<Account>, LakeError> {
        self.forget(&record_of(app));
        self.account_of_app(app)
    }

    /// Whether this run has recorded the app, or found it recorded when it was about to.
    pub fn has_recorded(&self, app: &AppId) -> bool {
        self.looks.as_ref().is_some_and(|looks| looks.has_recorded(app))
    }

    /// Writes the account under which an app's records are kept. The account must be
    /// [locked](Lake::lock).
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn record_app(&self, app: &AppId, account: &Account) -> Result<(), LakeError> {
        if self.account_of_app(app).is_ok_and(|recorded| recorded.as_ref() == Some(account)) {
            self.looks.iter().for_each(|looks| looks.note_recorded(app));
            return Ok(());
        }
        // Other apps of the account are left from files that were deleted, or the run were refused.
        for other in self.known_apps()?.apps_of(account) {
            // Another account may have become that of the app since the command began.
            if self.account_of_app_now(other)?.as_ref() != Some(account) {
                continue;
            }
            self.store.remove(&folder(), &[record_of(other)])?;
            self.forget(&record_of(other));
        }
        let record = record_of(app);
        // Two accounts with one app must not both begin.
        let expected = Expected::Seen(match self.looks.as_ref().and_then(|it| it.small(&record)) {
            Some(read) => read.map(|(version, _)| version),
            None => self.store.look(&record, 0)?.map(|look| look.version),
        });
        let put = self.put_file(account, &record, format!("{account}\n").as_bytes(), &expected);
        match put {
            // Another day of this run has recorded it.
            Err(LakeError::Changed { .. })
                if self.account_of_app_now(app)?.as_ref() == Some(account) => {}
            put => put?,
        }
        self.looks.iter().for_each(|looks| looks.note_recorded(app));
        Ok(())
    }

    /// Where the record of an app is, or would be.
    pub fn path_of_app(&self, app: &AppId) -> PathBuf {
        self.path_of(&record_of(app))
    }

    /// The app of an account's newest messages that say it.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn newest_app(&self, account: &Account) -> Result<Option<AppId>, LakeError> {
        let mut days = self.date_folders(Table::Messages)?.into_keys().rev();
        // A file that is damaged says nothing.
        Ok(days
            .find_map(|day| self.footer(&account.partition(Table::Messages, day)).ok()?.app_id()))
    }
}

fn folder() -> Key {
    Key::of(OWN).join(FOLDER)
}

fn record_of(app: &AppId) -> Key {
    folder().join(app.as_str())
}

fn damaged(path: PathBuf, reason: String) -> LakeError {
    LakeError::DamagedRecord { record: OwnRecord::App, path, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_found_by_the_name_of_their_account() {
        let app = |id: &str| AppId::new(id.to_owned()).unwrap();
        let account = |name: &str| Account::new(name.to_owned()).unwrap();
        let recorded = [("wx1", "shop"), ("wx2", "Shop"), ("wx3", "shop"), ("wx4", "other")];
        let recorded = recorded.map(|(id, name)| (app(id), account(name)));
        let known = KnownApps::new(recorded.into(), [(app("wx5"), account("old"))].into());
        let shop = account("shop");
        assert_eq!(known.apps_of(&shop).collect::<Vec<_>>(), [&app("wx1"), &app("wx3")]);
        assert_eq!(known.alike(&shop).collect::<Vec<_>>(), [&account("Shop")]);
        assert_eq!(known.alike(&account("none")).count(), 0);
        assert_eq!(known.account_of(&app("wx5")), Some(&account("old")));
        assert!(known.is_recorded(&app("wx4")) && !known.is_recorded(&app("wx5")));
    }

    #[test]
    fn an_app_id_never_leaves_its_folder() {
        for id in ["", ".", "..", "../x", "a/b", "/x", "wx 1", "wx1\n", "_x", "-x", "客服", "a\0b"]
        {
            assert!(AppId::new(id.to_owned()).is_err(), "{id:?}");
        }
        assert!(AppId::new("x".repeat(65)).is_err());
        assert!(AppId::new("wx0123456789abcdef".to_owned()).is_ok());
    }
}
