//! Lists every setting with its origin, for `kefu doctor`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde::Serialize;

use super::file::Openid;
use super::identity::Identity;
use super::secret_source::SecretSource;
use super::sources::Sources;
use super::{Origin, Setting, Settings};
use crate::metrics::Parameters;
use crate::model::privacy::Texts;

/// A setting, as shown. For a secret, only its origin and its presence are shown.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// The account of the setting, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    pub name: &'static str,
    pub value: String,
    pub origin: String,
}

impl Listed {
    pub(super) fn new(name: &'static str, value: impl ToString, origin: impl ToString) -> Self {
        Self { account: None, name, value: value.to_string(), origin: origin.to_string() }
    }

    pub(super) fn of<T: ToString>(name: &'static str, setting: &Setting<T>) -> Self {
        Self::new(name, setting.value.to_string(), &setting.origin)
    }
}

impl Settings {
    /// All settings. Those of accounts come last.
    pub fn listed(&self) -> Vec<Listed> {
        let mut listed = vec![
            Listed::of("config", &self.config),
            Listed::new("lake", self.lake.value.display(), &self.lake.origin),
            Listed::new("timezone", self.zone.value.name(), &self.zone.origin),
            Listed::new("base_url", self.base_url.value.url(), &self.base_url.origin),
            Listed::of("proxy", &self.proxy_shown()),
            Listed::of("lookback", &self.lookback),
            Listed::of("refresh", &self.refresh),
            Listed::of("concurrency", &self.concurrency),
            Listed::of("accounts_at_once", &self.accounts_at_once),
        ];
        listed.splice(2..2, self.lake_listed.iter().cloned());
        listed.extend(self.rules_listed.iter().cloned());
        listed.push(match &self.service_level_target {
            Some(target) => Listed::new(
                "report.service_level_target",
                format!("{} %", 100.0 * target.value),
                &target.origin,
            ),
            None => Listed::new("report.service_level_target", "none", Origin::Default),
        });
        for identity in self.identities.iter() {
            let name = identity
                .name()
                .ok()
                .map(|name| name.to_string())
                .filter(|_| self.identities.len() > 1);
            let own = [
                identity.account.as_ref().map(|account| Listed::of("account", account)),
                identity.appid.as_ref().map(|appid| Listed::of("appid", appid)),
                identity
                    .secret
                    .as_ref()
                    .map(|secret| Listed::new("secret", secret.render(), &secret.origin)),
                identity
                    .access_token
                    .as_ref()
                    .map(|token| Listed::new("access_token", token.render(), &token.origin)),
            ];
            listed.extend(
                own.into_iter().flatten().map(|listed| Listed { account: name.clone(), ..listed }),
            );
        }
        listed
    }

    /// The files that contain a secret: secret files, and a settings file with a secret in it.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let of_accounts = self
            .identities
            .iter()
            .flat_map(|identity| [&identity.secret, &identity.access_token])
            .flatten();
        let secrets = of_accounts.chain(&self.openid_key);
        let mut files: Vec<PathBuf> = secrets
            .filter_map(|secret| match (&secret.value, &secret.origin) {
                (SecretSource::File(path), _)
                | (SecretSource::Value(_), Origin::File { path, .. }) => Some(path.clone()),
                _ => None,
            })
            .collect();
        files.sort();
        files.dedup();
        files
    }

    /// The settings file, and all files that it names: secrets, keys, lists and programs.
    pub fn needed_files(&self) -> &[PathBuf] {
        &self.needed_files
    }

    /// The [`secret_files`](Self::secret_files) that every user of this machine can read. Omits
    /// files that cannot be examined: the command that needs the secret reports them.
    pub fn exposed_files(&self) -> Vec<PathBuf> {
        let mut files = self.secret_files();
        files.retain(|path| {
            fs_err::metadata(path)
                .is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o004 != 0)
        });
        files
    }
}

impl Sources<'_> {
    /// The settings file, and all files that it names. Includes secrets that the environment
    /// replaces, because another command may need them.
    pub(super) fn needed_files(&self, identities: &[Identity]) -> Vec<PathBuf> {
        let values = &self.file.values;
        let in_folder = |path: &PathBuf| self.folder().join(path);
        let key = match &values.privacy.openid {
            Some(Openid::KeyFile(path)) => Some(path),
            _ => None,
        };
        let named = [&values.secret_file, &values.access_token_file, &values.accounts_file];
        let named = named.into_iter().flatten().chain(key).map(in_folder);
        let of_accounts = |source: &Setting<SecretSource>| match &source.value {
            SecretSource::File(path) => Some(path.clone()),
            SecretSource::Command(command) => Some(command.program().to_owned()),
            _ => None,
        };
        let secrets = identities.iter().flat_map(|one| [&one.secret, &one.access_token]);
        let programs = values.accounts_command.iter().map(|list| list.program().to_owned());
        std::iter::once(self.file.path.clone())
            .chain(named)
            .chain(secrets.flatten().filter_map(of_accounts))
            .chain(programs)
            .collect()
    }

    /// The settings of metrics and privacy. They can be set only in the file.
    pub(super) fn rules_listed(
        &self,
        parameters: &Parameters,
        texts: Texts,
        openid_key: Option<&Setting<SecretSource>>,
    ) -> Vec<Listed> {
        let (metrics, privacy) = (&self.file.values.metrics, &self.file.values.privacy);
        let listed = |name: &'static str, value: String, is_filed: bool| {
            let origin = if is_filed { self.in_file(name) } else { Origin::Default };
            Listed::new(name, value, origin)
        };
        let rules = match parameters.auto_reply.len() {
            0 => "none".to_owned(),
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        };
        let hours = if parameters.business_hours.is_some() { "a schedule" } else { "none" };
        vec![
            listed(
                "metrics.session_gap",
                format!("{} s", parameters.session_gap),
                metrics.session_gap.is_some(),
            ),
            listed(
                "metrics.reply_window",
                format!("{} s", parameters.reply_window),
                metrics.reply_window.is_some(),
            ),
            listed("metrics.auto_reply", rules, !metrics.auto_reply.is_empty()),
            listed("metrics.business_hours", hours.to_owned(), metrics.business_hours.is_some()),
            listed("privacy.text", texts.to_string(), privacy.text.is_some()),
            match openid_key {
                Some(key) => Listed::new(
                    "privacy.openid",
                    format!("hashed with a key {}", key.render()),
                    &key.origin,
                ),
                None => listed("privacy.openid", "keep".to_owned(), privacy.openid.is_some()),
            },
            listed(
                "privacy.workers",
                privacy.workers.unwrap_or_default().to_string(),
                privacy.workers.is_some(),
            ),
        ]
    }
}
