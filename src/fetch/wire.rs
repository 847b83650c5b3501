//! The JSON of a `getmsglist` answer, read strictly.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// An answer of `getmsglist`: a page, or an error inside HTTP 200.
#[derive(serde::Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub(super) struct Answer<R> {
    pub recordlist: Option<Vec<R>>,
    pub number: Option<Integer>,
    pub msgid: Option<Integer>,
    pub errcode: Option<Integer>,
    pub errmsg: Option<String>,
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

/// Something written as a JSON object. What serde derives would take an array of the values, too.
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
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

/// A whole number, written as one or as a string: SDKs disagree on which it is.
#[derive(Clone, Copy)]
pub(super) struct Integer(pub i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;
        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_i64<E>(self, number: i64) -> Result<Integer, E> {
                Ok(Integer(number))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Integer, E> {
                i64::try_from(number).map(Integer).map_err(|_| E::custom("a number beyond 64 bits"))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Integer, E> {
                // Beyond 2^53 a float no longer says which whole number it is.
                let is_whole = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
                if is_whole {
                    Ok(Integer(number as i64))
                } else {
                    Err(E::custom("a number that is not whole"))
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Integer, E> {
                text.trim()
                    .parse()
                    .map(Integer)
                    .map_err(|_| E::custom("a string that is not a whole number"))
            }
        }
        deserializer.deserialize_any(IntegerVisitor)
    }
}
