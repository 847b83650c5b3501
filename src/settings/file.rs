//! Parses `kefu.toml`.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::suggestion::nearest;
use crate::metrics::{AutoReply, BusinessHours};
use crate::model::privacy::{Texts, WorkerNames};
use crate::wechat::{Secret, UserCommand};

/// The keys of `kefu.toml`. An unknown key is an error, because a misspelt one could be ignored for
/// years.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub appid: Option<String>,
    pub secret: Option<Secret>,
    pub secret_file: Option<PathBuf>,
    pub access_token: Option<Secret>,
    pub access_token_file: Option<PathBuf>,
    pub access_token_command: Option<UserCommand>,
    pub account: Option<String>,
    pub accounts: Vec<AccountTable>,
    pub accounts_file: Option<PathBuf>,
    pub accounts_command: Option<UserCommand>,
    pub accounts_at_once: Option<u16>,
    pub base_url: Option<String>,
    pub lake: Option<String>,
    pub lake_options: LakeOptions,
    pub timezone: Option<String>,
    pub lookback: Option<u16>,
    pub refresh: Option<u16>,
    pub concurrency: Option<u16>,
    pub metrics: Metrics,
    pub privacy: Privacy,
    pub report: Report,
}

/// One of `[[accounts]]`, or a line of a list of accounts. It names the source of its secret and
/// contains no secret, so a file with several accounts can be shown to others.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AccountTable {
    pub name: Option<String>,
    pub appid: Option<String>,
    /// The name of an environment variable.
    pub secret_env: Option<String>,
    pub secret_file: Option<PathBuf>,
    /// The name of an environment variable.
    pub access_token_env: Option<String>,
    pub access_token_file: Option<PathBuf>,
    pub access_token_command: Option<UserCommand>,
}

/// `[lake_options]`, for a lake in a bucket.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LakeOptions {
    pub endpoint: Option<String>,
    pub addressing: Option<String>,
    pub region: Option<String>,
    pub single_writer: Option<bool>,
    pub scratch: Option<PathBuf>,
}

impl LakeOptions {
    /// The first key that is set.
    pub(super) fn first_key(&self) -> Option<&'static str> {
        let keys = [
            ("endpoint", self.endpoint.is_some()),
            ("addressing", self.addressing.is_some()),
            ("region", self.region.is_some()),
            ("single_writer", self.single_writer.is_some()),
            ("scratch", self.scratch.is_some()),
        ];
        keys.into_iter().find_map(|(key, is_there)| is_there.then_some(key))
    }
}

/// `[metrics]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    #[serde(deserialize_with = "seconds")]
    pub session_gap: Option<i64>,
    #[serde(deserialize_with = "seconds")]
    pub reply_window: Option<i64>,
    pub auto_reply: Vec<AutoReply>,
    pub business_hours: Option<BusinessHours>,
}

/// Reads a number of seconds. The parser's own message about `"30m"` would name types.
fn seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Seconds(i64),
        Other(IgnoredAny),
    }
    match Written::deserialize(deserializer)? {
        Written::Seconds(seconds) => Ok(Some(seconds)),
        Written::Other(_) => Err(serde::de::Error::custom(
            "write session_gap and reply_window in seconds, as a number without unit or quotes; half an hour is 1800",
        )),
    }
}

/// `[privacy]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Privacy {
    pub text: Option<Texts>,
    pub openid: Option<Openid>,
    pub workers: Option<WorkerNames>,
}

/// `[report]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Report {
    /// In percent.
    pub service_level_target: Option<f64>,
}

/// `privacy.openid`
#[derive(Deserialize)]
#[serde(try_from = "WrittenOpenid")]
pub(super) enum Openid {
    Keep,
    /// Hashed with a key from a file.
    KeyFile(PathBuf),
    /// Hashed with a key from an environment variable.
    KeyVariable(String),
}

/// `privacy.openid` as written. The parser must not quote a key that was put here by mistake.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenOpenid {
    Word(String),
    Key(WrittenKey),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    hmac_key_file: Option<PathBuf>,
    hmac_key_env: Option<String>,
}

impl TryFrom<WrittenOpenid> for Openid {
    type Error = &'static str;

