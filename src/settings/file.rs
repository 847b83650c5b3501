//! `kefu.toml`.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::fetch::Texts;
use crate::metrics::{AutoReply, BusinessHours};
use crate::wechat::Secret;

/// The keys of `kefu.toml`. A key that is not among them is refused: a misspelt one would be ignored for years.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub appid: Option<String>,
    pub secret: Option<Secret>,
    pub secret_file: Option<PathBuf>,
    pub access_token: Option<Secret>,
    pub access_token_file: Option<PathBuf>,
    pub account: Option<String>,
    pub base_url: Option<String>,
    pub lake: Option<String>,
    pub timezone: Option<String>,
    pub lookback: Option<u16>,
    pub concurrency: Option<u16>,
    pub metrics: Metrics,
    pub privacy: Privacy,
}

/// `[metrics]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    pub session_gap: Option<i64>,
    pub reply_window: Option<i64>,
    pub auto_reply: Vec<AutoReply>,
    pub business_hours: Option<BusinessHours>,
}

/// `[privacy]`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Privacy {
    pub text: Texts,
    pub openid: Openid,
}

/// `privacy.openid`
#[derive(Default, Deserialize)]
#[serde(try_from = "WrittenOpenid")]
pub(super) enum Openid {
    #[default]
    Keep,
    /// Hashed with the key in a file.
    KeyFile(PathBuf),
    /// Hashed with the key in a variable of the environment.
    KeyVariable(String),
}

/// As it may be written. A key that stands here by mistake must not be quoted by the parser.
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
            WrittenOpenid::Key(WrittenKey { hmac_key_file: Some(path), hmac_key_env: None }) => Ok(Self::KeyFile(path)),
            WrittenOpenid::Key(WrittenKey { hmac_key_file: None, hmac_key_env: Some(name) }) => Ok(Self::KeyVariable(name)),
            _ => Err("openid is \"keep\", { hmac_key_file = \"a file\" } or { hmac_key_env = \"NAME\" }: the key itself never stands here"),
        }
    }
}

impl File {
    /// The parser's own display quotes the line, which may hold a secret; its message and the line's number do not.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text.get(..span.start).unwrap_or_default().matches('\n').count());
            format!("line {line}: {}", error.message())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_line_and_shows_no_value() {
        let error = File::parse("appid = \"wx1\"\nsecret = \"hunter2\"\nsecrt = \"hunter3\"\n").err().unwrap();
        assert!(error.starts_with("line 3: unknown field `secrt`"), "{error}");
        assert!(!error.contains("hunter"), "{error}");
        for line in [
            "secret = 12345",
            "secret = [12345]",
            "access_token = { a = 12345 }",
            "secret = 12345x",
            "privacy.openid = '12345'",
            "privacy.openid = 12345",
            "privacy.openid.hmac_key = '12345'",
            "privacy.openid.hmac_key_env = 12345",
        ] {
            let error = File::parse(line).err().unwrap();
            assert!(!error.contains("12345"), "{line}: {error}");
        }
    }
}
