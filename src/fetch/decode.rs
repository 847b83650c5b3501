//! A page's body → Arrow.
//!
//! Strict first. What the strict parser refuses is repaired (see [`super::repair`]) and read record by record, so that one
//! record that cannot be read becomes a reject and the others are kept.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    AsArray, Int32Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::pager::PageFacts;
use super::repair::repair;
use crate::calendar::Span;
use crate::wechat::{ApiError, CallError, no_json};

/// A page, decoded.
#[derive(Debug)]
pub struct Page {
    pub facts: PageFacts,
    /// The records of the window, in the API's order: `openid`, `worker`, `opercode`, `text`, `sent_at`.
    pub records: RecordBatch,
    /// Records whose time is not in the window; they belong to another one, which has them too.
    pub outside_window: u64,
    /// Those of them that are not at its very end, where WeChat does not say whether they belong.
    pub misplaced: u64,
    pub rejects: Vec<Reject>,
    /// Whether the body had to be mended to be read at all.
    pub is_repaired: bool,
}

impl Page {
    /// From the earliest record of the window to the latest one; none without any.
    pub(super) fn covered(&self) -> Option<Span> {
        let sent_at = self.records.column(4).as_primitive::<TimestampMicrosecondType>().values();
        let (first, last) = (sent_at.iter().min()?, sent_at.iter().max()?);
        Some(Span { start: first.div_euclid(1_000_000), end: last.div_euclid(1_000_000) + 1 })
    }
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Index in the page, from 0.
    pub position: i64,
    /// Shows no value of the record.
    pub reason: String,
    /// The record as it came (as repaired, when the page had to be), unless it is [withheld](super::Privacy).
    pub raw: String,
}

/// Decodes the body of a `getmsglist` answer.
///
/// # Errors
/// [`CallError::Api`] when WeChat answered with an error, [`CallError::Unreadable`] when it did not answer in its own form.
pub fn decode(body: &[u8], window: Span) -> Result<Page, CallError> {
    // All of the text at once, which is quicker than string by string.
    let text = simdutf8::basic::from_utf8(body).ok();
    if let Some(Ok(Object(answer))) =
        text.map(serde_json::from_str::<Object<Answer<Object<WireRecord<'_>>>>>)
    {
        match answer.into_page(window, |Object(record), builder, _| {
            match builder.is_within(record.time) {
                true => builder.take(&record).map(|()| None),
                false => Ok(None),
            }
        }) {
            // A record that parses and is none: the slow path finds it and says which.
            Err(CallError::Unreadable(_)) => {}
            page_or_error => return page_or_error,
        }
    }
    if let Some(Ok(Object(answer))) = text.map(serde_json::from_str::<Object<Answer<&RawValue>>>) {
        return answer.into_page(window, take_or_reject);
    }
    let repaired = repair(body);
    // The parser's message would be about the repaired text; what counts is that this is no JSON.
    let Object(answer): Object<Answer<&RawValue>> = serde_json::from_str(&repaired)
        .map_err(|error| CallError::Unreadable(no_json(body, &without_content(&error))))?;
    let page = answer.into_page(window, take_or_reject)?;
    Ok(Page { is_repaired: true, ..page })
}

fn without_content(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
        .to_lowercase()
}

/// The parser's reason without the value that it quotes, which may be a text or an openid: reasons are shown and logged.
///
/// `invalid type: string "hello", expected an object at line 1 column 7` → `invalid type: string, expected an object at line 1 column 7`
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
    // What was expected is in words of ours, and so is all that follows.
    let expected =
        found.rsplit_once(", expected ").map_or("something else", |(_, expected)| expected);
    format!("{what}: {kind}, expected {expected}")
}

/// A record of which only the time is asked.
#[derive(serde::Deserialize)]
struct Timed {
    time: Integer,
}

fn take_or_reject(
    raw: &RawValue,
    builder: &mut RecordBuilder,
    position: i64,
) -> Result<Option<Reject>, String> {
    // Whatever else is wrong with it, a record of another window is that window's.
    if let Ok(Object(Timed { time })) = serde_json::from_str(raw.get())
        && !builder.is_within(time)
    {
        return Ok(None);
    }
    let taken = serde_json::from_str::<Object<WireRecord<'_>>>(raw.get())
        .map_err(|error| without_value(&error.to_string()))
        .and_then(|Object(record)| builder.take(&record));
    Ok(taken.err().map(|reason| Reject { position, reason, raw: raw.get().to_owned() }))
}

/// An answer of `getmsglist`: a page, or an error inside HTTP 200.
#[derive(serde::Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Answer<R> {
    recordlist: Option<Vec<R>>,
    number: Option<Integer>,
    msgid: Option<Integer>,
    errcode: Option<Integer>,
    errmsg: Option<String>,
}

