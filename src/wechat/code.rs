//! WeChat's error codes, and the action that each requires.

use super::{Integer, Places, Secret, Words};
use crate::failure::{Classified, ErrorKind};

/// An error reported by WeChat inside HTTP 200.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("WeChat answered {code}: {}", self.shown_message())]
pub struct ApiError {
    pub code: i64,
    /// `errmsg` as received. It includes the `rid:` or `hint:` that WeChat's support asks for.
    pub message: String,
    /// Whether the call requested a token.
    pub on_token_endpoint: bool,
}

/// The action that an error code requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fetch another token, then repeat the call.
    RenewToken,
    /// Wait longer before each attempt, then repeat the call.
    BackOff,
    /// Wait for the next minute, then repeat the call.
    AwaitNextMinute,
    /// Stop until tomorrow.
    StopForToday,
    /// Stop: WeChat refuses until the account or its settings change.
    StopRefused,
    /// Stop: the request was wrong.
    StopOurBug,
}

impl ApiError {
    /// The error in an answer. None if `errcode` is missing or 0.
    pub(crate) fn in_answer(errcode: Option<Integer>, errmsg: Option<Words>) -> Option<Self> {
        let Integer(code) = errcode.filter(|code| code.0 != 0)?;
        let message = errmsg.map(|Words(message)| message).unwrap_or_default();
        Some(Self { code, message, on_token_endpoint: false })
    }

    pub fn action(&self) -> Action {
        match self.code {
            // On the token endpoint, this code means "wrong secret".
            40001 if self.on_token_endpoint => Action::StopRefused,
            40001 | 40014 | 42001 => Action::RenewToken,
            -1 => Action::BackOff,
            45011 => Action::AwaitNextMinute,
            45009 => Action::StopForToday,
            65416 | 65417 | 41001 | 40066 | 43002 | 44002 | 47001 => Action::StopOurBug,
            // Known refusals, and all unknown codes: a retry would be a guess.
            _ => Action::StopRefused,
        }
    }

    /// The same error without a secret that the server may have repeated.
    #[must_use]
    pub fn hiding(self, secret: &Secret) -> Self {
        // Clean the message first: a removed character could have separated the parts of a secret.
        let cleaned = Self { message: self.shown_message(), ..self };
        Self { message: secret.hidden_in(&cleaned.message).into_owned(), ..cleaned }
    }

    /// The IP address that WeChat saw, from `invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in
    /// whitelist`.
    fn ip_seen(&self) -> Option<&str> {
        let (_, rest) = self.message.split_once("invalid ip ")?;
        rest.split([' ', ',']).find(|word| word.parse::<std::net::IpAddr>().is_ok())
    }

    fn shown_message(&self) -> String {
        let message: String =
            self.message.chars().filter(|character| !character.is_control()).take(300).collect();
        if message.is_empty() { "(no message)".into() } else { message }
    }
}

impl Classified for ApiError {
    fn kind(&self) -> ErrorKind {
        match self.action() {
            Action::RenewToken | Action::StopRefused => ErrorKind::Refused,
            Action::BackOff | Action::AwaitNextMinute => ErrorKind::Unavailable,
            Action::StopForToday => ErrorKind::Quota,
            Action::StopOurBug => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint_with(&Places::default()))
    }
}

impl ApiError {
    /// The hint, with the names of the account's own settings.
    pub(super) fn hint_with(&self, Places { appid, proof }: &Places) -> String {
        match self.code {
            40164 | 61004 | 89503 => match self.ip_seen() {
                Some(ip) => format!("add {ip}, the address that WeChat saw, to the IP whitelist of the account (Settings and development > Basic configuration)"),
                None => "add this machine's public address to the IP whitelist of the account (Settings and development > Basic configuration)".into(),
            },
            40001 | 40014 | 42001 if !self.on_token_endpoint => {
                "let only one service manage the token, and get it from there with `access_token_command`. WeChat refused new tokens too: another service may be replacing them through /cgi-bin/token".into()
            }
            40001 | 40125 => {
                format!("check {proof}: it is not the secret of the app id {appid}; a secret that was reset stops working at once")
            }
            40013 | 40002 | 41002 => format!("check the app id {appid}: WeChat knows no such account"),
            41004 => format!("check {proof}: WeChat received no secret"),
            40243 => format!("unfreeze the secret of the app id {appid} in the WeChat console, under Basic configuration"),
            48001 | 48004 | 50001 | 50002 | 61007 => "check the account's verification and permissions, and whether it is frozen: it may not call this API".into(),
            65400 => "enable customer service for the account in the WeChat console".into(),
            45009 => "run again tomorrow: today's quota of calls is used up. Fetched days stay in the lake".into(),
            -1 | 45011 => "run again later: WeChat is busy. Fetched days stay in the lake".into(),
            _ => match self.action() {
                Action::StopOurBug => "report this bug in kefu, with the message above".into(),
                _ => "look the code up under \"global return codes\" in WeChat's documentation".into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_wechat_saw_is_named() {
        let message =
            "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist, hint: [abc]"
                .to_owned();
        let error = ApiError { code: 40164, message, on_token_endpoint: true };
        assert!(error.hint().unwrap().contains("add 203.0.113.9,"), "{:?}", error.hint());
        assert_eq!(error.kind(), ErrorKind::Refused);
    }

    #[test]
    fn a_refused_token_is_renewed_but_a_refused_secret_is_not() {
        let error =
            |on_token_endpoint| ApiError { code: 40001, message: String::new(), on_token_endpoint };
        assert_eq!(error(false).action(), Action::RenewToken);
        assert_eq!(error(true).action(), Action::StopRefused);
    }
}
