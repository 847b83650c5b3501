//! What a run writes for its operator: run records, figures for Prometheus, events and results.

use std::path::PathBuf;
use std::process::Output;

use kefu::simulator::{APPID, Generated, GeneratorOptions, SECRET, Simulator};
use serde_json::Value;

use crate::world::{DAY, MIDNIGHT, World, files, record, recorded};

const RANGE: [&str; 4] = ["--from", "2024-05-13", "--to", "2024-05-15"];

fn generated() -> Generated {
    crate::world::generated("2024-05-13", 3, 50, 1)
}

fn run(world: &World, simulator: &Simulator, verb: &str, more: &[&str]) -> Output {
    world.kefu(simulator, &[&[verb], more].concat())
}

/// Returns the run records of the history, oldest first.
fn history(world: &World) -> Vec<Value> {
    let mut runs: Vec<Value> = files(&world.lake_folder().join("_kefu/accounts/acme/runs"))
        .into_iter()
        .map(|path| serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap())
        .collect();
    runs.sort_by_key(|run| run["started_at"].as_str().unwrap().to_owned());
    runs
}

#[test]
fn every_run_has_a_run_record() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&["errcode:48001@5"]));
    assert_eq!(
        run(&world, &simulator, "run", &[RANGE.as_slice(), &["--concurrency", "1"]].concat())
            .status
            .code(),
        Some(77)
    );
    assert!(run(&world, &simulator, "run", &RANGE).status.success());
    assert!(run(&world, &simulator, "metrics", &[]).status.success());
    let history = history(&world);
    let of = |run: &Value, name: &str| run[name].as_u64().unwrap();
    assert_eq!(
        history.iter().map(|run| run["outcome"].as_str().unwrap()).collect::<Vec<_>>(),
        ["refused", "done", "done"]
    );
    assert_eq!(history.iter().map(|run| of(run, "exit_code")).collect::<Vec<_>>(), [77, 0, 0]);
    assert_eq!(history.iter().map(|run| of(run, "days_fetched")).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!(
        (
            of(&history[0], "days_failed"),
            of(&history[1], "days_skipped"),
            of(&history[2], "days_fresh")
        ),
        (1, 2, 3)
    );
    assert_eq!(of(&history[0], "messages_received") + of(&history[0], "messages_sent"), 100);
    assert!(history[0]["failures"][0]["reason"].as_str().unwrap().contains("48001"));
    assert!(
        history
            .iter()
            .all(|run| run["ended_at"].is_string() && run["duration_seconds"].is_number())
    );
    // All run records have the same fields, so they can be the rows of one table.
    let names = |run: &Value| run.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(history.iter().all(|run| names(run) == names(&history[0])));
}

