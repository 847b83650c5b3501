//! Many accounts: several at once, lists of accounts, and shards.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use kefu::lake::Account;
use kefu::model::Shard;
use kefu::simulator::{
    Generated, GeneratorOptions, LoggedRequest, Options, SECRET, Simulator, appid_of,
};
use serde_json::{Value, json};

use crate::world::{World, files};

const DAY: &str = "2024-05-13";
const NEXT: &str = "2024-05-14";

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn last_line(output: &Output) -> Value {
    let shown = stdout(output);
    let line = shown.lines().last().unwrap_or_else(|| panic!("{}", stderr(output)));
    serde_json::from_str(line).unwrap()
}

fn name(account: u32) -> String {
    format!("shop-{account:02}")
}

/// Records of an account: two days, and no two accounts with the same ones.
fn records(account: u32) -> Generated {
    Generated::new(GeneratorOptions {
        first_day: DAY.parse().unwrap(),
        days: 2,
        // One more call confirms pages with a multiple of 50 records.
        messages_per_day: 100 + account,
        seed: account.into(),
    })
}

impl World {
    pub fn serve(&self, accounts: u32, options: Options) -> Simulator {
        let options = Options { clock: kefu::calendar::Clock::System, ..options };
        self.runtime.block_on(Simulator::start_many(accounts, records, options)).unwrap()
    }

    /// Writes a list of accounts, and settings that name it. `secret` selects the secret of an
    /// account.
    pub fn list(&self, accounts: u32, secret: impl Fn(u32) -> &'static str) {
        let line = |account: u32| {
            let variable = secret(account);
            json!({ "name": name(account), "appid": appid_of(account), "secret_env": variable })
        };
        let lines: Vec<String> = (1..=accounts).map(|account| line(account).to_string()).collect();
        self.put("accounts.jsonl", &lines.join("\n"));
        self.put("kefu.toml", "accounts_file = 'accounts.jsonl'\n");
    }

    fn put(&self, name: &str, content: &str) {
        fs_err::write(self.folder.path().join(name), content).unwrap();
    }

    pub fn many(&self, simulator: &Simulator, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("GOOD_SECRET", SECRET)
            .env("WRONG_SECRET", "no-secret-of-this-one");
        command
    }

    fn messages_of(&self, account: u32) -> PathBuf {
        self.path("messages", DAY).with_file_name(format!("{}.parquet", name(account)))
    }
}

pub fn good(_: u32) -> &'static str {
    "GOOD_SECRET"
}

fn pages(simulator: &Simulator) -> Vec<LoggedRequest> {
    simulator.requests().into_iter().filter(|request| request.call == "getmsglist").collect()
}

/// The accounts of a result, with the class of what went wrong.
fn outcomes(result: &Value) -> Vec<(String, String)> {
    let accounts = result["accounts"].as_array().unwrap();
    let outcome = |account: &Value| {
        let class = [&account["failure"]["class"], &account["fetch"]["worst"]];
        let class = class.into_iter().find_map(Value::as_str).unwrap_or("done");
        (account["account"].as_str().unwrap().to_owned(), class.to_owned())
    };
    accounts.iter().map(outcome).collect()
}

