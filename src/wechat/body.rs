//! Bodies that are not what was expected: what came instead, in words that show nothing of a record.

/// Why a body is no JSON, for an error. `position` says where the parser stopped.
pub fn no_json(body: &[u8], position: &str) -> String {
    match Content::of(body) {
        Content::JsonLike => format!("no JSON ({position})"),
        Content::Other(what) => format!("no JSON, but {what}"),
    }
}

/// What a body holds, by its first bytes: `an HTML page ("Maintenance")`.
pub(super) fn in_words(body: &[u8]) -> String {
    match Content::of(body) {
        Content::JsonLike => "JSON".to_owned(),
        Content::Other(what) => what,
    }
}

enum Content {
    /// It begins like JSON.
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

/// The title of a page, where it is a few plain words. A proxy may repeat the URL there, and the token with it: long words and digits are not shown.
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
    use super::*;

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
            assert_eq!(in_words(body), shown);
        }
        assert_eq!(
            no_json(b"{\"recordlist\":", "eof error at line 1 column 14"),
            "no JSON (eof error at line 1 column 14)"
        );
        assert_eq!(no_json(b"<html>", ""), "no JSON, but an HTML page");
    }
}
