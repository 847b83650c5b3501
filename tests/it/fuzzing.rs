//! Anything at all as a page, a line, a setting, a name. `PROPTEST_CASES=100000 cargo test --release fuzzing` looks for minutes.

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

proptest! {
    #[test]
    fn no_page_makes_the_decoder_panic_and_none_gains_records(page in damaged_page()) {
        if let Ok(page) = decode(&page, WINDOW) {
            let seen = page.records.num_rows() as u64 + page.rejects.len() as u64 + page.outside_window;
            prop_assert_eq!(seen, page.facts.records as u64);
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes, WINDOW);
    }

    #[test]
    fn what_is_repaired_stays_so_and_sound_text_is_left_alone(bytes in prop::collection::vec(any::<u8>(), 0..300), text in r#"[ -~你好]{0,40}"#) {
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
        records.workers();
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
