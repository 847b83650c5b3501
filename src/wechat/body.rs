//! Decompresses bodies, and describes a body that is not JSON without showing a record.

use std::io::{self, Read, Write};

use bytes::{Bytes, BytesMut};
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use flate2::write::MultiGzDecoder;

use super::CallError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The first bytes of gzip. JSON never begins with them, so gzip is detected even without a header.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A body that is being received. Gzip is decompressed as it arrives, so a body that gets too long
/// is refused before its end.
pub(super) struct Incoming {
    body: Body,
    received: usize,
    bytes_max: usize,
}

enum Body {
    /// Anything but gzip, as received.
    Received(BytesMut),
    Gzip(Box<MultiGzDecoder<Limited>>),
}

impl Incoming {
    /// Reserves `room` bytes. Refuses a body that is longer than `bytes_max`, as received or after
    /// decompression.
    pub(super) fn new(room: usize, bytes_max: usize) -> Self {
        Self { body: Body::Received(BytesMut::with_capacity(room)), received: 0, bytes_max }
    }

    /// # Errors
    /// [`CallError::Unreadable`] when the body is too long, or its compressed data is damaged.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), CallError> {
        self.received += chunk.len();
        if self.received > self.bytes_max {
            return Err(too_long(self.bytes_max));
        }
        match &mut self.body {
            Body::Gzip(decoder) => unpack_chunk(decoder, chunk, self.bytes_max),
            Body::Received(body) => {
                let is_beginning = body.len() < GZIP.len();
                body.extend_from_slice(chunk);
                if !(is_beginning && body.starts_with(&GZIP)) {
                    return Ok(());
                }
                let text = Limited { text: BytesMut::new(), bytes_max: self.bytes_max };
                let mut decoder = Box::new(MultiGzDecoder::new(text));
                let unpacked = unpack_chunk(&mut decoder, body, self.bytes_max);
                self.body = Body::Gzip(decoder);
                unpacked
            }
        }
    }

    /// Returns the text of the whole body: decompressed, and without a byte order mark.
    ///
    /// # Errors
    /// [`CallError::Unreadable`] when the body is broken, compressed other than with gzip or
    /// deflate, or too long after decompression.
    pub(super) fn finish(self, encoding: Option<&str>) -> Result<Bytes, CallError> {
        let text = match self.body {
            Body::Gzip(decoder) => {
                let unpacked = decoder.finish();
                unpacked.map_err(|error| not_unpacked(error, self.bytes_max))?.text.freeze()
            }
            Body::Received(body) => text_of(body.freeze(), encoding, self.bytes_max)?,
        };
        match text.strip_prefix(BYTE_ORDER_MARK) {
            Some(rest) => Ok(text.slice_ref(rest)),
            None => Ok(text),
        }
    }
}

fn unpack_chunk(
    decoder: &mut MultiGzDecoder<Limited>,
    chunk: &[u8],
    bytes_max: usize,
) -> Result<(), CallError> {
    decoder.write_all(chunk).map_err(|error| not_unpacked(error, bytes_max))
}

