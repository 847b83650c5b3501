//! Personal data that the settings exclude is in no file, no message and no log. This includes
//! files that exist for a moment only.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kefu::calendar::Day;
use kefu::lake::{Failpoint, Lake, Operation};
use kefu::model::privacy::{OpenidKey, Openids, Privacy, Texts};
use kefu::pipeline::{AccountJob, Request, run_account};
use kefu::simulator::{Generated, Recorded, Records, RenderedPage, SimulatedWorker, Simulator};

use crate::world::{DAY, MIDNIGHT, World, files, record, recorded, records};

const KEY: &str = "a key of the tests, as long as one has to be";
const RANGE: [&str; 5] = ["run", "--from", "2024-05-13", "--to", "2024-05-17"];

/// Strings that no file may contain: a part of every openid, and a part of every text.
const PERSONAL: [&str; 2] = ["oPERSONALcustomer", "a personal word"];

fn drop_and_hash() -> Privacy {
    let openids = Openids::Keyed(OpenidKey::new(KEY));
    Privacy { texts: Texts::Drop, openids, ..Privacy::default() }
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

    fn workers(&self, _day: Day) -> Vec<SimulatedWorker> {
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
    crate::world::generated("2024-05-13", 5, 400, 1)
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
            hashed.rows(table, day).into_iter().map(|row| row[1].clone()).collect::<BTreeSet<_>>()
        };
        assert!(openids("messages").is_superset(&openids("response_pairs")), "{day}");
    }
}

/// The files of the tables that have no openids, of the generated days.
fn numbers(world: &World) -> Vec<Vec<u8>> {
    let days = ["2024-05-13", "2024-05-14", "2024-05-15", "2024-05-16", "2024-05-17"];
    let tables = ["worker_daily", "worker_hourly", "account_daily"];
    days.iter()
        .flat_map(|day| tables.map(|table| fs_err::read(world.path(table, day)).unwrap()))
        .collect()
}

/// A lake of five days with openids and texts.
fn open_lake() -> (World, Simulator) {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    succeeds(&world, &simulator, &RANGE);
    (world, simulator)
}