#[test]
fn accounts_run_side_by_side_and_a_failed_one_leaves_the_others_done() {
    let world = World::new();
    // No call is answered before 16 accounts have one under way. With fewer at once, the run fails.
    let options =
        Options { hold_until: 16, ..world.options(&["account=7/status:503:retry-after=600"]) };
    let simulator = world.serve(40, options);
    world.list(40, |account| if account == 11 { "WRONG_SECRET" } else { "GOOD_SECRET" });
    let arguments = ["run", "--date", DAY, "--output", "json", "--textfile", "kefu.prom"];
    let output = world.many(&simulator, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let expected: Vec<(String, String)> = (1..=40)
        .map(|account| {
            let class = match account {
                7 => "unavailable",
                11 => "refused",
                _ => "done",
            };
            (name(account), class.to_owned())
        })
        .collect();
    assert_eq!(outcomes(&last_line(&output)), expected);
    for account in 1..=40 {
        assert_eq!(world.messages_of(account).is_file(), account != 7 && account != 11);
    }
    let side_by_side: Vec<usize> = pages(&simulator).iter().map(|page| page.side_by_side).collect();
    assert_eq!(side_by_side.iter().max(), Some(&16), "{side_by_side:?}");
    let figures = fs_err::read_to_string(world.folder.path().join("kefu.prom")).unwrap();
    let codes = figures.lines().filter(|line| line.starts_with("kefu_last_run_exit_code{"));
    assert_eq!(codes.count(), 40);

    // One after the other, no two accounts have calls under way.
    let simulator = world.serve(40, world.options(&[]));
    world.list(40, good);
    let arguments = ["fetch", "--date", DAY, "--accounts", "1", "--force", "--output", "json"];
    let output = world.many(&simulator, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(pages(&simulator).len(), 40);
    assert!(pages(&simulator).iter().all(|page| page.side_by_side == 1));
    let order: Vec<u32> = pages(&simulator).iter().map(|page| page.account).collect();
    assert_eq!(order, (1..=40).collect::<Vec<_>>());
}

#[test]
fn the_number_of_accounts_at_once_is_a_setting() {
    let world = World::new();
    let simulator = world.serve(6, Options { hold_until: 3, ..world.options(&[]) });
    world.list(6, good);
    world.put("kefu.toml", "accounts_file = 'accounts.jsonl'\naccounts_at_once = 3\n");
    let output = world.many(&simulator, &["fetch", "--date", DAY]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(pages(&simulator).iter().map(|page| page.side_by_side).max(), Some(3));
    let mut command = world.many(&simulator, &["doctor"]);
    let shown = stdout(&command.env("KEFU_ACCOUNTS_AT_ONCE", "5").output().unwrap());
    let line = shown.lines().find(|line| line.starts_with("accounts_at_once")).unwrap();
    assert!(line.contains('5') && line.ends_with("KEFU_ACCOUNTS_AT_ONCE"), "{line}");
}

/// Waits until `is_there` holds. Panics if the process ends before that.
fn wait_until(child: &mut Child, is_there: impl Fn() -> bool) {
    while !is_there() {
        assert!(child.try_wait().unwrap().is_none(), "it has ended by itself");
        std::thread::yield_now();
    }
}

#[test]
fn a_slow_account_holds_up_no_other_and_a_signal_stops_it() {
    let world = World::new();
    // The first account waits between its attempts. The others fit between them.
    let simulator = world.serve(9, world.options(&["account=1/status:503:retry-after=100"]));
    world.list(9, good);
    let arguments = ["fetch", "--date", DAY, "--accounts", "2", "--output", "json"];
    let mut command = world.many(&simulator, &arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&mut child, || {
        let is_ended = |path: &PathBuf| {
            let record = fs_err::read_to_string(path).unwrap_or_default();
            record.contains(r#""outcome":"done""#)
        };
        files(&world.lake_folder()).iter().filter(|path| is_ended(path)).count() == 8
    });
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", stderr(&output));
    let outcomes = outcomes(&last_line(&output));
    let done = (2..=9).map(|account| (name(account), "done".to_owned()));
    let expected: Vec<_> = std::iter::once((name(1), "stopped".to_owned())).chain(done).collect();
    assert_eq!(outcomes, expected);
}

#[test]
fn accounts_that_wait_for_their_turn_are_reported_as_stopped() {
    let world = World::new();
    let options = Options { hold_until: 99, ..world.options(&[]) };
    let simulator = world.serve(5, options);
    world.list(5, good);
    let arguments = ["fetch", "--date", DAY, "--accounts", "2", "--output", "json"];
    let mut command = world.many(&simulator, &arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(&mut child, || pages(&simulator).len() == 2);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", stderr(&output));
    let expected: Vec<_> = (1..=5).map(|account| (name(account), "stopped".to_owned())).collect();
    assert_eq!(outcomes(&last_line(&output)), expected);
    assert!(world.table_files().is_empty() && world.staged_files().is_empty());
}

#[test]
fn text_results_come_in_the_order_of_the_settings() {
    let world = World::new();
    let simulator = world.serve(12, world.options(&[]));
    world.list(12, good);
    let output = world.many(&simulator, &["run", "--date", DAY]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    let heads: Vec<&str> =
        shown.lines().filter_map(|line| Some(line.split_once(" · ")?.0)).collect();
    assert_eq!(heads, (1..=12).map(name).collect::<Vec<_>>());
}

#[test]
fn shards_fill_one_lake_with_the_files_of_a_single_run() {
    let whole = World::new();
    let simulator = whole.serve(20, whole.options(&[]));
    whole.list(20, good);
    let arguments = ["run", "--from", DAY, "--to", NEXT];
    assert!(whole.many(&simulator, &arguments).output().unwrap().status.success());
    let expected = whole.contents();
    assert_eq!(expected.len(), 20 * 2 * 6);

    let world = World::new();
    world.list(20, good);
    let spawn = |shard: &str| {
        let mut command = world.many(&simulator, &[&arguments[..], &["--shard", shard]].concat());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let shards = ["2/3", "0/3", "1/3"].map(spawn);
    for child in shards {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert!(world.contents() == expected);

    // Each command takes only the accounts of its shard.
    let listed = |arguments: &[&str]| {
        let output = world.many(&simulator, arguments).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        last_line(&output)
    };
    let names = |accounts: &Value| -> Vec<String> {
        let name =
            |account: &Value| account["account"].as_str().or(account.as_str()).unwrap().to_owned();
        accounts.as_array().unwrap().iter().map(name).collect()
    };
    let in_shard: Vec<String> =
        (1..=20).map(name).filter(|name| Shard::index_of(name, 3) == 1).collect();
    for command in ["accounts", "metrics", "verify"] {
        let result = listed(&[command, "--shard", "1/3", "--output", "json"]);
        assert_eq!(names(&result["accounts"]), in_shard, "{command}");
    }
    let all = listed(&["accounts", "--shards", "3", "--output", "json"]);
    for account in all["accounts"].as_array().unwrap() {
        let name = account["account"].as_str().unwrap();
        assert_eq!(account["shard"], json!(Shard::index_of(name, 3)));
    }
    assert_eq!(all["accounts"][4]["appid"], json!(appid_of(5)));
    let table = stdout(&world.many(&simulator, &["accounts", "--shards", "3"]).output().unwrap());
    assert_eq!(table.lines().count(), 22, "{table}");

    // A shard without accounts is no error.
    world.list(1, good);
    let index = Shard::index_of(&name(1), 3);
    for other in (0..3).filter(|other| *other != index) {
        let shard = format!("{other}/3");
        for command in ["run", "metrics"] {
            let result = listed(&[command, "--shard", &shard, "--output", "json"]);
            assert_eq!(result, json!({ "accounts": [] }));
        }
    }
    let result = listed(&["metrics", "--shard", &format!("{index}/3"), "--output", "json"]);
    assert_eq!(names(&result["accounts"]), [name(1)]);
    for (shard, reason) in [("3/3", "the last of 3 is 2/3"), ("x", "write a shard as I/N")] {
        let output = world.many(&simulator, &["run", "--shard", shard]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}

#[test]
fn figures_of_an_account_leave_the_textfile_of_a_shard_that_it_is_no_longer_in() {
    let world = World::new();
    let simulator = world.serve(6, world.options(&[]));
    world.list(6, good);
    let run = |arguments: &[&str]| -> Vec<String> {
        let arguments = [&["run", "--date", DAY, "--textfile", "kefu.prom"], arguments].concat();
        let output = world.many(&simulator, &arguments).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let figures = fs_err::read_to_string(world.folder.path().join("kefu.prom")).unwrap();
        (1..=6).map(name).filter(|name| figures.contains(&format!("{name}\""))).collect()
    };
    let all: Vec<String> = (1..=6).map(name).collect();
    let of_shard = |index: u32| -> Vec<String> {
        all.iter().filter(|name| Shard::index_of(name, 2) == index).cloned().collect()
    };
    assert!(of_shard(0).len() > 1 && !of_shard(1).is_empty());
    assert_eq!(run(&["--shard", "0/1"]), all);
    // An account of the shard that does not run now keeps its figures.
    let [first, ..] = &of_shard(0)[..] else { panic!("the shard has accounts") };
    assert_eq!(run(&["--shard", "0/2", "--account", first]), of_shard(0));
    assert_eq!(run(&["--shard", "0/2"]), of_shard(0));
    assert_eq!(run(&["--shard", "1/2"]), of_shard(1));
    assert_eq!(run(&["--shard", "0/1"]), all);
}

#[test]
fn a_shard_of_a_damaged_lake_reports_only_its_own_findings() {
    let world = World::new();
    let simulator = world.serve(8, world.options(&[]));
    world.list(8, good);
    assert!(world.many(&simulator, &["run", "--date", DAY]).output().unwrap().status.success());
    let damaged = name(3);
    fs_err::write(world.messages_of(3), "no Parquet").unwrap();
    fs_err::write(world.lake_folder().join("messages/stray.txt"), "").unwrap();
    let index = Shard::index_of(&damaged, 2);
    for shard in 0..2 {
        let arguments = ["verify", "--shard", &format!("{shard}/2"), "--output", "json"];
        let output = world.many(&simulator, &arguments).output().unwrap();
        let result = last_line(&output);
        let kinds: Vec<&str> = result["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["kind"].as_str().unwrap())
            .collect();
        assert_eq!(kinds.contains(&"unreadable"), shard == index, "{kinds:?}");
        assert_eq!(kinds.contains(&"foreign"), shard == 0, "{kinds:?}");
        let is_broken = shard == index || shard == 0;
        assert_eq!(output.status.code(), Some(if is_broken { 65 } else { 0 }));
    }
}

#[test]
fn a_run_of_another_shard_does_not_hold_up_verify() {
    let world = World::new();
    let simulator = world.serve(4, world.options(&[]));
    world.list(4, good);
    assert!(world.many(&simulator, &["run", "--date", DAY]).output().unwrap().status.success());
    let locked: Account = Account::new(name(3)).unwrap();
    let _lock = world.lake().lock(&locked).unwrap();
    let index = Shard::index_of(locked.as_str(), 2);
    for shard in 0..2 {
        let arguments = ["verify", "--shard", &format!("{shard}/2")];
        let output = world.many(&simulator, &arguments).output().unwrap();
        let expected = if shard == index { 75 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{}", stderr(&output));
    }
}

#[test]
fn a_command_prints_the_accounts() {
    let world = World::new();
    let simulator = world.serve(3, world.options(&[]));
    world.list(3, good);
    world.put(
        "kefu.toml",
        "accounts_command = ['/bin/sh', '-c', 'echo run >> runs; cat accounts.jsonl']\n",
    );
    let arguments = ["run", "--date", DAY, "--output", "json"];
    let output = world.many(&simulator, &arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(outcomes(&last_line(&output)).len(), 3);
    let runs = || fs_err::read_to_string(world.folder.path().join("runs")).unwrap().lines().count();
    assert_eq!(runs(), 1);
    let arguments = ["status", "--account", &name(2), "--output", "json"];
    assert_eq!(
        last_line(&world.many(&simulator, &arguments).output().unwrap())["account"],
        name(2)
    );
    assert_eq!(runs(), 2);
    for (script, code, reason) in [
        // What is behind the program may be back when the run is repeated.
        ("echo hunter2; exit 3", 69, "it ended with exit status: 3"),
        (
            "echo; echo hunter2",
            78,
            "line 2 of the output of `accounts_command` is wrong: it is not a JSON object",
        ),
        ("true", 78, "the list has no account"),
    ] {
        world.put("kefu.toml", &format!("accounts_command = ['/bin/sh', '-c', '{script}']\n"));
        let output = world.many(&simulator, &["run"]).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(reason) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn an_invalid_list_is_refused_before_any_work() {
    let world = World::new();
    let simulator = world.serve(3, world.options(&[]));
    let shop = r#"{"name":"shop","appid":"wx1","secret_env":"GOOD_SECRET"}"#;
    let listed = "accounts_file = 'accounts.jsonl'\n";
    let cases = [
        (
            listed,
            format!("{shop}\n\n{shop}\n"),
            "line 3 of accounts.jsonl is wrong: two accounts have the name shop",
        ),
        (
            listed,
            format!("{shop}\n{}", shop.replace("shop", "SHOP").replace("wx1", "wx2")),
            "line 2 of accounts.jsonl is wrong: the names shop and SHOP differ only in case",
        ),
        (
            listed,
            format!("{shop}\n{}", shop.replace("shop", "outlet")),
            "line 2 of accounts.jsonl is wrong: outlet has the app id of another account",
        ),
        (
            listed,
            r#"{"name":"shop","appid":"wx1"}"#.into(),
            "line 1 of accounts.jsonl is wrong: it needs exactly one of",
        ),
        (
            listed,
            r#"{"appid":"gh_1","secret_env":"GOOD_SECRET"}"#.into(),
            "`appid` in line 1 of accounts.jsonl is wrong: it begins with gh_",
        ),
        (
            listed,
            format!("{shop}\n{}", r#"{"name":"shop","secret":"hunter2"}"#),
            "line 2 of accounts.jsonl is wrong: unknown field `secret`: did you mean `secret_env`?",
        ),
        (
            "accounts_file = 'absent.jsonl'\n",
            String::new(),
            "`accounts_file` in kefu.toml names a file that cannot be read",
        ),
        (
            "appid = 'wx1'\naccounts_file = 'accounts.jsonl'\n",
            shop.into(),
            "`appid` in kefu.toml is wrong: the file has a list of accounts",
        ),
        (
            "accounts_file = 'accounts.jsonl'\n[[accounts]]\nname = 'a'\naccess_token_env = 'A'\n",
            shop.into(),
            "`accounts_file` in kefu.toml is wrong: the file has `[[accounts]]`, too",
        ),
        (
            "accounts_file = 'accounts.jsonl'\naccounts_command = ['true']\n",
            shop.into(),
            "`accounts_file` in kefu.toml is wrong: the file has `accounts_command`, too",
        ),
    ];
    for (settings, list, reason) in cases {
        world.put("kefu.toml", settings);
        world.put("accounts.jsonl", &list);
        let output = world.many(&simulator, &["run"]).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{told}");
        assert!(told.contains(reason) && !told.contains("hunter2"), "{reason}: {told}");
        assert!(output.stdout.is_empty() && !world.lake_folder().exists());
    }
    // A secret that is missing is named with its line.
    world.put("kefu.toml", listed);
    world.put("accounts.jsonl", &shop.replace("GOOD_SECRET", "ABSENT_SECRET"));
    let told = stderr(&world.many(&simulator, &["run"]).output().unwrap());
    assert!(told.contains("`secret_env` in line 1 of accounts.jsonl is wrong: the environment variable ABSENT_SECRET is not set"), "{told}");
}

#[test]
fn the_command_simulate_serves_many_accounts() {
    let world = World::new();
    let arguments = [
        "simulate",
        "--accounts",
        "300",
        "--days",
        "1",
        "--messages-per-day",
        "30",
        "--large-account",
        "90",
        "--fault",
        "account=3/errcode:-1",
    ];
    let mut served = world.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut hello = String::new();
    let stdout = served.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut hello).unwrap();
    let hello: Value = serde_json::from_str(&hello).unwrap();
    assert_eq!((&hello["appid"], &hello["accounts"]), (&json!(appid_of(1)), &json!(300)));
    let run = |account: u32| {
        let mut command = world.command(&["fetch", "--date", DAY, "--output", "json"]);
        command
            .env("KEFU_BASE_URL", hello["base_url"].as_str().unwrap())
            .env("KEFU_APPID", appid_of(account))
            .env("KEFU_ACCOUNT", name(account))
            .env("KEFU_SECRET", hello["secret"].as_str().unwrap());
        last_line(&command.output().unwrap())["fetch"]["fetched"][0].clone()
    };
    let messages = |day: &Value| day["received"].as_u64().unwrap() + day["sent"].as_u64().unwrap();
    let (first, last) = (run(1), run(300));
    served.kill().unwrap();
    served.wait().unwrap();
    assert_eq!((messages(&first), messages(&last)), (90, 30));
}