impl<R> Answer<R> {
    fn into_page(
        self,
        window: Span,
        mut take: impl FnMut(R, &mut RecordBuilder, i64) -> Result<Option<Reject>, String>,
    ) -> Result<Page, CallError> {
        if let Some(Integer(code)) = self.errcode
            && code != 0
        {
            return Err(ApiError {
                code,
                message: self.errmsg.unwrap_or_default(),
                on_token_endpoint: false,
            }
            .into());
        }
        let (Some(records), Some(Integer(number)), Some(Integer(msgid))) =
            (self.recordlist, self.number, self.msgid)
        else {
            return Err(CallError::Unreadable(
                "it has neither an errcode nor a recordlist with number and msgid".into(),
            ));
        };
        let facts = PageFacts { number, msgid, records: records.len() };
        let mut builder = RecordBuilder::new(window, records.len());
        let mut rejects = Vec::new();
        for (record, position) in records.into_iter().zip(0i64..) {
            rejects.extend(take(record, &mut builder, position).map_err(CallError::Unreadable)?);
        }
        let (outside_window, misplaced) = (builder.outside_window, builder.misplaced);
        Ok(Page {
            facts,
            records: builder.finish()?,
            outside_window,
            misplaced,
            rejects,
            is_repaired: false,
        })
    }
}

/// One record on the wire. Unknown fields are passed over; a field that comes twice makes the record unreadable.
#[derive(serde::Deserialize)]
struct WireRecord<'a> {
    #[serde(borrow)]
    openid: Text<'a>,
    #[serde(borrow)]
    worker: Text<'a>,
    opercode: Integer,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    time: Integer,
}

/// Something written as a JSON object. What serde derives would take an array of the values, too.
struct Object<T>(T);

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
struct Text<'a>(Cow<'a, str>);

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
struct Integer(i64);

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

static RECORDS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("openid", DataType::Utf8, false),
        Field::new("worker", DataType::Utf8, false),
        Field::new("opercode", DataType::Int32, false),
        Field::new("text", DataType::Utf8, true),
        Field::new(
            "sent_at",
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            false,
        ),
    ]))
});

/// Gathers the records of a window into Arrow columns.
struct RecordBuilder {
    window: Span,
    outside_window: u64,
    misplaced: u64,
    openid: StringBuilder,
    worker: StringBuilder,
    opercode: Int32Builder,
    text: StringBuilder,
    sent_at: TimestampMicrosecondBuilder,
}

impl RecordBuilder {
    fn new(window: Span, records: usize) -> Self {
        Self {
            window,
            outside_window: 0,
            misplaced: 0,
            openid: StringBuilder::with_capacity(records, records * 28),
            worker: StringBuilder::with_capacity(records, records * 16),
            opercode: Int32Builder::with_capacity(records),
            text: StringBuilder::with_capacity(records, records * 32),
            sent_at: TimestampMicrosecondBuilder::with_capacity(records),
        }
    }

    /// Whether a record belongs to the window. One that does not is counted.
    fn is_within(&mut self, time: Integer) -> bool {
        let is_within = self.window.contains(time.0);
        self.outside_window += u64::from(!is_within);
        self.misplaced += u64::from(!is_within && time.0 != self.window.end);
        is_within
    }

    /// Takes a record of the window, or says why it cannot be one; then nothing of it was taken.
    fn take(&mut self, record: &WireRecord<'_>) -> Result<(), String> {
        let openid = record.openid.0.as_ref();
        if openid.trim().is_empty() {
            return Err("empty openid".to_owned());
        }
        let opercode =
            i32::try_from(record.opercode.0).map_err(|_| "opercode beyond 32 bits".to_owned())?;
        self.openid.append_value(openid);
        // Older samples of WeChat's have a space in front.
        self.worker.append_value(record.worker.0.trim());
        self.opercode.append_value(opercode);
        self.text.append_option(record.text.as_ref().map(|text| text.0.as_ref()));
        self.sent_at.append_value(record.time.0 * 1_000_000);
        Ok(())
    }

    fn finish(mut self) -> Result<RecordBatch, CallError> {
        let columns = vec![
            Arc::new(self.openid.finish()) as _,
            Arc::new(self.worker.finish()) as _,
            Arc::new(self.opercode.finish()) as _,
            Arc::new(self.text.finish()) as _,
            Arc::new(self.sent_at.finish().with_timezone("UTC")) as _,
        ];
        RecordBatch::try_new(RECORDS.clone(), columns)
            .map_err(|error| CallError::Unreadable(error.to_string()))
    }
}
