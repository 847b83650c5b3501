//! Settings of several accounts, access tokens from a command, and `kefu doctor`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;

use kefu::calendar::Clock;
use kefu::simulator::{APPID, Options, SECRET, Simulator};
use kefu::wechat::{Client, Endpoint, Tokens};
use serde_json::{Value, json};

use crate::world::{DAY, World, records};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn last_line(output: &Output) -> Value {
    serde_json::from_str(
        stdout(output).lines().last().unwrap_or_else(|| panic!("{}", stderr(output))),
    )
    .unwrap()
}

/// Two accounts that work: one with an app id and a secret, one with a token command.
const SHOP_AND_OUTLET: &str = r#"
[[accounts]]
name = "shop"
appid = "wx5ec0de51mu1a70"
secret_env = "SHOP_SECRET"

[[accounts]]
name = "outlet"
access_token_command = ["/bin/sh", "-c", "cat token"]
"#;

/// An account whose app id WeChat does not know.
const UNKNOWN: &str =
    "[[accounts]]\nname = \"unknown\"\nappid = \"wx0\"\nsecret_env = \"SHOP_SECRET\"\n";

impl World {
    fn write(&self, name: &str, content: &str) {
        fs_err::write(self.folder.path().join(name), content).unwrap();
    }

    /// Writes a token that the simulator accepts into the file for the outlet's command. Returns
    /// the token.
    fn write_token(&self, simulator: &Simulator) -> String {
        let client = Client::new(&simulator.client_url().unwrap()).unwrap();
        let token =
            self.runtime.block_on(Tokens::new(Simulator::credential(), client).current()).unwrap();
        self.write("token", &format!("{}\n", token.expose()));
        token.expose().to_owned()
    }

    /// Runs kefu with the settings of `kefu.toml`. The environment has only the lake, the address
    /// of the simulator and the secret.
    fn with_file(&self, simulator: &Simulator, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("SHOP_SECRET", SECRET)
            .output()
            .unwrap()
    }

    fn file_of(&self, account: &str, table: &str) -> bool {
        self.path(table, DAY).with_file_name(format!("{account}.parquet")).is_file()
    }
}

#[test]
fn a_run_covers_each_account_and_shows_each_account() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    world.write_token(&simulator);
    world.write("kefu.toml", SHOP_AND_OUTLET);
    let output = world.with_file(&simulator, &["run", "--date", DAY, "--output", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = last_line(&output);
    let accounts = report["accounts"].as_array().unwrap();
    assert_eq!(
        accounts.iter().map(|account| account["account"].as_str().unwrap()).collect::<Vec<_>>(),
        ["shop", "outlet"]
    );
    assert!(
        accounts.iter().all(|account| account["fetch"]["fetched"][0]["received"] == 3
            && account["command"] == "run")
    );
    for account in ["shop", "outlet"] {
        assert!(world.file_of(account, "messages") && world.file_of(account, "account_daily"));
    }

    let shown = stdout(&world.with_file(&simulator, &["run", "--date", DAY]));
    assert!(
        shown.contains("shop · Asia/Shanghai") && shown.contains("outlet · Asia/Shanghai"),
        "{shown}"
    );
    let status = last_line(&world.with_file(&simulator, &["status", "--output", "json"]));
    assert_eq!(status["accounts"][1]["days"][0]["messages"], 3);
    let metrics = last_line(&world.with_file(&simulator, &["metrics", "--output", "json"]));
    assert_eq!(metrics["accounts"][0]["metrics"]["fresh"], 1);
}

#[test]
fn a_selected_account_is_shown_like_a_single_account() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    world.write("kefu.toml", &format!("{UNKNOWN}{SHOP_AND_OUTLET}"));
    let report =
        last_line(&world.with_file(
            &simulator,
            &["run", "--date", DAY, "--account", "shop", "--output", "json"],
        ));
    assert_eq!(
        (&report["account"], &report["fetch"]["fetched"][0]["received"]),
        (&json!("shop"), &json!(3))
    );
    assert!(!world.file_of("outlet", "messages"));

    let mut by_environment = world.command(&["status", "--output", "json"]);
    assert_eq!(
        last_line(&by_environment.env("KEFU_ACCOUNT", "shop").output().unwrap())["account"],
        "shop"
    );
    let two = last_line(&world.with_file(
        &simulator,
        &["status", "--account", "outlet", "--account", "shop", "--output", "json"],
    ));
    let names: Vec<&Value> =
        two["accounts"].as_array().unwrap().iter().map(|account| &account["account"]).collect();
    assert_eq!(names, ["shop", "outlet"]);

    let all = stdout(&world.with_file(&simulator, &["sql"]));
    assert!(!all.contains("account IN"), "{all}");
    let one = stdout(&world.with_file(&simulator, &["sql", "--account", "shop"]));
    assert!(one.contains("AS f WHERE f.account IN ('shop');"), "{one}");

    let absent = world.with_file(&simulator, &["run", "--account", "shpo"]);
    assert_eq!(absent.status.code(), Some(78));
    assert!(
        stderr(&absent).contains("--account is wrong: the settings have no account `shpo`; known accounts: unknown, shop, outlet"),
        "{}",
        stderr(&absent)
    );
}

