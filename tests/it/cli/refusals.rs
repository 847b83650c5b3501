//! Snapshots of each refusal, as text and as JSON. Read a changed snapshot yourself before you
//! accept it.

use std::io;
use std::path::Path;
use std::process::{Command, Output};

use kefu::calendar::Clock;
use kefu::failure::Failure;
use kefu::lake::LakeError;
use kefu::simulator::{APPID, Options, SECRET, Simulator};
use serde_json::{Map, Value, json};

use crate::world::{DAY, MIDNIGHT, OTHER_APPID, World, record, recorded, records};

/// A world with one day in its lake.
struct Refusals {
    world: World,
    simulator: Simulator,
    shown: String,
}

impl Refusals {
    fn new() -> Self {
        let world = World::new();
        let simulator = world.simulate(records(3), world.options(&[]));
        let refusals = Self { world, simulator, shown: String::new() };
        let run = refusals.command(&["run", "--date", DAY]).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        refusals
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command
            .env("KEFU_BASE_URL", self.simulator.base_url())
            .env("KEFU_APPID", APPID)
            .env("KEFU_SECRET", SECRET)
            .env("KEFU_ACCOUNT", "acme");
        command
    }

    /// Runs the command once with text output and once with JSON output, and adds both results.
    fn add(&mut self, what: &str, arguments: &[&str], change: impl Fn(&mut Command)) {
        let run = |more: &[&str]| {
            let mut command = self.command(&[arguments, more].concat());
            change(&mut command);
            command.output().unwrap()
        };
        let (text, machine) = (run(&[]), run(&["--output", "json"]));
        assert_eq!(text.status.code(), machine.status.code(), "{what}");
        let code = text.status.code().unwrap();
        assert_ne!(code, 0, "{what}: {text:?}");
        let folder = self.world.folder.path().display().to_string();
        let shown = format!("# {what}: {code}\n{}\n{}\n\n", told(&text), failures(&machine));
        self.shown.push_str(&shown.replace(&folder, "(folder)"));
    }

    fn finish(self, name: &str) {
        let port = self.simulator.base_url();
        let host = port.trim_start_matches("http://");
        insta::assert_snapshot!(name, without_clock(&self.shown).replace(host, "(host)"));
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.world.folder.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, content).unwrap();
    }
}

/// Returns the error on stderr without progress and warnings. Returns stdout if there is no error.
fn told(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    match stderr.find("error:") {
        Some(at) => stderr[at..].trim_end().to_owned(),
        None => String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
    }
}

/// Returns the failures and findings in the JSON result.
fn failures(output: &Output) -> String {
    let result: Value = match serde_json::from_slice(&output.stdout) {
        Ok(result) => result,
        Err(_) => return String::from_utf8_lossy(&output.stdout).into_owned(),
    };
    let mut found = Vec::new();
    collect(&result, &mut found);
    found.join("\n")
}

fn collect(value: &Value, found: &mut Vec<String>) {
    let is_failure = |object: &Map<String, Value>| {
        ["class", "reason", "hint"].iter().all(|key| object.contains_key(*key))
            || ["kind", "what", "severity"].iter().all(|key| object.contains_key(*key))
    };
    match value {
        Value::Object(object) if is_failure(object) => found.push(value.to_string()),
        Value::Object(object) => object.values().for_each(|value| collect(value, found)),
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// Replaces the values that depend on this machine's clock.
fn without_clock(shown: &str) -> String {
    let hide = |shown: &str, before: &str, what: &str, length: usize| {
        let mut parts = shown.split(before);
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |shown, part| format!("{shown}{before}{what}{}", &part[length..]))
    };
    let shown = hide(shown, "this machine's clock says ", "(time)", "2026-11-26 00:00:00".len());
    hide(&shown, "name a day up to ", "(yesterday)", "2026-11-25".len())
}

#[test]
fn each_refusal_of_the_settings_has_its_message_and_hint() {
    let mut refusals = Refusals::new();
    let run = ["run", "--date", DAY, "--force"];
    let set = |name: &'static str, value: &'static str| {
        move |command: &mut Command| {
            command.env(name, value);
        }
    };
    refusals.add("another app under this account", &run, set("KEFU_APPID", OTHER_APPID));
    refusals.add("this app under another account", &run, set("KEFU_ACCOUNT", "outlet"));
    refusals.add("an account that differs only in case", &run, move |command| {
        command.env("KEFU_APPID", OTHER_APPID).env("KEFU_ACCOUNT", "ACME");
    });
    refusals.add("an account that readers hide", &run, set("KEFU_ACCOUNT", "_acme"));
    refusals.add("a lake that readers misread", &run, set("KEFU_LAKE", "region=cn/lake"));
    refusals.add("the id of an account for an app id", &run, set("KEFU_APPID", "gh_0123456789ab"));
    // Calls to this machine use neither a proxy nor certificates. So another address is set, and
    // kefu fails before a call.
    let elsewhere = |name: &'static str, value: &'static str| {
        move |command: &mut Command| {
            command.env("KEFU_BASE_URL", "https://wechat.invalid").env(name, value);
        }
    };
    let proxy = elsewhere("HTTPS_PROXY", "http://user:hunter2@proxy:x");
    refusals.add("a proxy that is none", &run, proxy);
    refusals.add("no certificates", &run, elsewhere("SSL_CERT_FILE", "/nowhere/ca.pem"));
    let account = |name: &str, digit: u8| {
        format!("[[accounts]]\nname = '{name}'\nappid = 'wx{digit}'\nsecret_env = 'X'\n")
    };
    refusals.file("case.toml", &(account("shop", 1) + &account("Shop", 2)));
    let with = |file: &'static str| {
        move |command: &mut Command| {
            command.env("KEFU_CONFIG", file);
            command.env_remove("KEFU_APPID").env_remove("KEFU_SECRET").env_remove("KEFU_ACCOUNT");
        }
    };
    refusals.add("names that differ in case", &run, with("case.toml"));
    refusals.file("gap.toml", "[metrics]\nsession_gap = '30m'\n");
    refusals.add("a gap with a unit", &run, with("gap.toml"));
    refusals.file("secret", &format!("\u{feff}{SECRET}\n"));
    refusals.file("secret.toml", &format!("appid = '{APPID}'\nsecret_file = 'secret'\n"));
    refusals.add("a secret with a byte order mark", &run, with("secret.toml"));
    assert!(!refusals.shown.contains(SECRET) && !refusals.shown.contains("hunter2"));
    refusals.finish("refusals_of_settings");
}

