//! The settings of the user. Only this module reads the environment and `kefu.toml`.
//!
//! A value comes from a flag, else from the environment, else from the file, else from its default.
//! It keeps its origin, so that an error can name the place to correct. Secrets come from the
//! environment or a file, never from a flag.

mod account_list;
mod bucket;
mod file;
mod identity;
mod listing;
mod network;
mod privacy;
mod secret_source;
mod selection;
mod sources;
mod suggestion;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::calendar::Zone;
use crate::failure::{Classified, ErrorKind};
use crate::hint;
use crate::lake::{Account, AppId, BucketOptions, Lake, LakeError, LakePlace};
use crate::metrics::Rules;
use crate::model::Shard;
use crate::model::privacy::{Texts, WorkerNames};
use crate::wechat::{BaseUrl, Credential};
pub use bucket::is_bucket;
use identity::Identity;
pub use identity::checked_appid;
pub use listing::Listed;
use network::Network;
use secret_source::SecretSource;
pub use secret_source::not_a_word;
use selection::{first_few, in_shard};
pub use sources::{CONFIG, LAKE, named_places};
use sources::{Sources, read_file};

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    File {
        path: PathBuf,
        key: String,
    },
    /// A line of a list of accounts.
    Line {
        place: String,
        line: usize,
        key: Option<String>,
    },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::File { path, key } => write!(f, "`{key}` in {}", path.display()),
            Self::Line { place, line, key: Some(key) } => {
                write!(f, "`{key}` in line {line} of {place}")
            }
            Self::Line { place, line, key: None } => write!(f, "line {line} of {place}"),
            Self::Default => write!(f, "the default"),
        }
    }
}

/// A value and its origin.
#[derive(Clone, Debug)]
pub struct Setting<T> {
    pub value: T,
    pub origin: Origin,
}

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("{origin} is wrong: {reason}")]
    Wrong { origin: Origin, reason: String },
    #[error("{origin} names a file that cannot be read")]
    UnreadableFile { origin: Origin, source: std::io::Error },
    #[error("{origin} is wrong: the environment variable {} is not set", name.as_deref().unwrap_or("that it names"))]
    Unset { origin: Origin, name: Option<String> },
    #[error("{what} is missing")]
    Missing { what: &'static str, remedy: &'static str },
    #[error("the settings have several accounts: {names}")]
    Several { names: String },
    #[error("every user of this machine can read {path}, which contains a secret")]
    Exposed { path: PathBuf },
    #[error("{origin} gave no list of accounts: the program {} failed: {why}", program.display())]
    AccountsCommand { origin: Origin, program: PathBuf, why: String, is_transient: bool },
    #[error("cannot read the settings")]
    Unreadable(#[source] std::io::Error),
    #[error("{path} is not a valid settings file: {reason}")]
    Malformed { path: PathBuf, reason: String },
}

impl Classified for SettingsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::AccountsCommand { is_transient: true, .. } => ErrorKind::Unavailable,
            _ => ErrorKind::Settings,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { remedy, .. } => Some((*remedy).to_owned()),
            Self::Unset { name: Some(name), .. } => {
                Some(format!("set {name} in the environment in which kefu starts, or correct the name. Under systemd or cron, this is not the environment of your shell"))
            }
            Self::Unset { name: None, .. } => Some(
                "write the name of a variable there, like FLAGSHIP_SECRET, and put the secret into that variable. kefu does not show the present value, because it may be the secret itself"
                    .into(),
            ),
            Self::UnreadableFile { .. } => {
                Some("check that the file exists and that this user can read it. A relative path in kefu.toml starts at the folder of kefu.toml".into())
            }
            Self::Exposed { path } => {
                Some(format!("run `chmod o-r {}`", hint::quoted(&path.to_string_lossy())))
            }
            Self::AccountsCommand { .. } => Some(
                "run the program by hand to see its output: it must print one JSON object a line, within 30 seconds. It runs without a shell, and a relative path starts at the folder of kefu.toml"
                    .into(),
            ),
            Self::Several { .. } => Some("pick one with --account".into()),
            Self::Wrong { .. } | Self::Malformed { .. } => Some("correct the setting, then run again. Nothing was fetched or changed".into()),
            Self::Unreadable(_) => Some("check that the file exists and that this user can read it. Nothing was fetched or changed".into()),
        }
    }
}

/// Values given by flags. For absent ones, the environment is read.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub config: Option<PathBuf>,
    pub lake: Option<PathBuf>,
    pub timezone: Option<String>,
    pub base_url: Option<String>,
    pub lookback: Option<u16>,
    pub refresh: Option<u16>,
    pub concurrency: Option<u16>,
    pub accounts_at_once: Option<u16>,
    /// The selected accounts. Empty for all accounts.
    pub accounts: Vec<String>,
    /// Of the selected accounts, only those in this shard.
    pub shard: Option<Shard>,
}

