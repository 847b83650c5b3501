//! What the user decided: the only readers of the environment and of `kefu.toml`.
//!
//! A value comes from a flag, else from the environment, else from the file, else from its default, and remembers where it came from
//! so that an error can name the place to mend. Secrets come from the environment or a file, never from a flag.

mod file;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::calendar::Zone;
use crate::failure::{Class, Classified};
use crate::fetch::{OpenidKey, Openids, Privacy, Texts};
use crate::lake::Account;
use crate::metrics::{AutoReply, Parameters, SESSION_GAP_MAX};
use crate::wechat::{BaseUrl, Credential, Secret};
use file::{File, Openid};

const CONFIG: &str = "kefu.toml";

/// Openids are no secret among those who see them, so whoever can guess the key can find out who is who.
const OPENID_KEY_BYTES_MIN: usize = 32;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    File { path: PathBuf, key: &'static str },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Environment(name) => write!(f, "the environment's {name}"),
            Self::File { path, key } => write!(f, "`{key}` in {}", path.display()),
            Self::Default => write!(f, "the default"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    pub value: T,
    pub origin: Origin,
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{origin} is wrong: {reason}")]
    Wrong { origin: Origin, reason: String },
    #[error("{what} is missing")]
    Missing { what: &'static str, remedy: &'static str },
    #[error("cannot read the settings")]
    Unreadable(#[source] std::io::Error),
    #[error("{path} is not a settings file: {reason}")]
    Malformed { path: PathBuf, reason: String },
}

impl Classified for SettingsError {
    fn class(&self) -> Class {
        Class::Settings
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { remedy, .. } => Some((*remedy).to_owned()),
            _ => None,
        }
    }
}

/// Values given by flags; absent ones fall through to the environment.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub lake: Option<PathBuf>,
    pub timezone: Option<String>,
    pub base_url: Option<String>,
    pub lookback: Option<u16>,
    pub concurrency: Option<u16>,
}

/// Reads one variable; tests pass a map.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process's own environment. A variable that is set to nothing counts as not set.
pub fn environment(name: &str) -> Option<String> {
    // A value that is not UTF-8 is wrong where it is used, rather than as good as not set.
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

/// Everything that was decided, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the lake.
    pub lake: Setting<PathBuf>,
    /// Where local days and hours are cut.
    pub zone: Setting<Zone>,
    pub base_url: Setting<BaseUrl>,
    /// How many days up to yesterday a run without days looks at.
    pub lookback: Setting<u16>,
    /// How many calls are made side by side.
    pub concurrency: Setting<u16>,
    /// What the metrics depend on.
    pub parameters: Parameters,
    account: Option<Setting<Account>>,
    appid: Option<Setting<String>>,
    secret: Option<Setting<SecretSource>>,
    access_token: Option<Setting<SecretSource>>,
    texts: Texts,
    openid_key: Option<Setting<SecretSource>>,
}

/// Where a secret is. A file is read when the secret is needed, and not by commands that call nobody.
#[derive(Clone, Debug)]
enum SecretSource {
    Value(Secret),
    File(PathBuf),
    /// A variable of the environment that is not set.
    Absent(String),
}

impl Setting<SecretSource> {
    fn read(&self) -> Result<Secret, SettingsError> {
        let text = match &self.value {
            SecretSource::Value(secret) => secret.expose().to_owned(),
            SecretSource::File(path) => fs_err::read_to_string(path)
                .map_err(|error| SettingsError::Wrong { origin: self.origin.clone(), reason: error.to_string() })?,
            SecretSource::Absent(variable) => {
                return Err(SettingsError::Wrong { origin: self.origin.clone(), reason: format!("the environment has no {variable}") });
            }
        };
        // A line's end is easily copied along.
        match text.trim() {
            "" => Err(SettingsError::Wrong { origin: self.origin.clone(), reason: "it is empty".into() }),
            secret => Ok(Secret::new(secret.to_owned())),
        }
    }
}