/// Returns the value of a series in a textfile. A series is a name with its labels.
fn figure(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn prometheus_figures_are_written_after_each_run_and_keep_the_last_success() {
    let world = World::new();
    let path: PathBuf = world.folder.path().join("kefu.prom");
    let textfile = ["--textfile", path.to_str().unwrap()];
    let good = world.simulate(generated(), world.options(&[]));
    assert!(run(&world, &good, "run", &[RANGE.as_slice(), &textfile].concat()).status.success());
    let first = fs_err::read_to_string(&path).unwrap();
    let last_success =
        figure(&first, r#"kefu_last_success_timestamp_seconds{account="acme"}"#).unwrap();
    assert_eq!(figure(&first, r#"kefu_last_run_exit_code{account="acme"}"#), Some(0.0));
    assert_eq!(figure(&first, r#"kefu_days_fetched{account="acme"}"#), Some(3.0));
    assert!(figure(&first, r#"kefu_messages{account="acme",direction="received"}"#).unwrap() > 0.0);

    // A run must not remove the figures of other accounts.
    fs_err::write(&path, first.clone() + "kefu_last_run_exit_code{account=\"other\"} 69\n")
        .unwrap();
    let bad = world.simulate(generated(), world.options(&["errcode:48001"]));
    assert_eq!(
        run(&world, &bad, "run", &[RANGE.as_slice(), &["--force"], &textfile].concat())
            .status
            .code(),
        Some(77)
    );
    let second = fs_err::read_to_string(&path).unwrap();
    assert_eq!(figure(&second, r#"kefu_last_run_exit_code{account="acme"}"#), Some(77.0));
    // Calls of days that failed are calls, too.
    assert!(figure(&second, r#"kefu_requests{account="acme"}"#).unwrap() > 0.0);
    assert_eq!(figure(&second, r#"kefu_last_run_exit_code{account="other"}"#), Some(69.0));
    assert_eq!(
        figure(&second, r#"kefu_last_success_timestamp_seconds{account="acme"}"#),
        Some(last_success)
    );

    // A run with wrong settings has no account, but its exit code is written too.
    let wrong = world
        .command(&[&["run", "--timezone", "Nowhere/Land"], textfile.as_slice()].concat())
        .output()
        .unwrap();
    let third = fs_err::read_to_string(&path).unwrap();
    assert_eq!(
        figure(&third, r#"kefu_last_run_exit_code{account=""}"#),
        wrong.status.code().map(f64::from)
    );
    assert_eq!(
        figure(&third, r#"kefu_last_success_timestamp_seconds{account="acme"}"#),
        Some(last_success)
    );

    let beside: Vec<PathBuf> = files(world.folder.path())
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "tmp"))
        .collect();
    assert!(beside.is_empty());
}

#[test]
fn an_account_that_fails_before_its_run_begins_has_its_exit_code_in_the_figures() {
    let world = World::new();
    let path: PathBuf = world.folder.path().join("kefu.prom");
    let textfile = ["--textfile", path.to_str().unwrap()];
    let good = world.simulate(generated(), world.options(&[]));
    assert!(run(&world, &good, "run", &[RANGE.as_slice(), &textfile].concat()).status.success());
    // As when the disk of the lake is not mounted.
    fs_err::rename(world.lake_folder(), world.folder.path().join("elsewhere")).unwrap();
    let metrics = run(&world, &good, "metrics", &textfile);
    assert!(metrics.status.code().is_some_and(|code| code > 0), "{metrics:?}");
    let text = fs_err::read_to_string(&path).unwrap();
    assert_eq!(
        figure(&text, r#"kefu_last_run_exit_code{account="acme"}"#),
        metrics.status.code().map(f64::from)
    );
}

#[test]
fn a_run_that_cannot_begin_creates_no_lake() {
    let world = World::new();
    let good = world.simulate(generated(), world.options(&[]));
    fs_err::write(world.folder.path().join("kefu.toml"), "secret_file = 'nowhere'\n").unwrap();
    let output = world
        .kefu_command(&good, &["run", "--date", "2024-05-13"])
        .env_remove("KEFU_SECRET")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(!world.lake_folder().exists());
}

#[test]
fn a_lake_whose_name_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    let mut command = world.command(&["status"]);
    command.env("KEFU_LAKE", std::ffi::OsStr::from_bytes(b"lake-\xc4\xe3"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("KEFU_LAKE") && said.contains("not UTF-8"), "{said}");
}

#[test]
fn a_run_succeeds_even_if_its_figures_cannot_be_written() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    let output = run(
        &world,
        &simulator,
        "run",
        &[RANGE.as_slice(), &["--textfile", "/nowhere/kefu.prom"]].concat(),
    );
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot be written"));
}

/// Returns the events that a run wrote to stderr, one for each line.
fn events(output: &Output) -> Vec<Value> {
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn with_json_each_log_line_is_an_event_and_the_result_is_always_an_object() {
    let world = World::new();
    let machine = ["--log-format", "json", "--output", "json", "--concurrency", "1"];
    let result = |output: &Output| -> Value { serde_json::from_slice(&output.stdout).unwrap() };
    let named = |output: &Output, name: &str| {
        events(output).into_iter().filter(|event| event["event"] == name).collect::<Vec<_>>()
    };

    let simulator = world.simulate(generated(), world.options(&["wrong-number@3"]));
    let output = run(&world, &simulator, "run", &[RANGE.as_slice(), &machine].concat());
    let all = events(&output);
    let names: Vec<&str> = all.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["run_begun", "day_fetched", "day_failed", "day_fetched", "run_ended"]);
    let failed = &named(&output, "day_failed")[0];
    assert_eq!(
        (failed["date"].as_str(), failed["exit_code"].as_u64()),
        (Some("2024-05-14"), Some(65)),
        "{failed}"
    );
    let ended = &named(&output, "run_ended")[0];
    let number = |name: &str| ended[name].as_u64().unwrap();
    assert_eq!(
        (number("exit_code"), number("days_fetched"), number("days_failed")),
        (3, 2, 1),
        "{ended}"
    );
    assert_eq!(result(&output)["fetch"]["failed"][0]["date"], "2024-05-14");

    // The first run fails before it starts the account. The second has settings without an account.
    let output = world
        .kefu(&simulator, &[&["run", "--timezone", "UTC"], machine.as_slice(), &RANGE].concat());
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        (&result(&output)["account"], &result(&output)["failure"]["class"]),
        (&Value::from("acme"), &Value::from("settings"))
    );
    let failed = named(&output, "failed");
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0]["account"], &failed[0]["class"]), (&"acme".into(), &"settings".into()));
    let output = world.command(&[&["run"], machine.as_slice(), &RANGE].concat()).output().unwrap();
    assert_eq!(result(&output)["failure"]["class"], "settings");
    let failed = &named(&output, "failed")[0];
    assert_eq!((failed.get("account"), &failed["class"]), (None, &"settings".into()));
}

#[test]
fn a_file_size_limit_is_an_error_like_a_full_disk() {
    let world = World::new();
    let records = crate::world::generated("2024-05-13", 1, 9_000, 1);
    let simulator = world.simulate(records, world.options(&[]));
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -f 16; exec \"$0\" run --date 2024-05-13", env!("CARGO_BIN_EXE_kefu")])
        .env_clear();
    command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_APPID", APPID)
        .env("KEFU_SECRET", SECRET)
        .env("KEFU_LAKE", world.lake_folder());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(73), "{said}");
    assert!(said.contains("hint: raise the limit of file sizes"), "{said}");
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .contains("metrics   not computed, because the lake cannot be written"),
        "{output:?}"
    );
    assert!(world.table_files().is_empty() && world.staged_files().is_empty());
}

#[test]
fn refetched_days_are_reported_as_the_same_or_changed() {
    let world = World::new();
    let yesterday = kefu::calendar::Zone::named("Asia/Shanghai")
        .unwrap()
        .day_of(kefu::calendar::Clock::System.now().unix_timestamp())
        .plus(-1);
    let records = |messages_per_day, seed| {
        Generated::new(GeneratorOptions {
            first_day: yesterday.plus(-2),
            days: 4,
            messages_per_day,
            seed,
        })
    };
    let first = world.simulate(records(40, 1), world.options(&[]));
    assert!(run(&world, &first, "run", &[]).status.success());
    let same = String::from_utf8(run(&world, &first, "run", &["--refresh", "2"]).stdout).unwrap();
    assert!(same.contains("unchanged 2 days"), "{same}");
    let late = world.simulate(records(41, 1), world.options(&[]));
    let changed = String::from_utf8(run(&world, &late, "run", &["--refresh", "1"]).stdout).unwrap();
    assert!(
        changed.contains(&format!("changed   {yesterday}: 41 messages, 40 before")),
        "{changed}"
    );
}

#[test]
fn the_next_run_of_any_range_refetches_a_half_changed_day() {
    let world = World::new();
    let records = crate::world::generated("2024-05-13", 4, 50, 1);
    let simulator = world.simulate(records, world.options(&[]));
    let fetched = |arguments: &[&str]| -> Vec<String> {
        let output = world.kefu(&simulator, &[arguments, &["--output", "json"]].concat());
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let days = result["fetch"]["fetched"].as_array().unwrap().clone();
        days.iter().map(|day| day["date"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(fetched(&["run", "--from", "2024-05-13", "--to", "2024-05-14"]).len(), 2);
    // Marks 2024-05-12 as deleted. The notes below name a day in the lake, a day that can have only
    // rejects, and this deleted day.
    assert!(
        world
            .command(&["prune", "--before", "2024-05-13", "--yes"])
            .output()
            .unwrap()
            .status
            .success()
    );
    // Writes the notes in the format of an earlier version of kefu.
    let notes = world.lake_folder().join("_kefu/unfinished");
    fs_err::create_dir(&notes).unwrap();
    for day in ["2024-05-12", "2024-05-13", "2024-05-15", "2999-01-01"] {
        fs_err::write(notes.join(format!("{day}.acme")), "").unwrap();
    }
    assert_eq!(
        fetched(&["run", "--date", "2024-05-16"]),
        ["2024-05-13", "2024-05-15", "2024-05-16"]
    );
    assert_eq!(world.lake().older_notes().unwrap().len(), 2);
    assert_eq!(fetched(&["run", "--date", "2024-05-16"]), [""; 0]);
    assert!(
        world
            .command(&["prune", "--before", "2024-05-13", "--yes"])
            .output()
            .unwrap()
            .status
            .success()
    );
    assert_eq!(world.lake().older_notes().unwrap().len(), 1);
}

/// A simulator with a day whose second record is unreadable, and with the day after it.
fn with_rejects(world: &World) -> Simulator {
    let unreadable = record(MIDNIGHT + 1, "bad").replace("\"time\"", "\"tim\"");
    let lines = [record(MIDNIGHT, "good"), unreadable, record(MIDNIGHT + 86_400, "next")];
    world.simulate(recorded(lines), world.options(&[]))
}

#[test]
fn any_run_of_the_account_refetches_a_day_whose_messages_and_rejects_disagree() {
    let world = World::new();
    let simulator = with_rejects(&world);
    let kefu = |arguments: &[&str]| -> Value {
        let output = world.kefu(&simulator, &[arguments, &["--output", "json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    kefu(&["run", "--from", "2016-06-01", "--to", "2016-06-02"]);
    let (messages, rejects) = (world.path("messages", DAY), world.path("rejects", DAY));
    let whole = [fs_err::read(&messages).unwrap(), fs_err::read(&rejects).unwrap()];

    // Rejects of another fetch, as left by a run that was killed before it moved the messages into
    // place.
    let other = World::new();
    let other_records = recorded([
        record(MIDNIGHT, "good"),
        record(MIDNIGHT + 1, "else").replace("\"time\"", "\"tim\""),
    ]);
    other.fetch(other_records, &[], &[DAY]);
    let of_other = fs_err::read(other.path("rejects", DAY)).unwrap();
    let states: [&dyn Fn(); 3] = [
        &|| fs_err::write(&rejects, &of_other).unwrap(),
        // Rejects without messages, as left by the first run of a day.
        &|| fs_err::remove_file(&messages).unwrap(),
        // Messages that have no rejects, beside the rejects of an earlier run.
        &|| {
            let other = World::new();
            other.fetch(recorded([record(MIDNIGHT, "good")]), &[], &[DAY]);
            fs_err::write(&messages, other.bytes(DAY)).unwrap();
        },
    ];
    for (number, leave_half_changed) in states.iter().enumerate() {
        leave_half_changed();
        let fetched = kefu(&["run", "--date", "2016-06-02"])["fetch"].take();
        assert_eq!(fetched["fetched"][0]["date"], DAY, "{number}: {fetched}");
        let now = [fs_err::read(&messages).unwrap(), fs_err::read(&rejects).unwrap()];
        assert!(now == whole, "{number}");
        assert_eq!(kefu(&["verify"])["findings"], serde_json::json!([]), "{number}");
        let fetched = kefu(&["run", "--date", "2016-06-02"])["fetch"].take();
        assert_eq!(fetched["fetched"], serde_json::json!([]), "{number}");
    }
    // A run of the day itself notices that the rejects are missing.
    fs_err::remove_file(&rejects).unwrap();
    assert_eq!(kefu(&["run", "--date", DAY])["fetch"]["fetched"][0]["date"], DAY);
    assert!(fs_err::read(&rejects).unwrap() == whole[1]);
    // Rejects that `kefu prune` deleted do not count as missing.
    kefu(&["prune", "--before", "2016-06-02", "--table", "rejects", "--yes"]);
    assert_eq!(kefu(&["run", "--date", DAY])["fetch"]["fetched"], serde_json::json!([]));
    assert_eq!(kefu(&["verify"])["findings"], serde_json::json!([]));
}
