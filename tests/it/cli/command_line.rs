//! The command line of kefu, as a user runs it.

use std::process::Output;

use kefu::simulator::{APPID, Generated, GeneratorOptions, Recorded, SECRET, Simulator};
use serde_json::Value;

use crate::world::{DAY, OTHER_APPID, World, files, records};

const RANGE: [&str; 4] = ["--from", "2024-05-13", "--to", "2024-05-15"];

fn generated(seed: u64) -> Generated {
    Generated::new(GeneratorOptions {
        first_day: "2024-05-13".parse().unwrap(),
        days: 3,
        messages_per_day: 400,
        seed,
    })
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().chain(more).copied().collect()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_str(stdout(output).lines().last().unwrap()).unwrap()
}

/// Returns every file of the tables of days with its content and its modification time.
fn state(world: &World) -> Vec<(std::path::PathBuf, Vec<u8>, std::time::SystemTime)> {
    let list = world.lake_folder().join("workers");
    let file = |path: std::path::PathBuf| {
        let modified = fs_err::metadata(&path).unwrap().modified().unwrap();
        (path.clone(), fs_err::read(path).unwrap(), modified)
    };
    world.table_files().into_iter().filter(|path| !path.starts_with(&list)).map(file).collect()
}

fn run(world: &World, simulator: &Simulator, more: &[&str]) -> Value {
    json(&world.kefu(simulator, &with(&with(&["run", "--output", "json"], &RANGE), more)))
}

#[test]
fn a_second_run_changes_nothing_and_force_replaces_the_days() {
    let world = World::new();
    let simulator = world.simulate(generated(1), world.options(&[]));
    let first = run(&world, &simulator, &[]);
    assert_eq!(first["fetch"]["fetched"].as_array().unwrap().len(), 3);
    assert_eq!(first["metrics"]["computed"].as_array().unwrap().len(), 3);
    let before = state(&world);
    assert_eq!(before.len(), 3 * 6);

    let calls = simulator.requests().len();
    let second = run(&world, &simulator, &[]);
    assert_eq!(second["fetch"]["skipped"].as_array().unwrap().len(), 3);
    assert_eq!(
        (
            second["metrics"]["fresh"].as_u64(),
            second["metrics"]["computed"].as_array().unwrap().len()
        ),
        (Some(3), 0)
    );
    assert_eq!(simulator.requests().len(), calls);
    assert!(state(&world) == before);

    // Fetches the same records again. The files are written again, with the same bytes.
    let forced = run(&world, &simulator, &["--force"]);
    assert_eq!(forced["fetch"]["fetched"].as_array().unwrap().len(), 3);
    let after = state(&world);
    assert!(
        before
            .iter()
            .map(|(path, bytes, _)| (path, bytes))
            .eq(after.iter().map(|(path, bytes, _)| (path, bytes)))
    );

    // Fetches other records. They replace the old ones, and the metrics change.
    let changed = world.simulate(generated(2), world.options(&[]));
    let forced = run(&world, &changed, &["--force"]);
    assert_eq!(forced["metrics"]["computed"].as_array().unwrap().len(), 3);
    assert!(after.iter().zip(state(&world)).all(|(old, new)| old.0 == new.0 && old.1 != new.1));
}

#[test]
fn kefu_metrics_rebuilds_only_missing_or_damaged_files() {
    let world = World::new();
    let simulator = world.simulate(generated(1), world.options(&[]));
    run(&world, &simulator, &[]);
    let before = state(&world);
    fs_err::remove_file(world.path("response_pairs", "2024-05-14")).unwrap();
    fs_err::write(world.path("worker_daily", "2024-05-15"), "not parquet").unwrap();
    let report = json(&world.kefu(&simulator, &["metrics", "--output", "json"]));
    assert_eq!(report["metrics"]["computed"], serde_json::json!(["2024-05-14", "2024-05-15"]));
    let after = state(&world);
    assert!(before.iter().zip(&after).all(|(old, new)| old.1 == new.1));
    let untouched = |path: &std::path::Path| {
        path.to_string_lossy().contains("2024-05-13") || path.to_string_lossy().contains("messages")
    };
    assert!(
        before
            .iter()
            .zip(&after)
            .filter(|(old, _)| untouched(&old.0))
            .all(|(old, new)| old.2 == new.2)
    );
}

