//! The name of an account.

use std::fmt;

/// A name that is safe as a file name on every system: letters and digits of any script, `.`, `_`, `-` and `@`, not beginning with a dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Account(String);

impl Account {
    /// # Errors
    /// Says what is wrong with the name.
    pub fn new(name: String) -> Result<Self, String> {
        let is_plain = |character: char| character.is_alphanumeric() || "._-@".contains(character);
        if name.is_empty() || name.len() > 200 {
            return Err("an account's name has 1 to 200 bytes".into());
        }
        if name.starts_with('.') || !name.chars().all(is_plain) {
            return Err(format!(
                "`{}` cannot name files: use letters, digits, `.`, `_`, `-` and `@`, and no dot in front",
                name.escape_debug()
            ));
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
