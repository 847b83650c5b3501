//! Removes personal data where a page is decoded, before any part of the page is written to disk.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, new_null_array};
use arrow::error::ArrowError;
use ring::hmac;

use super::decode::{Page, Reject};

/// Hexadecimal digits kept of an openid's keyed hash. 128 bits rule out collisions in practice.
const OPENID_DIGITS: usize = 32;

/// Hexadecimal digits of a key's fingerprint. Enough to detect another key.
const FINGERPRINT_DIGITS: usize = 16;

/// How the personal data of a record is treated. The footers of the files hold its `Display` form.
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
    /// Every openid becomes its HMAC-SHA256. The same key gives the same value, so that tables
    /// still join. Without the key the value cannot be matched to an openid.
    Keyed(OpenidKey),
}

/// The key of the hash of openids. Its `Debug` form shows nothing of the key.
#[derive(Clone, Debug)]
pub struct OpenidKey(hmac::Key);

impl OpenidKey {
    pub fn new(key: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))
    }

    /// The pseudonym that replaces an openid. In Python:
    ///
    /// `hmac.new(key, openid.encode(), "sha256").hexdigest()[:32]`.
    pub fn pseudonym(&self, openid: &str) -> String {
        self.digits(openid, OPENID_DIGITS)
    }

    /// Identifies the key without revealing it: the hash of a fixed text that is not an openid.
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
    /// Whether records stay unchanged.
    pub fn keeps_everything(&self) -> bool {
        matches!(self, Self { texts: Texts::Keep, openids: Openids::Keep })
    }

    /// Returns the page without the personal data that must not be kept.
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
        // The position of the text or the openid in an unreadable record is unknown, so all of it
        // is withheld.
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