#[test]
fn each_refusal_of_a_day_has_its_message_and_hint() {
    let mut refusals = Refusals::new();
    let run = ["run", "--date", DAY, "--force"];
    let server = |refusals: &Refusals, options: Options, count: i64| {
        let lines = (0..count).map(|number| record(MIDNIGHT + 3_600 * number, "text"));
        refusals.world.simulate(recorded(lines), options)
    };
    let to = |simulator: &Simulator| {
        let base = simulator.base_url();
        move |command: &mut Command| {
            command.env("KEFU_BASE_URL", &base);
        }
    };
    let options = || refusals_options(&refusals.world);
    let noon = Options { clock: Clock::starting_at(MIDNIGHT + 43_200), ..options() };
    let shifted = Options { shift_hours: 8, ..options() };
    let servers = [
        ("fewer records than before", server(&refusals, options(), 2)),
        ("not over by WeChat's clock", server(&refusals, noon, 40)),
        ("windows that are 8 hours off", server(&refusals, shifted, 40)),
    ];
    for (what, simulator) in &servers {
        refusals.add(what, &run, to(simulator));
    }
    refusals.add("a day to come", &["run", "--date", "2999-01-01"], |_| {});
    refusals.add("a day before 1970", &["run", "--date", "1969-12-31"], |_| {});
    let probe = ["doctor", "--probe", "--date"];
    refusals.add("a probe of a day to come", &[&probe[..], &["2999-01-01"]].concat(), |_| {});
    refusals.add("a probe without a date", &["doctor", "--probe"], |_| {});
    refusals.finish("refusals_of_days");
}

fn refusals_options(world: &World) -> Options {
    Options { clock: Clock::System, ..world.options(&[]) }
}

#[test]
fn each_refusal_of_the_lake_has_its_message_and_hint() {
    let mut refusals = Refusals::new();
    refusals.add("a prune of days to come", &["prune", "--before", "2999-01-01"], |_| {});
    refusals.add("a prune of every day", &["prune", "--before", "2016-06-02"], |_| {});
    refusals.add("a prune of one account", &["prune", "--all", "--account", "acme"], |_| {});
    refusals.file("lake/_kefu/pruned.json", r#"{"messages":"2999-01-01"}"#);
    refusals.add("a mark to come", &["run", "--date", DAY, "--force"], |_| {});
    refusals.add("a mark to come, verified", &["verify"], |_| {});
    fs_err::remove_file(refusals.world.lake_folder().join("_kefu/pruned.json")).unwrap();

    refusals.file("kefu.toml", "[metrics]\nsession_gap = 900\n");
    assert!(refusals.command(&["metrics"]).output().unwrap().status.success());
    fs_err::remove_file(refusals.world.folder.path().join("kefu.toml")).unwrap();
    refusals.add("metrics without the lake's rules", &["metrics"], |_| {});

    fs_err::remove_file(refusals.world.path("messages", DAY)).unwrap();
    refusals.add("metrics whose messages are gone", &["verify"], |_| {});
    refusals.finish("refusals_of_the_lake");
}

/// Each machine reaches these limits at another file, so the errors are constructed here.
#[test]
fn each_limit_of_the_machine_has_its_message_and_hint() {
    let path = Path::new("data/lake/messages/date=2016-06-01/acme.parquet").display();
    // EMFILE, ENOMEM, EAGAIN.
    let errors = [24, 12, 11].map(|code| {
        let error = io::Error::from_raw_os_error(code);
        let error = io::Error::new(error.kind(), format!("failed to open file `{path}`: {error}"));
        Failure::from(LakeError::from(error))
    });
    let shown: Vec<String> = errors.iter().map(|error| json!(error).to_string()).collect();
    insta::assert_snapshot!("refusals_of_the_machine", shown.join("\n"));
}
