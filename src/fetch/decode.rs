//! Decodes the body of a page into Arrow.
//!
//! A page of [regular](super::regular) records is read in one pass, because that is fast. On any
//! other page, each record is read on its own, so one irregular record does not affect the others.
//! An irregular record is read leniently (see [`super::odd_record`]). It is a reject only if it
//! lacks a field that a message needs. A page that is not JSON is [repaired](super::repair())
//! first.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::error::ArrowError;
use serde_json::value::RawValue;

use super::pager::PageFacts;
use super::regular;
use super::repair::{Repaired, repair};
use super::wire::{Answer, Envelope, Integer, Object, OddRecord, Text, WireRecord};
use crate::calendar::Span;
use crate::model::record::{self, Direction, Records};
use crate::wechat::{ApiError, CallError, PAGE_RECORDS_MAX, no_json};

/// A decoded page.
#[derive(Clone, Debug)]
pub struct Page {
    pub facts: PageFacts,
    /// The records of the window, in the API's order and in their [schema](record::schema).
    pub records: RecordBatch,
    /// Records at exactly the end of the window. WeChat does not document whether they belong to
    /// it. They are taken from the next window.
    pub outside_window: u64,
    /// Records rejected because their time is before the start or after the end of the window.
    pub misplaced: u64,
    pub rejects: Vec<Reject>,
    /// Records of the window that needed a repair to be read.
    pub repaired_records: u64,
    /// Whether the body needed a repair to be JSON.
    pub is_repaired: bool,
}

impl Page {
    /// The data kept of a page to detect that the next page is the same.
    pub(super) fn outline(&self) -> Result<Outline, ArrowError> {
        let Records { openid, text, sent_at, .. } = Records::of(&self.records)?;
        let first = openid.iter().zip(text).take(OUTLINE_RECORDS);
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Outline {
            records: self.facts.records,
            times: sent_at.values().clone(),
            lengths: [openid.offsets().clone(), text.offsets().clone()],
            first: first.map(|(openid, text)| (owned(openid), owned(text))).collect(),
            rejects: self.rejects.clone(),
        })
    }

    /// The time from the earliest to the latest record of the window. None if there are no records.
    pub(super) fn covered(&self) -> Result<Option<Span>, ArrowError> {
        let sent_at = Records::of(&self.records)?.sent_at.values();
        let ends = sent_at.iter().min().zip(sent_at.iter().max());
        Ok(ends.map(|(first, last)| Span {
            start: first.div_euclid(1_000_000),
            end: last.div_euclid(1_000_000) + 1,
        }))
    }
}

/// Number of records whose texts an outline keeps.
const OUTLINE_RECORDS: usize = 64;

/// The times of a page's records, the lengths of their strings, and the first strings themselves.
/// Much smaller than the whole page, which would otherwise stay in memory until the next one
/// arrives.
#[derive(Debug, PartialEq)]
pub(super) struct Outline {
    records: usize,
    times: ScalarBuffer<i64>,
    /// Offsets of `openid` and `text`.
    lengths: [OffsetBuffer<i32>; 2],
    first: Vec<(Option<String>, Option<String>)>,
    rejects: Vec<Reject>,
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Index in the page, from 0.
    pub position: i64,
    /// Contains no value of the record.
    pub reason: String,
    /// The record as received, or as repaired if the page needed a repair. Without its content if
    /// it is [withheld](crate::model::redaction::Redaction::raw).
    pub raw: String,
}

/// Decodes the body of a `getmsglist` answer.
///
/// # Errors
/// [`CallError::Api`] when WeChat answered with an error. [`CallError::Unreadable`] when the body
/// is not an answer of the API.
pub fn decode(body: &[u8], window: Span) -> Result<Page, CallError> {
    // Checking the whole body once is faster than checking each string.
    let text = simdutf8::basic::from_utf8(body).ok();
    if let Some(page) = text.and_then(|text| regular_page(text, window)) {
        return Ok(page);
    }
    if let Some(page) = text.and_then(|text| each_record(text, window)) {
        return page;
    }
    let repaired = Repaired::of(body);
    // The parser's message would describe the repaired text. The error only says that the body is
    // not JSON.
    let Object(answer): Object<Answer<&RawValue>> = serde_json::from_str(&repaired.text)
        .map_err(|error| CallError::Unreadable(no_json(body, &without_content(&error))))?;
    let page = answer.into_page(window, |raw, builder, position| {
        take_or_reject(raw, repaired.is_changed_in(raw.get()), builder, position)
    })?;
    Ok(Page { is_repaired: true, ..page })
}