/// Returns everything that a run prints or writes, at the most detailed log level.
fn everything(
    world: &World,
    simulator: &Simulator,
    format: &str,
    settings: &[(&str, &str)],
) -> Vec<u8> {
    let mut command =
        world.command(&with(&["run", "--log-level", "debug", "--log-format", format], &RANGE));
    let output = command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_ACCOUNT", "acme")
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let mut seen = [output.stdout, output.stderr].concat();
    assert!(!seen.is_empty());
    files(&world.lake_folder()).iter().for_each(|path| seen.extend(fs_err::read(path).unwrap()));
    seen
}

fn hides(seen: &[u8], secret: &str) -> bool {
    !seen.windows(secret.len()).any(|window| window == secret.as_bytes())
}

#[test]
fn no_output_or_file_contains_a_token_or_a_secret() {
    // Days are fetched in parallel, so that the first call of each day meets another fault.
    let troubles: [&[&str]; 4] = [
        &["html@1", "status:502@2", "reset@3"],
        &["cut@1", "errcode:-1@2", "expire-token@3"],
        &["errcode:48001@1"],
        &["wrong-number@1"],
    ];
    std::thread::scope(|scope| {
        for trouble in troubles {
            scope.spawn(move || {
                let format = if trouble.len() > 1 { "json" } else { "text" };
                let world = World::new();
                let simulator = world.simulate(generated(1), world.options(trouble));
                let seen = everything(
                    &world,
                    &simulator,
                    format,
                    &[("KEFU_APPID", APPID), ("KEFU_SECRET", SECRET)],
                );
                assert!(hides(&seen, SECRET) && hides(&seen, "access_token="), "{trouble:?}");
                let tokens = simulator.tokens();
                assert!(
                    !tokens.is_empty() && tokens.iter().all(|token| hides(&seen, token)),
                    "{trouble:?}"
                );
            });
        }
    });
    let world = World::new();
    let simulator = world.simulate(generated(1), world.options(&[]));
    assert!(hides(
        &everything(&world, &simulator, "json", &[("KEFU_ACCESS_TOKEN", "hunter2-token")]),
        "hunter2"
    ));
}

#[test]
fn a_wrong_secret_ends_with_77_and_is_not_shown() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&[]));
    let mut command = world.command(&["run", "--date", "2016-06-01"]);
    command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_APPID", APPID)
        .env("KEFU_SECRET", "hunter2");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(77));
    let message = stderr(&output);
    assert!(
        message.contains("40125")
            && message.contains("check the environment variable KEFU_SECRET:")
            && !message.contains("hunter2"),
        "{message}"
    );
}

#[test]
fn a_lake_that_cannot_be_written_ends_with_73() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&[]));
    fs_err::write(world.lake_folder(), "a file where the lake should be").unwrap();
    let output = world.kefu(&simulator, &["run", "--date", "2016-06-01"]);
    assert_eq!(output.status.code(), Some(73), "{}", stderr(&output));
}

#[test]
fn a_locked_account_ends_with_75_and_names_the_process() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&[]));
    let _lock = world.lake().lock(&world.account()).unwrap();
    let output = world.kefu(&simulator, &["run", "--date", "2016-06-01"]);
    assert_eq!(output.status.code(), Some(75));
    assert!(
        stderr(&output).contains(&format!("process {}", std::process::id())),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_lake_is_not_continued_in_another_time_zone() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&[]));
    assert!(world.kefu(&simulator, &["run", "--date", "2016-06-01"]).status.success());
    let output = world.kefu(&simulator, &["run", "--date", "2016-06-02", "--timezone", "UTC"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("use --timezone Asia/Shanghai"), "{}", stderr(&output));
}

