//! Personal data: what the settings keep of it, what the files say about it, and which customers
//! are forgotten.

use std::fmt;

use ring::hmac;

/// Digits of an openid's keyed hash that are kept: 128 bits, so that no two customers ever meet.
const OPENID_DIGITS: usize = 32;

/// Digits of a key's fingerprint: enough to notice another key.
const FINGERPRINT_DIGITS: usize = 16;

/// What is done to the personal data of a record. Its display is what the files' footers say.
#[derive(Clone, Debug, Default)]
pub struct Privacy {
    pub texts: Texts,
    pub openids: Openids,
    pub worker_names: WorkerNames,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Texts {
    #[default]
    Keep,
    /// Every text becomes null.
    Drop,
}

/// Names of workers in the list of workers. No other table has them. So, unlike the other settings,
/// this one can change at any time, and no footer says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerNames {
    #[default]
    Keep,
    /// Every name becomes null.
    Drop,
}

#[derive(Clone, Debug, Default)]
pub enum Openids {
    #[default]
    Keep,
    /// Every openid becomes its HMAC-SHA256: stable under one key, so that tables still join, and
    /// of no use without the key.
    Keyed(OpenidKey),
}

/// A key of HMAC-SHA256. Its `Debug` shows nothing of it.
#[derive(Clone, Debug)]
pub struct OpenidKey(hmac::Key);

impl OpenidKey {
    pub fn new(key: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))
    }

    /// The name that replaces an openid: 32 hexadecimal digits. In Python:
    /// `hmac.new(key, openid.encode(), "sha256").hexdigest()[:32]`.
    pub fn pseudonym(&self, openid: &str) -> String {
        self.digits(openid, OPENID_DIGITS)
    }

    /// Tells keys apart without revealing them: the hash of a text that is no openid.
    fn fingerprint(&self) -> String {
        self.digits("kefu: the fingerprint of this key", FINGERPRINT_DIGITS)
    }

    fn digits(&self, text: &str, digits: usize) -> String {
        let hash = hmac::sign(&self.0, text.as_bytes());
        hexadecimal(hash.as_ref().iter().take(digits / 2).copied())
    }
}

pub(super) fn hexadecimal(bytes: impl Iterator<Item = u8>) -> String {
    let digit = |digit: u8| char::from_digit(digit.into(), 16).unwrap_or('0');
    bytes.flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

impl Privacy {
    /// Whether records stay as the API gave them.
    pub fn keeps_everything(&self) -> bool {
        matches!(self, Self { texts: Texts::Keep, openids: Openids::Keep, .. })
    }

    /// What files say that were written with these settings.
    pub fn applied(&self) -> AppliedPrivacy {
        AppliedPrivacy { texts: Some(self.texts), openids: self.openids.to_string() }
    }
}

impl fmt::Display for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
        })
    }
}

impl fmt::Display for WorkerNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
        })
    }
}

impl fmt::Display for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.applied().fmt(f)
    }
}

impl fmt::Display for Openids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::Keyed(key) => write!(f, "hmac-sha256:{}", key.fingerprint()),
        }
    }
}

/// What was done to the personal data of a file, as its footer says: `text=drop openid=keep`. Files
/// without texts say `openid=keep`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedPrivacy {
    texts: Option<Texts>,
    openids: String,
}

/// How other settings differ from those that a lake has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    /// They remove more. [`Redaction`](super::redaction::Redaction) applies them.
    Stricter,
    /// They need data that is gone: texts, openids, or another key's hashes.
    Impossible,
}

