//! The sources of settings, in order of precedence: flag, environment, file, default.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::bucket::is_bucket;
use super::file::File;
use super::{Environment, Flags, Origin, Setting, SettingsError};
use crate::calendar::Zone;
use crate::metrics::{AutoReply, Parameters, SESSION_GAP_MAX};
use crate::plain_file;
use crate::secret;
use crate::wechat::BaseUrl;

/// The lake, unless the settings name another one.
pub const LAKE: &str = "data/lake";

/// The settings file, unless a flag or the environment names another one.
pub const CONFIG: &str = "kefu.toml";

pub(super) struct LoadedFile {
    pub(super) path: PathBuf,
    /// The origin of the path.
    pub(super) origin: Origin,
    pub(super) is_there: bool,
    pub(super) values: File,
}

impl LoadedFile {
    pub(super) fn shown(&self) -> Setting<String> {
        let absence = if self.is_there { "" } else { " (not found)" };
        Setting { value: format!("{}{absence}", self.path.display()), origin: self.origin.clone() }
    }
}

/// Reads the settings file. A file named by a flag or the environment must exist. The one in the
/// current folder is optional.
pub(super) fn read_file(
    flags: &Flags,
    environment: Environment<'_>,
) -> Result<LoadedFile, SettingsError> {
    let (path, origin) = config_file(flags, environment);
    secret::suspect(&path.to_string_lossy());
    match read_text(&path) {
        Ok(text) => {
            let values = File::parse(&text)
                .map_err(|reason| SettingsError::Malformed { path: path.clone(), reason })?;
            Ok(LoadedFile { path, origin, is_there: true, values })
        }
        Err(error) if origin == Origin::Default && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(LoadedFile { path, origin, is_there: false, values: File::default() })
        }
        Err(error) => Err(SettingsError::Unreadable(error)),
    }
}

/// The path of the settings file, and where the path comes from.
fn config_file(flags: &Flags, environment: Environment<'_>) -> (PathBuf, Origin) {
    match (&flags.config, environment("KEFU_CONFIG")) {
        (Some(path), _) => (path.clone(), Origin::Flag("--config")),
        (None, Some(path)) => (PathBuf::from(path), Origin::Environment("KEFU_CONFIG")),
        (None, None) => (PathBuf::from(CONFIG), Origin::Default),
    }
}

/// The settings file, and the lake as a flag, the environment or the default names it. For
/// commands that must know them although the settings cannot be used.
pub fn named_places(flags: &Flags, environment: Environment<'_>) -> (PathBuf, PathBuf) {
    let in_environment = || environment("KEFU_LAKE").map(PathBuf::from);
    let lake = flags.lake.clone().or_else(in_environment).unwrap_or_else(|| PathBuf::from(LAKE));
    (config_file(flags, environment).0, lake)
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    plain_file::open_named(path)?.read_to_string(&mut text)?;
    Ok(text)
}

pub(super) struct Sources<'a> {
    pub(super) environment: Environment<'a>,
    pub(super) file: &'a LoadedFile,
}