    fn try_from(written: WrittenOpenid) -> Result<Self, Self::Error> {
        match written {
            WrittenOpenid::Word(word) if word == "keep" => Ok(Self::Keep),
            WrittenOpenid::Key(WrittenKey { hmac_key_file: Some(path), hmac_key_env: None }) => {
                Ok(Self::KeyFile(path))
            }
            WrittenOpenid::Key(WrittenKey { hmac_key_file: None, hmac_key_env: Some(name) }) => {
                Ok(Self::KeyVariable(name))
            }
            _ => Err(
                "set openid to \"keep\", { hmac_key_file = \"a file\" } or { hmac_key_env = \"NAME\" }; never write the key itself here",
            ),
        }
    }
}

impl File {
    /// Parses the file. The error has the parser's message and the line number. It omits the quoted
    /// line, which may contain a secret.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| {
                1 + text.get(..span.start).unwrap_or_default().matches('\n').count()
            });
            format!("line {line}: {}", render(error.message()))
        })
    }

    /// The first key that belongs to a single account.
    pub(super) fn single_account_key(&self) -> Option<&'static str> {
        let keys = [
            ("account", self.account.is_some()),
            ("appid", self.appid.is_some()),
            ("secret", self.secret.is_some()),
            ("secret_file", self.secret_file.is_some()),
            ("access_token", self.access_token.is_some()),
            ("access_token_file", self.access_token_file.is_some()),
            ("access_token_command", self.access_token_command.is_some()),
        ];
        keys.into_iter().find_map(|(key, is_there)| is_there.then_some(key))
    }
}

/// Shortens "unknown field `secrt`, expected one of `appid`, `secret`, …". Names the most similar
/// key instead of all keys.
pub(super) fn render(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown field"), quoted.next()) {
        (true, Some(typed)) => match nearest(typed, quoted) {
            Some(meant) => format!("unknown field `{typed}`: did you mean `{meant}`?"),
            None => message.to_owned(),
        },
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        File::parse(text).err().unwrap()
    }

    #[test]
    fn an_error_names_the_line_and_shows_no_value() {
        let told = error("appid = \"wx1\"\nsecret = \"hunter2\"\nsecrt = \"hunter3\"\n");
        assert!(told.starts_with("line 3: unknown field `secrt`"), "{told}");
        assert!(!told.contains("hunter"), "{told}");
        for line in [
            "secret = 12345",
            "secret = [12345]",
            "access_token = { a = 12345 }",
            "secret = 12345x",
            "access_token_command = \"give 12345\"",
            "access_token_command = [\"give\", 12345]",
            "access_token_command = []",
            "[[accounts]]\nsecret = \"12345\"",
            "[[accounts]]\naccess_token_command = { a = 12345 }",
            "privacy.openid = '12345'",
            "privacy.openid = 12345",
            "privacy.openid.hmac_key = '12345'",
            "privacy.openid.hmac_key_env = 12345",
        ] {
            let told = error(line);
            assert!(!told.contains("12345"), "{line}: {told}");
        }
    }

    #[test]
    fn a_duration_with_a_unit_is_told_that_it_takes_seconds() {
        for text in [
            "[metrics]\nsession_gap = '30m'",
            "metrics.reply_window = 1.5",
            "metrics.session_gap = ['x']",
        ] {
            let told = error(text);
            assert!(told.contains("in seconds, as a number without unit or quotes"), "{told}");
        }
    }

    #[test]
    fn a_misspelt_key_is_told_what_was_meant() {
        for (text, told) in [
            ("timezon = 'UTC'", "line 1: unknown field `timezon`: did you mean `timezone`?"),
            (
                "\n[[accounts]]\nsecret = 'x'",
                "line 3: unknown field `secret`: did you mean `secret_env`?",
            ),
            (
                "[[accounts]]\ntoken_command = ['x']",
                "line 2: unknown field `token_command`: did you mean `access_token_command`?",
            ),
            (
                "[metrics]\nsesion_gap = 1",
                "line 2: unknown field `sesion_gap`: did you mean `session_gap`?",
            ),
            (
                "[[metrics.auto_reply]]\nprefx = 'x'",
                "line 2: unknown field `prefx`: did you mean `prefix`?",
            ),
        ] {
            assert_eq!(error(text), told);
        }
        let told = error("colour = 'red'");
        assert!(
            told.starts_with("line 1: unknown field `colour`, expected one of `appid`, "),
            "{told}"
        );
    }
}
