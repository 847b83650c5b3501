//! The JSON of a `getmsglist` answer, read strictly.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

pub(super) use crate::wechat::{Integer, Object, Words};

/// An answer of `getmsglist`: a page, or an error inside HTTP 200.
#[derive(serde::Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub(super) struct Answer<R> {
    pub recordlist: Option<Vec<R>>,
    pub number: Option<Integer>,
    pub msgid: Option<Integer>,
    pub errcode: Option<Integer>,
    pub errmsg: Option<Words>,
}

/// One record. Unknown fields are ignored.
#[derive(serde::Deserialize)]
pub(super) struct WireRecord<'a> {
    #[serde(borrow)]
    pub openid: Text<'a>,
    #[serde(borrow)]
    pub worker: Text<'a>,
    pub opercode: Integer,
    #[serde(borrow)]
    pub text: Option<Text<'a>>,
    pub time: Integer,
}

/// A string, borrowed from the body unless it has escapes.
pub(super) struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}