/// Reads one environment variable. Tests pass a map.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the environment of the process. An empty variable counts as not set.
pub fn environment(name: &str) -> Option<String> {
    // A value that is not UTF-8 must be refused where it is used, not treated as unset.
    std::env::var_os(name)
        .map(|value| value.to_string_lossy().into_owned())
        .filter(|value| !value.is_empty())
}

/// All settings, resolved and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The lake as the user names it: a folder, or a bucket.
    pub lake: Setting<PathBuf>,
    place: LakePlace,
    /// The lake in a bucket: all accounts share its connections.
    opened: Arc<OnceLock<Lake>>,
    lake_listed: Vec<Listed>,
    /// Time zone of local days and hours.
    pub zone: Setting<Zone>,
    pub base_url: Setting<BaseUrl>,
    /// Number of days up to yesterday that a run without explicit days covers.
    pub lookback: Setting<u16>,
    /// Number of days up to yesterday that are re-fetched if they are already in the lake.
    pub refresh: Setting<u16>,
    /// Number of concurrent calls of an account.
    pub concurrency: Setting<u16>,
    /// Maximum number of accounts that are worked on at once.
    pub accounts_at_once: Setting<u16>,
    /// Parameters of the metrics, and whether a settings file sets them.
    pub rules: Rules,
    /// The wanted service level of reports, from 0 to 1. None for no target.
    pub service_level_target: Option<Setting<f64>>,
    network: Network,
    config: Setting<String>,
    needed_files: Arc<[PathBuf]>,
    rules_listed: Vec<Listed>,
    /// The names in the list of accounts, including accounts that are not selected.
    all_accounts: Option<Arc<BTreeSet<String>>>,
    /// The selected accounts. Empty only when none of them is in the shard.
    identities: Arc<Vec<Identity>>,
    shard: Option<Shard>,
    texts: Texts,
    openid_key: Option<Setting<SecretSource>>,
    pub worker_names: WorkerNames,
}

impl Settings {
    /// Resolves the settings from flags, environment and file.
    ///
    /// # Errors
    /// [`SettingsError`], with the origin of the first wrong value.
    pub fn resolve(flags: &Flags, environment: Environment<'_>) -> Result<Self, SettingsError> {
        let file = read_file(flags, environment)?;
        let sources = Sources { environment, file: &file };
        let zone = sources.zone(flags)?;
        let parameters = sources.parameters(zone.value.name())?;
        let identities = sources.identities()?;
        let (texts, openid_key) = (sources.texts()?, sources.openid_key());
        let lake = sources.lake(flags)?;
        let (place, lake_listed) = sources.lake_place(&lake)?;
        Ok(Self {
            lake,
            place,
            opened: Arc::default(),
            lake_listed,
            service_level_target: sources.service_level_target()?,
            network: Network::from_environment(environment),
            config: file.shown(),
            needed_files: sources.needed_files(&identities).into(),
            rules_listed: sources.rules_listed(&parameters, texts, openid_key.as_ref()),
            all_accounts: sources.has_several().then(|| {
                let names = identities.iter().filter_map(|identity| identity.name().ok());
                Arc::new(names.map(|name| name.to_string()).collect())
            }),
            identities: Arc::new(in_shard(flags.shard, sources.pick(&flags.accounts, identities)?)),
            shard: flags.shard,
            rules: match file.is_there {
                true => Rules::Given(parameters),
                false => Rules::Defaults(parameters),
            },
            zone,
            base_url: sources.base_url(flags)?,
            lookback: sources.number(
                "--lookback",
                flags.lookback,
                "KEFU_LOOKBACK",
                ("lookback", file.values.lookback),
                3,
                1..=3650,
            )?,
            refresh: sources.number(
                "--refresh",
                flags.refresh,
                "KEFU_REFRESH",
                ("refresh", file.values.refresh),
                2,
                0..=3650,
            )?,
            concurrency: sources.number(
                "--concurrency",
                flags.concurrency,
                "KEFU_CONCURRENCY",
                ("concurrency", file.values.concurrency),
                4,
                1..=64,
            )?,
            accounts_at_once: sources.number(
                "--accounts",
                flags.accounts_at_once,
                "KEFU_ACCOUNTS_AT_ONCE",
                ("accounts_at_once", file.values.accounts_at_once),
                16,
                1..=256,
            )?,
            texts,
            openid_key,
            worker_names: file.values.privacy.workers.unwrap_or_default(),
        })
    }

    /// The lake of these settings.
    ///
    /// # Errors
    /// When it is in a bucket whose settings are not usable.
    pub fn open_lake(&self) -> Result<Lake, LakeError> {
        let first = match self.opened.get() {
            Some(lake) => lake,
            None => {
                let lake = Lake::open(&self.place)?;
                self.opened.get_or_init(|| lake)
            }
        };
        match self.place {
            LakePlace::Folder(_) => Ok(Lake::open(&self.place)?.sharing_with(first)),
            LakePlace::Bucket(_) => Ok(first.clone()),
        }
    }