#[test]
fn invalid_arguments_are_refused_before_any_work() {
    let world = World::new();
    let cases: [(&[&str], i32, &str); 11] = [
        (&["run", "--date", "2024-02-30"], 2, "is not a day"),
        (&["run", "--to", "2024-02-01"], 2, "--from"),
        (&["run", "--from", "2999-01-01"], 2, "is after yesterday"),
        (&["run", "--last", "3", "--date", "yesterday"], 2, "cannot be used with"),
        (&["run", "--from", "2024-02-02", "--to", "2024-02-01"], 2, "is after"),
        (&["run", "--date", "2999-01-01"], 2, "is not over yet"),
        (&["run", "--frobnicate"], 2, "--frobnicate"),
        (&["run", "--secret", "hunter2"], 2, "--secret"),
        (&["run"], 78, "set KEFU_APPID"),
        (&["run", "--timezone", "Mars/Olympus"], 78, "is not an IANA time zone"),
        (&["run", "--base-url", "http://example.com"], 78, "http would send the token unencrypted"),
    ];
    for (arguments, code, message) in cases {
        let output = world.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(message), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty() && !world.lake_folder().exists(), "{arguments:?}");
    }
}

#[test]
fn a_secret_can_come_from_a_file() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    fs_err::write(world.folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
    let settings = format!(
        "appid = \"{}\"\nsecret_file = \"secret\"\nbase_url = \"{}\"\n",
        APPID,
        simulator.base_url()
    );
    fs_err::write(world.folder.path().join("kefu.toml"), settings).unwrap();
    let output =
        world.command(&["fetch", "--date", "2016-06-01", "--output", "json"]).output().unwrap();
    let report = json(&output);
    assert_eq!(report["fetch"]["fetched"][0]["received"], 3);
    assert_eq!(report["account"], APPID);
    assert!(report.get("metrics").is_none());
}

#[test]
fn a_token_of_another_service_is_used_and_never_replaced() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    let mut command = world.command(&["fetch", "--date", "2016-06-01"]);
    command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_ACCOUNT", "acme")
        .env("KEFU_ACCESS_TOKEN", "stale");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
    assert!(
        stderr(&output)
            .contains("check the token from the environment variable KEFU_ACCESS_TOKEN:"),
        "{}",
        stderr(&output)
    );
    assert!(simulator.tokens().is_empty());
}

#[test]
fn a_summary_of_a_partial_failure_names_the_day_and_the_reason() {
    let world = World::new();
    let simulator = world.simulate(generated(1), world.options(&["wrong-number@3"]));
    let output = world.kefu(&simulator, &with(&["run", "--concurrency", "1"], &RANGE));
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("2024-05-14 was not fetched: a page declares 401 records"),
        "{}",
        stderr(&output)
    );
    assert!(
        stdout(&output).contains("FAILED    1 day not fetched: 2024-05-14"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn the_demo_always_gives_the_same_result() {
    let world = World::new();
    let first = world.command(&["demo"]).output().unwrap();
    assert!(first.status.success(), "{}", stderr(&first));
    let tables = || {
        let paths = files(&world.folder.path().join("data/demo"))
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "parquet"));
        paths.map(|path| (path.clone(), fs_err::read(path).unwrap())).collect::<Vec<_>>()
    };
    let before = tables();
    assert_eq!(before.len(), 7 * 6 + 1);
    let second = world.command(&["demo"]).output().unwrap();
    assert_eq!(stdout(&first), stdout(&second));
    assert!(tables() == before);
    insta::assert_snapshot!(
        stdout(&first).replace(env!("CARGO_BIN_EXE_kefu"), "target/release/kefu")
    );
}

