//! The source of a secret, and how it is read.

use std::path::PathBuf;

use super::{Setting, SettingsError};
use crate::plain_file;
use crate::wechat::{Secret, UserCommand};

/// The source of a secret. Only commands that need the secret read it.
#[derive(Clone, Debug)]
pub(super) enum SecretSource {
    Value(Secret),
    File(PathBuf),
    /// The value of an environment variable that a settings file names.
    Variable {
        name: String,
        secret: Secret,
    },
    /// The named environment variable is not set. A text that does not look like a name is not
    /// kept, because it may be a secret written there by mistake.
    Unset {
        name: Option<String>,
    },
    /// For tokens only.
    Command(UserCommand),
}

impl Setting<SecretSource> {
    pub(super) fn read(&self) -> Result<Secret, SettingsError> {
        let wrong = |reason: &str| SettingsError::Wrong {
            origin: self.origin.clone(),
            reason: reason.into(),
        };
        let text = match &self.value {
            SecretSource::Value(secret) | SecretSource::Variable { secret, .. } => {
                secret.expose().to_owned()
            }
            SecretSource::Unset { name } => {
                return Err(SettingsError::Unset {
                    origin: self.origin.clone(),
                    name: name.clone(),
                });
            }
            SecretSource::Command(_) => {
                return Err(wrong("a command can give a token, but not a secret"));
            }
            SecretSource::File(path) => {
                let unreadable =
                    |source| SettingsError::UnreadableFile { origin: self.origin.clone(), source };
                let bytes = plain_file::read_named(path).map_err(unreadable)?;
                if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = bytes.as_slice() {
                    return Err(wrong(
                        "its file is UTF-16 with a byte order mark; save it as ASCII or UTF-8",
                    ));
                }
                String::from_utf8(bytes)
                    .map_err(|_| wrong("its file is not text in ASCII or UTF-8"))?
            }
        };
        // A line break is easily copied with the secret.
        match text.trim() {
            "" => Err(wrong("it is empty")),
            secret => Ok(Secret::new(secret.to_owned())),
        }
    }

    /// Reads a secret or token of WeChat, which must be one word.
    pub(super) fn read_word(&self) -> Result<Secret, SettingsError> {
        let secret = self.read()?;
        match not_a_word(secret.expose()) {
            None => Ok(secret),
            Some(reason) => Err(SettingsError::Wrong { origin: self.origin.clone(), reason }),
        }
    }

    /// The source of the secret, never its value.
    pub(super) fn render(&self) -> String {
        match &self.value {
            SecretSource::Value(_) => "(set)".into(),
            SecretSource::Variable { name, .. } => format!("(set in {name})"),
            SecretSource::Unset { name: Some(name) } => format!("({name} is not set)"),
            SecretSource::Unset { name: None } => "(not set)".into(),
            SecretSource::File(path) => format!("(in {})", path.display()),
            SecretSource::Command(command) => {
                format!("(printed by {})", command.program().display())
            }
        }
    }
}

/// Why a text cannot be a secret of WeChat. Does not show the text.
pub fn not_a_word(text: &str) -> Option<String> {
    if text.contains('\u{feff}') {
        return Some("it begins with a byte order mark, which is not part of a secret; save it as ASCII or UTF-8 without one".into());
    }
    match text.lines().count() {
        0 | 1 => {}
        lines => return Some(format!("it has {lines} lines, but a secret is one line")),
    }
    let is_foreign = |character: char| !character.is_ascii_graphic();
    text.contains(is_foreign).then(|| {
        "it contains a space, a control character or a non-ASCII character; a secret has none of these".into()
    })
}

impl Setting<SecretSource> {
    /// The source of the secret, for hints.
    pub(super) fn place(&self) -> String {
        match &self.value {
            SecretSource::Variable { name, .. } => {
                format!("the environment variable {name} ({})", self.origin)
            }
            SecretSource::File(path) => format!("the file {} ({})", path.display(), self.origin),
            SecretSource::Value(_) | SecretSource::Unset { .. } | SecretSource::Command(_) => {
                self.origin.to_string()
            }
        }
    }
}
