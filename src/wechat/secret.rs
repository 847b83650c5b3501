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
        if self.0.is_empty() {
            return text.to_owned();
        }
        let hidden = text.replace(&self.0, "(secret)");
        match self.in_a_url() {
            Some(encoded) => hidden.replace(&encoded, "(secret)"),
            None => hidden,
        }
    }

    /// The value as it is in the query of a URL.
    fn in_a_url(&self) -> Option<String> {
        let mut url = reqwest::Url::parse("https://localhost").ok()?;
        url.query_pairs_mut().append_key_only(&self.0);
        url.query().map(str::to_owned)
    }

    /// The value, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Shows nothing; there is no `Display` and no `Serialize`.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;
    use std::marker::PhantomData;

    use serde::Serialize;

    use super::*;
    use crate::wechat::{Credential, Proof};

    /// Asks whether a type has a trait: the constant of the type's own is taken before that of the trait, where its bound holds.
    struct Type<T>(PhantomData<T>);

    trait Otherwise {
        const CAN_BE_SHOWN: bool = false;
        const CAN_BE_WRITTEN: bool = false;
    }

    impl<T> Otherwise for Type<T> {}

    impl<T: Display> Type<T> {
        const CAN_BE_SHOWN: bool = true;
    }

    impl<T: Serialize> Type<T> {
        const CAN_BE_WRITTEN: bool = true;
    }

    #[test]
    fn a_secret_can_be_neither_shown_nor_written() {
        const { assert!(Type::<String>::CAN_BE_SHOWN && Type::<String>::CAN_BE_WRITTEN) };
        const { assert!(!Type::<Secret>::CAN_BE_SHOWN && !Type::<Secret>::CAN_BE_WRITTEN) };
        const { assert!(!Type::<Credential>::CAN_BE_SHOWN && !Type::<Credential>::CAN_BE_WRITTEN) };
        let secret = Secret::new("hunter+2/x=".into());
        assert_eq!(
            secret.hidden_in("?a=hunter%2B2%2Fx%3D&b=hunter+2/x="),
            "?a=(secret)&b=(secret)"
        );
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret:?} {secret:#?}"), "(secret) (secret)");
        let proofs =
            [Proof::AccessToken(secret.clone()), Proof::AppSecret { appid: "wx1".into(), secret }];
        let credentials = proofs.map(Credential::from);
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
