//! Repairs JSON with invalid strings, which hold users' text. It repairs invalid UTF-8, raw control
//! characters, half surrogate pairs, and backslashes that begin no escape. It changes nothing
//! outside strings, so a truncated or garbled page stays unreadable.

use std::borrow::Cow;

/// Returns the body with its strings repaired. Valid JSON stays unchanged.
///
/// - Invalid UTF-8 and half a surrogate pair become U+FFFD.
/// - A raw control character is escaped, so the parser returns the same character.
/// - A backslash that begins no JSON escape is kept as a backslash.
pub fn repair(body: &[u8]) -> String {
    Repaired::of(body).text
}

/// A repaired body.
#[derive(Debug, Default)]
pub(super) struct Repaired {
    pub text: String,
    /// Byte positions in `text` that differ from the body, ascending.
    changes: Vec<usize>,
}

impl Repaired {
    pub(super) fn of(body: &[u8]) -> Self {
        let (text, replaced) = lossy(body);
        let mut repaired = Self { text: String::with_capacity(text.len() + 64), ..Self::default() };
        let mut replaced = replaced.into_iter().peekable();
        let mut rest = text.as_ref();
        let mut in_string = false;
        loop {
            let position = text.len() - rest.len();
            let sound = sound_length(rest, &mut in_string);
            while let Some(at) = replaced.next_if(|at| *at < position + sound) {
                repaired.changes.push(repaired.text.len() + at - position);
            }
            let (copied, broken) = rest.split_at_checked(sound).unwrap_or((rest, ""));
            repaired.text.push_str(copied);
            let Some(first) = broken.chars().next() else { break };
            repaired.changes.push(repaired.text.len());
            let length = match first {
                '\\' if half_surrogate(broken) => {
                    repaired.text.push(char::REPLACEMENT_CHARACTER);
                    UNICODE_ESCAPE
                }
                '\\' => {
                    repaired.text.push_str("\\\\");
                    1
                }
                control => {
                    repaired.text.push_str(&format!("\\u{:04x}", u32::from(control)));
                    1
                }
            };
            rest = broken.get(length..).unwrap_or_default();
        }
        repaired
    }

    /// Whether the repair changed `part`, which is a slice of [`text`](Self::text).
    pub(super) fn is_changed_in(&self, part: &str) -> bool {
        let start = part.as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        let next = self.changes.partition_point(|at| *at < start);
        self.changes.get(next).is_some_and(|at| *at - start < part.len())
    }
}

/// Returns the body as text, and the positions of each U+FFFD that replaces invalid UTF-8.
fn lossy(body: &[u8]) -> (Cow<'_, str>, Vec<usize>) {
    if let Ok(text) = std::str::from_utf8(body) {
        return (text.into(), Vec::new());
    }
    let mut text = String::with_capacity(body.len() + 64);
    let mut replaced = Vec::new();
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            replaced.push(text.len());
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    (text.into(), replaced)
}

/// Length of `\uXXXX` in bytes.
const UNICODE_ESCAPE: usize = 6;

/// Number of leading bytes that need no repair. Updates `in_string` to the state after them.
fn sound_length(text: &str, in_string: &mut bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => {
                *in_string = !*in_string;
                1
            }
            b'\\' if *in_string => match escape_length(text.get(at..).unwrap_or_default()) {
                Some(length) => length,
                None => return at,
            },
            0x00..=0x1f if *in_string => return at,
            _ => 1,
        };
    }
    at
}

/// Length in bytes of the valid escape at the beginning. None for half a surrogate pair, and for a
/// backslash that begins no escape.
fn escape_length(text: &str) -> Option<usize> {
    match text.as_bytes().get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => match code_unit(text)? {
            0xD800..0xDC00 => {
                let low = text.get(UNICODE_ESCAPE..).and_then(code_unit)?;
                (0xDC00..0xE000).contains(&low).then_some(2 * UNICODE_ESCAPE)
            }
            0xDC00..0xE000 => None,
            _ => Some(UNICODE_ESCAPE),
        },
        _ => None,
    }
}

/// Whether the text begins with the escape of a surrogate code unit.
fn half_surrogate(text: &str) -> bool {
    code_unit(text).is_some_and(|unit| (0xD800..0xE000).contains(&unit))
}

/// The UTF-16 code unit of the escape `\uXXXX` at the beginning.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // `from_str_radix` also accepts a sign.
    let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hexadecimal.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_string_with_anything_typed_into_it_can_be_read(typed in prop::collection::vec(any::<u8>().prop_filter("ends the string", |byte| !b"\"\\".contains(byte)), 0..50)) {
            let mut body = b"[\"".to_vec();
            body.extend(&typed);
            body.extend(b"\"]");
            let read: Vec<String> = serde_json::from_str(&repair(&body)).unwrap();
            prop_assert_eq!(&read[0], &String::from_utf8_lossy(&typed));
        }

        #[test]
        fn what_was_json_stays_as_it_was(text in ".*") {
            let body = serde_json::to_string(&[text]).unwrap();
            prop_assert_eq!(repair(body.as_bytes()), body);
        }

        /// Each piece is a string, valid or in need of repair. `is_changed_in` finds exactly the
        /// strings that needed a repair.
        #[test]
        fn a_repair_is_known_by_its_place(pieces in prop::collection::vec(prop::sample::select(vec![
            &b"sound"[..], b"\\ud83d\\ude00", b"\xe4\xbd\xa0", b"\\n", b"\\ud83d", b"\\ude00", b"\xff", b"\n", b"\\q",
        ]), 0..30)) {
            let mut body = b"[".to_vec();
            for piece in &pieces {
                body.extend([b"\"", *piece, b"\","].concat());
            }
            body.extend(b"null]");
            let repaired = Repaired::of(&body);
            let strings: Vec<&serde_json::value::RawValue> = serde_json::from_str(&repaired.text).unwrap();
            let found: Vec<bool> = strings.iter().map(|string| repaired.is_changed_in(string.get())).collect();
            let expected = pieces.iter().map(|piece| serde_json::from_slice::<String>(&[b"\"", *piece, b"\""].concat()).is_err());
            prop_assert_eq!(found, expected.chain([false]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_the_inside_of_strings_is_escaped() {
        assert_eq!(
            repair(b"{\n\"a\": \"x\ny\\\"\tz\\\\\"\t}"),
            "{\n\"a\": \"x\\u000ay\\\"\\u0009z\\\\\"\t}"
        );
    }

    #[test]
    fn half_a_surrogate_pair_and_a_lone_backslash_are_repaired() {
        for (typed, read) in [
            (r"\ud83d", "\u{fffd}"),
            (r"a\ud83db", "a\u{fffd}b"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
            (r"\ud83d\n", "\u{fffd}\n"),
            (r"\ud83d\u00e9", "\u{fffd}\u{e9}"),
            (r"C:\q", r"C:\q"),
            (r"\u12", r"\u12"),
            (r"\u+123", r"\u+123"),
            ("\\\n", "\\\n"),
        ] {
            let body = format!("\"{typed}\"");
            let string: String = serde_json::from_str(&repair(body.as_bytes())).unwrap();
            assert_eq!(string, read, "{typed:?}");
        }
    }
}
