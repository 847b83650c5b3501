//! The identity of an account: its name, and its credential for WeChat.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::account_list::ListedAccount;
use super::file::AccountTable;
use super::secret_source::SecretSource;
use super::selection::first_few;
use super::sources::Sources;
use super::{Origin, Setting, SettingsError};
use crate::lake::{Account, AppId};
use crate::secret;
use crate::wechat::{Credential, Places, Proof, Secret, UserCommand};

/// One account. It is from flat settings, where any part may be missing, or from `[[accounts]]`.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub account: Option<Setting<Account>>,
    pub appid: Option<Setting<String>>,
    pub secret: Option<Setting<SecretSource>>,
    pub access_token: Option<Setting<SecretSource>>,
}

/// Where an account of several is set.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// One of `[[accounts]]`.
    Table,
    Line(&'a ListedAccount),
}

impl Place<'_> {
    /// The origin of a key of an account, of the account, or of all accounts.
    fn origin(self, sources: &Sources<'_>, account: Option<&str>, key: Option<&str>) -> Origin {
        match self {
            Self::Table => {
                let parts = [Some("accounts"), account, key];
                sources.in_file(parts.into_iter().flatten().collect::<Vec<_>>().join("."))
            }
            Self::Line(ListedAccount { place, line, .. }) => {
                Origin::Line { place: place.clone(), line: *line, key: key.map(ToOwned::to_owned) }
            }
        }
    }
}

/// Checks an app id, because WeChat's error for a wrong one does not say what is wrong.
///
/// # Errors
/// What is wrong with it.
pub fn checked_appid(appid: String) -> Result<String, String> {
    match appid.as_str() {
        "" => Err("it is empty".into()),
        appid if appid.contains(char::is_whitespace) => {
            Err("it contains a space or a line break; copy only the AppID (开发者ID)".into())
        }
        appid if appid.starts_with("gh_") => Err(
            "it begins with gh_, so it is the original id (原始ID) of an account; use its AppID (开发者ID), which begins with wx".into(),
        ),
        _ => Ok(appid),
    }
}

/// Whether a text can only be the name of a variable. Secrets, tokens and keys contain lowercase
/// letters, or digits without an underscore.
fn is_surely_a_name(text: &str) -> bool {
    let has = |wanted: fn(&u8) -> bool| text.bytes().any(|byte| wanted(&byte));
    text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        && has(u8::is_ascii_uppercase)
        && (has(|byte| *byte == b'_') || !has(u8::is_ascii_digit))
}

impl Identity {
    /// An account with a known name only.
    pub(super) fn named(account: Account, origin: Origin) -> Self {
        Self {
            account: Some(Setting { value: account, origin }),
            appid: None,
            secret: None,
            access_token: None,
        }
    }

    /// The name for files: the configured name, else the app id.
    pub(super) fn name(&self) -> Result<Account, SettingsError> {
        if let Some(account) = &self.account {
            // Secrets in files are read only by the commands that need them.
            for source in [&self.secret, &self.access_token].into_iter().flatten() {
                if let SecretSource::Value(secret) | SecretSource::Variable { secret, .. } =
                    &source.value
                {
                    self.refuse_as_name(secret)?;
                }
            }
            return Ok(account.value.clone());
        }
        let appid = self.appid.clone().ok_or(SettingsError::Missing {
            what: "the account",
            remedy: "run `kefu init` in a terminal, or set KEFU_APPID (the developer id of the \
                Official Account), or KEFU_ACCOUNT to choose another name for its files",
        })?;
        Ok(appid.try_map(Account::new)?.value)
    }

    /// The name for files to write. Refuses names that earlier versions accepted, but whose files
    /// readers skip.
    pub(super) fn name_to_write(&self) -> Result<Account, SettingsError> {
        let name = self.name()?;
        match &self.account {
            Some(account) => {
                Ok(account.clone().try_map(|name| Account::new(name.to_string()))?.value)
            }
            None => Ok(name),
        }
    }

    pub(super) fn app_id(&self) -> Result<Option<AppId>, SettingsError> {
        let app_id = self.appid.clone().map(|appid| appid.try_map(AppId::new)).transpose()?;
        Ok(app_id.map(|app_id| app_id.value))
    }

