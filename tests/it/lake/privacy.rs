//! Personal data that the settings exclude is in no file, no message and no log. This includes
//! files that exist for a moment only.

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kefu::fetch::{OpenidKey, Openids, Privacy, Texts};
use kefu::simulator::{Generated, GeneratorOptions, Recorded, Records, RenderedPage, Simulator};

use crate::world::{DAY, MIDNIGHT, World, files, record, recorded, records};

const KEY: &str = "a key of the tests, as long as one has to be";
const RANGE: [&str; 5] = ["run", "--from", "2024-05-13", "--to", "2024-05-17"];

/// Strings that no file may contain: a part of every openid, and a part of every text.
const PERSONAL: [&str; 2] = ["oPERSONALcustomer", "a personal word"];

fn drop_and_hash() -> Privacy {
    Privacy { texts: Texts::Drop, openids: Openids::Keyed(OpenidKey::new(KEY)) }
}

fn holds_personal(bytes: &[u8]) -> bool {
    PERSONAL
        .iter()
        .any(|personal| bytes.windows(personal.len()).any(|window| window == personal.as_bytes()))
}

/// Serves records, and searches the lake's files for personal data at every request of a page.
struct Watching {
    records: Recorded,
    lake: PathBuf,
    seen: Arc<AtomicUsize>,
}

impl Records for Watching {
    fn page(&self, start: i64, end: i64, after: i64, limit: usize) -> RenderedPage {
        // A file that was deleted in the meantime cannot be read, so it does not count.
        let found = files(&self.lake)
            .iter()
            .filter(|path| fs_err::read(path).is_ok_and(|bytes| holds_personal(&bytes)))
            .count();
        self.seen.fetch_add(found, Ordering::SeqCst);
        self.records.page(start, end, after, limit)
    }