#[test]
fn other_accounts_run_when_one_account_fails() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    world.write_token(&simulator);
    world.write("kefu.toml", &format!("{UNKNOWN}{SHOP_AND_OUTLET}"));
    let output = world.with_file(&simulator, &["run", "--date", DAY, "--output", "json"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output)
            .contains("error: unknown: 2016-06-01 was not fetched: WeChat answered 40013"),
        "{}",
        stderr(&output)
    );
    let report = last_line(&output);
    assert_eq!(report["accounts"][0]["fetch"]["worst"], "refused");
    assert!(
        world.file_of("shop", "messages")
            && world.file_of("outlet", "messages")
            && !world.file_of("unknown", "messages")
    );

    // An account without its secret is not started.
    let mut without_secret = world.command(&["fetch", "--date", "2016-06-02", "--output", "json"]);
    let output = without_secret.env("KEFU_BASE_URL", simulator.base_url()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("error: the account shop failed\n  caused by: `accounts.shop.secret_env` in kefu.toml is wrong"),
        "{}",
        stderr(&output)
    );
    let report = last_line(&output);
    assert_eq!(
        (&report["accounts"][1]["account"], &report["accounts"][1]["failure"]["class"]),
        (&json!("shop"), &json!("settings"))
    );
    assert_eq!(report["accounts"][2]["fetch"]["fetched"][0]["date"], "2016-06-02");

    let output =
        world.with_file(&simulator, &["fetch", "--date", "2016-06-03", "--account", "unknown"]);
    assert_eq!(output.status.code(), Some(77));
}

#[test]
fn a_refusal_names_the_setting_of_its_account() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    let table = |lines: &str| format!("[[accounts]]\nname = 'shop'\n{lines}\n");
    world.write("wrong", "hunter2\n");
    let ours = format!("appid = '{APPID}'");
    let cases = [
        (
            table(&format!("{ours}\nsecret_env = 'FLAGSHIP_SECRET'")),
            "check the environment variable FLAGSHIP_SECRET (`accounts.shop.secret_env` in kefu.toml)",
        ),
        (
            table(&format!("{ours}\nsecret_file = 'wrong'")),
            "check the file wrong (`accounts.shop.secret_file` in kefu.toml)",
        ),
        (
            table(&format!("{ours}\nsecret_file = 'wrong'")),
            "of the app id wx5ec0de51mu1a70 (`accounts.shop.appid` in kefu.toml)",
        ),
        (format!("{ours}\naccount = 'shop'\nsecret = 'hunter2'"), "check `secret` in kefu.toml"),
        (
            table("appid = 'wx0'\nsecret_file = 'wrong'"),
            "the app id wx0 (`accounts.shop.appid` in kefu.toml): WeChat knows no such account",
        ),
        (
            table("access_token_env = 'FLAGSHIP_SECRET'"),
            "from the environment variable FLAGSHIP_SECRET (`accounts.shop.access_token_env` in kefu.toml)",
        ),
        (
            table("access_token_file = 'wrong'"),
            "from the file wrong (`accounts.shop.access_token_file` in kefu.toml)",
        ),
        (
            table("access_token_command = ['/bin/cat', 'wrong']"),
            "from `accounts.shop.access_token_command` in kefu.toml",
        ),
    ];
    for (settings, hint) in cases {
        world.write("kefu.toml", &settings);
        for arguments in [["fetch", "--date", DAY].as_slice(), &["doctor"]] {
            let mut command = world.command(arguments);
            let output = command
                .env("KEFU_BASE_URL", simulator.base_url())
                .env("FLAGSHIP_SECRET", "hunter2")
                .output()
                .unwrap();
            let shown = stdout(&output) + &stderr(&output);
            assert_eq!(output.status.code(), Some(77), "{settings}: {shown}");
            assert!(
                shown.contains(hint)
                    && !shown.contains("KEFU_SECRET")
                    && !shown.contains("hunter2"),
                "{settings}: {shown}"
            );
        }
    }
}