/// Reads a page whose records are all regular. None if it is not such a page, or has a reject: the
/// slow path keeps the record as received.
fn regular_page(text: &str, window: Span) -> Option<Page> {
    let mut builder =
        RecordBuilder::new(window, (text.len() / REGULAR_BYTES).min(PAGE_RECORDS_MAX));
    let (records, envelope) = regular::read(text, |record| builder.take(record).ok().map(drop))?;
    let facts = envelope.facts(Some(records)).ok()?;
    builder.into_page(facts, Vec::new()).ok()
}

/// Reads each record on its own. None if the text is not the JSON of an answer.
fn each_record(text: &str, window: Span) -> Option<Result<Page, CallError>> {
    let Object(answer): Object<Answer<&RawValue>> = serde_json::from_str(text).ok()?;
    Some(
        answer.into_page(window, |raw, builder, position| {
            take_or_reject(raw, false, builder, position)
        }),
    )
}

/// Bytes of a short regular record, to reserve memory for the columns.
const REGULAR_BYTES: usize = 120;

fn without_content(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
        .to_lowercase()
}

/// Takes a record, or returns it as a reject. `is_repaired` says whether the repair of the page
/// changed this record.
fn take_or_reject(
    raw: &RawValue,
    is_repaired: bool,
    builder: &mut RecordBuilder,
    position: i64,
) -> Option<Reject> {
    let taken = match serde_json::from_str::<Object<WireRecord<'_>>>(raw.get()) {
        Ok(Object(record)) => builder.take(&record).map(|is_taken| is_taken && is_repaired),
        Err(_) => take_odd(&repair(raw.get().as_bytes()), builder),
    };
    match taken {
        Ok(is_repaired) => {
            builder.repaired_records += u64::from(is_repaired);
            None
        }
        Err(reason) => Some(Reject { position, reason, raw: raw.get().to_owned() }),
    }
}

/// Takes a record that the strict parser refuses. Returns the same as [`RecordBuilder::take`].
fn take_odd(repaired: &str, builder: &mut RecordBuilder) -> Result<bool, String> {
    let record = OddRecord::parse(repaired)?;
    // A record of the next window is left to that window, even if its other fields are invalid.
    if !builder.is_within(record.time()?)? {
        return Ok(false);
    }
    builder.columns.push(&record.record()?)?;
    Ok(true)
}

impl<R> Answer<R> {
    fn into_page(
        self,
        window: Span,
        mut take: impl FnMut(R, &mut RecordBuilder, i64) -> Option<Reject>,
    ) -> Result<Page, CallError> {
        let (records, envelope) = self.open();
        let facts = envelope.facts(records.as_ref().map(Vec::len))?;
        let mut builder = RecordBuilder::new(window, facts.records);
        let mut rejects = Vec::new();
        for (record, position) in records.into_iter().flatten().zip(0i64..) {
            rejects.extend(take(record, &mut builder, position));
        }
        builder.into_page(facts, rejects)
    }
}

impl Envelope {
    /// The facts of a page with this number of records.
    ///
    /// # Errors
    /// The error from WeChat, or [`CallError::Unreadable`] when this is neither a page nor an
    /// error.
    fn facts(self, records: Option<usize>) -> Result<PageFacts, CallError> {
        if let Some(error) = ApiError::in_answer(self.errcode, self.errmsg) {
            return Err(error.into());
        }
        let (Some(records), Some(Integer(number)), Some(Integer(msgid))) =
            (records, self.number, self.msgid)
        else {
            return Err(CallError::Unreadable(
                "it has neither an errcode nor a recordlist with number and msgid".into(),
            ));
        };
        Ok(PageFacts { number, msgid, records })
    }
}