impl Settings {
    /// Gathers the settings from flags, environment and file.
    ///
    /// # Errors
    /// [`SettingsError`], naming the place of the first value that is wrong.
    pub fn resolve(flags: &Flags, environment: Environment<'_>) -> Result<Self, SettingsError> {
        let file = read_file(flags, environment)?;
        let sources = Sources { environment, file: &file };
        let zone = sources
            .text(("--timezone", flags.timezone.clone()), "KEFU_TIMEZONE", ("timezone", &file.values.timezone))
            .unwrap_or_else(|| Setting { value: "Asia/Shanghai".into(), origin: Origin::Default })
            .try_map(|name| Zone::named(&name))?;
        Ok(Self {
            parameters: sources.parameters(zone.value.name())?,
            zone,
            lake: match &flags.lake {
                Some(path) => Setting { value: path.clone(), origin: Origin::Flag("--lake") },
                None => sources
                    .text(("--lake", None), "KEFU_LAKE", ("lake", &file.values.lake))
                    .map(|text| text.try_map(|path| if path.is_empty() { Err("it is empty".to_owned()) } else { Ok(PathBuf::from(path)) }))
                    .transpose()?
                    .unwrap_or_else(|| Setting { value: PathBuf::from("data/lake"), origin: Origin::Default }),
            },
            base_url: sources
                .text(("--base-url", flags.base_url.clone()), "KEFU_BASE_URL", ("base_url", &file.values.base_url))
                .unwrap_or_else(|| Setting { value: BaseUrl::WECHAT.into(), origin: Origin::Default })
                .try_map(|text| text.parse())?,
            lookback: sources.number("--lookback", flags.lookback, "KEFU_LOOKBACK", ("lookback", file.values.lookback), 3, 1..=3650)?,
            concurrency: sources.number(
                "--concurrency",
                flags.concurrency,
                "KEFU_CONCURRENCY",
                ("concurrency", file.values.concurrency),
                4,
                1..=64,
            )?,
            account: sources
                .text(("", None), "KEFU_ACCOUNT", ("account", &file.values.account))
                .map(|text| text.try_map(Account::new))
                .transpose()?,
            appid: sources.text(("", None), "KEFU_APPID", ("appid", &file.values.appid)),
            secret: sources.secret("KEFU_SECRET", ("secret", &file.values.secret), ("secret_file", &file.values.secret_file)),
            access_token: sources.secret(
                "KEFU_ACCESS_TOKEN",
                ("access_token", &file.values.access_token),
                ("access_token_file", &file.values.access_token_file),
            ),
            texts: sources.texts()?,
            openid_key: sources.openid_key(),
        })
    }

    /// The name used for files and in the `account` column: the configured one, else the app id.
    ///
    /// # Errors
    /// When neither is there.
    pub fn account(&self) -> Result<Account, SettingsError> {
        if let Some(account) = &self.account {
            return Ok(account.value.clone());
        }
        let appid = self.appid.clone().ok_or(SettingsError::Missing {
            what: "the account",
            remedy: "set KEFU_APPID (the developer id of the Official Account), or KEFU_ACCOUNT to name its files otherwise",
        })?;
        Ok(appid.try_map(Account::new)?.value)
    }

    /// How to prove to WeChat who is asking.
    ///
    /// # Errors
    /// When there is neither a token nor an id with its secret.
    pub fn credential(&self) -> Result<Credential, SettingsError> {
        // A secret in the environment goes before a token in the file.
        let is_closer = |secret: &Setting<SecretSource>, token: &Setting<SecretSource>| {
            matches!((&secret.origin, &token.origin), (Origin::Environment(_), Origin::File { .. }))
        };
        let token = self.access_token.as_ref().filter(|token| !self.secret.as_ref().is_some_and(|secret| is_closer(secret, token)));
        match (token, &self.appid, &self.secret) {
            (Some(token), _, _) => Ok(Credential::AccessToken(token.read()?)),
            (None, Some(appid), Some(secret)) => Ok(Credential::AppSecret { appid: appid.value.clone(), secret: secret.read()? }),
            (None, None, _) => Err(SettingsError::Missing {
                what: "the app id",
                remedy: "set KEFU_APPID and KEFU_SECRET, or KEFU_ACCESS_TOKEN if another service manages the token; `kefu demo` needs neither",
            }),
            (None, Some(_), None) => Err(SettingsError::Missing {
                what: "the secret",
                remedy: "set KEFU_SECRET in the environment, or `secret_file` in kefu.toml; there is no flag for it, because flags are visible to other users",
            }),
        }
    }
}