    /// How the bucket of the lake is reached. None for a folder.
    pub fn bucket(&self) -> Option<&BucketOptions> {
        match &self.place {
            LakePlace::Bucket(options) => Some(options),
            LakePlace::Folder(_) => None,
        }
    }

    /// Uses the time zone of the lake if no zone is set. Only for commands that only read: others
    /// would begin or continue a lake in a zone that the user did not choose.
    ///
    /// # Errors
    /// When the lake cannot be listed.
    pub fn in_zone_of(self, lake: &Lake) -> Result<Self, LakeError> {
        // If the lake has days in the default zone, a file with another zone is damaged.
        if self.zone.origin != Origin::Default || lake.require_zone(self.zone.value.name()).is_ok()
        {
            return Ok(self);
        }
        Ok(match lake.zone()?.and_then(|name| Zone::named(&name).ok()) {
            Some(zone) => Self {
                rules: self.rules.in_zone(zone.name()),
                zone: Setting { value: zone, origin: Origin::Default },
                ..self
            },
            None => self,
        })
    }

    /// Whether the settings name an account.
    pub fn has_account(&self) -> bool {
        self.identities.iter().any(|identity| identity.name().is_ok())
    }

    /// The name in files and in the `account` column: the configured name, else the app id.
    ///
    /// # Errors
    /// When neither is set, or several accounts are selected.
    pub fn account(&self) -> Result<Account, SettingsError> {
        self.identity()?.name()
    }

    /// The account name for a command that writes files.
    ///
    /// # Errors
    /// Those of [`account`](Self::account), and when readers skip files with that name.
    pub fn account_to_write(&self) -> Result<Account, SettingsError> {
        self.identity()?.name_to_write()
    }

    /// The app id of the account. None if only a token is set.
    ///
    /// # Errors
    /// When it is not an app id, or several accounts are selected.
    pub fn app_id(&self) -> Result<Option<AppId>, SettingsError> {
        self.identity()?.app_id()
    }

    /// The credential for calls to WeChat.
    ///
    /// # Errors
    /// When there is neither a token nor an app id with its secret, or several accounts are
    /// selected.
    pub fn credential(&self) -> Result<Credential, SettingsError> {
        self.identity()?.credential()
    }

    fn identity(&self) -> Result<&Identity, SettingsError> {
        match self.identities.as_slice() {
            [identity] => Ok(identity),
            several => {
                let names =
                    several.iter().filter_map(|identity| Some(identity.name().ok()?.to_string()));
                Err(SettingsError::Several { names: first_few(&names.collect::<Vec<_>>()) })
            }
        }
    }
}

impl<T> Setting<T> {
    fn try_map<U>(
        self,
        change: impl FnOnce(T) -> Result<U, String>,
    ) -> Result<Setting<U>, SettingsError> {
        match change(self.value) {
            Ok(value) => Ok(Setting { value, origin: self.origin }),
            Err(reason) => Err(SettingsError::Wrong { origin: self.origin, reason }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(flags: Flags, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let environment = |name: &str| {
            variables
                .iter()
                .find(|(variable, _)| *variable == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Settings::resolve(&flags, &environment)
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_default() {
        let variables = [("KEFU_TIMEZONE", "America/New_York"), ("KEFU_LAKE", "/elsewhere")];
        let settings =
            resolve(Flags { timezone: Some("UTC".into()), ..Flags::default() }, &variables)
                .unwrap();
        assert_eq!(settings.zone.value.name(), "UTC");
        assert_eq!(settings.zone.origin, Origin::Flag("--timezone"));
        assert_eq!(settings.lake.origin, Origin::Environment("KEFU_LAKE"));
        assert_eq!((settings.lookback.value, settings.lookback.origin), (3, Origin::Default));
        assert_eq!((settings.refresh.value, settings.refresh.origin), (2, Origin::Default));
    }

    #[test]
    fn zero_turns_the_refresh_off() {
        let settings = resolve(Flags::default(), &[("KEFU_REFRESH", "0")]).unwrap();
        assert_eq!(settings.refresh.value, 0);
        let error = resolve(Flags::default(), &[("KEFU_REFRESH", "3651")]).unwrap_err();
        assert!(error.to_string().contains("3651 is not between 0 and 3650"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_place() {
        let error = resolve(Flags::default(), &[("KEFU_TIMEZONE", "Mars/Olympus")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the environment variable KEFU_TIMEZONE is wrong: `Mars/Olympus` is not an IANA time zone like Asia/Shanghai"
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
        let settings =
            resolve(Flags::default(), &[("KEFU_APPID", "wx1"), ("KEFU_SECRET", "hunter2")])
                .unwrap();
        assert!(!format!("{settings:?} {:?}", settings.credential()).contains("hunter2"));
    }
}
