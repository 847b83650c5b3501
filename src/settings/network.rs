//! The proxy and the trusted certificates, from the environment.

use std::path::PathBuf;

use super::{Environment, Origin, Setting, Settings, SettingsError};
use crate::plain_file;
use crate::wechat::{Endpoint, Proxy, Secret, check_certificates, is_exempt};

/// The variables that define a proxy for https. The first one that is set is used.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const NO_PROXIES: [&str; 2] = ["NO_PROXY", "no_proxy"];
/// The TLS library reads this variable itself. It trusts no certificate if it cannot read the file.
const CERTIFICATES: &str = "SSL_CERT_FILE";

/// The values of the environment, unparsed. Only commands that call WeChat parse them.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// The address may contain a password.
    proxy: Option<(&'static str, Secret)>,
    /// User name and password of the proxy. They are hidden in all output while this value exists.
    _credentials: Vec<Secret>,
    no_proxy: Option<(&'static str, String)>,
    certificates: Option<PathBuf>,
}

impl Network {
    pub(super) fn from_environment(environment: Environment<'_>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| Some((*name, environment(name)?)))
        };
        let proxy = first(&PROXIES);
        let user = proxy.as_ref().and_then(|(_, text)| {
            let (user, _) = text.rsplit_once('@')?;
            Some(user.rsplit_once("//").map_or(user, |(_, user)| user))
        });
        let password = user.and_then(|user| Some(user.split_once(':')?.1));
        let hidden = user.into_iter().chain(password).map(|text| Secret::new(text.to_owned()));
        Self {
            _credentials: hidden.collect(),
            proxy: proxy.map(|(name, text)| (name, Secret::not_hidden(text))),
            no_proxy: first(&NO_PROXIES),
            certificates: environment(CERTIFICATES).map(PathBuf::from),
        }
    }
}

impl Settings {
    /// The base URL of WeChat, and the proxy for calls to it.
    ///
    /// # Errors
    /// When an environment variable defines no valid proxy, or names a file without certificates.
    pub fn endpoint(&self) -> Result<Endpoint, SettingsError> {
        let base = self.base_url.value.clone();
        if base.url().scheme() == "https" {
            self.check_certificates()?;
        }
        Ok(Endpoint::through(base, self.proxy()?))
    }

    /// The proxy for calls to WeChat. None if none is set, or if the host is exempt from it.
    fn proxy(&self) -> Result<Option<Proxy>, SettingsError> {
        let base = &self.base_url.value;
        let Some((variable, text)) = &self.network.proxy else { return Ok(None) };
        let exempt = |(_, list): &(&str, String)| is_exempt(list, base);
        if base.is_loopback() || self.network.no_proxy.as_ref().is_some_and(exempt) {
            return Ok(None);
        }
        Proxy::parse(text.expose(), variable).map(Some).map_err(|reason| SettingsError::Wrong {
            origin: Origin::Environment(variable),
            reason,
        })
    }

    fn check_certificates(&self) -> Result<(), SettingsError> {
        let Some(path) = &self.network.certificates else { return Ok(()) };
        let origin = || Origin::Environment(CERTIFICATES);
        let pem = plain_file::read_named(path)
            .map_err(|source| SettingsError::UnreadableFile { origin: origin(), source })?;
        check_certificates(&pem).map_err(|reason| SettingsError::Wrong {
            origin: origin(),
            reason: format!("{}: {reason}", path.display()),
        })
    }

    /// The proxy in use, as shown to people.
    pub(super) fn proxy_shown(&self) -> Setting<String> {
        let set = self.network.proxy.as_ref();
        let origin = set.map_or(Origin::Default, |(name, _)| Origin::Environment(name));
        let value = match (self.proxy(), &self.network.no_proxy) {
            (Ok(Some(proxy)), _) => proxy.address(),
            (Ok(None), Some((name, _))) if set.is_some() && !self.base_url.value.is_loopback() => {
                format!("none, because of {name}")
            }
            (Ok(None), _) if set.is_some() => {
                "none, because the base URL is this machine".to_owned()
            }
            (Ok(None), _) => "none".to_owned(),
            (Err(_), _) => "(set, but invalid)".to_owned(),
        };
        Setting { value, origin }
    }
}
