//! Classifies errors between this machine and WeChat.

use std::error::Error;
use std::io;

use super::Peer;
use super::client::CONNECT_LIMIT;
use crate::failure::{Classified, ErrorKind, causes, exhausted};

/// A call without an answer. Names the host and the proxy, but no URL, because the token is part of
/// every URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct TransportError {
    pub trouble: Trouble,
    pub peer: Peer,
    /// The message of the system or the TLS library. May be empty.
    pub detail: String,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    NoAddress(Whose),
    ConnectionRefused(Whose),
    /// No route to the address.
    Unreachable(Whose),
    /// The proxy requires a user name and a password, or refuses those given.
    ProxyWantsPassword,
    /// The proxy refuses to connect to the host.
    ProxyRefuses,
    /// The certificate is not trusted, has expired, or is for another host.
    Certificate(Whose),
    /// The peer does not speak TLS, or no version that this machine supports.
    Tls(Whose),
    /// This machine has no trusted certificates.
    NothingTrusted,
    ConnectTimeout,
    /// The answer did not arrive in time.
    Timeout,
    /// The connection ended before the answer was complete.
    Cut,
    /// This machine has no files or memory left for a connection. Holds the hint.
    Exhausted(&'static str),
    Other,
}

/// The peer that the error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Host,
    Proxy,
}

impl TransportError {
    /// Whether the same call may succeed a little later. A certificate or a password does not
    /// change within minutes.
    pub fn is_transient(&self) -> bool {
        !matches!(
            self.trouble,
            Trouble::Certificate(_)
                | Trouble::Tls(_)
                | Trouble::NothingTrusted
                | Trouble::ProxyWantsPassword
                | Trouble::Exhausted(_)
        )
    }

    fn render(&self) -> String {
        let peer = &self.peer;
        let proxy = peer.proxy.as_deref().unwrap_or("between here and WeChat");
        let name = |whose| match whose {
            Whose::Host => peer.host.clone(),
            Whose::Proxy => format!("the proxy {proxy}"),
        };
        let what = match self.trouble {
            Trouble::NoAddress(whose) => format!("cannot find the address of {}", name(whose)),
            Trouble::ConnectionRefused(whose) => format!("{} refused the connection", name(whose)),
            Trouble::Unreachable(whose) => format!("{} cannot be reached", name(whose)),
            Trouble::ProxyWantsPassword => {
                format!("the proxy {proxy} requires a valid user name and password (407)")
            }
            Trouble::ProxyRefuses => {
                format!("the proxy {proxy} refused to connect to {}", peer.host)
            }
            Trouble::Certificate(Whose::Host) => {
                format!("the certificate of {peer} is not trusted")
            }
            Trouble::Certificate(whose) => {
                format!("the certificate of {} is not trusted", name(whose))
            }
            Trouble::Tls(Whose::Host) => format!("cannot open a TLS connection with {peer}"),
            Trouble::Tls(whose) => format!("cannot open a TLS connection with {}", name(whose)),
            Trouble::NothingTrusted => "this machine has no trusted certificates".to_owned(),
            Trouble::ConnectTimeout => {
                format!("no connection to {peer} within {} seconds", CONNECT_LIMIT.as_secs())
            }
            Trouble::Timeout => format!("no answer from {peer} in time"),
            Trouble::Cut => {
                format!("the connection to {peer} ended before the answer was complete")
            }
            Trouble::Exhausted(_) | Trouble::Other => format!("the call to {peer} failed"),
        };
        if self.detail.is_empty() { what } else { format!("{what} ({})", self.detail) }
    }
}

