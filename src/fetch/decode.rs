//! A page's body → Arrow.
//!
//! Strict first, which is the fast path. A page that the strict parser refuses is read record by
//! record, so that one odd record costs nothing but itself: it is read leniently (see
//! [`super::odd_record`]), and is a reject only if it lacks what a message needs. A page that is no
//! JSON at all is [repaired](super::repair()) first.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::error::ArrowError;
use serde_json::value::RawValue;

use super::pager::PageFacts;
use super::repair::{Repaired, repair};
use super::wire::{Answer, Integer, Object, OddRecord, Text, WireRecord};
use crate::calendar::Span;
use crate::model::record::{self, Direction, Records};
use crate::wechat::{ApiError, CallError, no_json};

/// A page, decoded.
#[derive(Clone, Debug)]
pub struct Page {
    pub facts: PageFacts,
    /// The records of the window, in the API's order and in their [schema](record::schema).
    pub records: RecordBatch,
    /// Records at exactly the end of the window, where WeChat does not say whether they belong. The
    /// next window has them.
    pub outside_window: u64,
    /// Records that are rejects because their time is before the window or after its end.
    pub misplaced: u64,
    pub rejects: Vec<Reject>,
    /// Records of the window that could be read only after a repair.
    pub repaired_records: u64,
    /// Whether the body was no JSON until it was repaired.
    pub is_repaired: bool,
}

impl Page {
    /// What is kept of a page to notice that the next one is the same.
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

    /// From the earliest record of the window to the latest one; none without any.
    pub(super) fn covered(&self) -> Result<Option<Span>, ArrowError> {
        let sent_at = Records::of(&self.records)?.sent_at.values();
        let ends = sent_at.iter().min().zip(sent_at.iter().max());
        Ok(ends.map(|(first, last)| Span {
            start: first.div_euclid(1_000_000),
            end: last.div_euclid(1_000_000) + 1,
        }))
    }
}

/// Records of which an outline holds the texts.
const OUTLINE_RECORDS: usize = 64;

/// The times of a page's records, the lengths of their texts, and the first texts themselves: a
/// fraction of the page, which would otherwise stay in memory until the next one has come.
#[derive(Debug, PartialEq)]
pub(super) struct Outline {
    records: usize,
    times: ScalarBuffer<i64>,
    /// Of `openid` and `text`.
    lengths: [OffsetBuffer<i32>; 2],
    first: Vec<(Option<String>, Option<String>)>,
    rejects: Vec<Reject>,
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
        match answer
            .into_page(window, |Object(record), builder, _| builder.take(&record).map(|_| None))
        {
            // A record that parses and is a reject: the slow path finds it and keeps it as it came.
            Err(CallError::Unreadable(_)) => {}
            page_or_error => return page_or_error,
        }
    }
    if let Some(Ok(Object(answer))) = text.map(serde_json::from_str::<Object<Answer<&RawValue>>>) {
        return answer.into_page(window, |raw, builder, position| {
            Ok(take_or_reject(raw, false, builder, position))
        });
    }
    let repaired = Repaired::of(body);
    // The parser's message would be about the repaired text; what counts is that this is no JSON.
    let Object(answer): Object<Answer<&RawValue>> = serde_json::from_str(&repaired.text)
        .map_err(|error| CallError::Unreadable(no_json(body, &without_content(&error))))?;
    let page = answer.into_page(window, |raw, builder, position| {
        Ok(take_or_reject(raw, repaired.is_changed_in(raw.get()), builder, position))
    })?;
    Ok(Page { is_repaired: true, ..page })
}

fn without_content(error: &serde_json::Error) -> String {
    format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column())
        .to_lowercase()
}

/// Takes a record, or gives the reject that it is. `is_repaired` says whether the repair of the
/// page has changed it.
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

/// Takes a record that the strict parser refuses, as [`RecordBuilder::take`] does.
fn take_odd(repaired: &str, builder: &mut RecordBuilder) -> Result<bool, String> {
    let record = OddRecord::parse(repaired)?;
    // Whatever else is wrong with it, a record of the next window is that window's.
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
        mut take: impl FnMut(R, &mut RecordBuilder, i64) -> Result<Option<Reject>, String>,
    ) -> Result<Page, CallError> {
        if let Some(error) = ApiError::in_answer(self.errcode, self.errmsg) {
            return Err(error.into());
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
        let RecordBuilder { outside_window, misplaced, repaired_records, .. } = builder;
        let records = builder.columns.finish();
        Ok(Page {
            facts,
            outside_window,
            misplaced,
            repaired_records,
            records: records.map_err(|error| CallError::Unreadable(error.to_string()))?,
            rejects,
            is_repaired: false,
        })
    }
}

/// Declares the columns of records, in the order of their schema: how each is built, and what of a
/// record goes into it.
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
            /// The reason why the record is a reject. Nothing of it was taken then.
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
    // Older samples of WeChat's have a space in front.
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

/// A message that metrics are made of has a worker. Other records may have none, as that of a
/// session which no worker has taken yet.
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

/// Checks that the columns are those of a record, in order.
fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
    let schema = record::schema();
    if !schema.fields().iter().map(|field| field.name()).eq(columns.iter().map(|(name, _)| name)) {
        return Err(ArrowError::SchemaError("other columns than those of a record".to_owned()));
    }
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect())
}

/// Gathers the records of a window into Arrow columns.
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

    /// Takes a record of the window. False, and it is counted, when it is at the window's very end:
    /// it belongs to the next one.
    ///
    /// # Errors
    /// The reason why it is a reject. Nothing of it was taken then.
    fn take(&mut self, record: &WireRecord<'_>) -> Result<bool, String> {
        let is_within = self.is_within(record.time)?;
        if is_within {
            self.columns.push(record)?;
        }
        Ok(is_within)
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
