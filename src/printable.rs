//! Makes text from outside (records, answers, file names) safe to print.

use std::borrow::Cow;
use std::path::Path;

use serde::Serializer;

/// Formats a count with its noun: `1 record`, `2 records`.
pub fn counted(count: impl TryInto<u64>, what: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Serializes a path as text, with U+FFFD in place of bytes that are not UTF-8. serde itself
/// refuses such a path.
pub(crate) fn serialize_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// Escapes characters that could control a terminal, as in JSON (`\u001b`). These are control
/// characters, except for line feed and tab, and characters that change the text direction.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |character| {
        character.is_control() && !matches!(character, '\n' | '\t') || is_reordering(character)
    })
}

/// Escapes characters that change the text direction.
pub fn without_reordering(text: &str) -> Cow<'_, str> {
    escaped(text, is_reordering)
}

/// Whether a character changes the direction of the text after it.
fn is_reordering(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_escaped(character) {
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(character))),
            false => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_many() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "day")), ["0 days", "1 day", "2 days"]);
    }

    #[test]
    fn nothing_printed_moves_the_cursor_or_reorders_a_line() {
        assert_eq!(printable("客服\ttab\nline"), "客服\ttab\nline");
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}\r"), "a\\u001b[2Jb\\u009b\\u000d");
        assert_eq!(printable("gpj.\u{202e}exe"), "gpj.\\u202eexe");
        let json = serde_json::json!({ "name": "a\u{202e}\u{7f}b" }).to_string();
        let read: serde_json::Value = serde_json::from_str(&printable(&json)).unwrap();
        assert_eq!(read["name"], "a\u{202e}\u{7f}b");
    }
}