impl Settings {
    /// What is done to personal data.
    ///
    /// # Errors
    /// When the key for openids cannot be read, or is short enough to be guessed.
    pub fn privacy(&self) -> Result<Privacy, SettingsError> {
        let key = |source: &Setting<SecretSource>| -> Result<OpenidKey, SettingsError> {
            let key = source.read()?;
            if key.expose().len() < OPENID_KEY_BYTES_MIN {
                let reason = format!("the key has fewer than {OPENID_KEY_BYTES_MIN} characters; `openssl rand -hex 32` makes one");
                return Err(SettingsError::Wrong { origin: source.origin.clone(), reason });
            }
            Ok(OpenidKey::new(key.expose()))
        };
        Ok(Privacy { texts: self.texts, openids: self.openid_key.as_ref().map(key).transpose()?.map_or(Openids::Keep, Openids::Keyed) })
    }
}

impl<T> Setting<T> {
    fn try_map<U>(self, change: impl FnOnce(T) -> Result<U, String>) -> Result<Setting<U>, SettingsError> {
        match change(self.value) {
            Ok(value) => Ok(Setting { value, origin: self.origin }),
            Err(reason) => Err(SettingsError::Wrong { origin: self.origin, reason }),
        }
    }
}

struct LoadedFile {
    path: PathBuf,
    values: File,
}

/// The file named by flag or environment must exist; the one in the current folder may.
fn read_file(flags: &Flags, environment: Environment<'_>) -> Result<LoadedFile, SettingsError> {
    let named = flags.config.clone().or_else(|| environment("KEFU_CONFIG").map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| PathBuf::from(CONFIG));
    match fs_err::read_to_string(&path) {
        Ok(text) => {
            Ok(LoadedFile { values: File::parse(&text).map_err(|reason| SettingsError::Malformed { path: path.clone(), reason })?, path })
        }
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(LoadedFile { path, values: File::default() }),
        Err(error) => Err(SettingsError::Unreadable(error)),
    }
}

struct Sources<'a> {
    environment: Environment<'a>,
    file: &'a LoadedFile,
}

