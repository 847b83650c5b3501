//! The access token: where it comes from, and how it is renewed without disturbing anybody.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::json::read;
use super::{ApiError, CallError, Client, Integer, Secret, TokenCommand, Words, no_json};

/// How kefu proves who it is, and where that is written.
#[derive(Clone, Debug)]
pub struct Credential {
    pub proof: Proof,
    pub places: Places,
}

/// What proves that an account is ours.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The account's own id and secret. Tokens come from `stable_token`, which leaves the tokens of other services alone.
    AppSecret { appid: String, secret: Secret },
    /// A token that another service manages.
    AccessToken(Secret),
    /// A program that gets the token from whoever manages it. It is run again when WeChat refuses what it gave.
    Command(TokenCommand),
}

/// Where a proof is written, in words for hints: only whoever read the settings knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The app id itself, and where it is from.
    pub appid: String,
    /// Where the secret or the token is from.
    pub proof: String,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            appid: "in the settings".into(),
            proof: "the secret or token in the settings".into(),
        }
    }
}

impl From<Proof> for Credential {
    fn from(proof: Proof) -> Self {
        Self { proof, places: Places::default() }
    }
}

/// The current token of one account, shared by all of its concurrent calls.
#[derive(Debug)]
pub struct Tokens {
    credential: Credential,
    client: Client,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    token: Option<Arc<Secret>>,
    force: Force,
}

/// The one forced refresh of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Force {
    #[default]
    NotNeeded,
    /// The next token is to be a forced one, however many calls that takes.
    Needed,
    Done,
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
    errcode: Option<Integer>,
    errmsg: Option<Words>,
}

/// How hard to try for another token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The token that WeChat holds to be current; it may be the same one.
    Ask,
    /// A new one, which ends the old one for everybody. WeChat allows 20 a day, kefu allows itself one a run.
    Force,
}

/// What came of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// There is another token now.
    Fetched,
    /// Another call that was refused had renewed it already.
    ByAnotherCall,
    /// A new token was forced in this run already, and is refused too.
    NotAgain,
    /// Another service manages the token, and only it can renew it.
    NotOurs,
}

impl Tokens {
    pub fn new(credential: Credential, client: Client) -> Self {
        Self { credential, client, state: Mutex::default() }
    }

    /// Where the proof is written.
    pub fn places(&self) -> &Places {
        &self.credential.places
    }

    /// The token to use now, fetched when there is none yet.
    ///
    /// # Errors
    /// Whatever kept WeChat from giving one.
    pub async fn current(&self) -> Result<Arc<Secret>, CallError> {
        let mut state = self.state.lock().await;
        match &state.token {
            Some(token) => Ok(token.clone()),
            None => self.fetch(&mut state).await,
        }
    }

    /// Puts another token in place of `refused`. Calls that were refused together renew once: the first one asks, the others find the new
    /// token.
    ///
    /// # Errors
    /// Whatever kept WeChat from giving one. The next call of [`current`](Self::current) tries again.
    pub async fn renew(
        &self,
        refused: &Arc<Secret>,
        renewal: Renewal,
    ) -> Result<Renewed, CallError> {
        let mut state = self.state.lock().await;
        match (&self.credential.proof, &state.token) {
            (Proof::AccessToken(_), _) => return Ok(Renewed::NotOurs),
            (_, Some(token)) if !Arc::ptr_eq(token, refused) => return Ok(Renewed::ByAnotherCall),
            // Nobody but the service behind the program can force a new one.
            (Proof::Command(_), _) if renewal == Renewal::Force => return Ok(Renewed::NotOurs),
            _ => {}
        }
        match (renewal, state.force) {
            (Renewal::Force, Force::Done) => return Ok(Renewed::NotAgain),
            (Renewal::Force, _) => state.force = Force::Needed,
            (Renewal::Ask, _) => {}
        }
        // If fetching fails, nobody should try the refused one again.
        state.token = None;
        self.fetch(&mut state).await?;
        Ok(Renewed::Fetched)
    }

    async fn fetch(&self, state: &mut State) -> Result<Arc<Secret>, CallError> {
        let force_refresh = state.force == Force::Needed;
        let token = match &self.credential.proof {
            Proof::AccessToken(token) => token.clone(),
            Proof::Command(command) => command.token().await?,
            Proof::AppSecret { appid, secret } => {
                let request = StableTokenRequest {
                    grant_type: "client_credential",
                    appid,
                    secret: secret.expose(),
                    force_refresh,
                };
                let body = self.client.post("cgi-bin/stable_token", None, &request).await?;
                parse_token(&body).map_err(|error| {
                    error.hiding(secret).about(self.places()).from_peer(self.client.peer())
                })?
            }
        };
        if force_refresh {
            state.force = Force::Done;
        }
        let token = Arc::new(token);
        state.token = Some(token.clone());
        tracing::debug!(event = "token_fetched", forced = force_refresh);
        Ok(token)
    }
}

fn parse_token(body: &[u8]) -> Result<Secret, CallError> {
    // The parser's own message could quote the token.
    let answer: TokenAnswer =
        read(body).ok_or_else(|| CallError::Unreadable(no_json(body, "in place of a token")))?;
    if let Some(error) = ApiError::in_answer(answer.errcode, answer.errmsg) {
        return Err(ApiError { on_token_endpoint: true, ..error }.into());
    }
    match answer.access_token {
        Some(token) if !token.is_empty() => Ok(Secret::new(token)),
        _ => Err(CallError::Unreadable("it holds neither a token nor an error".into())),
    }
}
