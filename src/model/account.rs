//! The name of an account.

use std::fmt;

/// The name of an account. It is safe as a file name on every system: letters and digits of any
/// script, `.`, `_`, `-` and `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Account(String);

impl Account {
    /// Checks the name of an account whose records are to be written.
    ///
    /// # Errors
    /// Returns what is wrong with the name. A name that begins with `_` or `.` is wrong, because
    /// readers skip such files.
    pub fn new(name: String) -> Result<Self, String> {
        match Self::existing(name)? {
            account if account.is_hidden() => Err(format!(
                "`{account}` cannot name an account: Spark, Hive, pyarrow and pandas skip files that begin with `_` or `.`"
            )),
            account if !account.0.starts_with(char::is_alphanumeric) => {
                Err(format!("`{account}` cannot name an account: begin with a letter or a digit"))
            }
            account => Ok(account),
        }
    }

    /// Checks the name of an account whose files are in the lake. Earlier versions also wrote names
    /// that begin with `_`.
    ///
    /// # Errors
    /// Fails when no version of kefu wrote such a name.
    pub fn existing(name: String) -> Result<Self, String> {
        let is_plain = |character: char| character.is_alphanumeric() || "._-@".contains(character);
        if name.is_empty() || name.len() > 200 {
            return Err("an account's name has 1 to 200 bytes".into());
        }
        if name.starts_with('.') || !name.chars().all(is_plain) {
            return Err(format!(
                "`{}` cannot name files: use letters, digits, `.`, `_`, `-` and `@`, and begin with a letter or a digit",
                name.escape_debug()
            ));
        }
        Ok(Self(name))
    }

    /// Whether readers skip the account's files.
    pub fn is_hidden(&self) -> bool {
        self.0.starts_with('_')
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