/// A text with a maximum length, because a few bytes of gzip can become gigabytes.
struct Limited {
    text: BytesMut,
    bytes_max: usize,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len() + bytes.len() > self.bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn too_long(bytes_max: usize) -> CallError {
    CallError::Unreadable(format!("it is longer than {} MiB", bytes_max >> 20))
}

fn not_unpacked(error: io::Error, bytes_max: usize) -> CallError {
    CallError::Unreadable(match error.kind() {
        io::ErrorKind::FileTooLarge => {
            format!("it is longer than {} MiB after decompression", bytes_max >> 20)
        }
        _ => format!("its compressed data is damaged or truncated ({error})"),
    })
}

/// Returns the text of a body that is not gzip.
fn text_of(body: Bytes, encoding: Option<&str>, bytes_max: usize) -> Result<Bytes, CallError> {
    let encoding = encoding.unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = body.trim_ascii_start().first() == Some(&b'{');
    Ok(match (encoding.as_str(), body.as_ref()) {
        ("deflate", [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..]) => {
            unpack(ZlibDecoder::new(body.as_ref()), bytes_max)?
        }
        // Some servers omit the zlib header, and some claim compression but send plain text.
        ("deflate", _) => match unpack(DeflateDecoder::new(body.as_ref()), bytes_max) {
            Err(_) if is_json => body,
            unpacked => unpacked?,
        },
        ("" | "identity" | "gzip" | "x-gzip", _) => body,
        _ if is_json => body,
        (other, _) => {
            let other: String =
                other.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
            let reason = format!("it is compressed ({other}); kefu reads only gzip and deflate");
            return Err(CallError::Unreadable(reason));
        }
    })
}

/// Decompresses up to a limit.
fn unpack(mut packed: impl Read, bytes_max: usize) -> Result<Bytes, CallError> {
    let mut text = Limited { text: BytesMut::new(), bytes_max };
    io::copy(&mut packed, &mut text).map_err(|error| not_unpacked(error, bytes_max))?;
    Ok(text.text.freeze())
}

/// The first bytes of a body, decompressed if they are gzip. Ends where the data is cut or damaged.
pub(super) fn beginning(body: &[u8], bytes_max: usize) -> Vec<u8> {
    if !body.starts_with(&GZIP) {
        return body.to_vec();
    }
    let (mut text, limit) = (Vec::new(), u64::try_from(bytes_max).unwrap_or(u64::MAX));
    // What was decompressed before an error is enough to describe the body.
    let _ = GzDecoder::new(body).take(limit).read_to_end(&mut text);
    if text.is_empty() { body.to_vec() } else { text }
}

/// Why a body is not JSON, for an error. `position` says where the parser stopped.
pub fn no_json(body: &[u8], position: &str) -> String {
    match Content::of(body) {
        Content::JsonLike => format!("not JSON ({position})"),
        Content::Other(what) => format!("not JSON, but {what}"),
    }
}

/// Describes the content of a body by its first bytes: `an HTML page ("Maintenance")`.
pub(super) fn render(body: &[u8]) -> String {
    match Content::of(body) {
        Content::JsonLike => "JSON".to_owned(),
        Content::Other(what) => what,
    }
}

enum Content {
    /// Begins like JSON.
    JsonLike,
    Other(String),
}

impl Content {
    fn of(body: &[u8]) -> Self {
        let start = body.get(..body.len().min(4096)).unwrap_or_default();
        let text = String::from_utf8_lossy(start);
        let text = text.trim_start_matches('\u{feff}').trim();
        let lower = text.to_ascii_lowercase();
        let what = match start {
            [0x1f, 0x8b, ..] => "compressed data (gzip)",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed data (zstd)",
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => "compressed data (deflate)",
            _ if text.is_empty() => "an empty body",
            _ if text.starts_with(['{', '[']) => return Self::JsonLike,
            _ if lower.starts_with("<!doctype html") || lower.contains("<html") => {
                return Self::Other(match title(text, &lower) {
                    Some(title) => format!("an HTML page (\"{title}\")"),
                    None => "an HTML page".to_owned(),
                });
            }
            _ if text.starts_with('<') => "an XML document",
            _ if text.chars().any(|c| c == '\u{fffd}' || c.is_control() && !c.is_whitespace()) => {
                "binary data"
            }
            _ => "plain text",
        };
        Self::Other(what.to_owned())
    }
}

/// The title of an HTML page, if it is a few plain words. A proxy may repeat the URL with the token
/// in the title, so long words and digits are not shown.
fn title(text: &str, lower: &str) -> Option<String> {
    const CHARACTERS_MAX: usize = 60;
    const WORD_MAX: usize = 20;
    let begin = lower.find("<title")?;
    let begin = begin + lower.get(begin..)?.find('>')? + 1;
    let end = begin + lower.get(begin..)?.find("</title")?;
    let title = text.get(begin..end)?.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_plain = |c: char| c.is_alphabetic() || " ,.:!-'".contains(c);
    let is_status = |word: &str| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_harmless = !title.is_empty()
        && title.chars().count() <= CHARACTERS_MAX
        && title.split(' ').all(|word| {
            is_status(word) || word.chars().all(is_plain) && word.chars().count() <= WORD_MAX
        });
    is_harmless.then_some(title)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const TEXT: &[u8] = br#"{"recordlist":[],"number":0,"msgid":0}"#;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Receives a body in chunks of this size, as `Client` does.
    fn received(body: &[u8], encoding: Option<&str>, chunk: usize) -> Result<Bytes, CallError> {
        let mut incoming = Incoming::new(0, 1 << 20);
        body.chunks(chunk).try_for_each(|chunk| incoming.push(chunk))?;
        incoming.finish(encoding)
    }

    #[test]
    fn a_compressed_body_is_unpacked_and_a_byte_order_mark_left_away() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        zlib.write_all(TEXT).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(TEXT).unwrap();
        let (half, rest) = TEXT.split_at(7);
        for (body, encoding) in [
            (TEXT.to_vec(), None),
            (TEXT.to_vec(), Some("gzip")),
            (TEXT.to_vec(), Some("deflate")),
            (TEXT.to_vec(), Some("br")),
            (gzip(TEXT), Some("gzip")),
            (gzip(TEXT), Some("X-GZIP")),
            (gzip(TEXT), None),
            ([gzip(half), gzip(rest)].concat(), Some("gzip")),
            (zlib.finish().unwrap(), Some("deflate")),
            (raw.finish().unwrap(), Some("deflate")),
            ([BYTE_ORDER_MARK, TEXT].concat(), None),
            (gzip(&[BYTE_ORDER_MARK, TEXT].concat()), Some("gzip")),
        ] {
            for chunk in [1, 2, 7, 1 << 20] {
                assert_eq!(received(&body, encoding, chunk).unwrap(), TEXT, "{encoding:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_unpacked_is_an_error_with_its_reason() {
        let (packed, bomb) = (gzip(TEXT), gzip(&vec![b' '; (1 << 20) + 1]));
        let most = gzip(&vec![b' '; 1 << 20]);
        assert_eq!(received(&most, None, 100).unwrap().len(), 1 << 20);
        for (body, encoding, reason) in [
            (packed.split_at(2).0.to_vec(), "gzip", "damaged or truncated"),
            (packed.split_at(20).0.to_vec(), "gzip", "damaged or truncated"),
            (packed.split_at(packed.len() - 1).0.to_vec(), "gzip", "damaged or truncated"),
            (
                [&packed[..30], &[!packed[30]], &packed[31..]].concat(),
                "gzip",
                "damaged or truncated",
            ),
            ([packed.clone(), b"x".to_vec()].concat(), "gzip", "damaged or truncated"),
            ([packed.clone(), vec![0; 512]].concat(), "gzip", "damaged or truncated"),
            ([packed.clone(), TEXT.to_vec()].concat(), "gzip", "damaged or truncated"),
            (
                [packed.clone(), packed.split_at(20).0.to_vec()].concat(),
                "gzip",
                "damaged or truncated",
            ),
            (vec![b' '; (1 << 20) + 1], "", "longer than 1 MiB"),
            (bomb, "gzip", "longer than 1 MiB after decompression"),
            (vec![0xff; 9], "deflate", "damaged or truncated"),
            (vec![1, 2, 3], "br", "compressed (br)"),
        ] {
            for chunk in [1, 1_000, 1 << 21] {
                let error = received(&body, Some(encoding), chunk).unwrap_err().to_string();
                assert!(error.contains(reason), "{error}");
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_before_its_end() {
        let bomb = gzip(&vec![b' '; 64 << 20]);
        let mut incoming = Incoming::new(0, 1 << 20);
        let mut chunks = bomb.chunks(1_000);
        let error = chunks.find_map(|chunk| incoming.push(chunk).err()).unwrap().to_string();
        assert!(error.contains("longer than 1 MiB after decompression"), "{error}");
        assert!(chunks.count() > 50, "the rest was read, too");
        let Body::Gzip(decoder) = &incoming.body else { panic!("not taken for gzip") };
        assert!(decoder.get_ref().text.len() <= 1 << 20);
    }

    #[test]
    fn the_beginning_of_a_compressed_page_is_described() {
        let page = b"<html><title>Maintenance</title>".repeat(500);
        let packed = gzip(&page);
        for body in [&page, &packed, &packed[..packed.len() - 9].to_vec()] {
            assert_eq!(render(&beginning(body, 4_096)), "an HTML page (\"Maintenance\")");
        }
        assert_eq!(beginning(&packed, 10), page[..10]);
        assert_eq!(render(&beginning(&packed[..12], 4_096)), "compressed data (gzip)");
    }

    #[test]
    fn what_came_is_named_and_not_shown() {
        let cases: [(&[u8], &str); 10] = [
            (b"", "an empty body"),
            (b" \r\n", "an empty body"),
            (
                b"<html><head><TITLE>\n Site maintenance </TITLE></head>",
                "an HTML page (\"Site maintenance\")",
            ),
            (
                b"<!DOCTYPE html><title>503 Service Temporarily Unavailable</title>",
                "an HTML page (\"503 Service Temporarily Unavailable\")",
            ),
            (b"<html><title>Blocked: /getmsglist?access_token=78_hunter2</title>", "an HTML page"),
            (b"<html><title>12345678901234567890</title>", "an HTML page"),
            (b"<?xml version='1.0'?><error/>", "an XML document"),
            (b"\x1f\x8b\x08\x00", "compressed data (gzip)"),
            (b"Service unavailable", "plain text"),
            (b"\x00\x01\x02", "binary data"),
        ];
        for (body, shown) in cases {
            assert_eq!(render(body), shown);
        }
        assert_eq!(
            no_json(b"{\"recordlist\":", "eof error at line 1 column 14"),
            "not JSON (eof error at line 1 column 14)"
        );
        assert_eq!(no_json(b"<html>", ""), "not JSON, but an HTML page");
    }
}
