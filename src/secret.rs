//! Secret values, and functions that hide them in output.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use zeroize::Zeroizing;

/// A secret or token. It has no `Display`, and its `Debug` shows nothing of it. Its memory is
/// overwritten when the last copy is dropped.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Written")]
pub struct Secret(Arc<Value>);

/// The value of a secret.
#[derive(PartialEq, Eq)]
struct Value {
    plain: Zeroizing<String>,
    /// All forms that output must not show, in lower case: plain, in the query of a URL, in JSON,
    /// within base64, and in hexadecimal.
    forms: Vec<Zeroizing<String>>,
}

/// All existing secrets, by the hash of their values. No output shows any of them ([`hide_all`]).
static KNOWN: LazyLock<Mutex<HashMap<blake3::Hash, Weak<Value>>>> = LazyLock::new(Mutex::default);

/// Values that look like a secret, but were written in place of a path or a name ([`suspect`]).
static SUSPECTED: Mutex<Vec<Secret>> = Mutex::new(Vec::new());

/// Minimum length of a hidden secret in bytes. A shorter one would hide parts of ordinary words.
/// WeChat's secrets have 32 characters.
const HIDDEN_BYTES_MIN: usize = 6;

/// A secret as written in a file. serde's own message about a number in place of a string would
/// quote the number.
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
            Written::Text(value) => Ok(Self::new(value)),
            Written::Other(_) => Err("write a secret as a string, in quotes"),
        }
    }
}

impl Secret {
    /// Creates a value that [`hide_all`] does not hide. Its `Debug` shows nothing, but output may
    /// contain the same text from another source.
    pub fn not_hidden(value: String) -> Self {
        Self(Arc::new(Value::new(value)))
    }

    pub fn new(value: String) -> Self {
        if value.len() < HIDDEN_BYTES_MIN {
            return Self::not_hidden(value);
        }
        let mut known = locked(&KNOWN);
        let hash = blake3::hash(value.as_bytes());
        // Many accounts may have the same secret. Hiding it once is enough.
        if let Some(same) = known.get(&hash).and_then(Weak::upgrade) {
            drop(Zeroizing::new(value));
            return Self(same);
        }
        let secret = Self::not_hidden(value);
        known.insert(hash, Arc::downgrade(&secret.0));
        secret
    }

    /// Replaces every form of the value in a text.
    pub fn hidden_in<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut hidden = Cow::Borrowed(text);
        for form in &self.0.forms {
            if let Some(without) = replaced(&hidden, form) {
                hidden = Cow::Owned(without);
            }
        }
        hidden
    }

    /// Whether a text contains the value in any form.
    pub fn is_in(&self, text: &str) -> bool {
        matches!(self.hidden_in(text), Cow::Owned(_))
    }

    /// The value, for the call that needs it.
    pub fn expose(&self) -> &str {
        &self.0.plain
    }
}

impl Value {
    fn new(value: String) -> Self {
        let plain = Zeroizing::new(value);
        let mut forms = vec![plain.clone()];
        let mut url = reqwest::Url::parse("https://localhost").ok();
        if let Some(url) = &mut url {
            url.query_pairs_mut().append_key_only(&plain);
        }
        forms.extend(url.and_then(|url| url.query().map(|form| Zeroizing::new(form.to_owned()))));
        let json = serde_json::Value::from(plain.as_str()).to_string();
        forms.push(Zeroizing::new(json.trim_matches('"').to_owned()));
        if plain.len() >= HIDDEN_BYTES_MIN {
            forms.extend((0..3).map(|offset| in_base64(&plain, offset)));
            let hex = plain.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
            forms.push(Zeroizing::new(hex));
        }
        forms.iter_mut().for_each(|form| form.make_ascii_lowercase());
        Self { plain, forms }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        let mut known = locked(&KNOWN);
        let hash = blake3::hash(self.plain.as_bytes());
        // The same secret may have been created again meanwhile.
        if known.get(&hash).is_some_and(|known| known.strong_count() == 0) {
            known.remove(&hash);
        }
    }
}

