//! The base URL of the API.

use std::str::FromStr;

use reqwest::Url;

/// `https://…`, or `http://…` for this machine only, because the token is part of every URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// WeChat's own base URL.
    pub const WECHAT: &str = "https://api.weixin.qq.com";

    pub fn url(&self) -> &Url {
        &self.0
    }

    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }
}

/// Whether a URL names this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl FromStr for BaseUrl {
    type Err = String;

    /// Parses a base URL. The error does not repeat the text, because it may be a URL with a token.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|error| format!("it is not a URL ({error})"))?;
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err("it may contain only a scheme, a host, a port and a path".into());
        }
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_loopback(&url) => Ok(Self(url)),
            "http" => Err("http would send the token unencrypted; use https (http is allowed for loopback addresses only)".into()),
            _ => Err("it must begin with https://".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_only() {
        for text in [
            "https://api.weixin.qq.com",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
            "http://localhost:9",
        ] {
            assert!(text.parse::<BaseUrl>().is_ok(), "{text}");
        }
        for text in [
            "http://api.weixin.qq.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "ftp://127.0.0.1",
            "https://a:b@c",
            "https://c/?access_token=t",
        ] {
            assert!(text.parse::<BaseUrl>().is_err(), "{text}");
        }
    }
}
