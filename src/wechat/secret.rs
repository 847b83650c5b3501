//! Values that must not be seen.

/// A secret or token. It has no `Display`, and its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Written")]
pub struct Secret(String);

/// A secret as it may be written. serde's own message about a number where a string should be would quote the number.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl TryFrom<Written> for Secret {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Text(value) => Ok(Self(value)),
            Written::Other(_) => Err("a secret is written as a string, in quotes"),
        }
    }
}

impl Secret {
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// A text with something else in place of the value.
    pub fn hidden_in(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "(secret)") }
    }

    /// The value, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}
