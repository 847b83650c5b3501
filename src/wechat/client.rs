//! One HTTP call to WeChat, without retries.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde::Serialize;

use super::{Action, ApiError, BaseUrl, PageRequest, Places, Secret, TokenCommandError};
use crate::failure::{Class, Classified};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The longest silence while a body arrives.
const READ_LIMIT: Duration = Duration::from_secs(30);
const CALL_LIMIT: Duration = Duration::from_secs(120);
/// A page of 10,000 records with the longest texts that WeChat accepts (2,048 bytes, each escaped as `\\u00XX`) is just within it.
const BODY_BYTES_MAX: usize = 128 << 20;

/// Why a call brought no answer to work with. None of these contains a URL or a token.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{0}")]
    Transport(String),
    #[error("the server answered HTTP {status}")]
    Status { status: u16, retry_after: Option<Duration> },
    /// Not JSON, cut, or JSON that is neither a result nor an error of WeChat's.
    #[error("the answer is not one of WeChat's: {0}")]
    Unreadable(String),
    #[error(transparent)]
    Api(#[from] ApiError),
    /// WeChat refuses what should prove who is asking.
    #[error("{refusal}")]
    Proof { refusal: ApiError, places: Box<Places> },
    /// The token that another service manages is not good, and kefu cannot renew it.
    #[error("the given access token is refused: {refusal}")]
    GivenToken { refusal: ApiError, places: Box<Places> },
    #[error(transparent)]
    TokenCommand(#[from] TokenCommandError),
}

impl CallError {
    /// Whether the same call may work a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport(_) | Self::Unreadable(_) => true,
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

    /// The same error, knowing where the proof is written that a final refusal is about.
    #[must_use]
    pub(super) fn about(self, places: &Places) -> Self {
        match self {
            Self::Api(refusal) if refusal.action() == Action::StopRefused => {
                Self::Proof { refusal, places: Box::new(places.clone()) }
            }
            other => other,
        }
    }

    /// The same error, when it is about a token that kefu cannot renew.
    #[must_use]
    pub fn on_given_token(self, places: &Places) -> Self {
        match self {
            Self::Api(refusal) => Self::GivenToken { refusal, places: Box::new(places.clone()) },
            other => other,
        }
    }
}

impl Classified for CallError {
    fn class(&self) -> Class {
        match self {
            Self::Api(error) => error.class(),
            Self::TokenCommand(error) => error.class(),
            Self::Proof { .. }
            | Self::GivenToken { .. }
            | Self::Status { status: 401 | 403 | 407, .. } => Class::Refused,
            // A page that is not there, a redirect: this is not WeChat's API.
            Self::Status { .. } if !self.is_transient() => Class::Settings,
            _ => Class::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Api(error) => error.hint(),
            Self::TokenCommand(error) => error.hint(),
            Self::Proof { refusal, places } => Some(refusal.hint_with(places)),
            Self::GivenToken { places, .. } => Some(format!(
                "the token is from {}: see to it that it is the current one of the service that manages it, which alone can renew it",
                places.proof
            )),
            Self::Status { status: 407, .. } => Some("the proxy between here and WeChat wants a password".into()),
            Self::Status { .. } if !self.is_transient() => Some("check the base URL, and any proxy between here and WeChat".into()),
            Self::Unreadable(_) => Some(
                "WeChat, or something on the way to it, does not answer in a form that kefu knows; run again, and if it stays, report it"
                    .into(),
            ),
            _ => Some("check the network between here and WeChat, then run again; what was fetched stays".into()),
        }
    }
}

/// Speaks HTTP to one base URL. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// # Errors
    /// When the machine offers no certificates to trust.
    pub fn new(base: &BaseUrl) -> Result<Self, CallError> {
        // Fails only when a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("kefu/", env!("CARGO_PKG_VERSION")))
            // A redirect would carry the token to wherever it points.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(READ_LIMIT)
            .timeout(CALL_LIMIT);
        if base.is_loopback() {
            builder = builder.no_proxy();
        }
        Ok(Self { http: builder.build().map_err(transport)?, base: base.url().clone() })
    }

    /// One page of `getmsglist`: the body as it came. It may be an error of WeChat's: only whoever decodes it knows.
    ///
    /// # Errors
    /// [`CallError::Transport`] and [`CallError::Status`].
    pub async fn message_page(
        &self,
        token: &Secret,
        request: &PageRequest,
    ) -> Result<Bytes, CallError> {
        self.post("customservice/msgrecord/getmsglist", Some(token), request).await
    }

    /// The server's clock, from the `Date` of an answer to a call without a token: none when it does not say. Whatever the answer, it can be reached.
    ///
    /// # Errors
    /// [`CallError::Transport`].
    pub async fn server_time(&self) -> Result<Option<SystemTime>, CallError> {
        let answer = self.http.get(self.base.clone()).send().await.map_err(transport)?;
        Ok(answer
            .headers()
            .get(DATE)
            .and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok()))
    }

    pub(super) async fn post(
        &self,
        path: &str,
        token: Option<&Secret>,
        body: &impl Serialize,
    ) -> Result<Bytes, CallError> {
        let body =
            serde_json::to_vec(body).map_err(|error| CallError::Transport(error.to_string()))?;
        let request = self
            .http
            .post(self.url(path, token))
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        receive(request).await
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

async fn receive(request: reqwest::RequestBuilder) -> Result<Bytes, CallError> {
    let mut response = request.send().await.map_err(transport)?;
    if response.status() != StatusCode::OK {
        return Err(CallError::Status {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
        });
    }
    let expected =
        response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    let mut body = BytesMut::with_capacity(expected.min(BODY_BYTES_MAX));
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(CallError::Unreadable(format!(
                "it is longer than {} MiB",
                BODY_BYTES_MAX >> 20
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// `Retry-After` in its form of seconds; the form of a date is for browsers.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// What went wrong on the way, in words of ours: the errors of the HTTP client carry the URL, and the URL carries the token.
fn transport(error: reqwest::Error) -> CallError {
    let what = if error.is_timeout() {
        "the call timed out"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_body() || error.is_decode() {
        "the answer was cut short"
    } else {
        "the call failed"
    };
    let error = error.without_url();
    let innermost =
        std::iter::successors(std::error::Error::source(&error), |cause| cause.source()).last();
    match innermost {
        Some(cause) => CallError::Transport(format!("{what} ({cause})")),
        None => CallError::Transport(what.to_owned()),
    }
}
