//! Fetching a day: the rules of the API, its errors, and faults of the network.

use kefu::calendar::Day;
use kefu::failure::ErrorKind;
use kefu::lake::Table;
use kefu::pipeline::Refreshed;
use kefu::simulator::{Options, Records, RenderedPage, SimulatedWorker};
use serde_json::json;

use crate::world::{DAY, MIDNIGHT, World, files, record, recorded, records};

/// The example in WeChat's documentation. Page 1 ends with msgid 20165258. Page 2 has 4 records and
/// ends with msgid 20165267.
struct OfficialExample;

impl Records for OfficialExample {
    fn page(&self, start: i64, end: i64, after: i64, limit: usize) -> RenderedPage {
        assert_eq!((start, end), (1_464_710_400, 1_464_796_800));
        let (first, count, msgid) = match after {
            1 => (0, limit, 20_165_258),
            20_165_258 => (10_000, 4, 20_165_267),
            other => panic!("asked with msgid {other}"),
        };
        let records: Vec<String> = (first..first + count)
            .map(|number| record(start + number as i64, &number.to_string()))
            .collect();
        RenderedPage { records: records.join(",").into_bytes(), number: count, msgid }
    }

    fn workers(&self, _day: Day) -> Vec<SimulatedWorker> {
        Vec::new()
    }
}

