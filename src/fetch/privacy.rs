//! Personal data that never leaves stage one: what is taken out of a page where it is decoded, before anything of it touches the disk.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, new_null_array};
use arrow::error::ArrowError;
use ring::hmac;

use super::decode::{Page, Reject};

/// Digits of an openid's keyed hash that are kept: 128 bits, so that no two customers ever meet.
const OPENID_DIGITS: usize = 32;

/// Digits of a key's fingerprint: enough to notice another key.
const FINGERPRINT_DIGITS: usize = 16;

/// What is done to the personal data of a record. Its display is what the files' footers say.
#[derive(Clone, Debug, Default)]
pub struct Privacy {
    pub texts: Texts,
    pub openids: Openids,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Texts {
    #[default]
    Keep,
    /// Every text becomes null.
    Drop,
}

#[derive(Clone, Debug, Default)]
pub enum Openids {
    #[default]
    Keep,
    /// Every openid becomes its HMAC-SHA256: stable under one key, so that tables still join, and of no use without it.
    Keyed(OpenidKey),
}

/// What openids are hashed with. Its `Debug` shows nothing of it.
#[derive(Clone, Debug)]
pub struct OpenidKey(hmac::Key);

impl OpenidKey {
    pub fn new(key: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))
    }

    /// What stands for an openid. In Python: `hmac.new(key, openid.encode(), "sha256").hexdigest()[:32]`.
    pub fn pseudonym(&self, openid: &str) -> String {
        self.digits(openid, OPENID_DIGITS)
    }

    /// Tells keys apart and reveals nothing of them: the hash of a text that is no openid.
    fn fingerprint(&self) -> String {
        self.digits("kefu: the fingerprint of this key", FINGERPRINT_DIGITS)
    }

    fn digits(&self, text: &str, digits: usize) -> String {
        let hash = hmac::sign(&self.0, text.as_bytes());
        hash.as_ref()
            .iter()
            .take(digits / 2)
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(hexadecimal)
            .collect()
    }
}

fn hexadecimal(digit: u8) -> char {
    char::from_digit(digit.into(), 16).unwrap_or('0')
}

impl Privacy {
    /// Whether records stay as they came.
    pub fn keeps_everything(&self) -> bool {
        matches!(self, Self { texts: Texts::Keep, openids: Openids::Keep })
    }

    /// The page without what must not be kept.
    pub(super) fn applied_to(&self, page: Page) -> Result<Page, ArrowError> {
        if self.keeps_everything() {
            return Ok(page);
        }
        let column = |(field, column): (&Arc<arrow::datatypes::Field>, &ArrayRef)| -> ArrayRef {
            match (field.name().as_str(), self) {
                ("text", Self { texts: Texts::Drop, .. }) => {
                    new_null_array(column.data_type(), column.len())
                }
                ("openid", Self { openids: Openids::Keyed(key), .. }) => Arc::new(
                    column
                        .as_string::<i32>()
                        .iter()
                        .map(|openid| openid.map(|openid| key.pseudonym(openid)))
                        .collect::<StringArray>(),
                ),
                _ => column.clone(),
            }
        };
        let schema = page.records.schema();
        let columns = schema.fields().iter().zip(page.records.columns()).map(column).collect();
        // Where in a record that cannot be read its text or its openid stands, nobody knows.
        let rejects =
            page.rejects.into_iter().map(|reject| Reject { raw: withheld(&reject.raw), ..reject });
        Ok(Page {
            records: RecordBatch::try_new(schema, columns)?,
            rejects: rejects.collect(),
            ..page
        })
    }
}

fn withheld(raw: &str) -> String {
    format!("{} bytes, withheld because of the settings under [privacy]", raw.len())
}

impl fmt::Display for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.texts {
            Texts::Keep => "text=keep",
            Texts::Drop => "text=drop",
        })?;
        write!(f, " openid={}", self.openids)
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

    #[test]
    fn the_footers_words_tell_keys_apart_and_show_none() {
        let words = |key: &str| {
            Privacy { texts: Texts::Drop, openids: Openids::Keyed(OpenidKey::new(key)) }.to_string()
        };
        assert!(words("hunter2").starts_with("text=drop openid=hmac-sha256:"));
        assert_ne!(words("hunter2"), words("hunter3"));
        assert!(
            !format!("{:?} {}", OpenidKey::new("hunter2"), words("hunter2")).contains("hunter2")
        );
        assert_eq!(Privacy::default().to_string(), crate::lake::Footer::default().privacy());
    }
}