impl AppliedPrivacy {
    /// None when the text is not one that kefu writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (texts, openids) = match text.split_once(' ') {
            Some((texts, openids)) => (Some(texts), openids),
            None => (None, text),
        };
        let texts = match texts {
            None => None,
            Some("text=keep") => Some(Texts::Keep),
            Some("text=drop") => Some(Texts::Drop),
            Some(_) => return None,
        };
        let openids = openids.strip_prefix("openid=")?;
        let is_fingerprint = |digits: &str| {
            digits.len() == FINGERPRINT_DIGITS
                && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        let is_known =
            openids == "keep" || openids.strip_prefix("hmac-sha256:").is_some_and(is_fingerprint);
        is_known.then(|| Self { texts, openids: openids.to_owned() })
    }

    /// The same of files without texts.
    #[must_use]
    pub fn of_openids(&self) -> Self {
        Self { texts: None, ..self.clone() }
    }

    /// Whether openids are hashes.
    pub fn is_keyed(&self) -> bool {
        self.openids != "keep"
    }

    /// What changes when these settings are replaced.
    pub fn change_to(&self, asked: &Self) -> Change {
        let texts = match (self.texts, asked.texts) {
            (Some(Texts::Keep), Some(Texts::Drop)) => Change::Stricter,
            (Some(Texts::Drop), Some(Texts::Keep)) => Change::Impossible,
            _ => Change::None,
        };
        let openids = match (self.is_keyed(), asked.is_keyed()) {
            _ if self.openids == asked.openids => Change::None,
            (false, true) => Change::Stricter,
            _ => Change::Impossible,
        };
        match (texts, openids) {
            (Change::Impossible, _) | (_, Change::Impossible) => Change::Impossible,
            (Change::None, Change::None) => Change::None,
            _ => Change::Stricter,
        }
    }
}

impl fmt::Display for AppliedPrivacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(texts) = self.texts {
            write!(f, "text={texts} ")?;
        }
        write!(f, "openid={}", self.openids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_what_python_says() {
        // hmac.new(b"0123456789abcdef", b"oKf0mVrh6PmFX3elV10U25K3AAAB", "sha256").hexdigest()[:32]
        assert_eq!(
            OpenidKey::new("0123456789abcdef").pseudonym("oKf0mVrh6PmFX3elV10U25K3AAAB"),
            "a07b7203e4cae84cf7a9531c3a596b95"
        );
    }

    fn keyed(key: &str) -> Privacy {
        let openids = Openids::Keyed(OpenidKey::new(key));
        Privacy { texts: Texts::Drop, openids, ..Privacy::default() }
    }

    #[test]
    fn footers_tell_keys_apart_and_show_none() {
        let words = |key: &str| keyed(key).to_string();
        assert!(words("hunter2").starts_with("text=drop openid=hmac-sha256:"));
        assert_ne!(words("hunter2"), words("hunter3"));
        assert!(
            !format!("{:?} {}", OpenidKey::new("hunter2"), words("hunter2")).contains("hunter2")
        );
        for privacy in [Privacy::default(), keyed("hunter2")] {
            assert_eq!(AppliedPrivacy::parse(&privacy.to_string()), Some(privacy.applied()));
        }
        for text in ["", "openid=", "text=hide openid=keep", "openid=hmac-sha256:xyz", "keep"] {
            assert_eq!(AppliedPrivacy::parse(text), None, "{text}");
        }
    }

    #[test]
    fn settings_can_only_become_stricter() {
        let open = Privacy::default();
        let no_texts = Privacy { texts: Texts::Drop, ..Privacy::default() };
        let hashed = Privacy { texts: Texts::Keep, ..keyed("one") };
        let change = |from: &Privacy, to: &Privacy| from.applied().change_to(&to.applied());
        for to in [&no_texts, &hashed, &keyed("one")] {
            assert_eq!(change(&open, to), Change::Stricter);
            assert_eq!(change(to, &open), Change::Impossible);
            assert_eq!(change(to, to), Change::None);
        }
        assert_eq!(change(&hashed, &keyed("one")), Change::Stricter);
        assert_eq!(change(&hashed, &keyed("two")), Change::Impossible);
        assert_eq!(change(&no_texts, &hashed), Change::Impossible);
        // Files without texts say nothing about them.
        let pairs = AppliedPrivacy::parse("openid=keep").unwrap();
        assert_eq!(pairs.change_to(&no_texts.applied()), Change::None);
    }
}
