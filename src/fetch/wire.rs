//! Reads the JSON of a `getmsglist` answer strictly.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

use super::odd_record::{self, Written};
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

/// The fields of an answer other than its records.
#[derive(Default)]
pub(super) struct Envelope {
    pub number: Option<Integer>,
    pub msgid: Option<Integer>,
    pub errcode: Option<Integer>,
    pub errmsg: Option<Words>,
}

impl<R> Answer<R> {
    pub(super) fn open(self) -> (Option<Vec<R>>, Envelope) {
        let Self { recordlist, number, msgid, errcode, errmsg } = self;
        (recordlist, Envelope { number, msgid, errcode, errmsg })
    }
}

/// Declares the fields of a record: the strict type, and the function that reads an irregular
/// value.
macro_rules! record {
    ($($(#[$read:meta])* $field:ident: $kind:ty, oddly $odd:path;)*) => {
        /// One record, read strictly. Unknown fields are ignored.
        #[derive(serde::Deserialize)]
        pub(super) struct WireRecord<'a> {
            $($(#[$read])* pub $field: $kind,)*
        }

        /// The fields of a record, as written.
        #[derive(Default)]
        pub(super) struct OddRecord<'a> {
            $(pub $field: Written<'a>,)*
        }

        impl<'a> OddRecord<'a> {
            pub(super) fn field(&mut self, name: &str) -> Option<&mut Written<'a>> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)*
                    _ => None,
                }
            }

            /// # Errors
            /// The reason, without any value, when a field that a message needs is not usable.
            pub(super) fn record(&self) -> Result<WireRecord<'a>, String> {
                Ok(WireRecord { $($field: $odd(stringify!($field), self.$field)?,)* })
            }
        }
    };
}

record! {
    #[serde(borrow)]
    openid: Text<'a>, oddly odd_record::name;
    #[serde(borrow)]
    worker: Text<'a>, oddly odd_record::name;
    opercode: Integer, oddly odd_record::integer;
    #[serde(borrow)]
    text: Option<Text<'a>>, oddly odd_record::text;
    time: Integer, oddly odd_record::integer;
}

/// A string, borrowed from the body unless it contains escapes.
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
