//! Property tests with arbitrary pages, lines, settings and names. `PROPTEST_CASES=100000 cargo
//! test --release fuzzing` searches for some minutes.

use arrow::array::{Array, AsArray};
use kefu::calendar::{Day, Span};
use kefu::fetch::{decode, repair};
use kefu::lake::Account;
use kefu::metrics::Shift;
use kefu::simulator::{Fault, Recorded, Records};
use kefu::wechat::BaseUrl;
use proptest::prelude::*;

use crate::world::{MIDNIGHT, record};

const WINDOW: Span = Span { start: MIDNIGHT, end: MIDNIGHT + 86_400 };

/// A page with some of its bytes changed, cut out or doubled.
fn damaged_page() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0u8..4);
    (0usize..6, prop::collection::vec(change, 0..12)).prop_map(|(records, changes)| {
        let records: Vec<String> = (0..records)
            .map(|number| record(MIDNIGHT + number as i64, "你好\\n \\u4f60 \\\"x\\\""))
            .collect();
        let mut page = format!(
            r#"{{"recordlist":[{}],"number":{},"msgid":20165267}}"#,
            records.join(","),
            records.len()
        )
        .into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(page.len().max(1));
            match how {
                0 if at < page.len() => page[at] = byte,
                1 if at < page.len() => drop(page.remove(at)),
                2 => page.insert(at, byte),
                _ => page.extend_from_within(at..page.len().min(at + 40)),
            }
        }
        page
    })
}

/// A string that WeChat could send: escapes, halves of surrogate pairs, raw control characters and
/// bytes that are not UTF-8.
fn odd_string() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&'static [u8]> = vec![
        b"a",
        b" ",
        b"1",
        b"\xe4\xbd\xa0",
        b"\\n",
        b"\\\"",
        b"\\\\",
        b"\\u00e9",
        b"\\ud83d",
        b"\\ude00",
        b"\\ud83d\\ude00",
        b"\\u12",
        b"\\q",
        b"\n",
        b"\x00",
        b"\x07",
        b"\xff",
        b"\xe4\xbd",
        b"{",
        b"],",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..12)
        .prop_map(|pieces| [b"\"".to_vec(), pieces.concat(), b"\"".to_vec()].concat())
}

/// Any JSON value that contains such strings.
fn odd_value() -> impl Strategy<Value = Vec<u8>> {
    let number = prop::sample::select(vec!["0", "-1.50", "13912345678901234567890", "1e400"]);
    let word = prop::sample::select(vec!["null", "true", "false"]);
    let leaf = prop_oneof![
        odd_string(),
        prop_oneof![number, word].prop_map(|text| text.as_bytes().to_vec()),
    ];
    leaf.prop_recursive(3, 20, 4, |value| {
        let array = prop::collection::vec(value.clone(), 0..4)
            .prop_map(|values| [b"[".to_vec(), values.join(&b", "[..]), b"]".to_vec()].concat());
        let object = prop::collection::vec((odd_string(), value), 0..4).prop_map(|fields| {
            let fields: Vec<Vec<u8>> =
                fields.into_iter().map(|(name, value)| [name, value].join(&b": "[..])).collect();
            [b"{".to_vec(), fields.join(&b","[..]), b"}".to_vec()].concat()
        });
        prop_oneof![array, object]
    })
}

/// A page with one record, in which `value` replaces `~`.
fn page_with(record: &str, value: &[u8]) -> Vec<u8> {
    let (before, after) = record.split_once('~').unwrap();
    [
        br#"{"recordlist":["#.as_slice(),
        before.as_bytes(),
        value,
        after.as_bytes(),
        br#"],"number":1,"msgid":7}"#,
    ]
    .concat()
}

proptest! {
    #[test]
    fn an_odd_text_never_loses_its_message(text in odd_value()) {
        let record = record(MIDNIGHT, "~").replace("\"~\"", "~");
        let page = decode(&page_with(&record, &text), WINDOW).unwrap();
        prop_assert_eq!((page.records.num_rows(), page.rejects), (1, vec![]));
        let has_text = page.records.column(3).null_count() == 0;
        prop_assert_eq!(has_text, text != b"null");
        // A valid string or null is read unchanged. Any other text is counted as repaired.
        let is_sound = text == b"null" || serde_json::from_slice::<String>(&text).is_ok();
        prop_assert_eq!(page.repaired_records, u64::from(!is_sound));
    }

    #[test]
    fn an_odd_unknown_field_never_loses_its_message(value in odd_value(), name in odd_string()) {
        let name = String::from_utf8_lossy(&name).into_owned();
        let record = record(MIDNIGHT, "x").replacen('{', &format!("{{{name}:~,"), 1);
        let page = decode(&page_with(&record, &value), WINDOW).unwrap();
        prop_assert_eq!((page.records.num_rows(), page.rejects), (1, vec![]));
    }

    #[test]
    fn openid_and_worker_are_repaired_like_texts(openid in odd_string(), worker in odd_string()) {
        let record = record(MIDNIGHT, "x").replace("\"oC1\"", "~");
        let page = page_with(&record, &openid);
        let at = page.windows(8).position(|bytes| bytes == b"\"A@acme\"").unwrap();
        let page = [&page[..at], &worker, &page[at + 8..]].concat();
        let page = decode(&page, WINDOW).unwrap();
        let read = |name: &[u8]| serde_json::from_str::<String>(&repair(name)).unwrap();
        let (openid, worker) = (read(&openid), read(&worker));
        if openid.trim().is_empty() {
            prop_assert_eq!(&page.rejects[0].reason, "empty openid");
        } else if worker.trim().is_empty() {
            prop_assert_eq!(&page.rejects[0].reason, "empty worker");
        } else {
            let column = |index: usize| page.records.column(index).as_string::<i32>().value(0);
            prop_assert_eq!((column(0), column(1)), (openid.as_str(), worker.trim()));
        }
    }

    #[test]
    fn a_damaged_page_causes_no_panic_and_adds_no_records(page in damaged_page()) {
        if let Ok(page) = decode(&page, WINDOW) {
            let seen = page.records.num_rows() as u64 + page.rejects.len() as u64 + page.outside_window;
            prop_assert_eq!(seen, page.facts.records as u64);
        }
    }

    #[test]
    fn arbitrary_bytes_cause_no_panic_in_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, WINDOW);
    }

    #[test]
    fn a_repair_is_stable_and_does_not_change_valid_text(bytes in prop::collection::vec(any::<u8>(), 0..300), text in r#"[ -~你好]{0,40}"#) {
        let repaired = repair(&bytes);
        prop_assert_eq!(repair(repaired.as_bytes()), repaired);
        let sound = serde_json::json!({ "text": text }).to_string();
        prop_assert_eq!(repair(sound.as_bytes()), sound);
    }

    #[test]
    fn any_lines_can_be_served(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
        let records = Recorded::from_lines(lines, true);
        let page = records.page(i64::MIN / 4, i64::MAX / 4, 1, 10_000);
        prop_assert!(page.number <= 20);
        records.workers("2024-05-13".parse().unwrap());
    }

    #[test]
    fn any_setting_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = text.parse::<Shift>();
        let _ = text.parse::<Day>();
        let _ = text.parse::<BaseUrl>();
        let _ = text.parse::<Fault>();
        let _ = kefu::calendar::Zone::named(&text);
        if let Ok(account) = Account::new(text.clone()) {
            let path = std::path::Path::new(account.as_str());
            prop_assert_eq!(path.components().count(), 1, "{}", text);
            prop_assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(text.as_str()));
        }
    }
}
