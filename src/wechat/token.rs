//! The access token: where it comes from, and how it is renewed without disturbing anybody.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tokio::sync::Mutex;

use super::{ApiError, CallError, Client, Secret};
use crate::calendar::Clock;

/// Two forced refreshes closer together than this are refused by WeChat.
const FORCED_REFRESH_PAUSE: Duration = Duration::seconds(30);

/// How kefu proves who it is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// The account's own id and secret. Tokens come from `stable_token`, which leaves the tokens of other services alone.
    AppSecret { appid: String, secret: Secret },
    /// A token that another service manages.
    AccessToken(Secret),
}

/// The current token of one account, shared by all of its concurrent calls.
#[derive(Debug)]
pub struct Tokens {
    credential: Credential,
    client: Client,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Arc<Secret>>,
    forced_at: Option<OffsetDateTime>,
}

#[derive(Serialize)]
struct StableTokenRequest<'a> {
    grant_type: &'static str,
    appid: &'a str,
    secret: &'a str,
    force_refresh: bool,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    #[serde(default)]
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

/// How hard to try for another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The token that WeChat holds to be current; it may be the same one.
    Ask,
    /// A new one, which ends the old one for everybody. WeChat allows 20 a day.
    Force,
}

impl Tokens {
    pub fn new(credential: Credential, client: Client, clock: Clock) -> Self {
        Self { credential, client, clock, state: Mutex::default() }
    }

    /// The token to use now, fetched when there is none yet.
    ///
    /// # Errors
    /// Whatever kept WeChat from giving one.
    pub async fn current(&self) -> Result<Arc<Secret>, CallError> {
        let mut state = self.state.lock().await;
        match &state.token {
            Some(token) => Ok(token.clone()),
            None => self.fetch(&mut state, false).await,
        }
    }

    /// Another token in place of `refused`. Calls that were refused together renew once: the first one asks, the others
    /// find the new token. A token that another service manages cannot be renewed: `None`.
    ///
    /// # Errors
    /// Whatever kept WeChat from giving one.
    pub async fn renew(&self, refused: &Arc<Secret>, renewal: Renewal) -> Result<Option<Arc<Secret>>, CallError> {
        let mut state = self.state.lock().await;
        match &state.token {
            Some(token) if !Arc::ptr_eq(token, refused) => return Ok(Some(token.clone())),
            _ => {}
        }
        if matches!(self.credential, Credential::AccessToken(_)) {
            return Ok(None);
        }
        // If fetching fails, nobody should try the refused one again.
        state.token = None;
        if renewal == Renewal::Force {
            let now = self.clock.now();
            if let Some(wait) = state.forced_at.and_then(|at| (at + FORCED_REFRESH_PAUSE - now).try_into().ok()) {
                self.clock.wait(wait).await;
            }
            state.forced_at = Some(self.clock.now());
        }
        self.fetch(&mut state, renewal == Renewal::Force).await.map(Some)
    }

    async fn fetch(&self, state: &mut State, force_refresh: bool) -> Result<Arc<Secret>, CallError> {
        let token = match &self.credential {
            Credential::AccessToken(token) => token.clone(),
            Credential::AppSecret { appid, secret } => {
                let request = StableTokenRequest { grant_type: "client_credential", appid, secret: secret.expose(), force_refresh };
                let body = self.client.post("cgi-bin/stable_token", None, &request).await?;
                parse_token(&body)?
            }
        };
        let token = Arc::new(token);
        state.token = Some(token.clone());
        tracing::debug!(event = "token_fetched", forced = force_refresh);
        Ok(token)
    }
}

fn parse_token(body: &[u8]) -> Result<Secret, CallError> {
    // The parser's own message could quote the token.
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| CallError::Unreadable("the token's answer is not JSON".into()))?;
    match answer.access_token {
        Some(token) if answer.errcode == 0 && !token.is_empty() => Ok(Secret::new(token)),
        _ if answer.errcode != 0 => Err(ApiError { code: answer.errcode, message: answer.errmsg, on_token_endpoint: true }.into()),
        _ => Err(CallError::Unreadable("it holds neither a token nor an error".into())),
    }
}
