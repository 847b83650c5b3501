//! Reads a record that the strict parser refuses. A text never costs its message: whatever it is,
//! it is kept. A record is unreadable only without a usable `time`, `opercode`, `openid` or
//! `worker`.
//!
//! | field | as it comes | becomes |
//! |---|---|---|
//! | `text` | number, boolean, object, array | its JSON, as written |
//! | `text` | several times | the last one |
//! | `openid`, `worker` | number | its JSON, as written |
//! | `openid`, `worker` | null, boolean, object, array | a reject: it names nobody |
//! | `openid` | empty, or white space | a reject: it names nobody |
//! | `worker` | empty, or white space | a reject, where `opercode` is 2002 or 2003; else kept |
//! | all but `text` | several times with different values | a reject: it is ambiguous |
//! | any other field | anything | ignored |

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::wire::{Integer, OddRecord, Text};

/// What a record says of a field.
#[derive(Clone, Copy, Default)]
pub(super) enum Written<'a> {
    #[default]
    Missing,
    Given(&'a RawValue),
    /// Several times, with different values; the last one.
    Ambiguous(&'a RawValue),
}

impl<'a> OddRecord<'a> {
    /// Reads a record whose strings have been [repaired](super::repair()).
    ///
    /// # Errors
    /// The reason, which quotes no value, when it is no object.
    pub(super) fn parse(repaired: &'a str) -> Result<Self, String> {
        serde_json::from_str(repaired).map_err(|error| without_value(&error.to_string()))
    }

    /// # Errors
    /// The reason, which quotes no value, when there is no usable time.
    pub(super) fn time(&self) -> Result<Integer, String> {
        integer("time", self.time)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for OddRecord<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecordVisitor;
        impl<'de> Visitor<'de> for RecordVisitor {
            type Value = OddRecord<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut record = OddRecord::default();
                while let Some(Text(field)) = map.next_key()? {
                    let value: &'de RawValue = map.next_value()?;
                    if let Some(written) = record.field(&field) {
                        *written = written.and(value);
                    }
                }
                Ok(record)
            }
        }
        deserializer.deserialize_map(RecordVisitor)
    }
}

impl<'a> Written<'a> {
    /// Adds another value of the same field.
    fn and(self, value: &'a RawValue) -> Self {
        match self {
            Self::Missing => Self::Given(value),
            Self::Given(before) if before.get() == value.get() => self,
            _ => Self::Ambiguous(value),
        }
    }

    fn required(self, field: &str) -> Result<&'a RawValue, String> {
        match self {
            Self::Given(value) => Ok(value),
            Self::Missing => Err(format!("missing field `{field}`")),
            Self::Ambiguous(_) => Err(format!("field `{field}` comes with different values")),
        }
    }
}

pub(super) fn integer(field: &str, value: Written<'_>) -> Result<Integer, String> {
    serde_json::from_str(value.required(field)?.get()).map_err(|error| reason(field, &error))
}

/// What identifies a customer or a worker.
pub(super) fn name<'a>(field: &str, value: Written<'a>) -> Result<Text<'a>, String> {
    let value = value.required(field)?.get();
    match value.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(Text(Cow::Borrowed(value))),
        _ => serde_json::from_str(value).map_err(|error| reason(field, &error)),
    }
}

/// What may be missing. Of several values the last one, as most parsers have it.
pub(super) fn text<'a>(field: &str, value: Written<'a>) -> Result<Option<Text<'a>>, String> {
    let (Written::Given(value) | Written::Ambiguous(value)) = value else { return Ok(None) };
    match value.get().as_bytes().first() {
        Some(b'"') => {
            serde_json::from_str(value.get()).map(Some).map_err(|error| reason(field, &error))
        }
        Some(b'n') => Ok(None),
        _ => Ok(Some(Text(Cow::Borrowed(value.get())))),
    }
}

fn reason(field: &str, error: &serde_json::Error) -> String {
    let reason = without_value(&error.to_string());
    // The position is one within the field.
    let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
    format!("field `{field}`: {reason}")
}

/// The parser's reason without the value that it quotes, which may be a text or an openid: reasons
/// are shown and logged.
///
/// `invalid type: string "hello", expected an object` → `invalid type: string, expected an object`
fn without_value(reason: &str) -> String {
    const KINDS: [&str; 9] = [
        "string",
        "integer",
        "floating point",
        "boolean",
        "null",
        "sequence",
        "map",
        "character",
        "byte array",
    ];
    let Some((what, found)) =
        reason.split_once(": ").filter(|(what, _)| what.starts_with("invalid "))
    else {
        return reason.to_owned();
    };
    let kind = KINDS.into_iter().find(|kind| found.starts_with(kind)).unwrap_or("something else");
    // kefu's own code wrote what was expected and all that follows.
    let expected =
        found.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
    format!("{what}: {kind}, expected {expected}")
}