#[test]
fn the_commands_that_the_demo_prints_can_be_pasted_whatever_the_lake_is_called() {
    for lake in ["it's a lake", "a \"lake\" for $HOME `id`!"] {
        let world = World::new();
        let output = world.command(&["demo", "--lake", lake]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let printed = stdout(&output);
        let line = |word: &str| {
            let line = printed.lines().find(|line| line.contains(word)).unwrap();
            line.split("    ").next().unwrap().to_owned()
        };
        let pasted = |line: &str| {
            let script = format!("duckdb() {{ printf %s \"$2\"; }}; {line}");
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &script]).current_dir(world.folder.path()).output().unwrap()
        };
        let sql = stdout(&pasted(&line("duckdb -c")));
        let lake = lake.replace('\'', "''");
        assert!(sql.contains(&format!("FROM '{lake}/worker_daily/*/*.parquet' ORDER")), "{sql}");
        let verified = pasted(&line(" verify --lake"));
        assert!(verified.status.success(), "{}", stderr(&verified));
    }
}

/// Prints the next step for this lake, and fails. A script that lost its command must not pass for
/// a job that is done.
#[test]
fn without_a_command_kefu_says_what_to_do_first() {
    let world = World::new();
    let nothing = world.command(&["--lake", "lake"]).output().unwrap();
    assert_eq!((nothing.status.code(), stdout(&nothing).as_str()), (Some(2), ""));
    insta::assert_snapshot!(stderr(&nothing));
    let last_line = |output: Output| stderr(&output).lines().last().unwrap().to_owned();
    let simulator = world.simulate(generated(1), world.options(&[]));
    assert!(
        last_line(world.kefu(&simulator, &["--lake", "lake"]))
            .contains("Begin with `kefu doctor --lake lake`")
    );
    assert!(
        world.kefu(&simulator, &["run", "--lake", "lake", "--date", "2024-05-13"]).status.success()
    );
    assert!(
        last_line(world.kefu(&simulator, &["--lake", "lake"]))
            .contains("`kefu status --lake lake` shows its days")
    );
    assert!(
        last_line(world.command(&["--lake", "lake"]).output().unwrap())
            .contains("no account is set")
    );
    assert!(
        last_line(world.command(&["--timezone", "Mars"]).output().unwrap())
            .contains("--timezone is wrong")
    );
}

