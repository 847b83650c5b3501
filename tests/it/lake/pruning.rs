//! `kefu prune` deletes old messages and changes no other data.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kefu::lake::{Failpoint, LakeError, Operation, Table};
use kefu::simulator::{Generated, GeneratorOptions, Records, Simulator};
use serde_json::{Value, json};

use crate::world::{World, files, record, recorded};

/// A lake with twelve days from 2024-05-01 and all their metrics.
struct TwelveDays {
    world: World,
    simulator: Simulator,
}

impl TwelveDays {
    fn generated() -> Generated {
        crate::world::generated("2024-05-01", 12, 200, 1)
    }

    /// Adds one message of a day to the simulator.
    fn with_a_late_message(self, day: &str) -> Self {
        let bounds = |day: &str| self.world.zone.bounds(day.parse().unwrap());
        let page = Self::generated().page(
            bounds("2024-05-01").start,
            bounds("2024-05-12").end,
            0,
            1_000_000,
        );
        let known: Vec<Value> =
            serde_json::from_slice(&[b"[", &page.records[..], b"]"].concat()).unwrap();
        let late = record(bounds(day).start + 3_600, "late");
        let lines = known.iter().map(ToString::to_string).chain([late]);
        let simulator = self.world.simulate(recorded(lines), self.world.options(&[]));
        Self { simulator, ..self }
    }

    fn new() -> Self {
        let world = World::new();
        let simulator = world.simulate(Self::generated(), world.options(&[]));
        let days = Self { world, simulator };
        days.kefu(&["run", "--from", "2024-05-01", "--to", "2024-05-12"]);
        days
    }

