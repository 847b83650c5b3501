//! The endpoint of WeChat's API: its base URL, and the proxy for calls to it.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::BaseUrl;

/// The base URL of calls, and their proxy.
#[derive(Clone, Debug)]
pub struct Endpoint {
    base: BaseUrl,
    proxy: Option<Proxy>,
}

impl Endpoint {
    /// Makes calls directly, without a proxy.
    pub fn direct(base: BaseUrl) -> Self {
        Self { base, proxy: None }
    }

    /// Makes calls through the proxy, unless the host is this machine.
    pub fn through(base: BaseUrl, proxy: Option<Proxy>) -> Self {
        let proxy = proxy.filter(|_| !base.is_loopback());
        Self { base, proxy }
    }

    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// The host and the proxy, as errors name them.
    pub fn peer(&self) -> Peer {
        Peer { host: address(self.base.url()), proxy: self.proxy.as_ref().map(Proxy::to_string) }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::direct)
    }
}

/// An HTTP proxy. Its address may contain a user name and a password, which are never shown.
#[derive(Clone)]
pub struct Proxy {
    url: Url,
    /// The environment variable that defines it.
    variable: &'static str,
}

impl Proxy {
    /// Reads `http://user:password@host:port`. Only the host is required.
    ///
    /// # Errors
    /// The reason, without the text itself, which may contain a password.
    pub fn parse(text: &str, variable: &'static str) -> Result<Self, String> {
        let form = "it is not an address like http://proxy.example:3128 (kefu does not show the value, because it may contain a password)";
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        match scheme {
            "http" | "https" => {}
            "socks4" | "socks4a" | "socks5" | "socks5h" => {
                return Err("it is a SOCKS proxy; kefu supports HTTP proxies only".into());
            }
            _ => return Err(form.into()),
        }
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| form.to_owned())?;
        let is_address = !rest.starts_with('/')
            && !text
                .contains(|character: char| character.is_whitespace() || character == '\u{fffd}')
            && url.host_str().is_some()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        if is_address { Ok(Self { url, variable }) } else { Err(form.into()) }
    }

    /// The host, and the port if there is one.
    pub fn address(&self) -> String {
        address(&self.url)
    }

    /// The URL with its user name and password, only for the HTTP client.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }
}

/// `proxy.example:3128 (HTTPS_PROXY)`
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address(), self.variable)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// Whether a list in the format of `NO_PROXY` includes the host.
pub fn is_exempt(no_proxy: &str, base: &BaseUrl) -> bool {
    let matcher = Matcher::builder().all("http://proxy.invalid").no(no_proxy).build();
    base.url().as_str().parse::<Uri>().is_ok_and(|uri| matcher.intercept(&uri).is_none())
}

/// Checks that a file contains usable certificates in PEM form.
///
/// # Errors
/// The reason why the file cannot be used.
pub fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err("it contains no certificate in PEM format".into()),
        _ => Ok(()),
    }
}

/// The host, and the port if there is one. Without user name, password, path and query.
fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The peer of a call: the host, and the proxy if there is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// With the port, unless it is the default port of the scheme.
    pub host: String,
    /// The proxy, and the variable that defines it.
    pub proxy: Option<String>,
}

/// `api.weixin.qq.com through the proxy proxy.example:3128 (HTTPS_PROXY)`
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            None => f.write_str(&self.host),
            Some(proxy) => write!(f, "{} through the proxy {proxy}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        for (text, shown) in [
            ("http://user:hunter2@proxy.example:3128", "proxy.example:3128 (HTTPS_PROXY)"),
            ("user:hunter2@proxy.example:3128/", "proxy.example:3128 (HTTPS_PROXY)"),
            ("proxy.example", "proxy.example (HTTPS_PROXY)"),
            ("https://[::1]:8443", "[::1]:8443 (HTTPS_PROXY)"),
        ] {
            let proxy = Proxy::parse(text, "HTTPS_PROXY").unwrap();
            assert_eq!(proxy.to_string(), shown);
            assert!(!format!("{proxy:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_not_shown() {
        for text in [
            "http://",
            "http:///hunter2",
            "http:/hunter2:3128",
            "ftp://hunter2:21",
            "socks5://hunter2:1080",
            "http://hunter2:port",
            "http://hunter2:99999",
            "http://hunter2 .example",
            "http://proxy.example/hunter2",
            "://hunter2",
            "hunter2:pass@",
        ] {
            let error =
                Proxy::parse(text, "HTTPS_PROXY").map(|proxy| proxy.to_string()).unwrap_err();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn hosts_are_exempt_by_name_and_by_domain() {
        let base = "https://api.weixin.qq.com".parse().unwrap();
        for (list, exempt) in [
            ("", false),
            ("example.com", false),
            ("a, qq.com", true),
            (".weixin.qq.com", true),
            ("*", true),
        ] {
            assert_eq!(is_exempt(list, &base), exempt, "{list}");
        }
    }
}
