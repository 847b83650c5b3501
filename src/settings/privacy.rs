//! The settings for personal data.

use super::file::Openid;
use super::secret_source::SecretSource;
use super::sources::Sources;
use super::{Setting, Settings, SettingsError};
use crate::metrics::AutoReply;
use crate::model::privacy::{OpenidKey, Openids, Privacy, Texts};

/// Minimum length of the key in bytes. Several people know openids, so a guessed key would reveal
/// the customers.
const OPENID_KEY_BYTES_MIN: usize = 32;

impl Settings {
    /// How personal data is treated.
    ///
    /// # Errors
    /// When the key for openids cannot be read, or is too short to be safe.
    pub fn privacy(&self) -> Result<Privacy, SettingsError> {
        let key = |source: &Setting<SecretSource>| -> Result<OpenidKey, SettingsError> {
            let key = source.read()?;
            if key.expose().len() < OPENID_KEY_BYTES_MIN {
                let reason = format!(
                    "the key has fewer than {OPENID_KEY_BYTES_MIN} characters; make one with `openssl rand -hex 32`"
                );
                return Err(SettingsError::Wrong { origin: source.origin.clone(), reason });
            }
            Ok(OpenidKey::new(key.expose()))
        };
        Ok(Privacy {
            texts: self.texts,
            openids: self
                .openid_key
                .as_ref()
                .map(key)
                .transpose()?
                .map_or(Openids::Keep, Openids::Keyed),
            worker_names: self.worker_names,
        })
    }
}

impl Sources<'_> {
    pub(super) fn texts(&self) -> Result<Texts, SettingsError> {
        let texts = self.file.values.privacy.text.unwrap_or_default();
        if texts == Texts::Drop
            && self.file.values.metrics.auto_reply.iter().any(AutoReply::needs_text)
        {
            let reason = "without texts, the rules for automatic replies with a text, a prefix or a regex never match; keep texts, or remove the rules";
            return Err(self.wrong("privacy.text", reason.to_owned()));
        }
        Ok(texts)
    }

    pub(super) fn openid_key(&self) -> Option<Setting<SecretSource>> {
        match self.file.values.privacy.openid.as_ref()? {
            Openid::Keep => None,
            Openid::KeyFile(path) => {
                self.path(self.in_file("privacy.openid.hmac_key_file"), Some(path))
            }
            Openid::KeyVariable(name) => {
                self.variable(self.in_file("privacy.openid.hmac_key_env"), Some(name))
            }
        }
    }
}
