//! Decompresses bodies, and describes a body that is not JSON without showing a record.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::CallError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns the text of a body: decompressed, and without a byte order mark.
///
/// # Errors
/// [`CallError::Unreadable`] when the body is broken, compressed other than with gzip or deflate,
/// or longer than `bytes_max` after decompression.
pub(super) fn text_of(
    body: Bytes,
    encoding: Option<&str>,
    bytes_max: usize,
) -> Result<Bytes, CallError> {
    let encoding = encoding.unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = body.trim_ascii_start().first() == Some(&b'{');
    let text = match (encoding.as_str(), body.as_ref()) {
        // Detects gzip even without a header, because JSON never begins with these bytes.
        (_, [0x1f, 0x8b, ..]) => unpack(MultiGzDecoder::new(body.as_ref()), bytes_max)?,
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
    };
    match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => Ok(text.slice_ref(rest)),
        None => Ok(text),
    }
}

/// Decompresses up to a limit, because a few bytes can become gigabytes.
fn unpack(packed: impl Read, bytes_max: usize) -> Result<Bytes, CallError> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = Vec::new();
    packed.take(limit).read_to_end(&mut text).map_err(|error| {
        CallError::Unreadable(format!("its compressed data is damaged or truncated ({error})"))
    })?;
    if text.len() > bytes_max {
        let reason = format!("it is longer than {} MiB after decompression", bytes_max >> 20);
        return Err(CallError::Unreadable(reason));
    }
    Ok(text.into())
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
            assert_eq!(text_of(body.into(), encoding, 1 << 20).unwrap(), TEXT, "{encoding:?}");
        }
    }

    #[test]
    fn what_cannot_be_unpacked_is_an_error_with_its_reason() {
        let (packed, bomb) = (gzip(TEXT), gzip(&vec![b' '; (1 << 20) + 1]));
        let most = gzip(&vec![b' '; 1 << 20]);
        assert_eq!(text_of(most.into(), None, 1 << 20).unwrap().len(), 1 << 20);
        for (body, encoding, reason) in [
            (packed.split_at(20).0.to_vec(), "gzip", "damaged or truncated"),
            ([packed, b"rest".to_vec()].concat(), "gzip", "damaged or truncated"),
            (bomb, "gzip", "longer than 1 MiB after decompression"),
            (vec![0xff; 9], "deflate", "damaged or truncated"),
            (vec![1, 2, 3], "br", "compressed (br)"),
        ] {
            let error = text_of(body.into(), Some(encoding), 1 << 20).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
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
