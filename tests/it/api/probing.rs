//! `kefu doctor --probe` against simulators whose windows and pages differ from what kefu assumes.

use std::process::Output;

use kefu::calendar::Span;
use kefu::fetch::{AnswerState, Probe, Question, Source};
use kefu::simulator::{Options, Recorded, Records};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{DAY, MIDNIGHT, World, record, recorded, records};

/// 400 records of one day, 100 seconds apart.
fn busy() -> Recorded {
    recorded((0..400).map(|number| record(MIDNIGHT + number * 100, &number.to_string())))
}

fn doctor(world: &World, records: impl Records, options: Options, arguments: &[&str]) -> Output {
    let simulator = world.simulate(records, options);
    let arguments = [&["doctor", "--probe", "--date", DAY], arguments].concat();
    let output = world.kefu(&simulator, &arguments);
    let calls: Vec<Value> = simulator
        .requests()
        .into_iter()
        .filter(|request| request.call == "getmsglist")
        .map(|request| request.body)
        .collect();
    assert!(calls.len() <= 8, "{calls:?}");
    assert!(calls.iter().all(|call| call["msgid"].as_i64() > Some(0)), "{calls:?}");
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the questions whose answers are in a state.
fn in_state(output: &Output, state: &str) -> Vec<String> {
    let result: Value = serde_json::from_str(stdout(output).lines().last().unwrap()).unwrap();
    let answers = result["probe"].as_array().unwrap();
    assert_eq!(answers.len(), 7);
    answers
        .iter()
        .filter(|answer| answer["state"] == state)
        .map(|answer| answer["question"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn an_api_that_meets_all_assumptions_passes_the_probe() {
    let world = World::new();
    let output = doctor(&world, busy(), world.options(&[]), &[]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(stdout(&output));
    // The probe writes nothing.
    assert!(!world.lake_folder().exists());

    let output = doctor(&world, busy(), world.options(&[]), &["--output", "json"]);
    assert_eq!(in_state(&output, "holds").len(), 7);
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&result["command"], &result["date"], &result["records"], &result["worst"]),
        (&json!("doctor"), &json!(DAY), &json!(400), &Value::Null)
    );
    assert_eq!(
        result["probe"][0],
        json!({ "question": "window_start", "assumed": "inclusive", "found": "inclusive", "state": "holds" })
    );
}

#[test]
fn each_wrong_assumption_is_reported_with_exit_code_65() {
    let world = World::new();
    let cases: [(Options, &[&str]); 3] = [
        (Options { start_exclusive: true, ..world.options(&[]) }, &["window_start"]),
        (Options { cursor_inclusive: true, ..world.options(&[]) }, &["cursor"]),
        (Options { page_cap: Some(333), ..world.options(&[]) }, &["last_page", "page_size"]),
    ];
    for (options, expected) in cases {
        let output = doctor(&world, busy(), options.clone(), &["--output", "json"]);
        assert_eq!(in_state(&output, "differs"), expected, "{}", stdout(&output));
        assert_eq!(output.status.code(), Some(65));
        let output = doctor(&world, busy(), options, &[]);
        assert!(stdout(&output).contains("WeChat does not meet kefu's assumptions"));
    }
    // A server whose windows are 8 hours off.
    let days =
        recorded((0..600).map(|number| record(MIDNIGHT + number * 600, &number.to_string())));
    let options = Options { shift_hours: 8, ..world.options(&[]) };
    let output = doctor(&world, days, options, &["--output", "json"]);
    assert_eq!(in_state(&output, "differs"), ["inside_window"], "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(65));

    let options = Options { page_cap: Some(333), ..world.options(&[]) };
    insta::assert_snapshot!(stdout(&doctor(&world, busy(), options, &[])));
}

#[test]
fn a_difference_that_kefu_handles_is_reported_with_exit_code_0() {
    let world = World::new();
    let options = Options { end_inclusive: true, ..world.options(&[]) };
    let output = doctor(&world, busy(), options, &["--output", "json"]);
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        result["probe"][1],
        json!({ "question": "window_end", "assumed": "either", "found": "inclusive", "state": "holds" })
    );
    assert_eq!(output.status.code(), Some(0));

    // `kefu run` notices a page size that was lowered to a round number.
    let options = Options { page_cap: Some(50), ..world.options(&[]) };
    let output = doctor(&world, busy(), options, &["--output", "json"]);
    assert_eq!(in_state(&output, "note"), ["last_page", "page_size"], "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(0));

    let unordered = recorded((0..40).rev().map(|number| record(MIDNIGHT + number, "x")));
    let output = doctor(&world, unordered, world.options(&[]), &["--output", "json"]);
    assert_eq!(in_state(&output, "note"), ["time_order"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_day_with_too_few_records_leaves_questions_open() {
    let world = World::new();
    let output = doctor(&world, records(0), world.options(&[]), &["--output", "json"]);
    assert_eq!(in_state(&output, "not_tellable").len(), 7);
    assert_eq!(output.status.code(), Some(0));

    let output = doctor(&world, records(1), world.options(&[]), &["--output", "json"]);
    assert_eq!(
        in_state(&output, "not_tellable"),
        ["window_start", "window_end", "page_size", "time_order"]
    );
    let alike = recorded((0..6).map(|_| record(MIDNIGHT, "x")));
    let output = doctor(&world, alike, world.options(&[]), &[]);
    insta::assert_snapshot!(stdout(&output));
}

#[test]
fn a_day_of_several_full_pages_is_probed_in_part() {
    let world = World::new();
    let large =
        || recorded((0..25_000).map(|number| record(MIDNIGHT + number * 3, &number.to_string())));
    let output = doctor(&world, large(), world.options(&[]), &["--output", "json"]);
    assert_eq!(in_state(&output, "holds").len(), 7, "{}", stdout(&output));
    let capped = Options { page_cap: Some(999), ..world.options(&[]) };
    let output = doctor(&world, large(), capped, &["--output", "json"]);
    assert_eq!(in_state(&output, "differs"), ["last_page", "page_size"], "{}", stdout(&output));
}

#[test]
fn a_probe_that_is_not_possible_is_refused() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&[]));
    let cases: [(&[&str], &str); 3] = [
        (&["--probe"], "--date"),
        (&["--date", DAY], "--probe"),
        (&["--probe", "--date", "2999-01-01"], "is not over yet"),
    ];
    for (arguments, message) in cases {
        let output = world.kefu(&simulator, &[&["doctor"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(message), "{output:?}");
    }
    let refused = world.simulate(records(1), world.options(&["errcode:48001"]));
    let output = world.kefu(&refused, &["doctor", "--probe", "--date", DAY]);
    assert_eq!(output.status.code(), Some(77));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("acme, 2016-06-01: not probed"),
        "{output:?}"
    );
}

fn probe(world: &World, lines: Vec<String>, options: Options) -> Probe {
    let simulator = world.simulate(recorded(lines), options);
    let url = simulator.client_url().unwrap();
    let source = Source::connect(&url, world.credential.clone(), world.clock.clone()).unwrap();
    let day = Span { start: MIDNIGHT, end: MIDNIGHT + 86_400 };
    let retry_budget = source.retry_budget("acme", DAY);
    world.runtime.block_on(source.probe(day, &retry_budget)).unwrap()
}

proptest! {
    /// Probes an API with arbitrary behaviour. It has few records, many of them equal or in the
    /// same second. Every answer of the probe must be true.
    #[test]
    fn every_answer_of_the_probe_is_true(
        records in prop::collection::vec((0i64..6, 0u8..3), 0..12),
        is_sorted in any::<bool>(),
        start_exclusive in any::<bool>(),
        end_inclusive in any::<bool>(),
        cursor_inclusive in any::<bool>(),
        page_cap in prop::option::of(1usize..10),
    ) {
        let world = World::new();
        let mut records = records;
        if is_sorted {
            records.sort_unstable();
        }
        let lines = records.iter().map(|(second, text)| record(MIDNIGHT + second, &text.to_string()));
        let options = Options { start_exclusive, end_inclusive, cursor_inclusive, page_cap, ..world.options(&[]) };
        let probe = probe(&world, lines.collect(), options);
        // A cap that no page reaches has no effect.
        let seen = records.iter().filter(|(second, _)| !start_exclusive || *second > 0).count();
        let is_capped = page_cap.is_some_and(|cap| cap < seen);
        for answer in &probe.answers {
            let is_so = match answer.question {
                Question::WindowStart => !start_exclusive,
                Question::WindowEnd if answer.state == AnswerState::Holds => (answer.found == "inclusive") == end_inclusive,
                Question::Cursor => !cursor_inclusive,
                Question::LastPage | Question::PageSize => !is_capped,
                Question::WindowEnd | Question::InsideWindow | Question::TimeOrder => true,
            };
            match answer.state {
                AnswerState::Holds => prop_assert!(is_so, "{answer:?}"),
                AnswerState::Differs => prop_assert!(!is_so, "{answer:?}"),
                AnswerState::Note | AnswerState::NotTellable => {}
            }
        }
    }
}