/// Declares the columns of records, in schema order: the builder of each column, and the value that
/// it takes from a record.
macro_rules! columns {
    (
        for each $record:ident of $records:ident;
        $($column:ident: $builder:ty = $new:expr, takes $value:expr;)*
    ) => {
        struct Columns {
            $($column: $builder,)*
        }

        impl Columns {
            fn with_capacity($records: usize) -> Self {
                Self { $($column: $new,)* }
            }

            /// # Errors
            /// The reason why the record is a reject. No value of it was taken.
            fn push(&mut self, $record: &WireRecord<'_>) -> Result<(), String> {
                $(let $column = $value;)*
                $(self.$column.append_option($column);)*
                Ok(())
            }

            fn finish(mut self) -> Result<RecordBatch, ArrowError> {
                batch(vec![$((stringify!($column), Arc::new(self.$column.finish()))),*])
            }
        }
    };
}

columns! {
    for each record of records;
    openid: StringBuilder = StringBuilder::with_capacity(records, records * 28),
        takes Some(customer(&record.openid)?);
    // Older samples from WeChat have a leading space.
    worker: StringBuilder = StringBuilder::with_capacity(records, records * 16),
        takes Some(worker(record)?);
    opercode: Int32Builder = Int32Builder::with_capacity(records),
        takes Some(opercode(record.opercode)?);
    text: StringBuilder = StringBuilder::with_capacity(records, records * 32),
        takes record.text.as_ref().map(|text| text.0.as_ref());
    sent_at: TimestampMicrosecondBuilder =
        TimestampMicrosecondBuilder::with_capacity(records).with_timezone("UTC"),
        takes Some(record.time.0 * 1_000_000);
}

fn customer<'a>(openid: &'a Text<'_>) -> Result<&'a str, String> {
    let openid = openid.0.as_ref();
    (!openid.trim().is_empty()).then_some(openid).ok_or_else(|| "empty openid".to_owned())
}

/// Requires a worker for messages, because metrics are computed from them. Other records may have
/// none, such as a session that no worker has taken yet.
fn worker<'a>(record: &'a WireRecord<'_>) -> Result<&'a str, String> {
    let worker = record.worker.0.trim();
    let is_message = || opercode(record.opercode).is_ok_and(|code| Direction::of(code).is_some());
    match worker.is_empty() && is_message() {
        true => Err("empty worker".to_owned()),
        false => Ok(worker),
    }
}

fn opercode(code: Integer) -> Result<i32, String> {
    i32::try_from(code.0).map_err(|_| "opercode beyond 32 bits".to_owned())
}

/// Builds a batch, after a check that its columns are those of a record, in order.
fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
    let schema = record::schema();
    if !schema.fields().iter().map(|field| field.name()).eq(columns.iter().map(|(name, _)| name)) {
        return Err(ArrowError::SchemaError("other columns than those of a record".to_owned()));
    }
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect())
}

/// Collects the records of a window in Arrow columns.
struct RecordBuilder {
    window: Span,
    outside_window: u64,
    misplaced: u64,
    repaired_records: u64,
    columns: Columns,
}

impl RecordBuilder {
    fn new(window: Span, records: usize) -> Self {
        Self {
            window,
            outside_window: 0,
            misplaced: 0,
            repaired_records: 0,
            columns: Columns::with_capacity(records),
        }
    }

    /// Takes a record of the window. Returns false for a record at exactly the end of the window,
    /// and counts it: it belongs to the next window.
    ///
    /// # Errors
    /// The reason why the record is a reject. No value of it was taken.
    fn take(&mut self, record: &WireRecord<'_>) -> Result<bool, String> {
        let is_within = self.is_within(record.time)?;
        if is_within {
            self.columns.push(record)?;
        }
        Ok(is_within)
    }

    fn into_page(self, facts: PageFacts, rejects: Vec<Reject>) -> Result<Page, CallError> {
        let records = self.columns.finish();
        Ok(Page {
            facts,
            records: records.map_err(|error| CallError::Unreadable(error.to_string()))?,
            outside_window: self.outside_window,
            misplaced: self.misplaced,
            rejects,
            repaired_records: self.repaired_records,
            is_repaired: false,
        })
    }

    fn is_within(&mut self, time: Integer) -> Result<bool, String> {
        if self.window.contains(time.0) {
            return Ok(true);
        }
        if time.0 != self.window.end {
            self.misplaced += 1;
            return Err("its time is outside the window that was asked for".to_owned());
        }
        self.outside_window += 1;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: Span = Span { start: 1_464_710_400, end: 1_464_796_800 };

    /// Pieces of JSON, valid or not, joined by `with`.
    fn pieces(of: &[&'static str], with: &'static str) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(of.to_vec()), 0..9)
            .prop_map(move |pieces| pieces.join(with))
    }

