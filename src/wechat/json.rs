//! Reads WeChat's JSON: numbers that may be strings, and errors of any form.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};

/// A value that must be a JSON object. Derived serde code would also accept an array of the values.
pub(crate) struct Object<T>(pub T);

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

/// A whole number, written as a number or as a string, because SDKs disagree on the form.
#[derive(Clone, Copy)]
pub(crate) struct Integer(pub i64);

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
                // From 2^53 on, a float no longer identifies one whole number.
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

/// A text for people, which should be a string. Any other value is kept as its JSON.
pub(crate) struct Words(pub String);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        }))
    }
}

/// Reads an answer without records. Tolerates control characters and invalid UTF-8, which occur in
/// error messages.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let strict = serde_json::from_slice::<Object<T>>(body).ok();
    let lenient = || {
        let text = String::from_utf8_lossy(body).replace(|c: char| c.is_control(), " ");
        serde_json::from_str::<Object<T>>(&text).ok()
    };
    strict.or_else(lenient).map(|Object(answer)| answer)
}