    fn workers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Fetches a large day that has unreadable records. Returns how often a file with personal data was
/// found during the fetch and after it.
fn personal_files(privacy: Privacy) -> (World, usize) {
    let mut lines: Vec<String> = (0..3_000)
        .map(|number| {
            record(MIDNIGHT + number * 28, &format!("a personal word {number}"))
                .replace("oC1", &format!("oPERSONALcustomer{:03}", number % 50))
        })
        .collect();
    lines[700] = lines[700].replace(r#""worker":"A@acme""#, r#""nobody":"A@acme""#);
    lines[2_500] = lines[2_500].replace("2003", "\"a personal word\"");
    let world = World { concurrency: 8, privacy, ..World::new().with_page_records(100) };
    let seen = Arc::new(AtomicUsize::new(0));
    let watching =
        Watching { records: recorded(lines), lake: world.lake_folder(), seen: seen.clone() };
    let night = world.fetch(watching, &[], &[DAY]);
    assert_eq!(
        (night.report.fetched[0].rejects, night.report.fetched[0].messages.received),
        (2, 2_998)
    );
    let metrics = world.command(&["metrics"]).env("KEFU_ACCOUNT", "acme").output().unwrap();
    assert!(metrics.status.success(), "{metrics:?}");
    let bytes_or_rows = |path: &PathBuf| {
        let rows = if path.extension().is_some_and(|end| end == "parquet") {
            world.rows_at(path)
        } else {
            Vec::new()
        };
        holds_personal(&fs_err::read(path).unwrap())
            || rows.iter().flatten().any(|value| holds_personal(value.as_bytes()))
    };
    let found = files(&world.lake_folder()).iter().filter(|path| bytes_or_rows(path)).count();
    (world, seen.load(Ordering::SeqCst) + found)
}

#[test]
fn no_file_contains_a_withheld_text_or_openid() {
    // Tests the search itself: with no data withheld, it finds four tables and usually some files
    // in staging.
    assert!(personal_files(Privacy::default()).1 >= 4);
    let (world, found) = personal_files(drop_and_hash());
    assert_eq!(found, 0);
    assert!(world.rows("messages", DAY).iter().all(|row| row[4] == "null" && row[1].len() == 32));
    for row in world.rows("rejects", DAY) {
        assert!(
            row[4].ends_with("bytes, withheld because of the settings under [privacy]"),
            "{row:?}"
        );
    }
}

#[test]
fn each_privacy_setting_alone_also_withholds_raw_records() {
    for privacy in [
        Privacy { texts: Texts::Drop, ..Privacy::default() },
        Privacy { texts: Texts::Keep, ..drop_and_hash() },
    ] {
        let world = World { privacy: privacy.clone(), ..World::new() };
        world.fetch(
            recorded([record(MIDNIGHT, "hello"), r#"{"openid":"oC1","text":"hello"}"#.to_owned()]),
            &[],
            &[DAY],
        );
        let row = &world.rows("messages", DAY)[0];
        let expected = if privacy.texts == Texts::Drop {
            ["oC1", "null"]
        } else {
            [&OpenidKey::new(KEY).pseudonym("oC1"), "hello"]
        };
        assert_eq!([&row[1], &row[4]], expected);
        assert!(
            world.rows("rejects", DAY)[0][4].starts_with("31 bytes"),
            "{:?}",
            world.rows("rejects", DAY)
        );
    }
}

#[test]
fn no_reject_reason_and_no_error_quotes_a_record() {
    let lines = [
        r#""a personal word, expected an object""#.to_owned(),
        record(MIDNIGHT, "x").replace("\"x\"", "13912345678"),
        record(MIDNIGHT, "x").replace("2003", "\"a personal word\""),
        record(MIDNIGHT, "x").replace("\"oC1\"", "true"),
        record(MIDNIGHT, "x").replace("\"A@acme\"", "[\"a personal word\"]"),
    ];
    let world = World::new();
    let simulator = world.simulate(
        recorded(
            lines.clone().into_iter().chain((0..20).map(|second| record(MIDNIGHT + second, "y"))),
        ),
        world.options(&[]),
    );
    assert!(world.kefu(&simulator, &["run", "--date", DAY]).status.success());
    let reasons: Vec<String> =
        world.rows("rejects", DAY).into_iter().map(|row| row[3].clone()).collect();
    insta::assert_snapshot!(reasons.join("\n"));

    // With this many rejects, the run fails and shows the reason of the first one.
    let simulator = world.simulate(recorded(lines), world.options(&[]));
    let output = world.kefu(&simulator, &["run", "--date", DAY, "--force", "--log-level", "debug"]);
    assert_eq!(output.status.code(), Some(65));
    let shown = [output.stdout, output.stderr].concat();
    assert!(!holds_personal(&shown), "{}", String::from_utf8_lossy(&shown));
}

fn generated() -> Generated {
    Generated::new(GeneratorOptions {
        first_day: "2024-05-13".parse().unwrap(),
        days: 5,
        messages_per_day: 400,
        seed: 1,
    })
}

fn settings(world: &World, toml: &str) {
    fs_err::write(world.folder.path().join("key"), format!("{KEY}\n")).unwrap();
    fs_err::write(world.folder.path().join("kefu.toml"), toml).unwrap();
}

const HASHED: &str = "[privacy]\nopenid = { hmac_key_file = 'key' }\n";
const HASHED_AND_DROPPED: &str = "[privacy]\ntext = 'drop'\nopenid = { hmac_key_file = 'key' }\n";

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn succeeds(world: &World, simulator: &Simulator, arguments: &[&str]) {
    let output = world.kefu(simulator, arguments);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[track_caller]
fn is_refused(world: &World, simulator: &Simulator, arguments: &[&str], message: &str) {
    let output = world.kefu(simulator, arguments);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(
        stderr(&output).contains(message) && !stderr(&output).contains("hunter2"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn privacy_settings_change_no_number_and_the_tables_still_join() {
    let (open, hashed) = (World::new(), World::new());
    settings(&hashed, HASHED_AND_DROPPED);
    for world in [&open, &hashed] {
        let simulator = world.simulate(generated(), world.options(&[]));
        succeeds(world, &simulator, &RANGE);
    }
    let key = OpenidKey::new(KEY);
    for day in ["2024-05-13", "2024-05-14", "2024-05-15", "2024-05-16", "2024-05-17"] {
        for table in
            ["response_pairs", "sessions", "worker_daily", "worker_hourly", "account_daily"]
        {
            let mut expected = open.rows(table, day);
            if ["response_pairs", "sessions"].contains(&table) {
                expected.iter_mut().for_each(|row| row[1] = key.pseudonym(&row[1]));
                // The pseudonyms sort in another order, so customers with equal times change
                // places.
                expected.sort();
            }
            let mut rows = hashed.rows(table, day);
            if ["response_pairs", "sessions"].contains(&table) {
                rows.sort();
            }
            assert!(!rows.is_empty() && rows == expected, "{table} {day}");
        }
        let openids = |table: &str| {
            hashed
                .rows(table, day)
                .into_iter()
                .map(|row| row[1].clone())
                .collect::<std::collections::BTreeSet<_>>()
        };
        assert!(openids("messages").is_superset(&openids("response_pairs")), "{day}");
    }
}

#[test]
fn a_lake_is_not_continued_with_other_privacy_settings_unless_its_days_are_fetched_again() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    succeeds(&world, &simulator, &["run", "--from", "2024-05-13", "--to", "2024-05-15"]);
    settings(&world, HASHED);
    is_refused(
        &world,
        &simulator,
        &["run", "--date", "2024-05-16"],
        "2024-05-13 to 2024-05-15 of the lake were fetched with other privacy settings (text=keep openid=keep)",
    );
    is_refused(
        &world,
        &simulator,
        &["run", "--from", "2024-05-13", "--to", "2024-05-14", "--force"],
        // The hint includes the third day. A run of the shorter range would be refused because of
        // the third day, again and again.
        "--from 2024-05-13 --to 2024-05-15 --force",
    );
    succeeds(&world, &simulator, &["run", "--from", "2024-05-13", "--to", "2024-05-15", "--force"]);
    succeeds(&world, &simulator, &["run", "--date", "2024-05-16"]);

    // Another key is an error, and so are other privacy settings.
    fs_err::write(world.folder.path().join("key"), KEY.replace('a', "b")).unwrap();
    is_refused(&world, &simulator, &["run", "--date", "2024-05-17"], "other privacy settings");
    settings(&world, HASHED_AND_DROPPED);
    is_refused(&world, &simulator, &["run", "--date", "2024-05-17"], "other privacy settings");
    settings(&world, HASHED);
    succeeds(&world, &simulator, &["run", "--date", "2024-05-17"]);

    // Customers are separate for each account, so another account may have other settings.
    settings(&world, "account = 'other'\n");
    let mut command = world.command(&["run", "--date", "2024-05-17"]);
    command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_APPID", crate::world::OTHER_APPID)
        .env("KEFU_SECRET", kefu::simulator::SECRET);
    assert!(command.output().unwrap().status.success());
}

#[test]
fn the_commands_in_the_hint_complete_a_privacy_change_and_restore_no_deleted_day() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    succeeds(&world, &simulator, &RANGE);
    succeeds(&world, &simulator, &["prune", "--before", "2024-05-16", "--yes"]);
    // One deleted day is fetched again. The two days after it are still deleted.
    succeeds(&world, &simulator, &["run", "--date", "2024-05-13"]);
    settings(&world, HASHED);
    is_refused(
        &world,
        &simulator,
        &["run", "--date", "2024-05-17", "--force"],
        "2024-05-13, 2024-05-16 to 2024-05-17 of the lake were",
    );
    // The response pairs and sessions of all five days need deleted messages.
    let prune =
        ["prune", "--before", "2024-05-18", "--table", "response_pairs", "--table", "sessions"];
    let again = ["run", "--from", "2024-05-13", "--to", "2024-05-17", "--force"];
    is_refused(&world, &simulator, &["run", "--date", "2024-05-18"], &prune.join(" "));
    is_refused(&world, &simulator, &["run", "--date", "2024-05-18"], &again.join(" "));
    // Without the prune, the re-fetch would leave customers with two names.
    is_refused(
        &world,
        &simulator,
        &again,
        "the response pairs and sessions up to 2024-05-17 have openids of other privacy settings",
    );
    let numbers: Vec<Vec<u8>> = numbers(&world);
    succeeds(&world, &simulator, &[&prune[..], &["--yes"]].concat());
    let output = world.kefu(&simulator, &again);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("2 days not fetched: 2024-05-14 to 2024-05-15"), "{shown}");
    let there = ["2024-05-13", "2024-05-14", "2024-05-15", "2024-05-16", "2024-05-17"]
        .map(|day| world.has(kefu::lake::Table::Messages, day));
    assert_eq!(there, [true, false, false, true, true]);
    assert!(numbers == self::numbers(&world));
    succeeds(&world, &simulator, &["run", "--date", "2024-05-18"]);
    succeeds(&world, &simulator, &["verify"]);
    let openids = |day: &str| {
        world.rows("sessions", day).into_iter().map(|row| row[1].clone()).collect::<Vec<_>>()
    };
    assert!(openids("2024-05-18").iter().all(|openid| openid.len() == 32));
}

/// Returns the files of the tables without openids, for the first five days.
fn numbers(world: &World) -> Vec<Vec<u8>> {
    let days = ["2024-05-13", "2024-05-14", "2024-05-15", "2024-05-16", "2024-05-17"];
    let tables = ["worker_daily", "worker_hourly", "account_daily"];
    days.iter()
        .flat_map(|day| tables.map(|table| fs_err::read(world.path(table, day)).unwrap()))
        .collect()
}

#[test]
fn a_change_back_to_plain_openids_also_covers_days_without_messages() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    settings(&world, HASHED);
    // Five of these ten days have messages.
    let range = ["run", "--from", "2024-05-13", "--to", "2024-05-22"];
    succeeds(&world, &simulator, &range);
    settings(&world, "");
    succeeds(&world, &simulator, &[&range[..], &["--force"]].concat());
    assert_eq!(verified(&world, &simulator), (Some(0), 0));
}

#[test]
fn an_unfinished_privacy_change_is_reported_and_computes_no_wrong_metrics() {
    let mut world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    succeeds(&world, &simulator, &RANGE);
    assert_eq!(verified(&world, &simulator), (Some(0), 0));
    // Recreates a run that had to re-fetch all days and stopped after two of them.
    settings(&world, HASHED);
    world.privacy = Privacy { texts: Texts::Keep, ..drop_and_hash() };
    world.fetch(generated(), &[], &["2024-05-16", "2024-05-17"]);
    let before = numbers(&world);
    is_refused(&world, &simulator, &["metrics"], "and one customer would be two");
    assert!(before == numbers(&world));
    // The messages of three days are still to be fetched again. The pairs and sessions of all five
    // days are still to be computed again.
    assert_eq!(verified(&world, &simulator), (Some(65), 3 + 10));
    is_refused(
        &world,
        &simulator,
        &["run", "--date", "2024-05-17"],
        "2024-05-13 to 2024-05-15 of the lake were",
    );
    succeeds(&world, &simulator, &["run", "--from", "2024-05-13", "--to", "2024-05-15", "--force"]);
    assert_eq!(verified(&world, &simulator), (Some(0), 0));
}

/// Returns the exit code of `kefu verify`, and the number of files whose openids do not join.
fn verified(world: &World, simulator: &Simulator) -> (Option<i32>, usize) {
    let output = world.kefu(simulator, &["verify", "--output", "json"]);
    let verified: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kinds = verified["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["kind"] == "openids")
        .count();
    (output.status.code(), kinds)
}

#[test]
fn a_comparison_with_the_api_uses_pseudonyms() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    settings(&world, HASHED);
    succeeds(&world, &simulator, &["run", "--date", "2024-05-13"]);
    succeeds(
        &world,
        &simulator,
        &["verify", "--against-api", "--with-text", "--date", "2024-05-13"],
    );
    succeeds(&world, &simulator, &["doctor"]);
    // Without the key, the comparison would show the original openids as added records.
    settings(&world, "");
    is_refused(
        &world,
        &simulator,
        &["verify", "--against-api", "--date", "2024-05-13"],
        "other privacy settings",
    );
    let doctor = world.kefu(&simulator, &["doctor"]);
    assert_eq!(doctor.status.code(), Some(78));
    assert!(String::from_utf8(doctor.stdout).unwrap().contains("other privacy settings"));
}

#[test]
fn the_key_can_come_from_the_environment_and_must_be_long_enough() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    settings(&world, "privacy.openid = { hmac_key_env = 'OUR_KEY' }\n");
    is_refused(
        &world,
        &simulator,
        &["run", "--date", DAY],
        "`privacy.openid.hmac_key_env` in kefu.toml is wrong: the environment has no variable OUR_KEY\n\nhint: set OUR_KEY where",
    );
    let run_with = |key: &str| {
        let mut command = world.command(&["run", "--date", DAY]);
        command
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("KEFU_ACCOUNT", "acme")
            .env("OUR_KEY", key);
        command
            .env("KEFU_APPID", kefu::simulator::APPID)
            .env("KEFU_SECRET", kefu::simulator::SECRET)
            .output()
            .unwrap()
    };
    let short = run_with("hunter2");
    assert_eq!(short.status.code(), Some(78));
    assert!(
        stderr(&short).contains("fewer than 32 characters") && !stderr(&short).contains("hunter2"),
        "{}",
        stderr(&short)
    );
    assert!(run_with(KEY).status.success());
    assert_eq!(world.rows("messages", DAY)[0][1], OpenidKey::new(KEY).pseudonym("oC1"));
    // Commands that only read the lake need no key.
    assert!(
        world.command(&["status"]).env("KEFU_ACCOUNT", "acme").output().unwrap().status.success()
    );
}

#[test]
fn invalid_privacy_settings_are_refused() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&[]));
    let rules = |rule: &str| format!("privacy.text = 'drop'\n[[metrics.auto_reply]]\n{rule}\n");
    let cases = [
        ("privacy.text = 'hide'".to_owned(), "expected `keep` or `drop`"),
        ("privacy.texts = 'drop'".to_owned(), "unknown field `texts`"),
        ("privacy.openid = 'hunter2'".to_owned(), "the key itself never stands here"),
        (
            "privacy.openid = { hmac_key = 'hunter2' }".to_owned(),
            "the key itself never stands here",
        ),
        ("privacy.openid = {}".to_owned(), "the key itself never stands here"),
        (
            "privacy.openid = { hmac_key_file = 'nowhere' }".to_owned(),
            "`privacy.openid.hmac_key_file` in kefu.toml names a file that cannot be read",
        ),
        (rules("prefix = 'hunter2'"), "could never match: keep texts, or remove the rules"),
        (rules("regex = 'hunter2'"), "`privacy.text` in kefu.toml is wrong"),
    ];
    for (toml, message) in cases {
        settings(&world, &toml);
        is_refused(&world, &simulator, &["run", "--date", DAY], message);
        assert!(world.table_files().is_empty());
    }
    // A rule that uses the worker alone needs no text.
    settings(&world, &rules("worker = 'A@acme'"));
    succeeds(&world, &simulator, &["run", "--date", DAY]);
    // The texts were dropped earlier, so rules for texts are refused with any present setting.
    settings(&world, "[[metrics.auto_reply]]\nprefix = 'hunter2'\n");
    is_refused(&world, &simulator, &["metrics"], "the texts of acme on 2016-06-01 were dropped");
}