#[test]
fn a_missing_variable_is_named_unless_its_name_could_be_a_secret() {
    let world = World::new();
    let settings =
        |name: &str| format!("[[accounts]]\nname = 'shop'\nappid = 'wx1'\nsecret_env = '{name}'\n");
    world.write("kefu.toml", &settings("FLAGSHIP_SECRET"));
    let shown = stderr(&world.command(&["run"]).output().unwrap());
    assert!(
        shown.contains("`accounts.shop.secret_env` in kefu.toml is wrong: the environment variable FLAGSHIP_SECRET is not set\n\nhint: set FLAGSHIP_SECRET in the environment"),
        "{shown}"
    );
    for secret in [
        "a1b2c3d4e5f60718293a4b5c6d7e8f90",
        "A1B2C3D4E5F60718293A4B5C6D7E8F90",
        "57_abc-DEF",
        "flagship_secret",
    ] {
        world.write("kefu.toml", &settings(secret));
        let output = world.command(&["run", "--log-level", "debug"]).output().unwrap();
        let doctor = world.command(&["doctor"]).output().unwrap();
        let shown = stderr(&output) + &stdout(&output) + &stdout(&doctor) + &stderr(&doctor);
        assert_eq!(output.status.code(), Some(78));
        assert!(
            shown.contains("does not show the present value, because it may be the secret itself")
                && !shown.contains(secret),
            "{shown}"
        );
    }
}

#[test]
fn figures_of_an_account_remain_until_the_settings_remove_the_account() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    world.write_token(&simulator);
    let run = |arguments: &[&str]| {
        let output = world.with_file(
            &simulator,
            &[&["run", "--date", DAY, "--textfile", "kefu.prom"], arguments].concat(),
        );
        assert!(output.status.success(), "{}", stderr(&output));
        let text = fs_err::read_to_string(world.folder.path().join("kefu.prom")).unwrap();
        ["shop", "outlet"].map(|account| {
            text.lines().filter(|line| line.contains(&format!("account=\"{account}\""))).count()
        })
    };
    world.write("kefu.toml", SHOP_AND_OUTLET);
    let [shop, outlet] = run(&[]);
    assert!(shop > 10 && outlet == shop);
    // An account that did not run is still in the settings, so its figures remain.
    assert_eq!(run(&["--account", "shop"]), [shop, shop]);
    let (only_shop, _) = SHOP_AND_OUTLET.split_at(SHOP_AND_OUTLET.rfind("[[").unwrap());
    world.write("kefu.toml", only_shop);
    assert_eq!(run(&[]), [shop, 0]);
    // Settings of a single account do not say which other accounts exist. Those may have their
    // settings elsewhere, so their figures remain.
    world.write("kefu.toml", "account = 'outlet'\naccess_token_file = 'token'\n");
    assert_eq!(run(&[]), [shop, shop]);
}

