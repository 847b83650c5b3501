//! The access token: its sources, and renewals that do not disturb other services.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::json::read;
use super::{ApiError, CallError, Client, Integer, Secret, UserCommand, Words, no_json};

/// The proof of an account's identity, and the places where it is set.
#[derive(Clone, Debug)]
pub struct Credential {
    pub proof: Proof,
    pub places: Places,
}

/// The proof that kefu may act for an account.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The account's own id and secret. Tokens come from `stable_token`, which does not invalidate
    /// the tokens of other services.
    AppSecret { appid: String, secret: Secret },
    /// A token that another service manages.
    AccessToken(Secret),
    /// A program that gets the token from the service that manages it. It runs again when WeChat
    /// refuses its token.
    Command(UserCommand),
}

/// The places where a credential is set, for hints. Only the code that reads the settings knows
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The app id itself, and where it is set.
    pub appid: String,
    /// Where the secret or the token is set.
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

/// State of the forced renewal, at most one per run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Force {
    #[default]
    NotNeeded,
    /// The next token must be a forced one, even if earlier calls for it failed.
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

/// The kind of renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Ask for the token that WeChat considers current. It may be the same one.
    Ask,
    /// Force a new token, which invalidates the old one for all services. WeChat allows 20 a day;
    /// kefu forces at most one per run.
    Force,
}

/// The result of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// A token was fetched.
    Fetched,
    /// Another refused call had already renewed the token.
    ByAnotherCall,
    /// A new token was already forced in this run, and WeChat refuses it too.
    NotAgain,
    /// Another service manages the token. Only that service can renew it.
    NotOurs,
}

impl Tokens {
    pub fn new(credential: Credential, client: Client) -> Self {
        Self { credential, client, state: Mutex::default() }
    }

    /// The places where the credential is set.
    pub fn places(&self) -> &Places {
        &self.credential.places
    }

    /// The current token. Fetches one if there is none yet.
    ///
    /// # Errors
    /// The reason why no token could be fetched.
    pub async fn current(&self) -> Result<Arc<Secret>, CallError> {
        let mut state = self.state.lock().await;
        match &state.token {
            Some(token) => Ok(token.clone()),
            None => self.fetch(&mut state).await,
        }
    }

    /// Replaces the token `refused`. Concurrent calls with the same refused token renew it once:
    /// the first call fetches a token, the others find the new one.
    ///
    /// # Errors
    /// The reason why no token could be fetched. The next call of [`current`](Self::current) tries
    /// again.
    pub async fn renew(
        &self,
        refused: &Arc<Secret>,
        renewal: Renewal,
    ) -> Result<Renewed, CallError> {
        let mut state = self.state.lock().await;
        match (&self.credential.proof, &state.token) {
            (Proof::AccessToken(_), _) => return Ok(Renewed::NotOurs),
            (_, Some(token)) if !Arc::ptr_eq(token, refused) => return Ok(Renewed::ByAnotherCall),
            // Only the service behind the program can force a new token.
            (Proof::Command(_), _) if renewal == Renewal::Force => return Ok(Renewed::NotOurs),
            _ => {}
        }
        match (renewal, state.force) {
            (Renewal::Force, Force::Done) => return Ok(Renewed::NotAgain),
            (Renewal::Force, _) => state.force = Force::Needed,
            (Renewal::Ask, _) => {}
        }
        // If fetching fails, later calls must not use the refused token again.
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
        let appid = match &self.credential.proof {
            Proof::AppSecret { appid, .. } => appid.as_str(),
            Proof::AccessToken(_) | Proof::Command(_) => "",
        };
        tracing::debug!(event = "token_fetched", appid, forced = force_refresh);
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
        _ => Err(CallError::Unreadable("it contains neither a token nor an error".into())),
    }
}
