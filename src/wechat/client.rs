//! One HTTP call to WeChat, without retries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER,
};
use reqwest::{StatusCode, Url};
use serde::Serialize;

use super::body::{Incoming, beginning, render, too_long};
use super::transport::classify;
use super::{
    Action, ApiError, Endpoint, PageRequest, Peer, Places, Secret, TokenCommandError,
    TransportError,
};
use crate::failure::{Classified, ErrorKind};

pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Maximum time without data while a body arrives.
const READ_LIMIT: Duration = Duration::from_secs(30);
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// Maximum size of a body in bytes. A page of 10,000 records with the longest texts that WeChat
/// accepts is just below it (2,048 bytes each, every byte escaped as `\\u00XX`).
const BODY_BYTES_MAX: usize = 128 << 20;
/// Maximum buffer reserved before a body arrives, in bytes. `Content-Length` may be wrong.
const BODY_ROOM_MAX: usize = 8 << 20;
/// Bytes read from an answer other than HTTP 200. Enough to describe it.
const ERROR_BYTES: usize = 4 << 10;
const ERROR_LIMIT: Duration = Duration::from_secs(5);

/// The addresses of `localhost`. The port of the URL replaces port 0.
const LOOPBACK: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];

/// Why a call returned no usable answer. No variant contains a URL or a token.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Transport(Box<TransportError>),
    /// `came` describes the body, for instance as an HTML page or as empty.
    #[error("{peer} answered HTTP {status} with {came}")]
    Status { status: u16, retry_after: Option<Duration>, peer: Peer, came: String },
    /// Not JSON, truncated, or JSON that is neither a result nor an error from WeChat.
    #[error("cannot read the answer: {0}")]
    Unreadable(String),
    #[error(transparent)]
    Api(#[from] ApiError),
    /// WeChat refuses the credential.
    #[error("{refusal}")]
    Proof { refusal: ApiError, places: Box<Places> },
    /// WeChat refuses the token. Another service manages it, so kefu cannot renew it.
    #[error("the access token in the settings is refused: {refusal}")]
    GivenToken { refusal: ApiError, places: Box<Places> },
    #[error(transparent)]
    TokenCommand(#[from] TokenCommandError),
}

impl CallError {
    /// Whether the same call may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport(error) => error.is_transient(),
            Self::Unreadable(_) => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 429),
            Self::Api(error) => error.action() == Action::BackOff,
            Self::Proof { .. } | Self::GivenToken { .. } => false,
            Self::TokenCommand(error) => error.is_transient(),
        }
    }

    /// The same error without a secret that the server may have repeated.
    #[must_use]
    pub fn hiding(self, secret: &Secret) -> Self {
        match self {
            Self::Api(error) => Self::Api(error.hiding(secret)),
            other => other,
        }
    }

    /// The same error, naming the peer that sent an unreadable answer.
    #[must_use]
    pub fn from_peer(self, peer: &Peer) -> Self {
        match self {
            Self::Unreadable(reason) => Self::Unreadable(format!("{reason}, from {peer}")),
            other => other,
        }
    }

    /// The same error. A final refusal also names the places where the credential is set.
    #[must_use]
    pub(super) fn about(self, places: &Places) -> Self {
        match self {
            Self::Api(refusal) if refusal.action() == Action::StopRefused => {
                Self::Proof { refusal, places: Box::new(places.clone()) }
            }
            other => other,
        }
    }

    /// The same error. An error from WeChat becomes one about a token that kefu cannot renew.
    #[must_use]
    pub fn on_given_token(self, places: &Places) -> Self {
        match self {
            Self::Api(refusal) => Self::GivenToken { refusal, places: Box::new(places.clone()) },
            other => other,
        }
    }
}

impl Classified for CallError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Api(error) => error.kind(),
            Self::TokenCommand(error) => error.kind(),
            Self::Transport(error) => error.kind(),
            Self::Proof { .. }
            | Self::GivenToken { .. }
            | Self::Status { status: 401 | 403 | 407, .. } => ErrorKind::Refused,
            // For instance 404 or a redirect: this is not WeChat's API.
            Self::Status { .. } if !self.is_transient() => ErrorKind::Settings,
            _ => ErrorKind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Api(error) => error.hint(),
            Self::TokenCommand(error) => error.hint(),
            Self::Proof { refusal, places } => Some(refusal.hint_with(places)),
            Self::GivenToken { places, .. } => Some(format!(
                "check the token from {}: it must be the current token of the service that manages it. kefu cannot renew it",
                places.proof
            )),
            Self::Transport(error) => error.hint(),
            Self::Status { status: 407, peer, .. } => Some(format!(
                "put a user name and a password for {} into its variable, as http://USER:PASSWORD@HOST:PORT",
                peer.proxy.as_ref().map_or_else(|| "the proxy between here and WeChat".to_owned(), |proxy| format!("the proxy {proxy}"))
            )),
            Self::Status { .. } if self.is_transient() => Some(
                "run again later: WeChat, or a proxy in between, is overloaded or under maintenance. Fetched days stay in the lake".into(),
            ),
            Self::Status { .. } => Some(
                "check the base URL, and any proxy or login page between here and WeChat: the answer is not from WeChat's API".into(),
            ),
            Self::Unreadable(_) => Some(
                "check whether a login page, a proxy or a maintenance page answers instead of WeChat. Then run again later, and report the error if it persists. Fetched days stay in the lake"
                    .into(),
            ),
        }
    }
}

/// An answer with status 200.
#[derive(Debug)]
pub struct DatedBody {
    pub body: Bytes,
    /// The server's clock, from the header `Date`. None without that header.
    pub date: Option<SystemTime>,
}