#[test]
fn the_official_example_is_two_pages() {
    let world = World::new();
    let night = world.fetch(OfficialExample, &[], &[DAY]);
    let bodies: Vec<_> = night.page_requests().iter().map(|request| request.body.clone()).collect();
    assert_eq!(
        bodies,
        [
            json!({ "starttime": 1_464_710_400, "endtime": 1_464_796_800, "msgid": 1, "number": 10_000 }),
            json!({ "starttime": 1_464_710_400, "endtime": 1_464_796_800, "msgid": 20_165_258, "number": 10_000 }),
        ]
    );
    assert_eq!(night.report.fetched[0].messages.received, 10_004);
    assert_eq!(world.texts(DAY), (0..10_004).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_day_of_full_pages_ends_with_an_empty_page() {
    let world = World::new();
    let night = world.fetch(records(20_000), &[], &[DAY]);
    assert_eq!(night.page_requests().len(), 3);
    assert_eq!(world.texts(DAY).len(), 20_000);
}

#[test]
fn a_day_without_messages_is_a_file_without_rows() {
    let world = World::new();
    // An empty day is committed only after a day with messages.
    let night = world.fetch(records(3), &[], &[DAY, "2016-06-02"]);
    assert_eq!(night.page_requests().len(), 2);
    assert!(world.rows("messages", "2016-06-02").is_empty());
}

#[test]
fn a_cursor_that_does_not_advance_breaks_the_contract() {
    let world = World::new();
    let night = world.fetch(records(25_000), &["stuck-cursor@2"], &[DAY]);
    assert_eq!(night.failure(), ErrorKind::Contract);
    assert_eq!(night.page_requests().len(), 2);
    assert!(world.table_files().is_empty() && world.staged_files().is_empty());
}

#[test]
fn a_wrong_record_count_breaks_the_contract() {
    let world = World::new();
    let night = world.fetch(records(5), &["wrong-number@1"], &[DAY]);
    assert_eq!(night.failure(), ErrorKind::Contract);
    assert!(world.table_files().is_empty() && world.staged_files().is_empty());
}

#[test]
fn a_token_that_expires_between_pages_is_renewed_once_and_no_record_is_lost() {
    let world = World::new();
    let night = world.fetch(records(25_000), &["expire-token@2"], &[DAY]);
    assert_eq!(night.report.fetched[0].calls.token_renewals, 1);
    assert_eq!(night.tokens.len(), 2);
    assert_eq!(
        world.texts(DAY),
        (0..25_000).map(|number| format!("text {number}")).collect::<Vec<_>>()
    );
}

#[test]
fn parallel_days_renew_an_expired_token_once() {
    let world = World { concurrency: 4, ..World::new() };
    let days: Vec<String> = (1..=20).map(|day| format!("2016-06-{day:02}")).collect();
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    let night = world.fetch(records(3), &["expire-token@5"], &days);
    assert_eq!(night.report.fetched.len(), 20);
    assert_eq!(night.tokens.len(), 2);
}

const PASSING_TROUBLE: [&str; 8] = [
    "errcode:-1",
    "status:500",
    "status:502",
    "status:503:retry-after=7",
    "status:429",
    "reset",
    "cut",
    "html",
];

#[test]
fn temporary_errors_are_retried_and_do_not_change_the_files() {
    let undisturbed = World::new();
    undisturbed.fetch(records(12_000), &[], &[DAY]);
    for trouble in PASSING_TROUBLE {
        for calls in ["1", "2", "1x3", "2x5"] {
            let world = World::new();
            let night = world.fetch(records(12_000), &[&format!("{trouble}@{calls}")], &[DAY]);
            assert!(night.report.failed.is_empty(), "{trouble}@{calls}: {:?}", night.report.failed);
            assert!(night.report.fetched[0].calls.retries >= 1);
            assert!(world.bytes(DAY) == undisturbed.bytes(DAY), "{trouble}@{calls}");
        }
    }
}

#[test]
fn lasting_errors_fail_the_day_after_six_calls() {
    for trouble in PASSING_TROUBLE {
        let world = World::new();
        let night = world.fetch(records(12_000), &[trouble], &[DAY]);
        assert_eq!(night.failure(), ErrorKind::Unavailable, "{trouble}");
        assert_eq!(night.page_requests().len(), 6, "{trouble}");
        assert!(world.table_files().is_empty() && world.staged_files().is_empty());
    }
}

#[test]
fn a_retry_waits_as_long_as_retry_after_says() {
    let world = World::new();
    let before = world.clock.now();
    world.fetch(records(1), &["status:503:retry-after=50@1"], &[DAY]);
    assert!((world.clock.now() - before).whole_seconds() >= 50);
}

#[test]
fn a_run_waits_for_the_minute_limit_and_ends_at_the_daily_limit() {
    let world = World::new();
    let second = i64::from(world.clock.now().second());
    let before = world.clock.now();
    let night = world.fetch(records(1), &["errcode:45011@1"], &[DAY]);
    assert_eq!(night.report.fetched.len(), 1);
    assert!((world.clock.now() - before).whole_seconds() >= 60 - second);

    let world = World::new();
    let night = world.fetch_with(
        records(1),
        Options { daily_limit: 2, ..world.options(&[]) },
        &["2016-06-01", "2016-06-02", "2016-06-03", "2016-06-04"],
    );
    assert_eq!(night.report.kind(), Some(ErrorKind::Quota));
    assert_eq!(
        (night.report.fetched.len(), night.report.failed.len(), night.report.given_up.len()),
        (2, 1, 1)
    );
    assert!(world.has(Table::Messages, "2016-06-02"));
}

#[test]
fn a_wrong_secret_is_refused_and_the_hint_says_what_to_check() {
    let world = World::new().with_secret("wrong");
    let night = world.fetch(records(1), &[], &[DAY]);
    assert_eq!(night.failure(), ErrorKind::Refused);
    assert!(
        night.report.failed[0]
            .failure
            .hint
            .as_ref()
            .unwrap()
            .contains("it is not the secret of the app id")
    );
    assert_eq!(night.requests.len(), 1);
}

#[test]
fn the_hint_names_an_address_that_is_not_on_the_whitelist() {
    let world = World::new();
    let night = world.fetch(records(1), &["token/errcode:40164"], &[DAY]);
    assert_eq!(night.failure(), ErrorKind::Refused);
    assert!(night.report.failed[0].failure.hint.as_ref().unwrap().contains("203.0.113.9"));
}

#[test]
fn a_refusal_ends_the_run_at_once() {
    let world = World::new();
    let night =
        world.fetch(records(1), &["errcode:48001"], &["2016-06-01", "2016-06-02", "2016-06-03"]);
    assert_eq!(night.failure(), ErrorKind::Refused);
    assert_eq!((night.page_requests().len(), night.report.given_up.len()), (1, 2));
}

#[test]
fn other_days_are_committed_when_one_day_fails() {
    let world = World::new();
    let night =
        world.fetch(records(3), &["wrong-number@2"], &["2016-06-01", "2016-06-02", "2016-06-03"]);
    assert_eq!(night.report.kind(), Some(ErrorKind::Partial));
    assert_eq!(night.report.failed[0].failure.kind, ErrorKind::Contract);
    assert!(
        world.has(Table::Messages, "2016-06-01")
            && !world.has(Table::Messages, "2016-06-02")
            && world.has(Table::Messages, "2016-06-03")
    );
}

#[test]
fn inclusive_and_exclusive_endtime_give_the_same_files() {
    let lines = [MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + 86_399, MIDNIGHT + 86_400]
        .map(|time| record(time, &time.to_string()));
    let files: Vec<Vec<u8>> = [false, true]
        .map(|end_inclusive| {
            let world = World::new();
            let night = world.fetch_with(
                recorded(lines.clone()),
                Options { end_inclusive, ..world.options(&[]) },
                &[DAY],
            );
            assert_eq!(night.report.fetched[0].outside_window, u64::from(end_inclusive));
            assert_eq!(
                world.texts(DAY),
                [MIDNIGHT, MIDNIGHT + 86_399].map(|time| time.to_string())
            );
            world.bytes(DAY)
        })
        .into();
    assert!(files[0] == files[1]);
}

#[test]
fn a_day_of_25_hours_is_fetched_in_two_windows() {
    let world = World::in_zone("America/New_York");
    let start = 1_730_606_400;
    let night = world.fetch(
        recorded((0..26).map(|hour| record(start + hour * 3_600, &hour.to_string()))),
        &[],
        &["2024-11-03"],
    );
    let windows: Vec<_> = night
        .page_requests()
        .iter()
        .map(|request| (request.body["starttime"].clone(), request.body["endtime"].clone()))
        .collect();
    assert_eq!(
        windows,
        [(json!(start), json!(start + 86_400)), (json!(start + 86_400), json!(start + 90_000))]
    );
    assert_eq!(world.texts("2024-11-03"), (0..25).map(|hour| hour.to_string()).collect::<Vec<_>>());
}

#[test]
fn control_characters_and_bad_utf8_in_a_text_are_repaired_and_counted() {
    let world = World::new();
    let mut bad_utf8 = record(MIDNIGHT + 1, "~").into_bytes();
    let at = bad_utf8.iter().position(|byte| *byte == b'~').unwrap();
    bad_utf8.splice(at..=at, [b'a', 0xff, b'b']);
    let night = world.fetch(
        recorded([record(MIDNIGHT, "tab\tand bell\u{7}").into_bytes(), bad_utf8]),
        &[],
        &[DAY],
    );
    assert_eq!(world.texts(DAY), ["tab\tand bell\u{7}", "a\u{fffd}b"]);
    let fetched = &night.report.fetched[0];
    assert_eq!((fetched.repaired_pages, fetched.repaired_records, fetched.rejects), (1, 2, 0));
}

#[test]
fn half_a_surrogate_pair_in_any_field_loses_no_message() {
    let world = World::new();
    let lines = [
        record(MIDNIGHT, r"high \ud83d"),
        record(MIDNIGHT + 1, r"low \ude00!"),
        record(MIDNIGHT + 2, r"a pair \ud83d\ude00"),
        record(MIDNIGHT + 3, "openid").replace("oC1", r"o\ud83dC1"),
        record(MIDNIGHT + 4, "worker").replace("A@acme", r"A\ude00@acme"),
        record(MIDNIGHT + 5, "name of a field").replace("{", r#"{"\ud83d":1,"#),
        record(MIDNIGHT + 6, "value of a field").replace("{", r#"{"more":["\ud83d"],"#),
    ];
    let night = world.fetch(recorded(lines), &[], &[DAY]);
    let fetched = &night.report.fetched[0];
    // Fields that kefu does not read need no repair.
    assert_eq!((fetched.rejects, fetched.repaired_records, fetched.repaired_pages), (0, 5, 0));
    let rows = world.rows("messages", DAY);
    assert_eq!(
        world.texts(DAY),
        [
            "high \u{fffd}",
            "low \u{fffd}!",
            "a pair \u{1f600}",
            "openid",
            "worker",
            "name of a field",
            "value of a field"
        ]
    );
    assert_eq!((rows[3][1].as_str(), rows[4][2].as_str()), ("o\u{fffd}C1", "A\u{fffd}@acme"));
}

#[test]
fn a_text_that_is_not_a_string_is_stored_as_json() {
    let world = World::new();
    let texts = [
        "13912345678",
        "1.50",
        "true",
        r#"{"a": [1, "你好"]}"#,
        r#"[null]"#,
        "null",
        r#""first","text":"last""#,
        r#""C:\q""#,
    ];
    let lines = texts
        .iter()
        .zip(0..)
        .map(|(text, number)| record(MIDNIGHT + number, "~").replace("\"~\"", text))
        .chain([record(MIDNIGHT + 8, "no text").replace(r#""text":"no text","#, "")]);
    let night = world.fetch(recorded(lines.collect::<Vec<_>>()), &[], &[DAY]);
    let fetched = &night.report.fetched[0];
    assert_eq!((fetched.messages.received, fetched.rejects), (9, 0));
    // A missing text needs no repair.
    assert_eq!((fetched.repaired_records, fetched.repaired_pages), (7, 1));
    assert_eq!(
        world.texts(DAY),
        [
            "13912345678",
            "1.50",
            "true",
            r#"{"a": [1, "你好"]}"#,
            "[null]",
            "null",
            "last",
            r"C:\q",
            "null"
        ]
    );
}

#[test]
fn openid_and_worker_must_be_a_string_or_a_number() {
    let world = World::new();
    let lines = [
        record(MIDNIGHT, "numbers").replace("\"oC1\"", "4711").replace("\"A@acme\"", "2001"),
        record(MIDNIGHT + 1, "the same twice").replace("{", r#"{"openid":"oC1","#),
        record(MIDNIGHT + 2, "null").replace("\"oC1\"", "null"),
        record(MIDNIGHT + 3, "boolean").replace("\"A@acme\"", "true"),
        record(MIDNIGHT + 4, "two").replace("{", r#"{"openid":"oC2","#),
    ];
    let night = world.fetch(recorded(lines), &[], &[DAY]);
    assert_eq!(night.report.fetched[0].repaired_records, 2);
    let rows = world.rows("messages", DAY);
    assert_eq!((rows.len(), rows[0][1].as_str(), rows[0][2].as_str()), (2, "4711", "2001"));
    let reasons: Vec<String> =
        world.rows("rejects", DAY).into_iter().map(|row| row[3].clone()).collect();
    assert_eq!(
        reasons,
        [
            "field `openid`: invalid type: null, expected a string",
            "field `worker`: invalid type: boolean, expected a string",
            "field `openid` comes with different values"
        ]
    );
}

#[test]
fn the_result_and_the_history_of_a_run_count_repaired_records() {
    let world = World::new();
    let lines = [record(MIDNIGHT, "sound"), record(MIDNIGHT + 1, r"half \ud83d")];
    let simulator = world.simulate(recorded(lines), world.options(&[]));
    let output = world.kefu(&simulator, &["fetch", "--date", DAY]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("records that were read after a repair: 1"), "{shown}");
    let runs = files(&world.lake_folder().join("_kefu/accounts/acme/runs"));
    let run: serde_json::Value = serde_json::from_slice(&fs_err::read(&runs[0]).unwrap()).unwrap();
    assert_eq!(
        (&run["repaired_records"], &run["days"][0]["repaired_records"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn a_record_that_cannot_be_read_goes_to_rejects_and_the_rest_is_committed() {
    let world = World::new();
    let lines = [
        record(MIDNIGHT, "good"),
        r#"{"openid":"oC1","opercode":2003,"text":"no time","worker":"A@acme"}"#.into(),
        record(MIDNIGHT + 2, "x").replace("2003", r#""\ud83d""#),
        r#"{"openid":"oC1","opercode":2003,"opercode":2002,"text":"twice","time":1464710403,"worker":"A@acme"}"#.into(),
        record(MIDNIGHT + 4, "also good"),
    ];
    let night = world.fetch(recorded(lines), &[], &[DAY]);
    assert_eq!(night.report.fetched[0].rejects, 3);
    assert_eq!(world.texts(DAY), ["good", "also good"]);
    let rejects = world.rows("rejects", DAY);
    assert_eq!(rejects.iter().map(|row| row[2].as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    assert!(rejects[0][3].contains("missing field `time`"), "{rejects:?}");
    assert!(rejects[0][4].contains("no time"));

    // This fetch has as many records as before, and all are readable. So the rejects are removed.
    world.fetch(records(5), &[], &[DAY]);
    assert!(!world.has(Table::Rejects, DAY));
}

#[test]
fn too_many_rejects_break_the_contract() {
    let world = World::new();
    let night =
        world.fetch(recorded((0..101).map(|_| r#"{"unlike":"a record"}"#)), &[], &["1970-01-01"]);
    assert_eq!(night.failure(), ErrorKind::Contract);
    assert!(world.table_files().is_empty());
}

#[test]
fn an_unknown_record_format_is_an_error_and_not_an_empty_day() {
    // Two records: one has its time in milliseconds, the other has another name for the field
    // `time`.
    for line in [record(MIDNIGHT * 1_000, "x"), record(MIDNIGHT, "x").replace("time", "timestamp")]
    {
        let world = World::new();
        let night = world.fetch(Unsorted(vec![line; 20]), &[], &[DAY]);
        assert_eq!(night.failure(), ErrorKind::Contract);
        assert!(world.table_files().is_empty());
    }
}

/// Serves the same records in every window, whatever their time.
struct Unsorted(Vec<String>);

impl Records for Unsorted {
    fn page(&self, _: i64, _: i64, _: i64, _: usize) -> RenderedPage {
        RenderedPage {
            records: self.0.join(",").into_bytes(),
            number: self.0.len(),
            msgid: 20_165_258,
        }
    }

    fn workers(&self, _day: Day) -> Vec<SimulatedWorker> {
        Vec::new()
    }
}

#[test]
fn a_record_outside_the_window_goes_to_rejects_unless_it_is_at_the_end_of_the_window() {
    let world = World::new();
    let end = MIDNIGHT + 86_400;
    let times = [MIDNIGHT - 1, MIDNIGHT, end, end + 1, MIDNIGHT * 1_000, i64::MAX, i64::MIN];
    let lines = times.iter().map(|time| record(*time, &time.to_string()));
    let good = (1..500).map(|second| record(MIDNIGHT + second, "good"));
    let night = world.fetch(Unsorted(lines.chain(good).collect()), &[], &[DAY]);
    let fetched = &night.report.fetched[0];
    assert_eq!((fetched.messages.received, fetched.rejects, fetched.outside_window), (500, 5, 1));
    let rejects = world.rows("rejects", DAY);
    for (reject, time) in rejects.iter().zip([MIDNIGHT - 1, end + 1, MIDNIGHT * 1_000]) {
        assert_eq!(reject[3], "its time is outside the window that was asked for");
        assert!(reject[4].contains(&time.to_string()), "{reject:?}");
    }
}

#[test]
fn a_run_warns_of_records_outside_the_window() {
    let world = World::new();
    let times = [MIDNIGHT - 7_200, MIDNIGHT, MIDNIGHT + 1, MIDNIGHT + 90_000];
    let lines = times.iter().map(|time| record(*time, "x")).collect();
    let simulator = world.simulate(Unsorted(lines), world.options(&[]));
    let output = world.kefu(&simulator, &["run", "--date", DAY]);
    let [shown, said] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(output.status.code(), Some(0), "{said}");
    let warning =
        "warning: acme: 2 records were outside the window that was asked for, on 2016-06-01";
    assert!(said.contains(warning) && said.contains("kefu doctor --probe"), "{said}");
    assert!(
        shown.contains(
            "records outside the window that was asked for: 2, now in the table `rejects`"
        ),
        "{shown}"
    );
    assert!(!shown.contains("records that could not be read"), "{shown}");
    let runs = files(&world.lake_folder().join("_kefu/accounts/acme/runs"));
    let run: serde_json::Value = serde_json::from_slice(&fs_err::read(&runs[0]).unwrap()).unwrap();
    assert_eq!((&run["misplaced"], &run["days"][0]["misplaced"]), (&json!(2), &json!(2)));
}

#[test]
fn an_impossible_time_is_served_by_the_simulator_and_rejected() {
    let world = World::new();
    let lines = [record(MIDNIGHT, "good"), record(MIDNIGHT * 1_000, "milliseconds")];
    let night = world.fetch(recorded(lines), &[], &[DAY]);
    assert_eq!((world.texts(DAY), night.report.fetched[0].rejects), (vec!["good".into()], 1));
}

#[test]
fn a_server_whose_windows_are_hours_off_breaks_the_contract() {
    // 432 records of three days, with the same number in each hour.
    let lines = || (0..432).map(|number| record(MIDNIGHT + number * 600, &number.to_string()));
    let days = ["2016-06-01", "2016-06-02", "2016-06-03"];
    for shift_hours in [-8, -1, 1, 8] {
        let world = World::new();
        let options = Options { shift_hours, ..world.options(&[]) };
        let night = world.fetch_with(recorded(lines()), options, &days[1..2]);
        assert_eq!(night.failure(), ErrorKind::Contract, "{shift_hours}");
        assert!(world.table_files().is_empty());
    }
}

#[test]
fn a_lowered_page_size_is_detected_and_no_record_is_lost() {
    let lines = |count: i64| {
        recorded((0..count).map(|number| record(MIDNIGHT + number, &number.to_string())))
    };
    // The last number of each case is how many pages were short although more records followed.
    for (page_cap, count, calls, capped) in [
        (50, 120, 4, 2),
        (50, 100, 3, 1),
        (1_000, 2_500, 4, 2),
        (1_000, 1_000, 2, 0),
        (1_000, 999, 1, 0),
        (10_000, 20_000, 3, 0),
    ] {
        let plain = World::new();
        plain.fetch(lines(count), &[], &[DAY]);
        let world = World::new();
        let options = Options { page_cap: Some(page_cap), ..world.options(&[]) };
        let night = world.fetch_with(lines(count), options, &[DAY]);
        let fetched = &night.report.fetched[0];
        assert_eq!(
            (fetched.messages.received, night.page_requests().len(), fetched.calls.capped_pages),
            (count as u64, calls, capped),
            "{count} in pages of {page_cap}"
        );
        assert!(plain.bytes(DAY) == world.bytes(DAY));
        assert!(night.page_requests().iter().all(|call| call.body["msgid"] != json!(0)));
    }
}

#[test]
fn a_page_cap_is_detected_when_two_days_end_with_the_same_number_of_records() {
    let days = ["2016-06-01", "2016-06-02", "2016-06-03"];
    let lines = |counts: [i64; 3]| {
        let of_day = |(day, count): (i64, i64)| {
            (0..count).map(move |number| record(MIDNIGHT + day * 86_400 + number, "x"))
        };
        recorded((0..).zip(counts).flat_map(of_day))
    };
    let world = World::new();
    let options = Options { page_cap: Some(70), ..world.options(&[]) };
    let night = world.fetch_with(lines([100, 130, 99]), options, &days);
    let failed: Vec<String> =
        night.report.failed.iter().map(|failed| failed.day.to_string()).collect();
    assert_eq!(failed, days[1..]);
    assert_eq!(night.report.kind(), Some(ErrorKind::Partial));
    let failure = &night.report.failed[0].failure;
    let said = "two windows ended with 70 records each (10000 requested), and one more request in the second window returned 60 more";
    assert!(failure.to_string().contains(said), "{failure}");
    assert!(failure.hint.as_ref().unwrap().contains("kefu verify --against-api"));

    // Days that have the same number of records by chance take one more call each. Days with few
    // records take none.
    for (counts, calls) in [([30, 30, 31], 4), ([30, 31, 32], 3), ([9, 9, 9], 3), ([0, 30, 30], 4)]
    {
        let world = World::new();
        let night = world.fetch(lines(counts), &[], &days);
        assert!(night.report.failed.is_empty(), "{:?}", night.report.failed);
        assert_eq!(night.page_requests().len(), calls, "{counts:?}");
    }
}

#[test]
fn a_large_day_in_capped_pages_is_complete_with_several_cursors() {
    let lines =
        || recorded((0..9_000).map(|number| record(MIDNIGHT + number * 9, &number.to_string())));
    let plain = World::new();
    plain.fetch(lines(), &[], &[DAY]);
    let world = World { concurrency: 8, ..World::new() };
    let options = Options { page_cap: Some(100), ..world.options(&[]) };
    world.fetch_with(lines(), options, &[DAY]);
    assert!(plain.bytes(DAY) == world.bytes(DAY));
}

#[test]
fn a_repeated_page_breaks_the_contract() {
    for (count, page_records) in [(60_000, 10_000), (50, 10_000), (30, 7)] {
        let world = World::new().with_page_records(page_records);
        let options = Options { repeat_pages: true, ..world.options(&[]) };
        let night = world.fetch_with(records(count), options, &[DAY]);
        assert_eq!(night.failure(), ErrorKind::Contract);
        let reason = night.report.failed[0].failure.to_string();
        assert!(reason.contains("came twice in a row"), "{reason}");
        assert!(world.table_files().is_empty() && world.staged_files().is_empty());
    }
}

#[test]
fn a_new_token_is_forced_only_once_in_a_run() {
    let world = World::new();
    let night =
        world.fetch(records(1), &["errcode:40001"], &["2016-06-01", "2016-06-02", "2016-06-03"]);
    assert_eq!(night.failure(), ErrorKind::Refused);
    let forced = night
        .requests
        .iter()
        .filter(|request| request.body["force_refresh"] == json!(true))
        .count();
    assert_eq!(forced, 1);
}

#[test]
fn numbers_can_be_strings_and_workers_can_have_a_space() {
    let world = World::new();
    let line = format!(
        r#"{{"openid":"oC1","opercode":"2002","time":"{MIDNIGHT}","worker":" A@acme","new_field":[1,2]}}"#
    );
    world.fetch(recorded([line]), &[], &[DAY]);
    assert_eq!(
        world.rows("messages", DAY),
        [["acme", "oC1", "A@acme", "2002", "null", &MIDNIGHT.to_string(), "0"].map(str::to_owned)]
    );
}

#[test]
fn records_are_sorted_by_time_and_equal_times_stay_in_order() {
    // Pages of 3 records, so that almost every page begins before the end of the previous page.
    let world = World::new().with_page_records(3);
    let times: Vec<i64> = (0..1_000).map(|number| (number * 7_919) % 400).collect();
    let lines: Vec<String> = times
        .iter()
        .enumerate()
        .map(|(number, time)| record(MIDNIGHT + time, &number.to_string()))
        .collect();
    world.fetch(recorded(lines.clone()), &[], &[DAY]);
    let mut expected: Vec<usize> = (0..1_000).collect();
    expected.sort_by_key(|number| times[*number]);
    assert_eq!(world.texts(DAY), expected.iter().map(ToString::to_string).collect::<Vec<_>>());
    let seq: Vec<String> =
        world.rows("messages", DAY).into_iter().map(|row| row[6].clone()).collect();
    assert_eq!(seq, (0..1_000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(world.staged_files().is_empty());

    // With another page size, the file has the same bytes.
    let other = World::new();
    other.fetch(recorded(lines), &[], &[DAY]);
    assert!(world.bytes(DAY) == other.bytes(DAY));
}

#[test]
fn page_size_and_concurrency_do_not_change_the_files() {
    let days = ["2016-06-01", "2016-06-02", "2016-06-03"];
    let lines: Vec<String> =
        (0..3_000).map(|number| record(MIDNIGHT + number * 80, &number.to_string())).collect();
    let first = World::new();
    first.fetch(recorded(lines.clone()), &[], &days);
    for (page_records, concurrency) in [(1_000, 1), (7, 3), (10_000, 8)] {
        let other = World { concurrency, ..World::new().with_page_records(page_records) };
        other.fetch(recorded(lines.clone()), &[], &days);
        for day in days {
            assert!(first.bytes(day) == other.bytes(day), "{day}, pages of {page_records}");
        }
    }
}

#[test]
fn the_number_of_cursors_does_not_change_the_file_of_a_large_day() {
    let in_order = |number: i64| number * 28;
    let out_of_order = |number: i64| number * 27 + number * 7_919 % 5_000;
    // Half of the day's records are within four minutes.
    let dense = |number: i64| if number % 2 == 0 { number * 28 } else { 30_000 + number % 240 };
    for (name, time) in [
        ("in order", &in_order as &dyn Fn(i64) -> i64),
        ("out of order", &out_of_order),
        ("dense", &dense),
    ] {
        let mut times: Vec<i64> = (0..3_000).map(time).collect();
        if name == "dense" {
            times.sort_unstable();
        }
        let lines: Vec<String> = times
            .iter()
            .zip(0..)
            .map(|(time, number)| record(MIDNIGHT + time, &format!("{number}")))
            .collect();
        for end_inclusive in [false, true] {
            let alone = World::new().with_page_records(100);
            alone.fetch(recorded(lines.clone()), &[], &[DAY]);
            let side_by_side = World { concurrency: 8, ..World::new().with_page_records(100) };
            let options = Options { end_inclusive, ..side_by_side.options(&[]) };
            let night = side_by_side.fetch_with(recorded(lines.clone()), options, &[DAY]);
            assert!(alone.bytes(DAY) == side_by_side.bytes(DAY), "{name}");
            let beginnings =
                night.requests.iter().filter(|request| request.body["msgid"] == json!(1)).count();
            assert!(beginnings > 1, "{name}: {beginnings} cursors");
            assert!(side_by_side.staged_files().is_empty());
        }
    }
}

#[test]
fn a_refetched_day_is_replaced_only_if_it_changed_and_is_not_empty() {
    let mut world = World::new();
    world.fetch(records(3), &[], &[DAY]);
    world.refreshed = [DAY.parse().unwrap()].into();
    let written = || fs_err::metadata(world.path("messages", DAY)).unwrap().modified().unwrap();
    let before = written();

    let same = world.fetch(records(3), &[], &[DAY]);
    assert_eq!(
        same.report.fetched[0].refreshed,
        Some(Refreshed { is_changed: false, messages_before: 3 })
    );
    assert_eq!(written(), before);

    // Adds a late message.
    let changed = world.fetch(records(4), &[], &[DAY]);
    assert_eq!(
        changed.report.fetched[0].refreshed,
        Some(Refreshed { is_changed: true, messages_before: 3 })
    );
    assert_eq!(world.texts(DAY).len(), 4);

    // WeChat stores records for a limited time only, so they may be gone now.
    let gone = world.fetch(records(0), &[], &[DAY]);
    assert_eq!(gone.failure(), ErrorKind::Contract);
    assert_eq!(world.texts(DAY).len(), 4);
    assert!(world.staged_files().is_empty());
}

#[test]
fn the_number_of_cursors_does_not_change_the_rejects_of_a_large_day() {
    let mut lines: Vec<String> =
        (0..3_000).map(|number| record(MIDNIGHT + number * 28, &number.to_string())).collect();
    lines[1_234] = lines[1_234].replace("oC1", "");
    let worlds = [1, 8].map(|concurrency| {
        let world = World { concurrency, ..World::new().with_page_records(100) };
        let night = world.fetch(recorded(lines.clone()), &[], &[DAY]);
        assert_eq!(night.report.fetched[0].rejects, 1);
        world
    });
    assert_eq!(worlds[0].rows("rejects", DAY), worlds[1].rows("rejects", DAY));
    assert!(worlds[0].bytes(DAY) == worlds[1].bytes(DAY));
}

#[test]
fn a_rate_limit_starts_no_further_cursors() {
    let lines: Vec<String> =
        (0..3_000).map(|number| record(MIDNIGHT + number * 28, &number.to_string())).collect();
    let world = World { concurrency: 8, ..World::new().with_page_records(100) };
    let night = world.fetch(recorded(lines), &["errcode:45011@1"], &[DAY]);
    assert_eq!(
        night.requests.iter().filter(|request| request.body["msgid"] == json!(1)).count(),
        2,
        "the first call and its repetition"
    );
    assert_eq!(world.rows("messages", DAY).len(), 3_000);
}

#[test]
fn an_unreadable_record_belongs_to_the_window_of_its_time() {
    let broken = record(MIDNIGHT + 86_400, "x").replace("oC1", "");
    for end_inclusive in [false, true] {
        let world = World::new();
        let options = Options { end_inclusive, ..world.options(&[]) };
        let night = world.fetch_with(
            recorded([record(MIDNIGHT, "y"), broken.clone(), record(MIDNIGHT + 86_460, "z")]),
            options,
            &["2016-06-01", "2016-06-02"],
        );
        assert_eq!(
            night.report.fetched.iter().map(|day| day.rejects).collect::<Vec<_>>(),
            [0, 1],
            "{end_inclusive}"
        );
    }
}

#[test]
fn an_array_is_not_a_record_and_a_whole_number_can_have_a_decimal_point() {
    let world = World::new();
    let whole = record(MIDNIGHT, "whole").replace("2003", "2003.0");
    let night = world.fetch(
        recorded([record(MIDNIGHT, "x"), format!(r#"["oC1","A",2003,"array",{MIDNIGHT}]"#), whole]),
        &[],
        &[DAY],
    );
    assert_eq!(night.report.fetched[0].rejects, 1);
    assert_eq!(world.texts(DAY), ["x", "whole"]);
    assert!(
        world.rows("rejects", DAY)[0][3].contains("expected an object"),
        "{:?}",
        world.rows("rejects", DAY)
    );
}

#[test]
fn an_outage_ends_a_long_run_after_three_days() {
    let world = World::new();
    let days: Vec<String> = (1..=30).map(|day| format!("2016-06-{day:02}")).collect();
    let night = world.fetch(
        records(1),
        &["status:500"],
        &days.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    assert_eq!(night.report.kind(), Some(ErrorKind::Unavailable));
    assert_eq!((night.report.failed.len(), night.report.given_up.len()), (3, 27));
}

#[test]
fn only_days_in_a_row_that_are_unavailable_end_a_run() {
    let line = |day: i64| record(MIDNIGHT + day * 86_400, "x");
    let attempts = World::new().fetch(records(1), &["status:500"], &[DAY]).page_requests().len();
    // The 1st, the 2nd and the 4th day are unavailable. The 3rd one breaks the contract.
    let faults = [
        format!("status:500@1x{}", 2 * attempts),
        format!("wrong-number@{}", 2 * attempts + 1),
        format!("status:500@{}x{attempts}", 2 * attempts + 2),
    ];
    let days: Vec<String> = (1..=5).map(|day| format!("2016-06-{day:02}")).collect();
    let night = World::new().fetch(
        recorded((0..5).map(line)),
        &faults.each_ref().map(String::as_str),
        &days.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let kinds: Vec<ErrorKind> =
        night.report.failed.iter().map(|failed| failed.failure.kind).collect();
    use ErrorKind::{Contract, Unavailable};
    assert_eq!(kinds, [Unavailable, Unavailable, Contract, Unavailable]);
    assert_eq!((night.report.fetched.len(), night.report.given_up.len()), (1, 0));
}

#[test]
fn the_calls_before_a_large_day_is_fetched_again_count_too() {
    let mut lines: Vec<String> =
        (0..3_000).map(|number| record(MIDNIGHT + number * 28, "x")).collect();
    lines[1_500] = r#"{"openid":"oC1","text":"no time"}"#.to_owned();
    let world = World { concurrency: 8, ..World::new().with_page_records(100) };
    let night = world.fetch(recorded(lines), &[], &[DAY]);
    let fetched = &night.report.fetched[0];
    assert_eq!((fetched.rejects, fetched.messages.received), (1, 2_999));
    let (counted, made) = (fetched.calls.requests, night.page_requests().len() as u64);
    // Calls that were under way when the first attempt ended have no answer.
    assert!(fetched.pages < counted && counted <= made, "{counted} of {made}");
}

#[test]
fn a_failed_commit_leaves_no_rejects() {
    let world = World::new();
    // A folder is at the path of the new file.
    fs_err::create_dir_all(world.path("messages", DAY)).unwrap();
    let night =
        world.fetch(recorded([record(MIDNIGHT, "x"), r#"{"no":"record"}"#.into()]), &[], &[DAY]);
    assert_eq!(night.failure(), ErrorKind::Lake);
    assert!(!world.has(Table::Rejects, DAY) && world.staged_files().is_empty());
}