impl Classified for TransportError {
    fn kind(&self) -> ErrorKind {
        match self.trouble {
            Trouble::ProxyWantsPassword => ErrorKind::Refused,
            Trouble::Exhausted(_) => ErrorKind::Lake,
            // Only a change on this machine helps.
            Trouble::Certificate(_) | Trouble::NothingTrusted => ErrorKind::Settings,
            _ => ErrorKind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        let host = &self.peer.host;
        Some(match self.trouble {
            Trouble::NoAddress(Whose::Host) => {
                "check this machine's name server and the base URL, then run again. Fetched days stay in the lake".into()
            }
            Trouble::NoAddress(Whose::Proxy)
            | Trouble::ConnectionRefused(Whose::Proxy)
            | Trouble::Unreachable(Whose::Proxy) => format!(
                "check the variable and whether the proxy runs, then run again. `NO_PROXY={host}` calls WeChat without the proxy. Fetched days stay in the lake"
            ),
            Trouble::ConnectionRefused(Whose::Host) | Trouble::Unreachable(Whose::Host) => {
                "check the base URL, the firewall and whether this machine needs a proxy (HTTPS_PROXY), then run again. Fetched days stay in the lake".into()
            }
            Trouble::ProxyWantsPassword => {
                "put the user name and the password into that variable, as http://USER:PASSWORD@HOST:PORT. Write special characters as %XX".into()
            }
            Trouble::ProxyRefuses => format!(
                "ask the administrator of the proxy to allow {host}, port 443, or call WeChat without the proxy: `NO_PROXY={host}`. Fetched days stay in the lake"
            ),
            Trouble::Certificate(_) => {
                "check this machine's clock. If a proxy or a firewall opens TLS connections, put its CA certificate and the other trusted ones into one PEM file. Name that file in SSL_CERT_FILE. kefu makes no calls without a trusted certificate".into()
            }
            Trouble::NothingTrusted => {
                "install the package ca-certificates, or name a PEM file with trusted certificates in SSL_CERT_FILE. With SSL_CERT_FILE or SSL_CERT_DIR set, no other certificates are trusted".into()
            }
            Trouble::Tls(_) => {
                "check the base URL, and any proxy or firewall in between: another server than WeChat seems to answer".into()
            }
            Trouble::ConnectTimeout => {
                "check the network, the firewall and whether this machine needs a proxy (HTTPS_PROXY), then run again. Fetched days stay in the lake".into()
            }
            Trouble::Exhausted(hint) => hint.into(),
            Trouble::Timeout | Trouble::Cut | Trouble::Other => {
                "check the network between here and WeChat, then run again. Fetched days stay in the lake".into()
            }
        })
    }
}

/// Classifies an error of the HTTP client by the errors inside it.
pub(super) fn classify(error: reqwest::Error, peer: &Peer) -> TransportError {
    // The detail comes from an inner error without a URL. The outermost error contains the URL.
    let error = error.without_url();
    let detail = causes(&error).last().map(|cause| shown(&cause.to_string())).unwrap_or_default();
    let trouble = trouble(&error, peer.proxy.is_some());
    let detail = match trouble {
        Trouble::ProxyWantsPassword | Trouble::ProxyRefuses if detail.contains("tunnel") => {
            String::new()
        }
        Trouble::ConnectTimeout | Trouble::Timeout => String::new(),
        _ => detail,
    };
    TransportError { trouble, peer: peer.clone(), detail }
}

fn trouble(error: &reqwest::Error, is_proxied: bool) -> Trouble {
    if error.is_builder() {
        return Trouble::NothingTrusted;
    }
    if let Some(hint) = exhausted(error) {
        return Trouble::Exhausted(hint);
    }
    if !error.is_connect() {
        return match error {
            _ if error.is_timeout() => Trouble::Timeout,
            _ if error.is_body() || error.is_decode() || is_io(error, &ENDED) => Trouble::Cut,
            _ if causes(error).any(is_incomplete) => Trouble::Cut,
            _ => Trouble::Other,
        };
    }
    // The tunnel's error type is not public, so compare its text.
    let tunnel = causes(error)
        .map(ToString::to_string)
        .find_map(|text| text.strip_prefix("tunnel error: ").map(str::to_owned));
    let whose = match tunnel.as_deref() {
        Some("proxy authorization required") => return Trouble::ProxyWantsPassword,
        Some("failed to create underlying connection") => Whose::Proxy,
        Some(_) => return Trouble::ProxyRefuses,
        // After the tunnel is open, errors are between this machine and the host.
        None => Whose::Host,
    };
    if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return match tls {
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                Trouble::Certificate(whose)
            }
            _ => Trouble::Tls(whose),
        };
    }
    match error {
        _ if error.is_dns() => Trouble::NoAddress(whose),
        _ if is_io(error, &[io::ErrorKind::ConnectionRefused]) => Trouble::ConnectionRefused(whose),
        _ if is_io(error, &UNREACHABLE) => Trouble::Unreachable(whose),
        _ if error.is_timeout() => Trouble::ConnectTimeout,
        _ if is_io(error, &ENDED) => Trouble::Cut,
        _ if is_proxied && whose == Whose::Proxy => Trouble::Unreachable(Whose::Proxy),
        _ => Trouble::Other,
    }
}

const UNREACHABLE: [io::ErrorKind; 4] = [
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::NetworkDown,
    io::ErrorKind::AddrNotAvailable,
];

const ENDED: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

fn is_io(error: &reqwest::Error, kinds: &[io::ErrorKind]) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|io| kinds.contains(&io.kind()))
}

fn is_incomplete(cause: &(dyn Error + 'static)) -> bool {
    cause.downcast_ref::<hyper::Error>().is_some_and(|error| {
        error.is_incomplete_message() || error.is_body_write_aborted() || error.is_closed()
    })
}

/// Limits a text to 200 printable characters, because a certificate may contain any text.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}
