//! Mends a page that is not JSON because of what a user typed: invalid UTF-8, and control characters inside strings, both
//! reported for this family of WeChat's calls. Nothing outside strings is touched, so a page that is cut or garbled stays so.

/// The body with U+FFFD in place of invalid UTF-8 and with the control characters inside strings escaped.
pub fn repair(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut repaired = String::with_capacity(text.len() + 64);
    let mut in_string = false;
    let mut is_escaped = false;
    for character in text.chars() {
        match character {
            // A backslash before a raw control character escapes nothing: it is dropped, and the character is written in JSON's way.
            '\0'..='\x1f' if in_string => {
                if is_escaped {
                    repaired.pop();
                }
                repaired.push_str(&format!("\\u{:04x}", u32::from(character)));
                is_escaped = false;
                continue;
            }
            '"' if !is_escaped => in_string = !in_string,
            _ => {}
        }
        is_escaped = in_string && character == '\\' && !is_escaped;
        repaired.push(character);
    }
    repaired
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
    }

    #[test]
    fn only_the_inside_of_strings_is_escaped() {
        assert_eq!(
            repair(b"{\n\"a\": \"x\ny\\\"\tz\\\\\"\t}"),
            "{\n\"a\": \"x\\u000ay\\\"\\u0009z\\\\\"\t}"
        );
    }
}