/// The base64 characters that depend only on the value, if the value begins `offset` bytes after
/// the start of a group of three.
fn in_base64(value: &str, offset: usize) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(vec![0; offset]);
    bytes.extend_from_slice(value.as_bytes());
    let encoded = BASE64_STANDARD_NO_PAD.encode(&*bytes);
    // The first and the last character may share bits with the bytes beside the value.
    let first = if offset == 0 { 0 } else { offset + 1 };
    let last = encoded.len() - usize::from(!bytes.len().is_multiple_of(3));
    Zeroizing::new(encoded.get(first..last).unwrap_or_default().to_owned())
}

/// Replaces a form of a secret in the text, ignoring ASCII case. The form is in lower case. None if
/// the text does not contain it.
fn replaced(text: &str, form: &str) -> Option<String> {
    if form.is_empty() || form.len() > text.len() {
        return None;
    }
    let lower_text = text.to_ascii_lowercase();
    let mut without = String::new();
    let mut taken = 0;
    for (place, found) in lower_text.match_indices(form) {
        without.push_str(text.get(taken..place)?);
        without.push_str(HIDDEN);
        taken = place + found.len();
    }
    without.push_str(text.get(taken..)?);
    (taken > 0).then_some(without)
}

/// Hides every secret of this process in a text. Replaces the whole text if it contains a disguised
/// secret, for instance with invisible characters between its letters.
///
/// Searches the text for each existing secret, so the time grows with their number.
pub fn hide_all(text: &str) -> Cow<'_, str> {
    let known: Vec<_> = locked(&KNOWN).values().filter_map(Weak::upgrade).map(Secret).collect();
    let lower_text = text.to_ascii_lowercase();
    let is_in = |form: &Zeroizing<String>| lower_text.contains(form.as_str());
    let mut found: Vec<_> =
        known.iter().filter(|secret| secret.0.forms.iter().any(is_in)).collect();
    // A secret may be a part of another one.
    found.sort_by_key(|secret| Reverse(secret.expose().len()));
    let mut hidden = Cow::Borrowed(text);
    for secret in found {
        if let Cow::Owned(without) = secret.hidden_in(&hidden) {
            hidden = Cow::Owned(without);
        }
    }
    let Some(plain) = undisguised(&hidden) else { return hidden };
    let plain = plain.to_ascii_lowercase();
    let is_disguised =
        |secret: &Secret| secret.0.forms.first().is_some_and(|form| plain.contains(form.as_str()));
    if known.iter().any(is_disguised) { Cow::Borrowed(HIDDEN) } else { hidden }
}

/// Hides every secret of this process, and every word that looks like one. Such a word has 32
/// hexadecimal digits, like an AppSecret, or 100 or more characters of base64, like a token. Only
/// for texts that cannot contain such a word for another reason: a keyed openid looks like an
/// AppSecret.
pub fn hide_likely(text: &str) -> Cow<'_, str> {
    let mut hidden = hide_all(text);
    for word in likely(&hidden).map(str::to_owned).collect::<Vec<_>>() {
        hidden = Cow::Owned(hidden.replace(&word, HIDDEN));
    }
    hidden
}

/// Registers words that look like a secret ([`hide_likely`]) as secrets. `value` was written in
/// place of a path or a name. Registers all of it if it has 64 or more characters without a dot or
/// a slash.
pub fn suspect(value: &str) {
    let whole = Some(value).filter(|value| value.len() >= 64 && !value.contains(['.', '/']));
    let words = likely(value).chain(whole);
    locked(&SUSPECTED).extend(words.map(|word| Secret::new(word.to_owned())));
}

/// The replacement for a secret.
const HIDDEN: &str = "(secret)";

/// Minimum length of an access token in characters. WeChat's tokens have more than 130.
const TOKEN_CHARACTERS_MIN: usize = 100;

/// The words that look like a secret.
fn likely(text: &str) -> impl Iterator<Item = &str> {
    let is_appsecret =
        |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let tokens = text.split(move |character: char| !is_part(character));
    let is_token = |word: &&str| word.len() >= TOKEN_CHARACTERS_MIN;
    words.filter(is_appsecret).chain(tokens.filter(is_token))
}