/// The JSON that a command prints.
#[track_caller]
fn printed(world: &World, simulator: &Simulator, arguments: &[&str]) -> serde_json::Value {
    let output = world.kefu(simulator, &[arguments, &["--output", "json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn other_privacy_settings_are_refused_with_what_to_do() {
    let (world, simulator) = open_lake();
    let next = ["run", "--date", "2024-05-18"];
    settings(&world, HASHED);
    is_refused(&world, &simulator, &next, "are stricter than those of acme in the lake");
    is_refused(&world, &simulator, &next, "`kefu redact --account acme --lake ");
    is_refused(
        &world,
        &simulator,
        &[&RANGE[..], &["--force"]].concat(),
        "are stricter than those of acme",
    );
    succeeds(&world, &simulator, &["redact", "--yes"]);
    succeeds(&world, &simulator, &next);

    // Another key, and settings that keep what is gone.
    fs_err::write(world.folder.path().join("key"), KEY.replace('a', "b")).unwrap();
    for command in [&next[..], &["redact"], &["redact", "--yes"], &["forget", "--openid", "x"]] {
        is_refused(&world, &simulator, command, "cannot replace those of acme in the lake");
    }
    settings(&world, "");
    is_refused(&world, &simulator, &next, "set [privacy] back to text=keep openid=hmac-sha256:");
    settings(&world, HASHED_AND_DROPPED);
    is_refused(
        &world,
        &simulator,
        &["forget", "--openid", "x", "--yes"],
        "are stricter than those of acme",
    );
    settings(&world, HASHED);
    succeeds(&world, &simulator, &["run", "--date", "2024-05-19"]);

    // Each account has settings of its own.
    settings(&world, "account = 'other'\n");
    let mut command = world.command(&["run", "--date", "2024-05-17"]);
    command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_APPID", crate::world::OTHER_APPID)
        .env("KEFU_SECRET", kefu::simulator::SECRET);
    assert!(command.output().unwrap().status.success());
}

#[test]
fn redacted_files_have_the_rows_that_a_fetch_with_these_settings_gives() {
    let (world, simulator) = open_lake();
    let fetched = World::new();
    settings(&fetched, HASHED_AND_DROPPED);
    let other = fetched.simulate(generated(), fetched.options(&[]));
    succeeds(&fetched, &other, &RANGE);
    let before = numbers(&world);

    settings(&world, HASHED_AND_DROPPED);
    let there = world.table_files();
    let listed = printed(&world, &simulator, &["redact"]);
    assert_eq!((&listed["applied"], &listed["tables"][0]["files"]), (&false.into(), &5.into()));
    assert!(world.table_files() == there && !world.rows("messages", "2024-05-13")[0][1].is_empty());
    is_refused(&world, &simulator, &["run", "--date", "2024-05-17"], "are stricter");
    let redacted = printed(&world, &simulator, &["redact", "--yes"]);
    assert_eq!((&redacted["applied"], &redacted["tables"]), (&true.into(), &listed["tables"]));

    for day in ["2024-05-13", "2024-05-14", "2024-05-15", "2024-05-16", "2024-05-17"] {
        for table in ["messages", "response_pairs", "sessions"] {
            assert!(world.rows(table, day) == fetched.rows(table, day), "{table} {day}");
        }
    }
    assert!(numbers(&world) == before);
    assert_eq!(verified(&world, &simulator), (Some(0), 0));
    let metrics = printed(&world, &simulator, &["metrics"]);
    assert_eq!(metrics["metrics"]["computed"], serde_json::json!([]), "all are up to date");
    assert_eq!(printed(&world, &simulator, &["redact", "--yes"])["tables"][0]["files"], 0);
    // Late records are still noticed, and a re-fetch of the same ones changes nothing.
    let run = printed(&world, &simulator, &[&RANGE[..], &["--force"]].concat());
    assert_eq!(run["fetch"]["fetched"].as_array().unwrap().len(), 5);
    assert!(world.rows("messages", "2024-05-13") == fetched.rows("messages", "2024-05-13"));
    assert_eq!(verified(&world, &simulator), (Some(0), 0));
}

/// The records of two customers on five days, and one record a day that cannot be read. `oGONE` is
/// the customer who is to be forgotten, with texts of their own.
fn with_a_customer_to_forget() -> Vec<String> {
    let mut lines = Vec::new();
    for day in 0..5 {
        let midnight = 1_715_529_600 + day * 86_400;
        for number in 0..6 {
            let gone = record(midnight + 3_600 + number * 60, "a word of the customer");
            lines.push(gone.replace("oC1", "oGONE"));
            let answer = record(midnight + 3_630 + number * 60, "an answer to the customer");
            lines.push(answer.replace("oC1", "oGONE").replace("2003", "2002"));
            lines.push(record(midnight + 7_200 + number * 60, "another customer"));
        }
        let time = midnight + 9_000;
        lines.push(format!(r#"{{"openid":"oGONE","opercode":"?","time":{time},"text":"a word"}}"#));
    }
    lines
}

/// A lake with rejects, and with metrics that are frozen because retention has deleted messages.
fn lake_with_frozen_days() -> (World, Simulator) {
    let world = World::new();
    let simulator = world.simulate(recorded(with_a_customer_to_forget()), world.options(&[]));
    succeeds(&world, &simulator, &RANGE);
    succeeds(&world, &simulator, &["prune", "--before", "2024-05-15", "--yes"]);
    (world, simulator)
}

/// The files of a lake, `_kefu` included, that have this text in their bytes or rows.
fn files_with(world: &World, text: &str) -> Vec<PathBuf> {
    let has = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let mut found = files(&world.lake_folder());
    found.retain(|path| {
        // What is in staging may be cut short.
        let is_staged = path.components().any(|part| part.as_os_str() == "staging");
        let is_parquet = path.extension().is_some_and(|end| end == "parquet");
        let rows = if is_parquet && !is_staged { world.rows_at(path) } else { Vec::new() };
        has(&fs_err::read(path).unwrap()) || rows.iter().flatten().any(|row| has(row.as_bytes()))
    });
    found
}

#[test]
fn a_forgotten_customer_is_in_no_file_and_stays_forgotten() {
    let (world, simulator) = lake_with_frozen_days();
    let before = numbers(&world);
    assert!(!files_with(&world, "oGONE").is_empty());
    let listed = printed(&world, &simulator, &["forget", "--openid", "oGONE"]);
    assert!(!files_with(&world, "oGONE").is_empty(), "nothing is removed without --yes");
    let names = world.folder.path().join("names");
    fs_err::write(&names, "\u{feff}oGONE\r\n\r\n oNOBODY \r\n").unwrap();
    let file = names.display().to_string();
    let forgotten = printed(&world, &simulator, &["forget", "--openid-file", &file, "--yes"]);
    assert_eq!(listed["tables"], forgotten["tables"]);
    assert_eq!(forgotten["not_found"], serde_json::json!(["oNOBODY"]));
    let table = |table: &str, files: u64, texts: u64, openids: u64| serde_json::json!({ "table": table, "files": files, "texts": texts, "openids": openids });
    assert_eq!(
        forgotten["tables"],
        serde_json::json!([
            table("messages", 3, 36, 36),
            table("response_pairs", 5, 0, 30),
            table("sessions", 5, 0, 5),
            table("rejects", 3, 0, 3),
            table("workers", 0, 0, 0),
        ])
    );
    for text in ["oGONE", "a word of the customer", "an answer to the customer"] {
        assert_eq!(files_with(&world, text), [] as [PathBuf; 0], "{text}");
    }
    assert!(!files_with(&world, "another customer").is_empty());
    assert!(before == numbers(&world));
    assert_eq!(verified(&world, &simulator), (Some(0), 0));

    // A fetch of the same records gives the same rows; one of more records does so, too.
    let rows = |table: &str| world.rows(table, "2024-05-17");
    let there = (rows("messages"), rows("rejects"), rows("sessions"));
    succeeds(&world, &simulator, &["run", "--date", "2024-05-17", "--force"]);
    assert!(there == (rows("messages"), rows("rejects"), rows("sessions")));
    let late = record(1_715_529_600 + 4 * 86_400 + 40_000, "a late word of the customer");
    let lines = with_a_customer_to_forget().into_iter().chain([late.replace("oC1", "oGONE")]);
    let simulator = world.simulate(recorded(lines), world.options(&[]));
    succeeds(&world, &simulator, &["run", "--date", "2024-05-17", "--force"]);
    let forgotten = &there.0.iter().find(|row| row[1].starts_with("forgotten-")).unwrap()[1];
    assert_eq!(rows("messages").last().unwrap()[1], *forgotten);
    assert_eq!(rows("messages").len(), there.0.len() + 1);
    assert_eq!(files_with(&world, "oGONE"), [] as [PathBuf; 0]);
    assert_eq!(files_with(&world, "a late word"), [] as [PathBuf; 0]);
    assert_eq!(verified(&world, &simulator), (Some(0), 0));

    // The name stays one name when openids become hashes.
    settings(&world, HASHED_AND_DROPPED);
    succeeds(&world, &simulator, &["redact", "--yes"]);
    let hashed = OpenidKey::new(KEY).pseudonym(forgotten);
    assert!(rows("messages").iter().any(|row| row[1] == hashed));
    assert_eq!(files_with(&world, "another customer"), [] as [PathBuf; 0]);
    let there = rows("messages");
    succeeds(&world, &simulator, &["run", "--date", "2024-05-17", "--force"]);
    assert!(there == rows("messages"));
    assert_eq!(verified(&world, &simulator), (Some(0), 0));
}

/// Fails every operation on the lake from one on, as if the process had died there.
#[derive(Debug)]
struct DiesAt(AtomicUsize);

impl Failpoint for DiesAt {
    fn before(&self, _: Operation, _: &std::path::Path) -> std::io::Result<()> {
        let is_alive = self.0.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if is_alive.is_ok() { Ok(()) } else { Err(std::io::Error::other("dead")) }
    }
}

/// The same lake, in which another account has its own customers, rejects and frozen metrics.
fn lake_of_two_accounts() -> (World, Simulator) {
    let (world, simulator) = lake_with_frozen_days();
    let theirs = with_a_customer_to_forget().into_iter().map(|line| {
        let line = line.replace("oGONE", "oTHEIRS").replace("oC1", "oTHEIRSTOO");
        line.replace("a word", "their word").replace("an answer", "their answer")
    });
    let theirs = theirs.map(|line| line.replace("another customer", "their other word"));
    let other = world.simulate(recorded(theirs), world.options(&[]));
    for arguments in [&RANGE[..], &["prune", "--before", "2024-05-15", "--yes"]] {
        let mut command = world.kefu_command(&other, arguments);
        command.env("KEFU_ACCOUNT", "other").env("KEFU_APPID", crate::world::OTHER_APPID);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    (world, simulator)
}

/// The files of the account `other`, `_kefu` included.
fn of_the_other_account(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let mut there = files(&world.lake_folder());
    there.retain(|path| {
        let is_in_folder = path.components().any(|part| part.as_os_str() == "other");
        is_in_folder || path.file_stem().is_some_and(|name| name == "other")
    });
    there.into_iter().map(|path| (path.clone(), fs_err::read(path).unwrap())).collect()
}

/// The records of the commands in the history of the account `acme`, each with its outcome.
fn history(world: &World, command: &str) -> Vec<(String, serde_json::Value)> {
    let runs = files(&world.lake_folder().join("_kefu/accounts/acme/runs")).into_iter();
    let runs = runs.map(|path| fs_err::read(path).unwrap());
    let runs = runs.map(|run| serde_json::from_slice::<serde_json::Value>(&run).unwrap());
    let of_command = runs.filter(|run| run["command"] == command);
    of_command.map(|run| (run["outcome"].as_str().unwrap().to_owned(), run)).collect()
}

/// Kills `redact` or `forget` before each operation on a lake with two accounts, rejects and frozen
/// metrics. Another command then finishes it: the same one, or the next run.
fn is_killed_everywhere(toml: &str, request: &Request, again: &[&str], traces: &[&str]) {
    let (mut world, simulator) = lake_of_two_accounts();
    let (before, theirs) = (numbers(&world), of_the_other_account(&world));
    assert!(theirs.len() > 25, "{}", theirs.len());
    let original = tempfile::tempdir().unwrap();
    copy_folder(&world.lake_folder(), original.path());
    settings(&world, toml);
    let privacy = if toml.is_empty() { Privacy::default() } else { drop_and_hash() };
    world.privacy = privacy;
    let work = |lake: Lake| {
        let job = AccountJob { lake, ..world.job(&simulator) };
        run_account(&job, request, &(), &Default::default()).failure
    };
    for operations in 0.. {
        fs_err::remove_dir_all(world.lake_folder()).unwrap();
        copy_folder(original.path(), &world.lake_folder());
        let dies = Arc::new(DiesAt(AtomicUsize::new(operations)));
        let outcome = work(world.lake().with_failpoint(dies));
        let recorded = world.lake().privacy(&world.account()).unwrap().unwrap();
        if outcome.is_none() {
            assert!(!recorded.is_pending && operations > 50, "{operations}");
            break;
        }
        // Each second time by the next run. A record that was never written has nothing to finish.
        match operations % 2 == 1 && recorded.is_pending {
            true => succeeds(&world, &simulator, &["run", "--date", "2024-05-17"]),
            false => succeeds(&world, &simulator, again),
        }
        for text in traces {
            let found = files_with(&world, text);
            assert_eq!(found, [] as [PathBuf; 0], "{text}, killed before {operations}");
        }
        assert!(before == numbers(&world), "killed before {operations}");
        assert!(theirs == of_the_other_account(&world), "killed before {operations}");
        assert_eq!(verified(&world, &simulator), (Some(0), 0), "killed before {operations}");
    }
}

#[test]
fn wherever_a_redaction_is_killed_the_next_one_or_the_next_run_finishes_it() {
    let traces = ["oGONE", "oC1", "a word of the customer", "another customer"];
    is_killed_everywhere(HASHED_AND_DROPPED, &Request::Redact, &["redact", "--yes"], &traces);
}

#[test]
fn wherever_forgetting_is_killed_it_can_be_finished() {
    let request = Request::Forget(vec!["oGONE".to_owned()]);
    let again = ["forget", "--openid", "oGONE", "--yes"];
    is_killed_everywhere("", &request, &again, &["oGONE", "a word of the customer"]);
}

#[test]
fn an_interrupted_removal_is_shown_and_entered_in_the_history() {
    let (world, simulator) = lake_with_frozen_days();
    let dies = Arc::new(DiesAt(AtomicUsize::new(20)));
    let job = world.job(&simulator);
    let job = AccountJob { lake: job.lake.with_failpoint(dies), ..job };
    let request = Request::Forget(vec!["oGONE".to_owned()]);
    assert!(run_account(&job, &request, &(), &Default::default()).failure.is_some());
    let said = "files of acme may hold personal data that is to be removed";
    let status = world.kefu(&simulator, &["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains(said));
    assert_eq!(printed(&world, &simulator, &["status"])["redaction_pending"], true);
    let report = world.kefu(&simulator, &["report", "--out", "page.html"]);
    assert!(stderr(&report).contains(said) && report.status.success(), "{}", stderr(&report));

    let names = ["forget", "--openid", "oGONE", "--yes"];
    let listed = printed(&world, &simulator, &["forget", "--openid", "oGONE"]);
    assert_eq!(history(&world, "forget").len(), 1, "without --yes nothing is written");
    succeeds(&world, &simulator, &names);
    assert_eq!(printed(&world, &simulator, &["status"])["redaction_pending"], false);
    let report = world.kefu(&simulator, &["report", "--out", "page.html"]);
    assert!(!stderr(&report).contains(said) && report.status.success(), "{}", stderr(&report));
    let runs = history(&world, "forget");
    let outcomes: BTreeSet<&str> = runs.iter().map(|(outcome, _)| outcome.as_str()).collect();
    assert_eq!(outcomes, ["done", "running"].into(), "the killed run, and the one after it");
    let (_, record) = runs.iter().find(|(outcome, _)| outcome == "done").unwrap();
    let sum = |field: &str| {
        let tables = listed["tables"].as_array().unwrap().iter();
        tables.map(|table| table[field].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(record["files_redacted"], sum("files"));
    assert_eq!(record["texts_removed"], sum("texts"));
    assert_eq!(record["openids_replaced"], sum("openids"));
    assert!(!record.to_string().contains("oGONE"));
}

#[test]
fn nothing_is_recorded_for_an_account_without_files() {
    let (world, simulator) = open_lake();
    let there = files(&world.lake_folder());
    for arguments in [
        &["forget", "--openid", "x", "--yes"][..],
        &["forget", "--openid", "x"],
        &["redact", "--yes"],
    ] {
        let output = world
            .kefu_command(&simulator, arguments)
            .env("KEFU_ACCOUNT", "nobody")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
        assert!(stderr(&output).contains("nobody"), "{}", stderr(&output));
        assert!(files(&world.lake_folder()) == there);
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs_err::create_dir_all(target.parent().unwrap()).unwrap();
        fs_err::copy(path, target).unwrap();
    }
}

/// A lake of an earlier version, which was to be fetched again with other settings and was not
/// finished.
#[test]
fn two_settings_in_one_lake_are_found_and_can_be_made_one() {
    let (mut world, simulator) = open_lake();
    settings(&world, HASHED);
    world.privacy = Privacy { texts: Texts::Keep, ..drop_and_hash() };
    world.fetch(generated(), &[], &["2024-05-16", "2024-05-17"]);
    let before = numbers(&world);
    is_refused(&world, &simulator, &["metrics"], "and one customer would count as two");
    assert!(before == numbers(&world));
    // Three days of messages, and the response pairs and sessions of all five.
    assert_eq!(verified(&world, &simulator), (Some(65), 3 + 10));
    succeeds(&world, &simulator, &["redact", "--yes"]);
    assert_eq!(verified(&world, &simulator), (Some(0), 0));
    succeeds(&world, &simulator, &["run", "--date", "2024-05-18"]);
    assert_eq!(verified(&world, &simulator), (Some(0), 0));
}

#[test]
fn a_record_of_privacy_settings_that_is_damaged_stops_everything_that_writes() {
    let (world, simulator) = open_lake();
    succeeds(&world, &simulator, &["forget", "--openid", "oGONE", "--yes"]);
    let record = world.lake_folder().join("_kefu/accounts/acme/privacy.json");
    for damage in ["", "{}", "null", r#"{"privacy":"x","pending":false,"forgotten":{}}"#] {
        fs_err::write(&record, damage).unwrap();
        for command in [&["run", "--date", "2024-05-18"][..], &["metrics"], &["redact", "--yes"]] {
            let output = world.kefu(&simulator, command);
            assert_eq!(output.status.code(), Some(73), "{damage:?}: {}", stderr(&output));
            assert!(
                stderr(&output).contains("restore the file from a backup"),
                "{}",
                stderr(&output)
            );
        }
        assert_eq!(verified(&world, &simulator).0, Some(65), "{damage:?}");
    }
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
        "cannot replace those of acme",
    );
    let doctor = world.kefu(&simulator, &["doctor"]);
    assert_eq!(doctor.status.code(), Some(78));
    assert!(String::from_utf8(doctor.stdout).unwrap().contains("cannot replace those of acme"));
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
        "`privacy.openid.hmac_key_env` in kefu.toml is wrong: the environment variable OUR_KEY is not set\n\nhint: set OUR_KEY in the environment",
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
        ("privacy.openid = 'hunter2'".to_owned(), "never write the key itself here"),
        ("privacy.openid = { hmac_key = 'hunter2' }".to_owned(), "never write the key itself here"),
        ("privacy.openid = {}".to_owned(), "never write the key itself here"),
        (
            "privacy.openid = { hmac_key_file = 'nowhere' }".to_owned(),
            "`privacy.openid.hmac_key_file` in kefu.toml names a file that cannot be read",
        ),
        (rules("prefix = 'hunter2'"), "never match; keep texts, or remove the rules"),
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

/// A file from a backup can bring a forgotten customer back.
#[test]
fn a_restored_file_with_a_forgotten_customer_is_found_and_redacted_again() {
    let (world, simulator) = lake_with_frozen_days();
    let path = world.path("messages", "2024-05-17");
    let backup = fs_err::read(&path).unwrap();
    succeeds(&world, &simulator, &["forget", "--openid", "oGONE", "--yes"]);
    fs_err::write(&path, backup).unwrap();
    let output = world.kefu(&simulator, &["verify"]);
    assert_eq!(output.status.code(), Some(65));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("it names a customer who was forgotten"), "{shown}");
    succeeds(&world, &simulator, &["redact", "--account", "acme", "--yes"]);
    assert_eq!(verified(&world, &simulator).0, Some(0));
    assert_eq!(files_with(&world, "oGONE"), [] as [PathBuf; 0]);

    // Without the record, a re-fetch would bring the customer back.
    fs_err::remove_file(world.lake_folder().join("_kefu/accounts/acme/privacy.json")).unwrap();
    assert_eq!(verified(&world, &simulator).0, Some(65));
    let run = world.kefu(&simulator, &["run", "--date", "2024-05-17", "--force"]);
    assert_eq!(run.status.code(), Some(73), "{}", stderr(&run));
}

#[test]
fn a_damaged_file_does_not_stop_the_fetch_that_replaces_it() {
    let (world, simulator) = open_lake();
    let path = world.path("messages", "2024-05-15");
    fs_err::write(&path, "garbage").unwrap();
    settings(&world, HASHED_AND_DROPPED);
    let redact = world.kefu(&simulator, &["redact", "--yes"]);
    assert_eq!(redact.status.code(), Some(73), "{}", stderr(&redact));
    succeeds(&world, &simulator, &["run", "--date", "2024-05-15", "--force"]);
    succeeds(&world, &simulator, &["redact", "--yes"]);
    assert_eq!(verified(&world, &simulator), (Some(0), 0));
}

/// Fails every rename of a file of one day.
#[derive(Debug)]
struct RefusesDay(&'static str);

impl Failpoint for RefusesDay {
    fn before(&self, operation: Operation, path: &std::path::Path) -> std::io::Result<()> {
        let is_refused = operation == Operation::Rename && path.to_string_lossy().contains(self.0);
        if is_refused { Err(std::io::Error::other("refused")) } else { Ok(()) }
    }
}

#[test]
fn damage_hides_no_other_failure_of_a_pending_redaction() {
    let (mut world, simulator) = open_lake();
    settings(&world, HASHED_AND_DROPPED);
    world.privacy = drop_and_hash();
    fs_err::write(world.path("messages", "2024-05-13"), "garbage").unwrap();
    let failed = |request: &Request, refused: &'static str| {
        let job = world.job(&simulator);
        let lake = job.lake.with_failpoint(Arc::new(RefusesDay(refused)));
        run_account(&AccountJob { lake, ..job }, request, &(), &Default::default()).failure
    };
    assert!(failed(&Request::Redact, "date=2024-05-15").is_some());
    assert!(world.lake().privacy(&world.account()).unwrap().unwrap().is_pending);
    let night = Request::Fetch(crate::world::wanted("2024-05-16", "2024-05-17"));
    let failure = failed(&night, "date=2024-05-15").unwrap();
    assert!(failure.to_string().contains("refused"), "{failure}");

    // Damage alone does not stop the run.
    let failure = failed(&night, "date=1970-01-01");
    assert!(failure.is_none(), "{failure:?}");
    let log = world.kefu(&simulator, &["fetch", "--date", "2024-05-17", "--log-format", "json"]);
    let (pending, log) = ("\"event\":\"redaction_pending\"", stderr(&log));
    assert!(log.lines().any(|line| line.contains(pending) && line.contains("2024-05-13")), "{log}");
    assert!(world.lake().privacy(&world.account()).unwrap().unwrap().is_pending);
}

/// Rules that match texts give other numbers once texts are removed.
#[test]
fn numbers_of_rules_that_match_texts_stay_after_a_customer_is_forgotten() {
    let world = World::new();
    let simulator = world.simulate(recorded(with_a_customer_to_forget()), world.options(&[]));
    settings(&world, "[[metrics.auto_reply]]\nprefix = 'an answer'\n");
    succeeds(&world, &simulator, &RANGE);
    let before = numbers(&world);
    succeeds(&world, &simulator, &["forget", "--openid", "oGONE", "--yes"]);
    assert!(before == numbers(&world));
    assert_eq!(verified(&world, &simulator), (Some(0), 0));
    let metrics = printed(&world, &simulator, &["metrics"]);
    assert_eq!(metrics["metrics"]["computed"], serde_json::json!([]));
}
