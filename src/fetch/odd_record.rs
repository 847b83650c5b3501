//! Reads a record that the strict parser refuses. An irregular text is kept and never makes the
//! record a reject. A record is a reject only without a usable `time`, `opercode`, `openid` or
//! `worker`.
//!
//! | field | as received | becomes |
//! |---|---|---|
//! | `text` | number, boolean, object, array | its JSON, as written |
//! | `text` | several times | the last one |
//! | `openid`, `worker` | number | its JSON, as written |
//! | `openid`, `worker` | null, boolean, object, array | a reject: no identifier |
//! | `openid` | empty, or white space | a reject: no identifier |
//! | `worker` | empty, or white space | a reject if `opercode` is 2002 or 2003; else kept |
//! | all but `text` | several times with different values | a reject: it is ambiguous |
//! | any other field | anything | ignored |

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::wire::{Integer, OddRecord, Text};

/// The value of a field, as written in a record.
#[derive(Clone, Copy, Default)]
pub(super) enum Written<'a> {
    #[default]
    Missing,
    Given(&'a RawValue),
    /// Several different values. Holds the last one.
    Ambiguous(&'a RawValue),
}

impl<'a> OddRecord<'a> {
    /// Reads a record whose strings have been [repaired](super::repair()).
    ///
    /// # Errors
    /// The reason, without any value, when it is not an object.
    pub(super) fn parse(repaired: &'a str) -> Result<Self, String> {
        serde_json::from_str(repaired).map_err(|error| without_value(&error.to_string()))
    }

    /// # Errors
    /// The reason, without any value, when there is no usable time.
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

/// Reads the identifier of a customer or a worker.
pub(super) fn name<'a>(field: &str, value: Written<'a>) -> Result<Text<'a>, String> {
    let value = value.required(field)?.get();
    match value.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(Text(Cow::Borrowed(value))),
        _ => serde_json::from_str(value).map_err(|error| reason(field, &error)),
    }
}

/// Reads a text, which may be missing. Takes the last of several values, as most parsers do.
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
    // The position is relative to the field, so it is removed.
    let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
    format!("field `{field}`: {reason}")
}

/// Removes the quoted value from the parser's reason. The value may be a text or an openid, and
/// reasons are shown and logged.
///
/// Example: `invalid type: string "hello", expected an object` becomes
/// `invalid type: string, expected an object`.
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
    // The part after `expected` is written by kefu's own code, so it contains no value.
    let expected =
        found.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
    format!("{what}: {kind}, expected {expected}")
}