/// The text without invisible characters, and with escapes like `%41` and `\u0041` decoded. None if
/// the text has neither.
fn undisguised(text: &str) -> Option<String> {
    let is_unseen = |character: char| {
        matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || character.is_control() && character != '\n'
    };
    let mut rest = text;
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = rest.chars().next() {
        let code = |prefix: &str, digits: usize| {
            let digits = rest.strip_prefix(prefix)?.get(..digits)?;
            u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)
        };
        let (letter, length) = match (code("%", 2), code("\\u", 4)) {
            (Some(letter), _) => (letter, 3),
            (_, Some(letter)) => (letter, 6),
            _ => (character, character.len_utf8()),
        };
        plain.extend(Some(letter).filter(|letter| !is_unseen(*letter)));
        rest = rest.get(length..).unwrap_or_default();
    }
    (plain != text).then_some(plain)
}

fn locked<T>(secrets: &Mutex<T>) -> MutexGuard<'_, T> {
    secrets.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows nothing of the value. There is no `Display` and no `Serialize`.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;
    use std::marker::PhantomData;

    use serde::Serialize;

    use super::*;
    use crate::wechat::{Credential, Proof};

    /// Tests whether a type implements a trait. If it does, the type's own constant takes
    /// precedence over the constant of the trait.
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
    fn a_secret_in_the_place_of_a_path_is_hidden_and_a_path_is_not() {
        for value in ["0123456789abcdef0123456789abcdef", &"57_x".repeat(30)] {
            for text in [format!("cannot read {value}"), format!("/x/{value}.txt: `{value}`")] {
                assert_eq!(hide_likely(&text), text.replace(value, "(secret)"));
            }
            suspect(&format!("/x/{value}"));
            assert_eq!(hide_all(&format!("cannot read {value}")), "cannot read (secret)");
        }
        let shorter = "58+y".repeat(20);
        suspect(&shorter);
        assert_eq!(hide_all(&format!("cannot read {shorter}")), "cannot read (secret)");
        let hash = "fedcba9876543210".repeat(4);
        assert_eq!(hide_likely(&hash), hash);
        for value in ["secrets/flagship", "flagship-secret-of-the-shop-in-shanghai.txt"] {
            suspect(value);
            assert_eq!(hide_all(value), value);
        }
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
        assert_eq!(secret.hidden_in("HUNTER+2/X="), "(secret)");
        for told in ["hunter+2/x=", "a:hunter+2/x=", "id:hunter+2/x=&"] {
            let told = BASE64_STANDARD_NO_PAD.encode(told);
            assert!(secret.hidden_in(&told).contains("(secret)"), "{told}");
        }
        assert_eq!(hide_all("x hunter+2/x= y"), "x (secret) y");
        for told in [
            "68756e7465722b322f783d",
            "bad h\u{200b}unter+2/x=",
            "bad %68%75%6e%74%65%72+2/x=",
            "bad \\u0068unter+2/x=",
            "bad h\u{7}u\u{2060}nter+2/x=",
        ] {
            assert!(hide_all(told).ends_with("(secret)"), "{told}: {}", hide_all(told));
        }
        assert_eq!(hide_all("100 %ab \\u12 50 %"), "100 %ab \\u12 50 %");
        let longer = Secret::new("hunter+2/x=/more".into());
        assert_eq!(hide_all("x hunter+2/x=/more y"), "x (secret) y");
        let same = Secret::new("hunter+2/x=/more".into());
        drop(longer);
        assert_eq!(hide_all("x hunter+2/x=/more y"), "x (secret) y");
        drop(same);
        assert_eq!(hide_all("x hunter+2/x=/more y"), "x (secret)/more y");
        assert!(secret.is_in("a-HUNTER+2/x=-b") && !secret.is_in("a-hunter"));
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret:?} {secret:#?}"), "(secret) (secret)");
        let proofs =
            [Proof::AccessToken(secret.clone()), Proof::AppSecret { appid: "wx1".into(), secret }];
        let credentials = proofs.map(Credential::from);
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