/// An HTTP client for one base URL. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    peer: Peer,
}

impl Client {
    /// # Errors
    /// When the machine has no trusted certificates.
    pub fn new(endpoint: &Endpoint) -> Result<Self, CallError> {
        // Fails only if a provider is already installed, which works as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let peer = endpoint.peer();
        let transport = |error| CallError::Transport(Box::new(classify(error, &peer)));
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("kefu/", env!("CARGO_PKG_VERSION")))
            // A redirect would send the token to another host.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(READ_LIMIT)
            .timeout(CALL_LIMIT)
            // Plain http to `localhost` is allowed. So the name must mean this machine, whatever
            // the hosts file says.
            .resolve_to_addrs("localhost", &LOOPBACK)
            // The endpoint defines the proxy. The client must not look for one in the environment.
            .no_proxy();
        if let Some(proxy) = endpoint.proxy() {
            builder = builder.proxy(reqwest::Proxy::all(proxy.url().clone()).map_err(transport)?);
        }
        if endpoint.base().url().scheme() == "http" {
            // Plain http needs no certificates, and the machine may have none.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self {
            http: builder.build().map_err(transport)?,
            base: endpoint.base().url().clone(),
            peer: peer.clone(),
        })
    }

    /// The peer that answers, as errors name it.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    fn transport(&self, error: reqwest::Error) -> CallError {
        CallError::Transport(Box::new(classify(error, &self.peer)))
    }

    /// Requests one page of `getmsglist`. Returns the body without decoding it, and the server's
    /// clock. The body may be an error from WeChat.
    ///
    /// # Errors
    /// [`CallError::Transport`] and [`CallError::Status`].
    pub async fn message_page(
        &self,
        token: &Secret,
        request: &PageRequest,
    ) -> Result<DatedBody, CallError> {
        let path = "customservice/msgrecord/getmsglist";
        let request = self.post_request(path, Some(token), request)?;
        // A page is several times smaller with gzip. The connection is slower than decompression.
        self.receive(request.header(ACCEPT_ENCODING, "gzip")).await
    }

    /// Requests the list of workers and returns the body without decoding it. The body may be an
    /// error from WeChat.
    ///
    /// # Errors
    /// [`CallError::Transport`] and [`CallError::Status`].
    pub async fn worker_list(&self, token: &Secret) -> Result<Bytes, CallError> {
        let url = self.url("cgi-bin/customservice/getkflist", Some(token));
        Ok(self.receive(self.http.get(url)).await?.body)
    }

    /// The server's clock, from the `Date` of the answer to a call without a token. None if the
    /// answer has no `Date`. Any answer shows that the server can be reached.
    ///
    /// # Errors
    /// [`CallError::Transport`].
    pub async fn server_time(&self) -> Result<Option<SystemTime>, CallError> {
        let sent = self.http.get(self.base.clone()).send().await;
        let answer = sent.map_err(|error| self.transport(error))?;
        Ok(date(answer.headers()))
    }

    pub(super) async fn post(
        &self,
        path: &str,
        token: Option<&Secret>,
        body: &impl Serialize,
    ) -> Result<Bytes, CallError> {
        Ok(self.receive(self.post_request(path, token, body)?).await?.body)
    }

    fn post_request(
        &self,
        path: &str,
        token: Option<&Secret>,
        body: &impl Serialize,
    ) -> Result<reqwest::RequestBuilder, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| {
            CallError::Unreadable(format!("the request cannot be serialized: {error}"))
        })?;
        let request = self.http.post(self.url(path, token));
        Ok(request.header(CONTENT_TYPE, "application/json").body(body))
    }

    async fn receive(&self, request: reqwest::RequestBuilder) -> Result<DatedBody, CallError> {
        let mut response = request.send().await.map_err(|error| self.transport(error))?;
        if response.status() != StatusCode::OK {
            let retry_after = retry_after(response.headers());
            let status = response.status().as_u16();
            let came = render(&beginning(&first_bytes(&mut response).await, ERROR_BYTES));
            return Err(CallError::Status { status, retry_after, peer: self.peer.clone(), came });
        }
        let date = date(response.headers());
        let claimed = response.content_length().unwrap_or(0);
        let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
        if claimed > BODY_BYTES_MAX {
            return Err(too_long(BODY_BYTES_MAX).from_peer(&self.peer));
        }
        let mut body = Incoming::new(claimed.min(BODY_ROOM_MAX), BODY_BYTES_MAX);
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport(error))? {
            body.push(&chunk).map_err(|error| error.from_peer(&self.peer))?;
        }
        let encoding = response.headers().get(CONTENT_ENCODING).and_then(|name| name.to_str().ok());
        let body = body.finish(encoding).map_err(|error| error.from_peer(&self.peer))?;
        Ok(DatedBody { body, date })
    }

    fn url(&self, path: &str, token: Option<&Secret>) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        if let Some(token) = token {
            url.query_pairs_mut().append_pair("access_token", token.expose());
        }
        url
    }
}

/// The first bytes of an answer. Empty if they cannot be read.
async fn first_bytes(response: &mut reqwest::Response) -> BytesMut {
    let mut body = BytesMut::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = ERROR_BYTES.saturating_sub(body.len()).min(chunk.len());
            body.extend_from_slice(chunk.get(..room).unwrap_or_default());
            if body.len() >= ERROR_BYTES {
                break;
            }
        }
    };
    // After a timeout, the bytes received so far are enough.
    let _ = tokio::time::timeout(ERROR_LIMIT, reading).await;
    body
}

/// The server's clock, from the header `Date`.
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

/// `Retry-After` in seconds. The date form is for browsers and is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