    pub(super) fn credential(&self) -> Result<Credential, SettingsError> {
        // A secret in the environment takes precedence over a token in the file.
        let is_closer = |secret: &Setting<SecretSource>, token: &Setting<SecretSource>| {
            matches!((&secret.origin, &token.origin), (Origin::Environment(_), Origin::File { .. }))
        };
        let token = self
            .access_token
            .as_ref()
            .filter(|token| !self.secret.as_ref().is_some_and(|secret| is_closer(secret, token)));
        let appid_place = || {
            self.appid.as_ref().map_or_else(
                || Places::default().appid,
                |appid| format!("{} ({})", appid.value, appid.origin),
            )
        };
        let written = |proof: Proof, at: &Setting<SecretSource>| {
            Ok(Credential { proof, places: Places { appid: appid_place(), proof: at.place() } })
        };
        let credential = match (token, &self.appid, &self.secret) {
            (Some(token @ Setting { value: SecretSource::Command(command), .. }), _, _) => {
                written(Proof::Command(command.clone()), token)
            }
            (Some(token), _, _) => written(Proof::AccessToken(token.read_word()?), token),
            (None, Some(appid), Some(secret)) => written(
                Proof::AppSecret { appid: appid.value.clone(), secret: secret.read_word()? },
                secret,
            ),
            (None, None, _) => Err(SettingsError::Missing {
                what: "the app id",
                remedy: "run `kefu init` in a terminal, or set KEFU_APPID and KEFU_SECRET, or KEFU_ACCESS_TOKEN if another service manages the token; `kefu demo` needs neither",
            }),
            (None, Some(_), None) => Err(SettingsError::Missing {
                what: "the secret",
                remedy: "set KEFU_SECRET in the environment, or `secret_file` in kefu.toml; there is no flag for it, because flags are visible to other users",
            }),
        }?;
        match &credential.proof {
            Proof::AppSecret { secret, .. } | Proof::AccessToken(secret) => {
                self.refuse_as_name(secret)?;
            }
            Proof::Command(_) => {}
        }
        Ok(credential)
    }

    /// Refuses an account name that contains the account's secret, because the name is used in file
    /// names.
    fn refuse_as_name(&self, secret: &Secret) -> Result<(), SettingsError> {
        match &self.account {
            Some(Setting { value, origin }) if secret.is_in(value.as_str()) => {
                let reason =
                    "it contains the secret, and the names of files would show it".to_owned();
                Err(SettingsError::Wrong { origin: origin.clone(), reason })
            }
            _ => Ok(()),
        }
    }
}

/// The variables that configure a single account. KEFU_ACCOUNT is not one of them: it can also
/// select one of several accounts.
const SINGLE_ACCOUNT: [&str; 3] = ["KEFU_APPID", "KEFU_SECRET", "KEFU_ACCESS_TOKEN"];