impl Sources<'_> {
    pub(super) fn text(
        &self,
        (flag, given): (&'static str, Option<String>),
        variable: &'static str,
        (key, filed): (&'static str, &Option<String>),
    ) -> Option<Setting<String>> {
        given
            .map(|value| Setting { value, origin: Origin::Flag(flag) })
            .or_else(|| {
                (self.environment)(variable)
                    .map(|value| Setting { value, origin: Origin::Environment(variable) })
            })
            .or_else(|| filed.clone().map(|value| Setting { value, origin: self.in_file(key) }))
            .inspect(|setting| {
                // The name of a folder may look like a secret, and every summary must show the
                // folder.
                if key != "lake" {
                    secret::suspect(&setting.value);
                }
            })
    }

    pub(super) fn zone(&self, flags: &Flags) -> Result<Setting<Zone>, SettingsError> {
        let flag = ("--timezone", flags.timezone.clone());
        self.text(flag, "KEFU_TIMEZONE", ("timezone", &self.file.values.timezone))
            .unwrap_or_else(|| Setting { value: Zone::DEFAULT.into(), origin: Origin::Default })
            .try_map(|name| Zone::named(&name))
    }

    pub(super) fn base_url(&self, flags: &Flags) -> Result<Setting<BaseUrl>, SettingsError> {
        let flag = ("--base-url", flags.base_url.clone());
        self.text(flag, "KEFU_BASE_URL", ("base_url", &self.file.values.base_url))
            .unwrap_or_else(|| Setting { value: BaseUrl::WECHAT.into(), origin: Origin::Default })
            .try_map(|text| text.parse())
    }

    /// The lake as the user names it. A relative path in the file starts at the folder of the file.
    pub(super) fn lake(&self, flags: &Flags) -> Result<Setting<PathBuf>, SettingsError> {
        if let Some(path) = &flags.lake {
            return Ok(Setting { value: path.clone(), origin: Origin::Flag("--lake") });
        }
        let named = self.text(("--lake", None), "KEFU_LAKE", ("lake", &self.file.values.lake));
        let Some(named) = named else {
            return Ok(Setting { value: PathBuf::from(LAKE), origin: Origin::Default });
        };
        let lake = named.try_map(|path| match path.is_empty() {
            true => Err("it is empty".to_owned()),
            // What an environment variable has instead of bytes that are not UTF-8.
            false if path.contains('\u{FFFD}') => Err("it is not UTF-8".to_owned()),
            false => Ok(PathBuf::from(path)),
        })?;
        match &lake.origin {
            Origin::File { .. } if !is_bucket(&lake.value) => {
                Ok(Setting { value: self.folder().join(&lake.value), origin: lake.origin })
            }
            _ => Ok(lake),
        }
    }

    pub(super) fn number<T>(
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
                    reason: format!(
                        "`{text}` is not a number from {} to {}",
                        allowed.start(),
                        allowed.end()
                    ),
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
        let reason =
            format!("{} is not between {} and {}", setting.value, allowed.start(), allowed.end());
        Err(SettingsError::Wrong { origin: setting.origin, reason })
    }

    pub(super) fn parameters(&self, zone: &str) -> Result<Parameters, SettingsError> {
        let metrics = &self.file.values.metrics;
        let within = |key: &'static str, given: Option<i64>, default: i64, max: i64| match given {
            None => Ok(default),
            Some(seconds) if (1..=max).contains(&seconds) => Ok(seconds),
            Some(seconds) => Err(SettingsError::Wrong {
                origin: self.in_file(key),
                reason: format!("{seconds} is not between 1 and {max} seconds"),
            }),
        };
        if !metrics.auto_reply.iter().all(AutoReply::is_telling) {
            let reason =
                "a rule needs a worker, a text, a prefix or a regex that is not empty; an empty rule would match every message".to_owned();
            return Err(SettingsError::Wrong {
                origin: self.in_file("metrics.auto_reply"),
                reason,
            });
        }
        let defaults = Parameters::in_zone(zone);
        Ok(Parameters {
            session_gap: within(
                "metrics.session_gap",
                metrics.session_gap,
                defaults.session_gap,
                SESSION_GAP_MAX,
            )?,
            reply_window: within(
                "metrics.reply_window",
                metrics.reply_window,
                defaults.reply_window,
                defaults.reply_window,
            )?,
            auto_reply: metrics.auto_reply.clone(),
            business_hours: metrics.business_hours.clone(),
            ..defaults
        })
    }

    /// The target of the service level, from 0 to 1. The file has it in percent.
    pub(super) fn service_level_target(&self) -> Result<Option<Setting<f64>>, SettingsError> {
        let key = "report.service_level_target";
        let Some(percent) = self.file.values.report.service_level_target else { return Ok(None) };
        if !(1.0..=100.0).contains(&percent) {
            let reason =
                format!("{percent} is not between 1 and 100; write percent, like 90 for 90 %");
            return Err(SettingsError::Wrong { origin: self.in_file(key), reason });
        }
        Ok(Some(Setting { value: percent / 100.0, origin: self.in_file(key) }))
    }

    pub(super) fn in_file(&self, key: impl Into<String>) -> Origin {
        Origin::File { path: self.file.path.clone(), key: key.into() }
    }
}