    fn record() -> impl Strategy<Value = String> {
        let regular = [
            r#""openid":"oC1""#,
            r#""worker":"A@acme""#,
            r#""opercode":2003"#,
            r#""text":"\u4f60\u597d""#,
            "\"time\" : 1464710400",
        ];
        let fields = [
            r#""openid":" ""#,
            r#""openid":"o\"C\\1""#,
            r#""openid":7"#,
            r#""worker":"""#,
            r#""opercode":2e3"#,
            r#""opercode":"2002""#,
            r#""opercode":99999999999"#,
            r#""text":null"#,
            r#""text":"你好，8 字节以上的文字\n""#,
            r#""text":"\ud83d""#,
            r#""text":1"#,
            "\"text\":\"\u{1}\"",
            r#""text":"""#,
            r#""time":01464710400"#,
            r#""time":1464796800"#,
            r#""time":-0"#,
            r#""time":14647104000000000000"#,
            r#""time":"1464710401""#,
            r#""time":1464710400.0"#,
            r#""ti\u006de":1464710400"#,
            r#""x":[{"y":"]}"},1.5e3,null]"#,
            r#""x":[1"#,
            r#""x":nul"#,
            "",
            " ",
            r#""text""#,
            r#""":"""#,
        ];
        let odd = prop::collection::vec(prop::sample::select(fields.to_vec()), 0..3);
        (Just(regular.to_vec()).prop_shuffle(), odd, 0usize..6).prop_map(|(mut all, odd, left)| {
            all.truncate(5 - left / 5);
            all.extend(odd);
            format!("{{{}}}", all.join(","))
        })
    }

    proptest! {
        /// Whatever the fast path accepts, it reads like the slow path.
        #[test]
        fn a_regular_page_is_read_as_each_of_its_records(
            records in prop::collection::vec(record(), 0..4),
            between in prop::sample::select(vec![",", " ,\n", "", ",,"]),
            rest in pieces(&[
                r#""number":2"#, r#""msgid":20165258"#, r#""number":"2""#, r#""msgid":0"#, r#""errcode":0"#,
                r#""errcode":-1"#, r#""errmsg":"ok""#, r#""errmsg":{}"#, r#""recordlist":[]"#, r#""x":{}"#,
            ], ", "),
            end in prop::sample::select(vec!["}", "}\n", "}}", "", "},"]),
        ) {
            let list = records.join(between);
            let text = format!("{{\"recordlist\":[{list}],\"number\":1,{rest}{end}");
            for text in [text.replace(",\"number\":1,", ","), text] {
                if let Some(page) = regular_page(&text, WINDOW) {
                    let slow = each_record(&text, WINDOW).unwrap().unwrap();
                    prop_assert_eq!(format!("{page:?}"), format!("{slow:?}"));
                }
            }
        }
    }

    #[test]
    fn what_servers_write_is_regular() {
        let record = r#"{"openid":"oC1","opercode":2003,"text":"你好，有货吗？\n","time":1464710400,"worker":"A@acme"}"#;
        let page = format!(r#"{{"recordlist":[{record},{record}],"number":2,"msgid":20165258}}"#);
        for page in [
            page.replace(":", " : ").replace(",\"", " ,\r\n\t\""),
            page.replace("2003", "\"2003\"").replace("\"你", "\"\\u4f60"),
            page.replace("\"time\"", "\"msgtype\":{\"a\":[1.5]},\"time\""),
            page.replace("\"number\"", "\"errcode\":0,\"errmsg\":\"ok\",\"number\""),
            page.replace("\"text\":\"你好，有货吗？\\n\",", ""),
            page.replace("\"你好，有货吗？\\n\"", "null"),
            page,
        ] {
            assert_eq!(regular_page(&page, WINDOW).unwrap().records.num_rows(), 2, "{page}");
        }
        let none = r#"{"recordlist":[],"number":0,"msgid":0}"#;
        assert_eq!(regular_page(none, WINDOW).unwrap().facts.records, 0);
    }
}
