//! The simulator's tokens.

use time::{Duration, OffsetDateTime};

/// `stable_token` returns the same token until this long before it expires.
const STABLE_UNTIL: Duration = Duration::minutes(5);

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Unknown,
    Expired,
}

/// All tokens of the account. Only the last one is valid.
#[derive(Debug)]
pub(super) struct TokenBook {
    account: u32,
    issued: Vec<String>,
    ends_at: Option<OffsetDateTime>,
}

impl TokenBook {
    pub(super) fn new(account: u32) -> Self {
        Self { account, issued: Vec::new(), ends_at: None }
    }

    /// The account that a token belongs to, valid or not.
    pub(super) fn account_of(token: &str) -> Option<u32> {
        token.strip_prefix("SIMULATED_")?.split('_').next()?.parse().ok()
    }

    /// The current token and its remaining lifetime in seconds. A new token if forced, if there is
    /// none, or shortly before it expires.
    pub(super) fn stable(
        &mut self,
        now: OffsetDateTime,
        lifetime: std::time::Duration,
        force: bool,
    ) -> (String, i64) {
        if let (false, Some(token), Some(ends_at)) = (force, self.issued.last(), self.ends_at)
            && now + STABLE_UNTIL.min(lifetime.try_into().unwrap_or(STABLE_UNTIL) / 2) < ends_at
        {
            return (token.clone(), (ends_at - now).whole_seconds());
        }
        self.replace(now, lifetime)
    }

    /// Issues a new token. The previous one is refused from now on.
    pub(super) fn replace(
        &mut self,
        now: OffsetDateTime,
        lifetime: std::time::Duration,
    ) -> (String, i64) {
        // Real tokens can be longer than 512 characters.
        let digest = blake3::hash(&self.issued.len().to_le_bytes()).to_hex().to_string();
        let token =
            format!("SIMULATED_{}_{}_{}", self.account, self.issued.len(), digest.repeat(9));
        let ends_at = now + lifetime;
        self.issued.push(token.clone());
        self.ends_at = Some(ends_at);
        (token, (ends_at - now).whole_seconds())
    }

    pub(super) fn expire(&mut self) {
        self.ends_at = None;
    }

    pub(super) fn check(&self, token: &str, now: OffsetDateTime) -> Result<(), Refusal> {
        if self.issued.last().is_none_or(|current| current != token) {
            return Err(if self.issued.iter().any(|issued| issued == token) {
                Refusal::Expired
            } else {
                Refusal::Unknown
            });
        }
        if self.ends_at.is_some_and(|ends_at| now < ends_at) {
            Ok(())
        } else {
            Err(Refusal::Expired)
        }
    }

    pub(super) fn issued(&self) -> Vec<String> {
        self.issued.clone()
    }
}
