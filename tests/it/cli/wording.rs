//! Messages for users who made a small mistake. They give the reason and never contain the secret.

use std::process::Output;

use kefu::simulator::{APPID, SECRET};

use crate::world::{DAY, World, records};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_malformed_secret_file_is_refused_before_any_call() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&[]));
    let folder = world.folder.path();
    fs_err::write(
        folder.join("kefu.toml"),
        format!("appid = '{APPID}'\naccount = 'acme'\nsecret_file = 'secret'\n"),
    )
    .unwrap();
    let fetch = |content: &[u8]| {
        fs_err::write(folder.join("secret"), content).unwrap();
        let mut command = world.command(&["fetch", "--date", DAY]);
        command.env("KEFU_BASE_URL", simulator.base_url()).output().unwrap()
    };
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain(SECRET.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for (content, reason) in [
        (format!("\u{feff}{SECRET}\n").into_bytes(), "byte order mark"),
        (utf16, "UTF-16"),
        (format!("{SECRET}\n{SECRET}\n").into_bytes(), "it has 2 lines"),
        (format!("secret: {SECRET}").into_bytes(), "it contains a space"),
        (b"\n".to_vec(), "it is empty"),
    ] {
        let output = fetch(&content);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{told}");
        assert!(
            told.contains("`secret_file` in kefu.toml is wrong") && told.contains(reason),
            "{told}"
        );
        assert!(!told.contains(SECRET) && !stdout(&output).contains(SECRET), "{told}");
    }
    assert!(simulator.requests().is_empty(), "{:?}", simulator.requests());
    let output = fetch(format!("{SECRET}\r\n").as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_problem_that_does_not_change_the_exit_code_is_a_warning() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&[]));
    let arguments = ["run", "--date", DAY, "--textfile", "/nowhere/kefu.prom"];
    let output = world.kefu(&simulator, &arguments);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("warning: the figures for Prometheus cannot be written"), "{told}");
    assert!(!told.contains("error:"), "{told}");

    let output = world.kefu(&simulator, &[&arguments[..], &["--log-format", "json"]].concat());
    assert!(
        stderr(&output).contains(r#""event":"warning","reason":"the figures"#),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_hint_names_the_demo_lake_when_there_is_no_other_lake() {
    let world = World::new();
    let kefu = |arguments: &[&str]| {
        let output = world.command(arguments).env_remove("KEFU_LAKE").output().unwrap();
        (output.status.code(), stderr(&output))
    };
    for command in ["report", "status", "verify"] {
        let (code, told) = kefu(&[command]);
        assert_eq!(code, Some(78), "{told}");
        assert!(told.contains("there is no lake at data/lake") && !told.contains("data/demo"));
    }
    assert!(kefu(&[]).1.contains("Begin with `kefu demo`"));
    assert_eq!(kefu(&["demo"]).0, Some(0));
    for command in ["report", "status", "verify"] {
        let (code, told) = kefu(&[command]);
        assert_eq!(code, Some(78), "{told}");
        assert!(told.contains(&format!("`kefu {command} --lake data/demo`")), "{told}");
        // The command in the hint succeeds.
        let (code, told) = kefu(&[command, "--lake", "data/demo"]);
        assert_eq!(code, Some(0), "{told}");
    }
    let welcome = kefu(&[]).1;
    assert!(welcome.contains("`kefu report --lake data/demo`"), "{welcome}");
}

#[test]
fn failed_days_are_marked_as_failed_on_stdout() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&["errcode:48001@2x9"]));
    let range = ["run", "--from", "2016-06-01", "--to", "2016-06-04", "--concurrency", "1"];
    let output = world.kefu(&simulator, &range);
    assert_eq!(output.status.code(), Some(77), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("FAILED    3 days not fetched: 2016-06-02 to 2016-06-04"),
        "{}",
        stdout(&output)
    );
    let output = world.kefu(&simulator, &["fetch", "--date", DAY, "--force"]);
    assert!(
        stdout(&output).contains(
            "FAILED    1 day not re-fetched; the lake still has the earlier data: 2016-06-01"
        ),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_failed_account_among_others_is_marked_as_failed_on_stdout() {
    let world = World::new();
    let simulator = world.simulate(records(1), world.options(&[]));
    fs_err::write(world.folder.path().join("secret"), SECRET).unwrap();
    let accounts = format!(
        "[[accounts]]\nname = 'shop'\nappid = '{APPID}'\nsecret_file = 'secret'\n\
         [[accounts]]\nname = 'outlet'\nappid = 'wx2'\nsecret_file = 'absent'\n"
    );
    fs_err::write(world.folder.path().join("kefu.toml"), accounts).unwrap();
    let mut command = world.command(&["fetch", "--date", DAY]);
    let output = command.env("KEFU_BASE_URL", simulator.base_url()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(shown.contains("fetched   1 day: 2016-06-01"), "{shown}");
    let failed = "\nFAILED    `accounts.outlet.secret_file` in kefu.toml";
    assert!(shown.contains("\noutlet · ") && shown.contains(failed), "{shown}");
}

#[test]
fn each_hint_stands_below_its_error() {
    let world = World::new();
    let faults = world.options(&["wrong-number@1", "status:404@3"]);
    let simulator = world.simulate(crate::world::generated("2024-05-13", 4, 50, 1), faults);
    let arguments = ["run", "--from", "2024-05-13", "--to", "2024-05-16", "--concurrency", "1"];
    let output = world.kefu(&simulator, &arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    let parts: Vec<&str> = said.trim().split("\n\n").collect();
    let begins = [
        ("error: acme: 2024-05-13 was not fetched", "declares 51 records"),
        ("hint: run again", "msgid"),
        ("error: acme: 2024-05-14 was not fetched", "HTTP 404"),
        ("hint: check the base URL", "proxy"),
        ("note: acme: 2024-05-15 to 2024-05-16 were not attempted", "for the same reason"),
    ];
    assert_eq!(parts.len(), begins.len(), "{said}");
    for (part, (begin, word)) in parts.into_iter().zip(begins) {
        assert!(part.starts_with(begin) && part.contains(word), "{part}");
    }
}