/// After `kefu demo`, `kefu status --lake data/demo` needs no other setting.
#[test]
fn commands_without_api_calls_use_the_accounts_of_the_lake_by_default() {
    let world = World::new();
    let simulator = world.simulate(generated(1), world.options(&[]));
    for (account, app) in [("acme", APPID), ("outlet", OTHER_APPID)] {
        let arguments = with(&["run"], &RANGE);
        let mut command = world.command(&arguments);
        command
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("KEFU_APPID", app)
            .env("KEFU_SECRET", SECRET)
            .env("KEFU_ACCOUNT", account);
        assert!(command.status().unwrap().success());
    }
    let json = |arguments: &[&str]| {
        json(&world.command(&with(arguments, &["--output", "json"])).output().unwrap())
    };
    let accounts = |result: Value| {
        result["accounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|of| of["account"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(accounts(json(&["status"])), ["acme", "outlet"]);
    assert_eq!(accounts(json(&["metrics"])), ["acme", "outlet"]);
    assert_eq!(json(&["status", "--account", "outlet"])["account"], "outlet");
    let unknown = world.command(&["status", "--account", "nobody"]).output().unwrap();
    assert!(
        stderr(&unknown).contains("no account `nobody`; known accounts: acme, outlet"),
        "{}",
        stderr(&unknown)
    );
    let absent = world.command(&["status", "--lake", "elsewhere"]).output().unwrap();
    assert!(stderr(&absent).contains("there is no lake at elsewhere"), "{}", stderr(&absent));
}

#[test]
fn every_command_has_a_manual_page() {
    let world = World::new();
    let page =
        |command: &[&str]| stdout(&world.command(&with(&["man"], command)).output().unwrap());
    assert!(page(&[]).contains("kefu\\-verify"));
    assert!(page(&["run"]).contains("lookback") && page(&["run"]).contains("lake"));
    let unknown = world.command(&["man", "dance"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("run `kefu help` for a list of the commands"));
}

#[test]
fn every_command_has_a_help_text() {
    let world = World::new();
    for command in [
        "",
        "init",
        "run",
        "fetch",
        "metrics",
        "demo",
        "accounts",
        "status",
        "doctor",
        "prune",
        "verify",
        "report",
        "sql",
        "simulate",
        "completions",
        "man",
    ] {
        let arguments: Vec<&str> =
            [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let output = world.command(&arguments).output().unwrap();
        insta::assert_snapshot!(format!("help_{command}"), stdout(&output));
    }
}

#[test]
fn the_sample_in_the_repository_can_be_served_and_fetched() {
    let world = World::new();
    let sample = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample.jsonl");
    let simulator = world.simulate(Recorded::read(&[sample]).unwrap(), world.options(&[]));
    let report = json(&world.kefu(
        &simulator,
        &["run", "--from", "2024-05-13", "--to", "2024-05-14", "--output", "json"],
    ));
    let messages = |day: &Value| day["received"].as_u64().unwrap() + day["sent"].as_u64().unwrap();
    assert_eq!(
        report["fetch"]["fetched"].as_array().unwrap().iter().map(messages).collect::<Vec<_>>(),
        [120, 120]
    );
}

#[test]
fn a_broken_answer_of_the_api_ends_with_65_and_names_the_day() {
    let world = World::new();
    let simulator = world.simulate(records(5), world.options(&["wrong-number"]));
    let output = world.kefu(&simulator, &["run", "--date", "2016-06-01"]);
    assert_eq!(output.status.code(), Some(65));
    assert!(
        stderr(&output).contains("2016-06-01 was not fetched")
            && stderr(&output).contains("Nothing of this day was committed"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn two_accounts_share_a_lake_and_are_never_paired_together() {
    // Both accounts have the same customer. One has the question, the other the answer.
    let world = World::new();
    let line = |opercode: i32, time: i64| {
        format!(r#"{{"openid":"oC1","opercode":{opercode},"text":"","time":{time},"worker":"A"}}"#)
    };
    for (account, app, record) in
        [("one", APPID, line(2003, 1_464_710_400)), ("two", OTHER_APPID, line(2002, 1_464_710_440))]
    {
        let simulator =
            world.simulate(Recorded::from_lines([record.into_bytes()], false), world.options(&[]));
        let mut command = world.command(&["run", "--date", "2016-06-01"]);
        let output = command
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("KEFU_APPID", app)
            .env("KEFU_SECRET", SECRET)
            .env("KEFU_ACCOUNT", account)
            .output();
        assert!(output.unwrap().status.success());
    }
    let pairs = |account: &str| {
        world.rows_at(
            &world
                .path("response_pairs", "2016-06-01")
                .with_file_name(format!("{account}.parquet")),
        )
    };
    assert_eq!(pairs("one").iter().map(|row| row[7].as_str()).collect::<Vec<_>>(), ["pending"]);
    assert!(pairs("two").is_empty());
}

#[test]
fn a_changed_rule_makes_every_metric_partition_out_of_date_in_the_status() {
    let world = World::new();
    let simulator = world.simulate(generated(1), world.options(&[]));
    run(&world, &simulator, &[]);
    let status = || json(&world.kefu(&simulator, &["status", "--output", "json"]));
    assert_eq!(
        status()["days"]
            .as_array()
            .unwrap()
            .iter()
            .map(|day| day["metrics"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["fresh"; 3]
    );
    fs_err::write(
        world.folder.path().join("kefu.toml"),
        "[[metrics.auto_reply]]\nprefix = \"您好\"\n",
    )
    .unwrap();
    assert_eq!(
        status()["days"]
            .as_array()
            .unwrap()
            .iter()
            .map(|day| day["metrics"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["stale"; 3]
    );
    let before = state(&world);
    let report = json(&world.kefu(&simulator, &["metrics", "--output", "json"]));
    assert_eq!(report["metrics"]["computed"].as_array().unwrap().len(), 3);
    let changed = |table: &str| {
        before
            .iter()
            .zip(state(&world))
            .filter(|(old, new)| old.0.to_string_lossy().contains(table) && old.1 != new.1)
            .count()
    };
    assert_eq!(
        (changed("messages"), changed("response_pairs"), changed("worker_daily")),
        (0, 3, 3)
    );
    assert_eq!(status()["days"][0]["metrics"], "fresh");
}

#[test]
fn a_damaged_day_can_be_fetched_again() {
    let world = World::new();
    let simulator = world.simulate(generated(1), world.options(&[]));
    run(&world, &simulator, &[]);
    let whole = world.bytes("2024-05-13");
    fs_err::write(world.path("messages", "2024-05-13"), "garbage").unwrap();
    let output = world.kefu(&simulator, &["metrics"]);
    assert_eq!(output.status.code(), Some(73));
    assert!(stderr(&output).contains("--force"), "{}", stderr(&output));
    assert!(world.kefu(&simulator, &["run", "--date", "2024-05-13", "--force"]).status.success());
    assert!(world.bytes("2024-05-13") == whole);
}

#[test]
fn a_secret_that_the_server_repeats_is_not_shown_in_any_form() {
    for repeated in ["hunter2", "HUNTER2", "hun\u{1b}ter2", "aHVudGVyMg==", "d3gxOmh1bnRlcjI="] {
        let message = format!("bad secret {repeated}");
        let error = kefu::wechat::ApiError { code: 40125, message, on_token_endpoint: true };
        let shown = error.hiding(&kefu::wechat::Secret::new("hunter2".into())).to_string();
        assert!(shown.contains("(secret)"), "{shown}");
        assert!(!shown.contains(char::is_control), "{shown:?}");
    }
}

#[test]
fn a_secret_in_place_of_a_path_or_a_name_is_not_shown() {
    let world = World::new();
    let secret = "0123456789abcdef0123456789abcdef";
    for settings in [
        format!("appid = 'wx1'\naccount = 'acme'\nsecret_file = '{secret}'"),
        format!("appid = 'wx1'\naccount = 'acme'\naccess_token_file = '{secret}'"),
        format!("appid = 'wx1'\naccount = 'acme'\naccess_token_command = ['{secret}']"),
        format!("appid = '{secret}'\naccount = 'acme'\nsecret_file = 'nowhere'"),
        format!("appid = 'wx1'\naccount = 'acme'\nsecret_file = '/x/{secret}'"),
        format!("appid = 'wx1'\naccount = 'acme'\nsecret_file = '{secret}.txt'"),
        format!("{secret} = 'wx1'"),
        format!("[{secret}]\nx = 1"),
        format!("lookback = '{secret}'"),
        format!("[[accounts]]\nname = '/{secret}'\nappid = 'wx1'\nsecret_env = 'X'"),
        format!("timezone = '{secret}'"),
        format!("base_url = 'https://{secret}/x y'\nappid = 'wx1'\nsecret_file = 'nowhere'"),
        format!("[metrics.business_hours]\nmonday = ['{secret}']"),
    ] {
        fs_err::write(world.folder.path().join("kefu.toml"), &settings).unwrap();
        for arguments in [
            ["run", "--date", "2016-06-01", "--output", "json", "--log-format", "json"].as_slice(),
            &["run", "--date", "2016-06-01"],
            &["doctor", "--base-url", "http://127.0.0.1:9"],
        ] {
            let output = world.command(arguments).output().unwrap();
            assert!(!output.status.success(), "{settings}");
            assert!(hides(&output.stdout, secret) && hides(&output.stderr, secret), "{settings}");
        }
    }
    fs_err::remove_file(world.folder.path().join("kefu.toml")).unwrap();
    let unknown = format!("--unknown={secret}");
    for (arguments, code) in [
        (["run", "--config", secret].as_slice(), 78),
        (&["run", "--account", secret], 78),
        (&["run", "--date", secret], 2),
        (&["run", "--lookback", secret], 2),
        (&["run", "--timezone", secret], 78),
        (&["run", "--base-url", secret], 78),
        (&[secret], 2),
        (&["run", secret], 2),
        (&["run", &unknown], 2),
        (&["status", "--lake", secret], 78),
        (&["report", "--lake", secret, "--output", "json"], 78),
    ] {
        let output = world.command(arguments).env("KEFU_APPID", "wx1").output().unwrap();
        let shown = format!("{}{}", stdout(&output), stderr(&output));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
        assert!(!shown.contains(secret), "{arguments:?}: {shown}");
    }
    for variable in
        ["KEFU_TIMEZONE", "KEFU_BASE_URL", "KEFU_CONFIG", "KEFU_LOOKBACK", "HTTPS_PROXY"]
    {
        let mut run = world.command(&["run", "--date", "2016-06-01"]);
        run.envs([("KEFU_APPID", "wx1"), ("KEFU_SECRET", "hunter2"), (variable, secret)]);
        if variable == "HTTPS_PROXY" {
            run.env(variable, format!("http://{secret}:x y"));
        }
        let output = run.output().unwrap();
        assert!(!output.status.success(), "{variable}");
        assert!(hides(&output.stdout, secret) && hides(&output.stderr, secret), "{variable}");
    }
}

#[test]
fn a_secret_is_never_the_name_of_an_account() {
    let world = World::new();
    let secret = "0123456789abcdef0123456789abcdef";
    let mut run = world.command(&["run", "--date", "2016-06-01"]);
    run.envs([("KEFU_APPID", "wx1"), ("KEFU_ACCOUNT", secret), ("KEFU_SECRET", secret)]);
    let output = run.output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("it contains the secret, and the names of files would show it")
    );
    assert!(hides(&output.stderr, secret) && !world.lake_folder().exists());
}

#[test]
fn a_name_that_only_looks_like_a_secret_can_name_an_account() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    let name = "d41d8cd98f00b204e9800998ecf8427e";
    let mut run = world.command(&["run", "--date", DAY]);
    run.env("KEFU_BASE_URL", simulator.base_url()).env("KEFU_ACCOUNT", name);
    let output = run.env("KEFU_APPID", APPID).env("KEFU_SECRET", SECRET).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(world.lake_folder().join(format!("messages/date={DAY}/{name}.parquet")).is_file());
}

#[test]
fn file_names_cannot_control_the_terminal() {
    let world = World::new();
    world.fetch(crate::world::records(3), &[], &[crate::world::DAY]);
    let planted = world.lake_folder().join("messages/\u{1b}[2J\u{202e}gpj.exe");
    fs_err::create_dir_all(&planted).unwrap();
    for format in ["table", "json"] {
        let output = world.command(&["verify", "--output", format]).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.contains("u001b") && shown.contains("\\u202e"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let world = World::new();
    let full = fs_err::OpenOptions::new().write(true).open("/dev/full");
    let Ok(full) = full else { return };
    let status = world
        .command(&["demo"])
        .stdout(full.into_parts().0)
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(73));
}

#[test]
fn a_result_that_cannot_be_written_hides_no_worse_error() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&["errcode:48001"]));
    for format in ["table", "json"] {
        let full = fs_err::OpenOptions::new().write(true).open("/dev/full");
        let Ok(full) = full else { return };
        let mut command =
            world.kefu_command(&simulator, &["fetch", "--date", DAY, "--output", format]);
        let output = command.stdout(full.into_parts().0).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(77), "{said}");
        assert!(said.contains("48001") && said.contains("the result cannot be written"), "{said}");
    }
}

#[test]
fn kefu_metrics_without_a_lake_fails_and_creates_none() {
    let world = World::new();
    let output = world.command(&["metrics"]).env("KEFU_ACCOUNT", "acme").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(
        stderr(&output).contains("there is no lake at") && !world.lake_folder().exists(),
        "{}",
        stderr(&output)
    );
}

#[test]
fn all_accounts_of_a_lake_have_the_same_time_zone() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&[]));
    assert!(world.kefu(&simulator, &["run", "--date", "2016-06-01"]).status.success());
    let mut command = world.command(&["run", "--date", "2016-06-01", "--timezone", "UTC"]);
    let settings = [
        ("KEFU_BASE_URL", simulator.base_url()),
        ("KEFU_APPID", OTHER_APPID.into()),
        ("KEFU_SECRET", SECRET.into()),
        ("KEFU_ACCOUNT", "other".into()),
    ];
    let output = command.envs(settings).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("time zone"), "{}", stderr(&output));
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    let world = World::new();
    for (arguments, words) in [
        (&["completions", "bash"][..], "complete -F _kefu"),
        (&["completions", "zsh"], "#compdef kefu"),
        (&["man"], ".TH kefu"),
    ] {
        let output = world.command(arguments).output().unwrap();
        assert!(output.status.success() && stdout(&output).contains(words), "{arguments:?}");
    }
}

#[test]
fn the_status_is_shown_as_a_calendar() {
    let world = World::new();
    let simulator = world.simulate(generated(1), world.options(&[]));
    run(&world, &simulator, &[]);
    assert!(
        world
            .kefu(&simulator, &["run", "--from", "2024-05-16", "--to", "2024-05-22"])
            .status
            .success()
    );
    fs_err::remove_dir_all(world.path("messages", "2024-05-19").parent().unwrap()).unwrap();
    fs_err::write(world.path("messages", "2024-05-13"), "garbage").unwrap();
    let shown = stdout(&world.kefu(&simulator, &["status"]))
        .replace(&world.lake_folder().display().to_string(), "data/lake");
    // The sizes depend on the compressor's version.
    let shown: Vec<&str> = shown
        .lines()
        .map(|line| {
            line.rsplit_once(", ")
                .filter(|(_, size)| size.ends_with("MiB"))
                .map_or(line, |(line, _)| line)
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn invalid_rules_are_refused_with_their_key() {
    let world = World::new();
    let cases = [
        ("[metrics]\nsession_gap = 0", "`metrics.session_gap`"),
        ("[metrics]\nsession_gap = 43201", "43201 is not between 1 and 43200"),
        ("[metrics]\nreply_window = 172801", "`metrics.reply_window`"),
        ("[[metrics.auto_reply]]", "an empty rule would match every message"),
        ("[[metrics.auto_reply]]\nprefix = ''", "an empty rule would match every message"),
        ("[[metrics.auto_reply]]\nregex = '('", "is not a regular expression"),
        ("[[metrics.auto_reply]]\nprefx = 'x'", "unknown field `prefx`: did you mean `prefix`?"),
        ("[metrics.business_hours]\nmonday = ['9-18']", "is not a shift like 09:00-18:00"),
        (
            "[metrics.business_hours]\nmonnday = []",
            "unknown field `monnday`: did you mean `monday`?",
        ),
        ("[metrics.business_hours.dates]\n2024-02-30 = []", "is not a day"),
    ];
    for (rules, message) in cases {
        fs_err::write(world.folder.path().join("kefu.toml"), rules).unwrap();
        let output = world.command(&["metrics"]).env("KEFU_ACCOUNT", "acme").output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{rules}");
        assert!(stderr(&output).contains(message), "{rules}: {}", stderr(&output));
    }
}

#[test]
fn the_guide_shows_what_the_demo_prints() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = fs_err::read_to_string(folder.join("docs/guide/first-run.md")).unwrap();
    let shown = stdout(&World::new().command(&["demo"]).output().unwrap())
        .replace(env!("CARGO_BIN_EXE_kefu"), "target/release/kefu");
    assert!(guide.contains(shown.trim_end()), "the guide shows another output of `kefu demo`");
}