#[test]
fn when_every_account_fails_the_exit_code_is_the_worst() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&["wrong-number"]));
    world
        .write("kefu.toml", &format!("{UNKNOWN}{}", SHOP_AND_OUTLET.split("\n\n").next().unwrap()));
    let output = world.with_file(&simulator, &["run", "--date", DAY]);
    assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("shop: 2016-06-01 was not fetched: a page declares"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn invalid_accounts_are_refused_before_any_work() {
    let world = World::new();
    let table = |lines: &str| format!("[[accounts]]\nname = 'shop'\n{lines}\n");
    let good = table("appid = 'wx1'\nsecret_env = 'SHOP_SECRET'");
    let cases = [
        (
            format!("appid = 'wx1'\n{good}"),
            "`appid` in kefu.toml is wrong: the file has `[[accounts]]`",
        ),
        (format!("{good}{good}"), "two accounts have the name shop"),
        (
            good.clone() + &good.replace("'shop'", "'Shop'").replace("wx1", "wx2"),
            "the names shop and Shop differ only in case",
        ),
        (
            good.clone() + &good.replace("shop", "outlet"),
            "outlet has the app id of another account",
        ),
        (table("appid = 'wx1'"), "exactly one of `secret_env`, `secret_file`"),
        (table("appid = 'wx1'\nsecret_env = 'A'\naccess_token_env = 'B'"), "exactly one of"),
        (table("secret_env = 'A'"), "a secret needs the `appid`"),
        ("[[accounts]]\nsecret_env = 'A'".to_owned(), "neither a `name` nor an `appid`"),
        ("[[accounts]]\nname = '../shop'\naccess_token_env = 'A'".to_owned(), "cannot name files"),
        (table("secret = 'hunter2'"), "line 3: unknown field `secret`: did you mean `secret_env`?"),
        (table("access_token_command = 'give hunter2'"), "write a command as a list of strings"),
        ("timezon = 'UTC'".to_owned(), "line 1: unknown field `timezon`: did you mean `timezone`?"),
    ];
    for (settings, message) in cases {
        world.write("kefu.toml", &settings);
        let output = world.command(&["run"]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{settings}");
        assert!(
            stderr(&output).contains(message) && !stderr(&output).contains("hunter2"),
            "{settings}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty() && !world.lake_folder().exists(), "{settings}");
    }
    // The environment sets a single account, but the settings file has several.
    world.write("kefu.toml", &good);
    let output = world.command(&["run"]).env("KEFU_APPID", "wx2").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(
        stderr(&output)
            .contains("KEFU_APPID is wrong: it is for a single account, but kefu.toml has several"),
        "{}",
        stderr(&output)
    );
    let referred_to = good.replace("SHOP_SECRET", "KEFU_SECRET");
    world.write("kefu.toml", &referred_to);
    let output = world.command(&["sql"]).env("KEFU_SECRET", "hunter2").output().unwrap();
    assert!(stderr(&output).contains("there is no lake"), "{}", stderr(&output));
}

#[test]
fn a_token_command_runs_again_when_wechat_refuses_its_token() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    let token = world.write_token(&simulator);
    // The first token of the command is no longer valid.
    let script = "echo run >> runs; if [ -e again ]; then cat token; else echo stale-hunter2; echo oops-hunter2 >&2; : > again; fi";
    let settings = format!(
        "account = \"acme\"\naccess_token_command = [\"/bin/sh\", \"-c\", \"{script}\", \"argument-hunter2\"]\n"
    );
    world.write("kefu.toml", &settings);
    let runs = || fs_err::read_to_string(world.folder.path().join("runs")).unwrap().lines().count();
    let output = world.with_file(&simulator, &["fetch", "--date", DAY, "--log-level", "debug"]);
    assert_eq!((output.status.code(), runs()), (Some(0), 2), "{}", stderr(&output));
    let shown = stdout(&output) + &stderr(&output);
    assert!(!shown.contains("hunter2") && !shown.contains(&token), "{shown}");

    // A token that stays refused is not requested again and again, and kefu requests no token to
    // replace it.
    let issued = simulator.tokens().len();
    world.write("token", "stale\n");
    let output = world.with_file(&simulator, &["fetch", "--date", "2016-06-02"]);
    assert_eq!(
        (output.status.code(), runs(), simulator.tokens().len()),
        (Some(77), 4, issued),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("the access token in the settings is refused")
            && stderr(&output)
                .contains("hint: check the token from `access_token_command` in kefu.toml"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_error_of_a_token_command_does_not_show_its_arguments() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    world.write("kefu.toml", "account = 'acme'\naccess_token_command = ['./absent', 'hunter2']");
    let output = world.with_file(&simulator, &["fetch", "--date", DAY]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        stderr(&output).contains("absent` gave no token: it cannot be run")
            && !stderr(&output).contains("hunter2"),
        "{}",
        stderr(&output)
    );
}

/// Starts a server that answers one call with a redirect. Returns its address and its thread.
fn redirect(status: &str, target: &str) -> (Endpoint, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let answer = format!(
        "HTTP/1.1 {status}\r\nLocation: {target}/cgi-bin/stable_token\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 65_536];
        let _ = stream.read(&mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    (base, server)
}

#[test]
fn a_redirect_is_not_followed_with_a_secret() {
    let world = World::new();
    let elsewhere = world.simulate(records(1), world.options(&[]));
    for status in ["302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let (base, server) = redirect(status, &elsewhere.base_url());
        let error = world
            .runtime
            .block_on(Tokens::new(Simulator::credential(), Client::new(&base).unwrap()).current())
            .unwrap_err();
        let host = &base.peer().host;
        let answered = format!("{host} answered HTTP {} with an empty body", &status[..3]);
        assert_eq!(error.to_string(), answered);
        server.join().unwrap();
    }
    assert!(elsewhere.requests().is_empty());
}

fn check<'a>(examination: &'a Value, name: &str) -> &'a Value {
    examination["checks"].as_array().unwrap().iter().find(|check| check["check"] == name).unwrap()
}

#[test]
fn the_doctor_finds_no_problem_in_a_good_setup() {
    let world = World::new();
    let simulator =
        world.simulate(records(3), Options { clock: Clock::System, ..world.options(&[]) });
    assert!(world.kefu(&simulator, &["run", "--date", DAY]).status.success());
    let output = world.kefu(&simulator, &["doctor", "--output", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let examination = last_line(&output);
    for name in
        ["secrets", "time zone", "lake", "lock", "network", "clock", "token", "permission", "quota"]
    {
        assert_eq!(check(&examination, name)["state"], "ok", "{name}: {examination}");
    }
    assert_ne!(check(&examination, "disk")["state"], "fail");
    assert_eq!(check(&examination, "lake")["finding"], "acme: 1 day in 2016-06-01");
    assert_eq!(
        check(&examination, "quota")["finding"],
        "4999998 of 5000000 calls of getmsglist left today"
    );
    assert_eq!(examination["worst"], Value::Null);
    let shown = stdout(&output) + &stdout(&world.kefu(&simulator, &["doctor"]));
    assert!(
        !shown.contains(SECRET) && simulator.tokens().iter().all(|token| !shown.contains(token)),
        "{shown}"
    );
}

#[test]
fn the_doctor_shows_each_setting_with_its_origin() {
    let world = World::new();
    let simulator =
        world.simulate(records(3), Options { clock: Clock::System, ..world.options(&[]) });
    world.write_token(&simulator);
    world.write(
        "kefu.toml",
        &format!("lookback = 7\n{SHOP_AND_OUTLET}[metrics]\nsession_gap = 600\n"),
    );
    let shown = stdout(&world.with_file(&simulator, &["doctor", "--timezone", "UTC"]));
    let settings: Vec<&str> = shown.lines().take_while(|line| !line.is_empty()).collect();
    let shown = settings
        .join("\n")
        .replace(&world.lake_folder().display().to_string(), "(the lake)")
        .replace(&simulator.base_url(), "(the simulator)");
    // The width of the columns depends on paths of this machine.
    let words: Vec<String> =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    insta::assert_snapshot!(words.join("\n"));
}

#[test]
fn the_doctor_gives_advice_for_each_problem() {
    let world = World::new();
    // The simulator's clock is years behind, and its quota is one call.
    let clock = Clock::starting_at(1_700_000_000);
    let options = Options { daily_limit: 1, clock, ..world.options(&[]) };
    let simulator = world.simulate(records(3), options);
    assert!(world.kefu(&simulator, &["fetch", "--date", DAY]).status.success());
    fs_err::write(world.lake_folder().join("messages/notes.txt"), "").unwrap();
    let _lock = world.lake().lock(&world.account()).unwrap();
    let output = world.kefu(&simulator, &["doctor", "--timezone", "UTC", "--output", "json"]);
    let examination = last_line(&output);
    assert_eq!(output.status.code(), Some(78), "{examination}");
    for (name, state, finding, advice) in [
        ("time zone", "fail", "are in the time zone Asia/Shanghai", "use --timezone Asia/Shanghai"),
        ("lake", "warn", "notes.txt", "move them out of the lake"),
        ("lock", "warn", "locked by process", "wait until the active run has ended"),
        ("clock", "warn", "s ahead of WeChat's clock", "NTP"),
        ("token", "ok", "", ""),
        ("permission", "fail", "45009", "tomorrow"),
        ("quota", "fail", "all 1 calls of today's quota are used up", "tomorrow"),
    ] {
        let check = check(&examination, name);
        let says = |key: &str, words: &str| check[key].as_str().unwrap_or_default().contains(words);
        assert!(
            check["state"] == state && says("finding", finding) && says("advice", advice),
            "{check}"
        );
    }
}

#[test]
fn the_doctor_warns_of_a_secret_that_everybody_can_read() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    world.write("secret", SECRET);
    world.write("kefu.toml", &format!("appid = '{APPID}'\nsecret_file = 'secret'"));
    for (mode, state) in [(0o644, "warn"), (0o640, "ok"), (0o600, "ok")] {
        fs_err::set_permissions(
            world.folder.path().join("secret"),
            std::os::unix::fs::PermissionsExt::from_mode(mode),
        )
        .unwrap();
        let output = world.with_file(&simulator, &["doctor", "--output", "json"]);
        assert_eq!(
            (check(&last_line(&output), "secrets")["state"].as_str(), output.status.code()),
            (Some(state), Some(0))
        );
    }
}

#[test]
fn the_doctor_ends_with_the_exit_code_of_the_worst_problem() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&["errcode:48001"]));
    let cases: [(&[_], i32, &str, &str); 5] = [
        (&[("KEFU_TIMEZONE", "Mars/Olympus")], 78, "settings", "is not an IANA time zone"),
        (&[], 78, "token", "the account is missing"),
        (&[("KEFU_APPID", APPID), ("KEFU_SECRET", "hunter2")], 77, "token", "40125"),
        (&[("KEFU_APPID", APPID), ("KEFU_SECRET", SECRET)], 77, "permission", "48001"),
        (
            &[("KEFU_ACCOUNT", "acme"), ("KEFU_ACCESS_TOKEN", "hunter2")],
            77,
            "permission",
            "the access token in the settings is refused",
        ),
    ];
    for (settings, code, name, finding) in cases {
        let mut command = world.command(&["doctor", "--output", "json"]);
        let output = command
            .env("KEFU_BASE_URL", simulator.base_url())
            .envs(settings.iter().copied())
            .output()
            .unwrap();
        let examination = last_line(&output);
        assert_eq!(output.status.code(), Some(code), "{examination}");
        let check = check(&examination, name);
        assert!(
            check["state"] == "fail" && check["finding"].as_str().unwrap().contains(finding),
            "{examination}"
        );
        assert!(check["advice"].is_string() || name == "settings", "{check}");
        assert!(
            !stdout(&output).contains("hunter2") && output.stderr.is_empty(),
            "{}",
            stderr(&output)
        );
    }
    // `kefu doctor` must not create a lake.
    assert!(!world.lake_folder().exists());
    world.write("lake", "a file where the lake should be");
    let output =
        world.kefu(&simulator, &["doctor", "--output", "json", "--base-url", "http://127.0.0.1:1"]);
    let examination = last_line(&output);
    assert_eq!(
        (output.status.code(), &check(&examination, "disk")["state"]),
        (Some(73), &json!("fail")),
        "{examination}"
    );
    assert_eq!(
        (&check(&examination, "network")["class"], &check(&examination, "token")["state"]),
        (&json!("unavailable"), &json!("warn"))
    );
}