impl Sources<'_> {
    /// Whether the settings have a list of accounts, and not just one account.
    pub(super) fn has_several(&self) -> bool {
        let values = &self.file.values;
        !values.accounts.is_empty()
            || values.accounts_file.is_some()
            || values.accounts_command.is_some()
    }

    /// All configured accounts, in the order of the file or of the list.
    pub(super) fn identities(&self) -> Result<Vec<Identity>, SettingsError> {
        let (places, tables): (Vec<Place>, Vec<&AccountTable>);
        let listed = self.listed_accounts()?;
        match &listed {
            None if !self.has_several() => return Ok(vec![self.single()?]),
            None => {
                tables = self.file.values.accounts.iter().collect();
                places = tables.iter().map(|_| Place::Table).collect();
            }
            Some(listed) => {
                tables = listed.iter().map(|listed| &listed.table).collect();
                places = listed.iter().map(Place::Line).collect();
            }
        }
        self.refuse_single(&tables)?;
        let mut names: HashMap<String, Account> = HashMap::new();
        let mut appids: HashSet<String> = HashSet::new();
        let mut identities = Vec::with_capacity(tables.len());
        for (table, place) in tables.into_iter().zip(places) {
            let identity = self.one_of_several(table, place)?;
            let name = identity.name()?;
            let wrong = |reason| {
                let origin = place.origin(self, None, None);
                Err(SettingsError::Wrong { origin, reason })
            };
            match names.insert(name.as_str().to_lowercase(), name.clone()) {
                Some(other) if other == name => {
                    return wrong(format!(
                        "two accounts have the name {name}, and would overwrite each other's files"
                    ));
                }
                Some(other) => {
                    return wrong(format!(
                        "the names {other} and {name} differ only in case, and name the same file on some systems"
                    ));
                }
                None => {}
            }
            let appid = identity.appid.as_ref().map(|appid| appid.value.clone());
            if appid.is_some_and(|appid| !appids.insert(appid)) {
                return wrong(format!("{name} has the app id of another account"));
            }
            identities.push(identity);
        }
        Ok(identities)
    }

    /// The identities selected by name. All identities if none is selected.
    pub(super) fn pick(
        &self,
        flags: &[String],
        identities: Vec<Identity>,
    ) -> Result<Vec<Identity>, SettingsError> {
        let in_environment = || {
            Some((vec![(self.environment)("KEFU_ACCOUNT")?], Origin::Environment("KEFU_ACCOUNT")))
        };
        let picked = match flags {
            [] if !self.has_several() => None,
            [] => in_environment(),
            flags => Some((flags.to_vec(), Origin::Flag("--account"))),
        };
        let Some((picked, origin)) = picked else { return Ok(identities) };
        let names: Vec<String> = identities
            .iter()
            .filter_map(|identity| Some(identity.name().ok()?.to_string()))
            .collect();
        let known: HashSet<&str> = names.iter().map(String::as_str).collect();
        if let Some(unknown) = picked.iter().find(|name| !known.contains(name.as_str())) {
            let there_are = if names.is_empty() { "none".to_owned() } else { first_few(&names) };
            let reason = format!(
                "the settings have no account `{}`; known accounts: {there_are}",
                unknown.escape_debug()
            );
            return Err(SettingsError::Wrong { origin, reason });
        }
        Ok(identities
            .into_iter()
            .zip(names)
            .filter(|(_, name)| picked.contains(name))
            .map(|(identity, _)| identity)
            .collect())
    }

    /// The account in flat settings.
    fn single(&self) -> Result<Identity, SettingsError> {
        let values = &self.file.values;
        let command = || {
            let command = values.access_token_command.as_ref();
            self.command(self.in_file("access_token_command"), command)
        };
        Ok(Identity {
            account: self
                .text(("", None), "KEFU_ACCOUNT", ("account", &values.account))
                .map(|text| text.try_map(Account::existing))
                .transpose()?,
            appid: self
                .text(("", None), "KEFU_APPID", ("appid", &values.appid))
                .map(|text| text.try_map(checked_appid))
                .transpose()?,
            secret: self.secret(
                "KEFU_SECRET",
                ("secret", &values.secret),
                ("secret_file", &values.secret_file),
            ),
            access_token: self
                .secret(
                    "KEFU_ACCESS_TOKEN",
                    ("access_token", &values.access_token),
                    ("access_token_file", &values.access_token_file),
                )
                .or_else(command),
        })
    }

    /// Refuses flat settings beside a list of accounts. They would be ignored or override all
    /// accounts, and neither is intended.
    fn refuse_single(&self, tables: &[&AccountTable]) -> Result<(), SettingsError> {
        if let Some(key) = self.file.values.single_account_key() {
            let list = match self.file.values.accounts.as_slice() {
                [] => "a list of accounts",
                _ => "`[[accounts]]`",
            };
            return Err(self.wrong(key, format!("the file has {list}; move it into one of them")));
        }
        let is_referred_to = |variable: &&str| {
            let names =
                |table: &&AccountTable| [table.secret_env.clone(), table.access_token_env.clone()];
            tables.iter().flat_map(names).flatten().any(|name| name == *variable)
        };
        match SINGLE_ACCOUNT
            .into_iter()
            .find(|variable| (self.environment)(variable).is_some() && !is_referred_to(variable))
        {
            Some(variable) => Err(SettingsError::Wrong {
                origin: Origin::Environment(variable),
                reason: format!(
                    "it is for a single account, but {} has several; unset it, or refer to it there with `secret_env` or `access_token_env`",
                    self.file.path.display()
                ),
            }),
            None => Ok(()),
        }
    }

    fn one_of_several(
        &self,
        table: &AccountTable,
        place: Place<'_>,
    ) -> Result<Identity, SettingsError> {
        let wrong = |name: Option<&str>, reason: &str| SettingsError::Wrong {
            origin: place.origin(self, name, None),
            reason: reason.to_owned(),
        };
        let Some(name) = table.name.as_ref().or(table.appid.as_ref()) else {
            return Err(wrong(None, "an account has neither a `name` nor an `appid`"));
        };
        let key = |key: &str| place.origin(self, Some(name), Some(key));
        let account = Setting {
            value: name.clone(),
            origin: key(if table.name.is_some() { "name" } else { "appid" }),
        };
        let ways = [
            self.variable(key("secret_env"), table.secret_env.as_ref()),
            self.path(key("secret_file"), table.secret_file.as_ref()),
            self.variable(key("access_token_env"), table.access_token_env.as_ref()),
            self.path(key("access_token_file"), table.access_token_file.as_ref()),
            self.command(key("access_token_command"), table.access_token_command.as_ref()),
        ];
        if ways.iter().flatten().count() != 1 {
            return Err(wrong(
                Some(name),
                "it needs exactly one of `secret_env`, `secret_file`, `access_token_env`, `access_token_file` and `access_token_command`",
            ));
        }
        let [secret_variable, secret_file, token_variable, token_file, token_command] = ways;
        let secret = secret_variable.or(secret_file);
        if secret.is_some() && table.appid.is_none() {
            return Err(wrong(Some(name), "a secret needs the `appid` that it belongs to"));
        }
        Ok(Identity {
            account: Some(account.try_map(Account::existing)?),
            appid: table
                .appid
                .clone()
                .map(|value| Setting { value, origin: key("appid") })
                .map(|appid| appid.try_map(checked_appid))
                .transpose()?,
            secret,
            access_token: token_variable.or(token_file).or(token_command),
        })
    }

    fn secret(
        &self,
        variable: &'static str,
        (key, filed): (&'static str, &Option<Secret>),
        (path_key, path): (&'static str, &Option<PathBuf>),
    ) -> Option<Setting<SecretSource>> {
        let value =
            |secret: Secret, origin: Origin| Setting { value: SecretSource::Value(secret), origin };
        (self.environment)(variable)
            .map(|secret| value(Secret::new(secret), Origin::Environment(variable)))
            .or_else(|| filed.clone().map(|secret| value(secret, self.in_file(key))))
            .or_else(|| self.path(self.in_file(path_key), path.as_ref()))
    }

    pub(super) fn variable(
        &self,
        origin: Origin,
        name: Option<&String>,
    ) -> Option<Setting<SecretSource>> {
        let name = name?.clone();
        let value = match (self.environment)(&name) {
            Some(secret) => SecretSource::Variable { name, secret: Secret::new(secret) },
            None => SecretSource::Unset { name: Some(name).filter(|name| is_surely_a_name(name)) },
        };
        Some(Setting { value, origin })
    }

    pub(super) fn path(
        &self,
        origin: Origin,
        path: Option<&PathBuf>,
    ) -> Option<Setting<SecretSource>> {
        let path = path?;
        secret::suspect(&path.to_string_lossy());
        Some(Setting { value: SecretSource::File(self.folder().join(path)), origin })
    }

    fn command(
        &self,
        origin: Origin,
        command: Option<&UserCommand>,
    ) -> Option<Setting<SecretSource>> {
        let command = command?;
        secret::suspect(&command.program().to_string_lossy());
        Some(Setting {
            value: SecretSource::Command(command.clone().beside(self.folder())),
            origin,
        })
    }

    /// The folder of the settings file. Relative paths in the file are relative to it, not to the
    /// current folder.
    pub(super) fn folder(&self) -> &Path {
        self.file.path.parent().unwrap_or(Path::new(""))
    }

    pub(super) fn wrong(&self, key: impl Into<String>, reason: String) -> SettingsError {
        SettingsError::Wrong { origin: self.in_file(key), reason }
    }
}