    /// Runs a command and returns the JSON that it prints.
    #[track_caller]
    fn kefu(&self, arguments: &[&str]) -> Value {
        let output = self.world.kefu(&self.simulator, &[arguments, &["--output", "json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Returns every file of the tables with its content.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.world
            .table_files()
            .into_iter()
            .map(|path| (path.clone(), fs_err::read(path).unwrap()))
            .collect()
    }

    fn files_but_messages_before(&self, day: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let last = self.world.path("messages", day);
        self.files()
            .into_iter()
            .filter(|(path, _)| !path.to_string_lossy().contains("/messages/") || *path >= last)
            .collect()
    }

    /// Returns the state of each day's metrics, and whether its messages were deleted by `kefu
    /// prune`.
    fn states(&self) -> Vec<(String, bool)> {
        let status = self.kefu(&["status"]);
        let state = |day: &Value| {
            (day["metrics"].as_str().unwrap_or("none").to_owned(), day["pruned"].as_bool().unwrap())
        };
        status["days"].as_array().unwrap().iter().map(state).collect()
    }
}

fn runs(states: &[(&str, bool, usize)]) -> Vec<(String, bool)> {
    states
        .iter()
        .flat_map(|(state, pruned, days)| {
            std::iter::repeat_n(((*state).to_owned(), *pruned), *days)
        })
        .collect()
}

/// The report of the metrics when none were computed.
fn only_frozen(frozen: &[&str], fresh: usize) -> Value {
    json!({ "computed": [], "fresh": fresh, "waiting": [], "frozen": frozen, "damaged": [] })
}

#[test]
fn without_yes_a_prune_only_lists_the_files() {
    let days = TwelveDays::new();
    let before = days.files();
    let listed = days.kefu(&["prune", "--before", "2024-05-04"]);
    let bytes: usize = ["2024-05-01", "2024-05-02", "2024-05-03"]
        .map(|day| days.world.bytes(day).len())
        .iter()
        .sum();
    assert_eq!(
        listed["tables"],
        json!([
            { "table": "messages", "days": ["2024-05-01", "2024-05-02", "2024-05-03"], "files": 3, "bytes": bytes },
            { "table": "rejects", "days": [], "files": 0, "bytes": 0 },
        ])
    );
    assert_eq!((&listed["deleted"], &listed["without_metrics"]), (&json!(false), &json!([])));
    assert!(days.files() == before);
    assert!(days.states().iter().all(|state| *state == ("fresh".to_owned(), false)));
    let shown = days
        .world
        .kefu(&days.simulator, &["prune", "--before", "2024-05-04", "--table", "rejects"]);
    assert!(
        String::from_utf8(shown.stdout)
            .unwrap()
            .ends_with("rejects        nothing\nthere is nothing to delete\n")
    );
}

#[test]
fn a_prune_deletes_messages_and_changes_no_number() {
    let days = TwelveDays::new();
    let expected = days.files_but_messages_before("2024-05-06");
    assert_eq!(days.kefu(&["prune", "--before", "2024-05-06", "--yes"])["deleted"], json!(true));
    assert!(days.files() == expected);
    assert!(!days.world.path("messages", "2024-05-05").parent().unwrap().exists());

    // The metrics of 2024-05-06 and 2024-05-07 need deleted messages, so they are frozen. This
    // holds whatever a command asks for.
    let report = days.kefu(&["metrics"])["metrics"].take();
    assert_eq!(report, only_frozen(&["2024-05-06", "2024-05-07"], 5));
    assert!(days.files() == expected);
    assert_eq!(
        days.states(),
        runs(&[("frozen", true, 5), ("frozen", false, 2), ("fresh", false, 5)])
    );

    // A changed rule applies to all days that can be computed, and to no others.
    fs_err::write(days.world.folder.path().join("kefu.toml"), "metrics.session_gap = 60\n")
        .unwrap();
    assert_eq!(
        days.states(),
        runs(&[("frozen", true, 5), ("frozen", false, 2), ("stale", false, 5)])
    );
    let report = days.kefu(&["metrics"])["metrics"].take();
    assert_eq!(
        report["computed"],
        json!(["2024-05-08", "2024-05-09", "2024-05-10", "2024-05-11", "2024-05-12"])
    );
    let changed = |day: &str| {
        let path = days.world.path("sessions", day);
        expected[&path] != fs_err::read(&path).unwrap()
    };
    assert!(!changed("2024-05-05") && !changed("2024-05-07") && changed("2024-05-08"));
}

#[test]
fn days_that_are_not_final_are_rebuilt_unless_they_need_deleted_messages() {
    let world = World::new();
    let simulator = world.simulate(TwelveDays::generated(), world.options(&[]));
    let days = TwelveDays { world, simulator };
    days.kefu(&["run", "--from", "2024-05-01", "--to", "2024-05-08"]);
    days.kefu(&["prune", "--before", "2024-05-06", "--yes"]);
    let report =
        days.kefu(&["run", "--from", "2024-05-06", "--to", "2024-05-09"])["metrics"].take();
    // The new day affects the metrics of the three days before it. Two of these need deleted
    // messages.
    let mut expected = only_frozen(&["2024-05-06", "2024-05-07"], 0);
    expected["computed"] = json!(["2024-05-08", "2024-05-09"]);
    assert_eq!(report, expected);
}

#[test]
fn a_killed_prune_changes_no_number_and_can_continue() {
    let days = TwelveDays::new();
    let expected = days.files_but_messages_before("2024-05-09");
    let last: BTreeMap<String, Vec<u8>> = (5..9)
        .map(|day| format!("2024-05-{day:02}"))
        .map(|day| (day.clone(), days.world.bytes(&day)))
        .collect();
    days.kefu(&["prune", "--before", "2024-05-09", "--yes"]);
    // Recreates the lake of a prune that was killed after the first four days. The file
    // of the fourth day is deleted, but not its folder.
    for (day, bytes) in &last {
        fs_err::create_dir_all(days.world.path("messages", day).parent().unwrap()).unwrap();
        fs_err::write(days.world.path("messages", day), bytes).unwrap();
    }
    fs_err::create_dir_all(days.world.path("messages", "2024-05-04").parent().unwrap()).unwrap();

    let report = days.kefu(&["metrics"])["metrics"].take();
    assert_eq!(report, only_frozen(&["2024-05-05", "2024-05-06"], 6));
    assert_eq!(days.kefu(&["prune", "--before", "2024-05-09"])["tables"][0]["files"], json!(4));
    days.kefu(&["prune", "--before", "2024-05-09", "--yes"]);
    assert!(days.files() == expected);
    assert!(!days.world.path("messages", "2024-05-04").parent().unwrap().exists());
    // A further prune deletes nothing. An earlier day does not move the retention mark back.
    assert_eq!(
        days.kefu(&["prune", "--before", "2024-05-02", "--yes"])["tables"][0]["files"],
        json!(0)
    );
    assert_eq!(
        days.states(),
        runs(&[("frozen", true, 8), ("frozen", false, 2), ("fresh", false, 2)])
    );
}

/// Kills the process before the nth operation on the lake: all operations from then on fail.
#[derive(Debug)]
struct DiesBefore(AtomicUsize);

impl Failpoint for DiesBefore {
    fn before(&self, _: Operation, _: &Path) -> io::Result<()> {
        let is_alive = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok();
        if is_alive { Ok(()) } else { Err(io::Error::other("dead")) }
    }
}

#[test]
fn a_prune_that_is_killed_before_any_operation_changes_no_number() {
    let days = TwelveDays::new();
    let expected = days.files_but_messages_before("2024-05-06");
    let messages: Vec<(PathBuf, Vec<u8>)> =
        days.files().into_iter().filter(|(path, _)| !expected.contains_key(path)).collect();
    let prune = |lake: kefu::lake::Lake| {
        let _lock = days.world.lake().lock(&days.world.account()).unwrap();
        lake.prune(&[Table::Messages, Table::Rejects], "2024-05-06".parse().unwrap(), |_, _| {
            Ok::<_, LakeError>(())
        })
    };
    let mut operations = 0;
    loop {
        let is_done =
            prune(days.world.lake().with_failpoint(Arc::new(DiesBefore(operations.into()))))
                .is_ok();
        assert_eq!(
            days.kefu(&["metrics"])["metrics"]["computed"],
            json!([]),
            "killed before operation {operations}"
        );
        prune(days.world.lake()).unwrap();
        assert!(days.files() == expected, "killed before operation {operations}");
        if is_done {
            break;
        }
        operations += 1;
        // Restores the lake for the next round.
        fs_err::remove_file(days.world.lake_folder().join("_kefu/accounts/acme/pruned.json"))
            .unwrap();
        for (path, bytes) in &messages {
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, bytes).unwrap();
        }
    }
    // The operations for the retention mark, the five files and their five folders.
    assert!(operations > 3 + 5 + 5, "{operations}");
}

#[test]
fn a_pruned_metric_table_is_not_rebuilt() {
    let days = TwelveDays::new();
    let pairs = days.world.path("response_pairs", "2024-05-03");
    let tables = ["--table", "response_pairs", "--table", "sessions"];
    days.kefu(&[&["prune", "--before", "2024-05-04", "--yes"], &tables[..]].concat());
    assert_eq!(days.kefu(&["metrics"])["metrics"]["computed"], json!([]));
    assert!(!pairs.exists() && days.world.has(Table::Messages, "2024-05-03"));
    assert!(
        days.world.has(Table::WorkerDaily, "2024-05-03")
            && days.world.has(Table::ResponsePairs, "2024-05-04")
    );
    // A table that is missing for another reason is computed again.
    fs_err::remove_file(days.world.path("response_pairs", "2024-05-04")).unwrap();
    assert_eq!(days.kefu(&["metrics"])["metrics"]["computed"], json!(["2024-05-04"]));
}

#[test]
fn a_lost_metric_of_a_frozen_day_is_not_computed_from_the_messages_that_are_left() {
    let days = TwelveDays::new();
    days.kefu(&["prune", "--before", "2024-05-06", "--yes"]);
    let (missing, damaged) =
        (days.world.path("sessions", "2024-05-06"), days.world.path("account_daily", "2024-05-07"));
    fs_err::remove_file(&missing).unwrap();
    fs_err::write(&damaged, "x").unwrap();
    let before = days.files();
    let report = &days.kefu(&["metrics"])["metrics"];
    assert_eq!(report["computed"], json!([]));
    assert_eq!(report["damaged"], json!(["2024-05-06", "2024-05-07"]));
    assert!(days.files() == before);
    let verified = days.world.kefu(&days.simulator, &["verify", "--output", "json"]);
    assert_eq!(verified.status.code(), Some(65));
    let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
    for path in [missing, damaged] {
        let findings = verified["findings"].as_array().unwrap().iter();
        let mut found = findings.filter(|found| found["path"] == path.to_str().unwrap());
        let advice = found.next().unwrap()["advice"].as_str().unwrap().to_owned();
        assert!(advice.contains("backup") && !advice.contains("kefu metrics"), "{advice}");
    }
}

#[test]
fn a_run_of_named_days_restores_deleted_days_with_the_same_bytes() {
    let days = TwelveDays::new();
    let before = days.files();
    days.kefu(&["prune", "--before", "2024-05-06", "--yes"]);
    days.kefu(&["run", "--from", "2024-05-01", "--to", "2024-05-05"]);
    assert!(days.files() == before);
    assert_eq!(days.states(), runs(&[("fresh", false, 12)]));
}

#[test]
fn a_single_restored_day_stays_final() {
    let days = TwelveDays::new();
    days.kefu(&["prune", "--before", "2024-05-06", "--yes"]);
    days.kefu(&["run", "--date", "2024-05-02"]);
    let status = days.kefu(&["status"]);
    let second = &status["days"][1];
    assert_eq!(
        (&second["metrics"], &second["is_final"], &second["pruned"]),
        (&json!("frozen"), &json!(true), &json!(false))
    );
    let shown = String::from_utf8(days.world.kefu(&days.simulator, &["status"]).stdout).unwrap();
    assert!(shown.contains("2024-04-29       -  ■  -  -  -"), "{shown}");
    assert!(shown.contains("not final   2024-05-10 to 2024-05-12 (three later"), "{shown}");

    // A day that is computed again cannot become final. `kefu status` says why.
    fs_err::remove_file(days.world.path("sessions", "2024-05-02")).unwrap();
    fs_err::write(days.world.folder.path().join("kefu.toml"), "metrics.session_gap = 60\n")
        .unwrap();
    for table in Table::METRICS {
        let _ = fs_err::remove_file(days.world.path(table.name(), "2024-05-02"));
    }
    days.kefu(&["metrics"]);
    let shown = String::from_utf8(days.world.kefu(&days.simulator, &["status"]).stdout).unwrap();
    assert!(shown.contains("not final   2024-05-02, 2024-05-10 to 2024-05-12 (three"), "{shown}");
}

#[test]
fn replacing_a_day_changes_no_metric_that_needs_deleted_messages() {
    let days = TwelveDays::new();
    days.kefu(&["prune", "--before", "2024-05-06", "--yes"]);
    let before = days.files();
    let days = days.with_a_late_message("2024-05-06");
    let report = days.kefu(&["run", "--date", "2024-05-06", "--force"]);
    // Days that depend on the replaced day and on no deleted messages are computed again. Days that
    // depend on deleted messages are frozen, and the report lists them.
    assert_eq!(
        (&report["metrics"]["frozen"], &report["metrics"]["computed"]),
        (&json!(["2024-05-06", "2024-05-07"]), &json!(["2024-05-08"]))
    );
    let changed: Vec<String> = days
        .files()
        .into_iter()
        .filter(|(path, bytes)| before.get(path) != Some(bytes))
        .map(|(path, _)| {
            path.strip_prefix(days.world.lake_folder())
                .unwrap()
                .parent()
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    assert!(changed.contains(&"messages/date=2024-05-06".to_owned()), "{changed:?}");
    assert!(
        changed.iter().all(|path| {
            ["messages/", "workers/"].iter().any(|table| path.starts_with(table))
                || path.ends_with("2024-05-08")
        }),
        "{changed:?}"
    );

    let newest = files(&days.world.lake_folder().join("_kefu/accounts/acme/runs"))
        .into_iter()
        .max()
        .unwrap();
    let run: Value = serde_json::from_slice(&fs_err::read(newest).unwrap()).unwrap();
    assert_eq!(run["days_frozen"], json!(2));
    assert_eq!(days.kefu(&["verify"])["findings"], json!([]));

    // After its metrics are removed, a day is computed from the messages that are left.
    for table in Table::METRICS {
        fs_err::remove_file(days.world.path(table.name(), "2024-05-06")).unwrap();
    }
    let report = days.kefu(&["metrics"])["metrics"].take();
    assert_eq!(
        (&report["computed"], &report["frozen"]),
        (&json!(["2024-05-06"]), &json!(["2024-05-07"]))
    );
}

#[test]
fn a_day_and_its_metrics_are_never_replaced_by_an_empty_day() {
    let days = TwelveDays::new();
    days.kefu(&["prune", "--before", "2024-05-06", "--yes"]);
    let before = days.files();
    // WeChat does not document how long it stores records. This simulator has only the last two
    // days.
    let generator = GeneratorOptions {
        first_day: "2024-05-11".parse().unwrap(),
        days: 2,
        messages_per_day: 200,
        seed: 1,
    };
    let late = days.world.simulate(Generated::new(generator), days.world.options(&[]));
    let days = TwelveDays { simulator: late, ..days };
    for arguments in [
        &["run", "--from", "2024-05-01", "--to", "2024-05-05"][..],
        &["run", "--from", "2024-05-06", "--to", "2024-05-10", "--force"],
    ] {
        let output = days.world.kefu(&days.simulator, &[arguments, &["--output", "json"]].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (output.status.code(), report["fetch"]["failed"].as_array().unwrap().len()),
            (Some(65), 5),
            "{report}"
        );
        // The lake still has the days of the forced run, so the report lists them as unchanged.
        let unchanged = if arguments.contains(&"--force") { 5 } else { 0 };
        assert_eq!(report["fetch"]["unchanged"].as_array().unwrap().len(), unchanged, "{report}");
    }
    assert!(days.files() == before);

    // The same holds for a day with damaged messages, and for days that the metrics of other days
    // were computed from.
    let damaged = days.world.path("messages", "2024-05-08");
    let mut bytes = fs_err::read(&damaged).unwrap();
    let end = bytes.len() - 4;
    bytes[end..].fill(0);
    fs_err::write(&damaged, bytes).unwrap();
    for table in ["worker_daily", "account_daily"] {
        days.kefu(&["prune", "--before", "2024-05-06", "--table", table, "--yes"]);
    }
    // Now the deleted days have no metrics at all.
    for table in ["response_pairs", "sessions", "worker_hourly"] {
        days.kefu(&["prune", "--before", "2024-05-06", "--table", table, "--yes"]);
    }
    let before = days.files();
    for arguments in [
        ["run", "--date", "2024-05-08", "--force"].as_slice(),
        &["run", "--from", "2024-05-01", "--to", "2024-05-05"],
    ] {
        let output = days.world.kefu(&days.simulator, &[arguments, &["--output", "json"]].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["fetch"]["worst"], "contract", "{report}");
    }
    assert!(days.files() == before);
}

#[test]
fn a_day_is_not_replaced_by_fewer_rejects_or_by_an_empty_day() {
    let world = World::new();
    let unreadable = record(crate::world::MIDNIGHT + 60, "x").replace("oC1", "");
    let run = |lines: Vec<String>| {
        let simulator = world.simulate(recorded(lines), world.options(&[]));
        world.kefu(&simulator, &["run", "--date", crate::world::DAY, "--force"]).status.code()
    };
    let two = [0, 1].map(|second| record(crate::world::MIDNIGHT + second, "x"));
    assert_eq!(run(two.to_vec()), Some(0));
    assert_eq!(run(vec![unreadable.clone()]), Some(65));
    fs_err::remove_dir_all(world.lake_folder()).unwrap();
    // A day without any readable record is not committed.
    assert_eq!(run(vec![unreadable.clone()]), Some(65));
    assert!(world.table_files().is_empty());
    let beside = vec![two[0].clone(), unreadable];
    assert_eq!(run(beside.clone()), Some(0));
    assert_eq!(run(Vec::new()), Some(65));
    assert!(world.has(Table::Rejects, crate::world::DAY));
    // The same holds where the messages are damaged and no metrics give their number.
    fs_err::write(world.path("messages", crate::world::DAY), "garbage").unwrap();
    Table::METRICS.iter().for_each(|table| {
        fs_err::remove_file(world.path(table.name(), crate::world::DAY)).unwrap()
    });
    assert_eq!(run(Vec::new()), Some(73));
    assert!(world.has(Table::Rejects, crate::world::DAY));
    // As long as WeChat has the record, a run repairs the day. It also repairs a day whose run was
    // killed before it wrote the messages.
    assert_eq!(run(beside.clone()), Some(0));
    fs_err::remove_file(world.path("messages", crate::world::DAY)).unwrap();
    assert_eq!(run(beside), Some(0));
    // A day that was empty when its metrics were computed may be empty again.
    fs_err::remove_dir_all(world.lake_folder()).unwrap();
    let on_the_day_before = record(crate::world::MIDNIGHT - 60, "x");
    let simulator = world.simulate(recorded([on_the_day_before]), world.options(&[]));
    let two_days = ["run", "--from", "2016-05-31", "--to", crate::world::DAY];
    assert!(world.kefu(&simulator, &two_days).status.success());
    assert!(world.command(&["prune", "--all", "--yes"]).output().unwrap().status.success());
    let simulator = world.simulate(recorded([""; 0]), world.options(&[]));
    assert!(world.kefu(&simulator, &["run", "--date", crate::world::DAY]).status.success());
    fs_err::write(world.path("messages", crate::world::DAY), "garbage").unwrap();
    assert_eq!(run(Vec::new()), Some(0));
}

#[test]
fn verify_has_no_finding_after_a_prune_of_any_table() {
    let days = TwelveDays::new();
    let lines = (0..20)
        .map(|number| record(1_714_521_600 + number, "x"))
        .chain([r#"{"openid":"oC1"}"#.to_owned()]);
    let simulator = days.world.simulate(recorded(lines), days.world.options(&[]));
    let days = TwelveDays { simulator, ..days };
    // Now the day has a reject.
    days.kefu(&["run", "--date", "2024-05-01", "--force", "--allow-shrink"]);
    assert!(days.world.has(Table::Rejects, "2024-05-01"));
    for (table, before) in [
        ("rejects", "2024-05-02"),
        ("sessions", "2024-05-03"),
        ("response_pairs", "2024-05-04"),
        ("account_daily", "2024-05-05"),
        ("messages", "2024-05-06"),
    ] {
        days.kefu(&["prune", "--before", before, "--table", table, "--yes"]);
        let verified = days.kefu(&["verify"]);
        assert_eq!(verified["findings"], json!([]), "{table}");
        assert_eq!(days.kefu(&["metrics"])["metrics"]["computed"], json!([]), "{table}");
    }
}

/// Nobody can compute it again, and `kefu metrics` and reports go on without it.
#[test]
fn verify_finds_a_lost_table_of_a_day_whose_messages_were_deleted() {
    let days = TwelveDays::new();
    days.kefu(&["prune", "--before", "2024-05-04", "--yes"]);
    let lost = days.world.path("account_daily", "2024-05-02");
    fs_err::remove_file(&lost).unwrap();
    let output = days.world.kefu(&days.simulator, &["verify", "--output", "json"]);
    assert_eq!(output.status.code(), Some(65));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = found["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0]["kind"], "lost_metrics");
    let report = days.world.kefu(
        &days.simulator,
        &["report", "--from", "2024-05-01", "--to", "2024-05-04", "--out", "page.html"],
    );
    let said = String::from_utf8(report.stdout).unwrap();
    assert!(said.contains("2024-05-02") && !said.contains("kefu run"), "{said}");
}

#[test]
fn a_prune_names_days_whose_metrics_are_out_of_date() {
    let days = TwelveDays::new().with_a_late_message("2024-05-03");
    days.kefu(&["fetch", "--date", "2024-05-03", "--force"]);
    assert_eq!(
        days.kefu(&["prune", "--before", "2024-05-06"])["without_metrics"],
        json!(["2024-05-03"])
    );
    days.kefu(&["metrics"]);
    assert_eq!(days.kefu(&["prune", "--before", "2024-05-06"])["without_metrics"], json!([]));
}

#[test]
fn the_nightly_run_does_not_restore_deleted_days() {
    let world = World::new();
    let now = kefu::calendar::Clock::System.now().unix_timestamp();
    let recent = (1..=4).map(|days| record(now - days * 86_400, "x"));
    let simulator = world.simulate(recorded(recent), world.options(&[]));
    let fetched = |arguments: &[&str]| -> usize {
        let output = world.kefu(&simulator, &[arguments, &["--output", "json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["fetch"]["fetched"]
            .as_array()
            .map_or(0, Vec::len)
    };
    assert_eq!(fetched(&["run"]), 3);
    let pruned = world.kefu(&simulator, &["prune", "--keep-days", "1", "--yes"]);
    let said = String::from_utf8(pruned.stdout).unwrap();
    assert!(
        said.contains("metrics that will never be final: ")
            && said.contains("keep at least 5 days"),
        "{said}"
    );
    let said =
        String::from_utf8(world.kefu(&simulator, &["prune", "--keep-days", "5"]).stdout).unwrap();
    assert!(!said.contains("never be final"), "{said}");
    assert_eq!(
        world
            .table_files()
            .iter()
            .filter(|path| path.to_string_lossy().contains("/messages/"))
            .count(),
        1
    );
    assert_eq!(fetched(&["run", "--refresh", "0"]), 0);
    let output = world.kefu(&simulator, &["run", "--output", "json"]);
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(run["fetch"]["pruned"].as_array().map(Vec::len), Some(2));
    assert_eq!(fetched(&["run", "--force"]), 1);
}

#[test]
fn a_file_of_a_future_day_does_not_affect_keep_days() {
    let world = World::new();
    world.fetch(crate::world::records(3), &[], &[crate::world::DAY]);
    let kept = world.path("messages", crate::world::DAY);
    let stray = world.path("messages", "2099-01-01");
    fs_err::create_dir_all(stray.parent().unwrap()).unwrap();
    fs_err::copy(&kept, &stray).unwrap();
    let output = world.command(&["prune", "--keep-days", "30", "--yes"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(kept.is_file(), "the newest day of the account itself is kept");
}

#[test]
fn a_prune_covers_every_account_and_leaves_orphan_files() {
    let days = TwelveDays::new();
    let of_acme = days.world.path("messages", "2024-05-01");
    let (of_other, note) =
        (of_acme.with_file_name("other.parquet"), of_acme.with_file_name("note.txt"));
    fs_err::copy(&of_acme, &of_other).unwrap();
    fs_err::write(&note, "not kefu's").unwrap();
    let listed = days.kefu(&["prune", "--before", "2024-05-02", "--yes"]);
    assert_eq!(
        (&listed["tables"][0]["files"], &listed["without_metrics"]),
        (&json!(2), &json!(["2024-05-01"]))
    );
    assert!(!of_acme.exists() && !of_other.exists() && note.exists());
}

#[test]
fn a_prune_of_one_account_or_future_days_or_every_day_is_refused() {
    let days = TwelveDays::new();
    let before = days.files();
    for arguments in [
        ["prune", "--account", "acme", "--before", "2024-05-06", "--yes"].as_slice(),
        &["prune", "--before", "2999-01-01", "--yes"],
        &["prune", "--before", "2024-05-13", "--yes"],
    ] {
        let output = days.world.kefu(&days.simulator, arguments);
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(days.files() == before);
}

#[test]
fn with_all_every_day_is_deleted_and_later_days_can_be_fetched() {
    let days = TwelveDays::new();
    let pruned = days.kefu(&["prune", "--all", "--yes"]);
    assert_eq!(
        (&pruned["before"], &pruned["tables"][0]["files"]),
        (&json!("2024-05-13"), &json!(12))
    );
    let simulator =
        days.world.simulate(recorded([record(1_715_616_000, "x")]), days.world.options(&[]));
    let days = TwelveDays { simulator, ..days };
    let fetched = &days.kefu(&["run", "--date", "2024-05-14"])["fetch"]["fetched"];
    assert_eq!(fetched.as_array().unwrap().len(), 1);
}

#[test]
fn keep_days_before_1970_leaves_a_readable_retention_mark() {
    let days = TwelveDays::new();
    days.kefu(&["prune", "--keep-days", "40000", "--yes"]);
    assert_eq!(days.kefu(&["verify"])["findings"], json!([]));
    days.kefu(&["run", "--date", "2024-05-06", "--force"]);
}

#[test]
fn a_retention_mark_in_the_future_is_damage_and_no_command_uses_it() {
    let days = TwelveDays::new();
    days.kefu(&["prune", "--before", "2024-05-06", "--yes"]);
    assert_eq!(days.kefu(&["verify"])["findings"], json!([]));
    // Recreates the retention mark of a machine whose clock was decades ahead.
    let mark = days.world.lake_folder().join("_kefu/accounts/acme/pruned.json");
    fs_err::write(&mark, r#"{"messages":"2099-01-01"}"#).unwrap();
    let said = "the first kept day of messages is 2099-01-01, which is in the future";
    let output = days.world.kefu(&days.simulator, &["verify", "--output", "json"]);
    let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = &verified["findings"][0];
    assert_eq!(output.status.code(), Some(65), "{verified}");
    assert_eq!((&finding["kind"], &finding["what"]), (&json!("mark"), &json!(said)));
    let before = days.files();
    for arguments in [&["run"][..], &["run", "--date", "2024-05-06", "--force"], &["metrics"]] {
        let output = days.world.kefu(&days.simulator, arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(73), "{told}");
        assert!(told.contains(said) && told.contains("restore the file from a backup"), "{told}");
    }
    assert!(days.files() == before);
    // With a repaired mark, the run succeeds.
    fs_err::write(&mark, r#"{"messages":"2024-05-06"}"#).unwrap();
    days.kefu(&["run", "--date", "2024-05-06", "--force"]);
}

#[test]
fn an_invalid_retention_mark_is_damage_and_no_command_uses_it() {
    let days = TwelveDays::new();
    days.kefu(&["prune", "--before", "2024-05-06", "--yes"]);
    let mark = days.world.lake_folder().join("_kefu/accounts/acme/pruned.json");
    let before = days.files();
    let linked = "-> nowhere";
    for text in ["", "null", "{", r#"{"mesages":"2024-05-06"}"#, linked] {
        fs_err::remove_file(&mark).unwrap();
        match text == linked {
            true => fs_err::os::unix::fs::symlink("nowhere", &mark).unwrap(),
            false => fs_err::write(&mark, text).unwrap(),
        }
        let output = days.world.kefu(&days.simulator, &["verify", "--output", "json"]);
        let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(65), "{text}: {verified}");
        let kinds: Vec<&Value> =
            verified["findings"].as_array().unwrap().iter().map(|found| &found["kind"]).collect();
        assert!(kinds.contains(&&json!("mark")), "{text}: {verified}");
        for arguments in [&["run"][..], &["metrics"], &["prune", "--keep-days", "3", "--yes"]] {
            let output = days.world.kefu(&days.simulator, arguments);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(73), "{text}, {arguments:?}: {told}");
            assert!(
                told.contains("restore the file from a backup"),
                "{text}, {arguments:?}: {told}"
            );
        }
    }
    assert!(days.files() == before);
}

#[test]
fn a_day_that_is_not_over_is_not_the_newest_day() {
    let days = TwelveDays::new();
    let newest = |last: &str| {
        let lake = kefu::lake::Lake::at(days.world.lake_folder());
        lake.newest_day(last.parse().unwrap()).unwrap().unwrap().to_string()
    };
    assert_eq!(newest("2024-06-01"), "2024-05-12");
    assert_eq!(newest("2024-05-10"), "2024-05-10");
}

#[test]
fn deleted_days_are_not_a_finding() {
    let days = TwelveDays::new();
    days.kefu(&["prune", "--before", "2024-05-06", "--yes"]);
    let verified = days.kefu(&["verify"]);
    let kinds: Vec<&str> = verified["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["kind"].as_str().unwrap())
        .collect();
    assert!(!kinds.contains(&"lost_messages") && !kinds.contains(&"stale"), "{kinds:?}");

    // Days that are still deleted are no finding either, even between a re-fetched day and the
    // others.
    days.kefu(&["run", "--date", "2024-05-02"]);
    assert_eq!(days.kefu(&["verify"])["findings"], json!([]));
}

#[test]
fn a_prune_without_a_valid_range_is_refused() {
    let world = World::new();
    for (arguments, code, message) in [
        (&["prune"][..], 2, "<--before <DAY>|--keep-days <DAYS>|--all>"),
        (&["prune", "--before", "2024-05-01", "--keep-days", "3"], 2, "cannot be used with"),
        (&["prune", "--keep-days", "0"], 2, "0 is not in"),
        (
            &["prune", "--before", "2024-05-01", "--table", "message"],
            2,
            "possible values: messages",
        ),
        (&["prune", "--before", "2024-05-01", "--yes"], 78, "there is no lake"),
    ] {
        let output = world.command(arguments).output().unwrap();
        let shown = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(code) && shown.contains(message),
            "{arguments:?}: {shown}"
        );
    }
    assert!(!world.lake_folder().exists());
}