impl Sources<'_> {
    fn text(
        &self,
        (flag, given): (&'static str, Option<String>),
        variable: &'static str,
        (key, filed): (&'static str, &Option<String>),
    ) -> Option<Setting<String>> {
        given
            .map(|value| Setting { value, origin: Origin::Flag(flag) })
            .or_else(|| (self.environment)(variable).map(|value| Setting { value, origin: Origin::Environment(variable) }))
            .or_else(|| filed.clone().map(|value| Setting { value, origin: self.in_file(key) }))
    }

    fn number<T>(
        &self,
        flag: &'static str,
        given: Option<T>,
        variable: &'static str,
        (key, filed): (&'static str, Option<T>),
        default: T,
        allowed: std::ops::RangeInclusive<T>,
    ) -> Result<Setting<T>, SettingsError>
    where
        T: Copy + PartialOrd + fmt::Display + FromStr,
    {
        let in_environment = match (self.environment)(variable) {
            Some(text) => {
                let origin = Origin::Environment(variable);
                let value = text.parse().map_err(|_| SettingsError::Wrong {
                    origin: origin.clone(),
                    reason: format!("`{text}` is not a number from {} to {}", allowed.start(), allowed.end()),
                })?;
                Some(Setting { value, origin })
            }
            None => None,
        };
        let setting = given
            .map(|value| Setting { value, origin: Origin::Flag(flag) })
            .or(in_environment)
            .or_else(|| filed.map(|value| Setting { value, origin: self.in_file(key) }))
            .unwrap_or(Setting { value: default, origin: Origin::Default });
        if allowed.contains(&setting.value) {
            return Ok(setting);
        }
        let reason = format!("{} is not between {} and {}", setting.value, allowed.start(), allowed.end());
        Err(SettingsError::Wrong { origin: setting.origin, reason })
    }

    fn secret(
        &self,
        variable: &'static str,
        (key, filed): (&'static str, &Option<Secret>),
        (path_key, path): (&'static str, &Option<PathBuf>),
    ) -> Option<Setting<SecretSource>> {
        let value = |secret: Secret, origin: Origin| Setting { value: SecretSource::Value(secret), origin };
        (self.environment)(variable)
            .map(|secret| value(Secret::new(secret), Origin::Environment(variable)))
            .or_else(|| filed.clone().map(|secret| value(secret, self.in_file(key))))
            .or_else(|| path.as_ref().map(|path| Setting { value: SecretSource::File(self.beside(path)), origin: self.in_file(path_key) }))
    }

    /// A relative path is relative to the settings file, not to wherever kefu was started.
    fn beside(&self, path: &Path) -> PathBuf {
        self.file.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn texts(&self) -> Result<Texts, SettingsError> {
        let texts = self.file.values.privacy.text;
        if texts == Texts::Drop && self.file.values.metrics.auto_reply.iter().any(AutoReply::needs_text) {
            let reason =
                "the rules for automatic replies with a text, a prefix or a regex could never match: keep texts, or remove the rules";
            return Err(SettingsError::Wrong { origin: self.in_file("privacy.text"), reason: reason.to_owned() });
        }
        Ok(texts)
    }

    fn openid_key(&self) -> Option<Setting<SecretSource>> {
        let source = match &self.file.values.privacy.openid {
            Openid::Keep => return None,
            Openid::KeyFile(path) => SecretSource::File(self.beside(path)),
            Openid::KeyVariable(name) => {
                (self.environment)(name).map_or_else(|| SecretSource::Absent(name.clone()), |key| SecretSource::Value(Secret::new(key)))
            }
        };
        Some(Setting { value: source, origin: self.in_file("privacy.openid") })
    }

    fn parameters(&self, zone: &str) -> Result<Parameters, SettingsError> {
        let metrics = &self.file.values.metrics;
        let within = |key: &'static str, given: Option<i64>, default: i64, max: i64| match given {
            None => Ok(default),
            Some(seconds) if (1..=max).contains(&seconds) => Ok(seconds),
            Some(seconds) => {
                Err(SettingsError::Wrong { origin: self.in_file(key), reason: format!("{seconds} is not between 1 and {max} seconds") })
            }
        };
        if !metrics.auto_reply.iter().all(AutoReply::is_telling) {
            let reason =
                "a rule needs a worker, a text, a prefix or a regex that is not empty; without any it would match every message".to_owned();
            return Err(SettingsError::Wrong { origin: self.in_file("metrics.auto_reply"), reason });
        }
        let defaults = Parameters::in_zone(zone);
        Ok(Parameters {
            session_gap: within("metrics.session_gap", metrics.session_gap, defaults.session_gap, SESSION_GAP_MAX)?,
            reply_window: within("metrics.reply_window", metrics.reply_window, defaults.reply_window, defaults.reply_window)?,
            auto_reply: metrics.auto_reply.clone(),
            business_hours: metrics.business_hours.clone(),
            ..defaults
        })
    }

    fn in_file(&self, key: &'static str) -> Origin {
        Origin::File { path: self.file.path.clone(), key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: Flags, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let environment = |name: &str| variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
        Settings::resolve(&flags, &environment)
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_default() {
        let variables = [("KEFU_TIMEZONE", "America/New_York"), ("KEFU_LAKE", "/elsewhere")];
        let settings = resolve(Flags { timezone: Some("UTC".into()), ..Flags::default() }, &variables).unwrap();
        assert_eq!(settings.zone.value.name(), "UTC");
        assert_eq!(settings.zone.origin, Origin::Flag("--timezone"));
        assert_eq!(settings.lake.origin, Origin::Environment("KEFU_LAKE"));
        assert_eq!((settings.lookback.value, settings.lookback.origin), (3, Origin::Default));
    }

    #[test]
    fn a_wrong_value_is_named_with_its_place() {
        let error = resolve(Flags::default(), &[("KEFU_TIMEZONE", "Mars/Olympus")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the environment's KEFU_TIMEZONE is wrong: `Mars/Olympus` is not an IANA time zone like Asia/Shanghai"
        );
    }

    #[test]
    fn an_account_that_could_leave_the_lake_is_refused() {
        for name in ["../../x", "a/b", "..", "a\nb", "", ".hidden", "a b"] {
            assert!(resolve(Flags::default(), &[("KEFU_ACCOUNT", name)]).is_err(), "{name:?}");
        }
        assert!(resolve(Flags::default(), &[("KEFU_ACCOUNT", "旗舰店-1")]).is_ok());
    }

    #[test]
    fn a_secret_is_never_shown() {
        let settings = resolve(Flags::default(), &[("KEFU_APPID", "wx1"), ("KEFU_SECRET", "hunter2")]).unwrap();
        assert!(!format!("{settings:?} {:?}", settings.credential()).contains("hunter2"));
    }
}
