//! Reads a page of regular records in one pass, without a list of records in between.
//!
//! Records are regular if the strict parser accepts each of them, and no name of a field has an
//! escape. Most pages are regular. For any other page the result is None: the caller then reads
//! each record on its own. Only plain strings and plain numbers are read here. `serde_json` reads
//! all other values, so both agree.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::wire::{Envelope, Integer, Text, WireRecord};

/// Reads an answer. Passes each record to `take`, in order, and stops when `take` returns None.
/// Returns the number of records and the other fields.
pub(super) fn read<'a>(
    text: &'a str,
    mut take: impl FnMut(&WireRecord<'a>) -> Option<()>,
) -> Option<(usize, Envelope)> {
    let mut cursor = Cursor { text, at: 0 };
    let (mut records, mut envelope) = (None, Envelope::default());
    cursor.object(|cursor, name| match name {
        "recordlist" => {
            let mut count = 0;
            cursor.array(|cursor| {
                count += 1;
                take(&cursor.record()?)
            })?;
            set(&mut records, count)
        }
        "number" => set(&mut envelope.number, cursor.integer()?),
        "msgid" => set(&mut envelope.msgid, cursor.integer()?),
        "errcode" => set(&mut envelope.errcode, cursor.integer()?),
        "errmsg" => set(&mut envelope.errmsg, cursor.value()?),
        _ => cursor.value::<IgnoredAny>().map(drop),
    })?;
    match cursor.token() {
        None => Some((records?, envelope)),
        Some(_) => None,
    }
}

/// Sets a field. None if the object had it before.
fn set<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

/// A position in the text of an answer. Its functions return None where the text is not as
/// expected.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn record(&mut self) -> Option<WireRecord<'a>> {
        let (mut openid, mut worker, mut opercode) = (None, None, None);
        let (mut text, mut time) = (None, None);
        self.object(|cursor, name| match name {
            "openid" => set(&mut openid, cursor.string()?),
            "worker" => set(&mut worker, cursor.string()?),
            "opercode" => set(&mut opercode, cursor.integer()?),
            "text" => set(&mut text, cursor.string_or_null()?),
            "time" => set(&mut time, cursor.integer()?),
            _ => cursor.value::<IgnoredAny>().map(drop),
        })?;
        Some(WireRecord {
            openid: Text(openid?),
            worker: Text(worker?),
            opercode: opercode?,
            text: text.flatten().map(Text),
            time: time?,
        })
    }

    /// Reads an object. `field` reads the value of the field with this name.
    fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.next_is(b'}') {
            return Some(());
        }
        loop {
            let Cow::Borrowed(name) = self.string()? else { return None };
            self.expect(b':')?;
            field(self, name)?;
            match self.token()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    fn array(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.next_is(b']') {
            return Some(());
        }
        loop {
            item(self)?;
            match self.token()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.expect(b'"')?;
        let (start, rest) = (self.at, self.rest()?);
        let length = plain_length(rest);
        if rest.get(length) == Some(&b'"') {
            self.at = start + length + 1;
            return self.text.get(start..start + length).map(Cow::Borrowed);
        }
        self.at = start - 1;
        self.value::<Text<'a>>().map(|Text(text)| text)
    }

    fn string_or_null(&mut self) -> Option<Option<Cow<'a, str>>> {
        match self.next_is(b'n') {
            false => self.string().map(Some),
            true => {
                self.at -= 1;
                self.value::<()>().map(|()| None)
            }
        }
    }

    fn integer(&mut self) -> Option<Integer> {
        self.skip_space();
        let rest = self.rest()?;
        let (mut number, mut digits) = (0, 0);
        while let Some(byte @ b'0'..=b'9') = rest.get(digits)
            && digits < DIGITS_MAX
        {
            number = number * 10 + i64::from(byte - b'0');
            digits += 1;
        }
        match (rest.first()?, rest.get(digits)?) {
            (b'1'..=b'9', b',' | b'}') => {
                self.at += digits;
                Some(Integer(number))
            }
            _ => self.value(),
        }
    }

    /// Reads any value with `serde_json`.
    fn value<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let rest = self.text.get(self.at..)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter();
        let value = values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(value)
    }

    fn rest(&self) -> Option<&'a [u8]> {
        self.text.as_bytes().get(self.at..)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space. Moves behind it.
    fn token(&mut self) -> Option<u8> {
        self.skip_space();
        let token = self.text.as_bytes().get(self.at).copied();
        self.at += usize::from(token.is_some());
        token
    }

    /// Moves behind the next token if it is this one.
    fn next_is(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let is_next = self.text.as_bytes().get(self.at) == Some(&wanted);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        self.next_is(wanted).then_some(())
    }
}

/// Any number with this many digits fits into 64 bits.
const DIGITS_MAX: usize = 18;

/// The number of bytes before the first quote, backslash or control character. Looks at eight bytes
/// at once.
fn plain_length(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (word, at) in words.iter().zip((0..).step_by(8)) {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
    }
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    bytes.len() - rest.len() + end.unwrap_or(rest.len())
}

/// Sets the highest bit of each byte that ends a plain string. Bits above the lowest one may be
/// wrong.
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGHEST
}
