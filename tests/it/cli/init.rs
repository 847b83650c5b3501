//! `kefu init` with flags. `tests/readers/test_init.py` answers its questions in a terminal.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use kefu::simulator::{APPID, SECRET};

use crate::world::{World, records};

/// Runs `kefu init` with the secret on stdin, and without checks.
fn init(world: &World, arguments: &[&str], secret: &str) -> Output {
    let arguments = [&["init", "--no-check"], arguments].concat();
    let mut command = world.command(&arguments);
    command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command line that is refused does not read it.
    let _ = child.stdin.take().unwrap().write_all(secret.as_bytes());
    let output = child.wait_with_output().unwrap();
    for shown in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(shown).contains(SECRET));
    }
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn files(world: &World) -> Vec<String> {
    let entries = fs_err::read_dir(world.folder.path()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn settings_that_were_written_are_the_settings_that_are_used() {
    let world = World::new();
    let output = init(&world, &["--appid", APPID, "--account", "shop", "--secret-stdin"], SECRET);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(files(&world), ["kefu.secret", "kefu.toml"]);
    let secret = world.folder.path().join("kefu.secret");
    assert_eq!(fs_err::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    let simulator = world.simulate(records(3), world.options(&[]));
    let output = world
        .command(&["run", "--date", "2016-06-01"])
        .env_clear()
        .env("KEFU_BASE_URL", simulator.base_url())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let lake = world.folder.path().join("data/lake");
    assert!(lake.join("messages/date=2016-06-01/shop.parquet").is_file());
}

#[test]
fn what_is_commented_out_in_the_settings_can_be_used_too() {
    for hours in ["yes", "no"] {
        let world = World::new();
        let arguments = ["--appid", APPID, "--secret-stdin", "--business-hours", hours];
        assert!(init(&world, &arguments, SECRET).status.success());
        let path = world.folder.path().join("kefu.toml");
        let text = fs_err::read_to_string(&path).unwrap();
        // Sentences end with a full stop or a bracket, and settings do not.
        let line = |line: &str| {
            let setting = line.trim_start_matches("# ");
            match setting.contains(" = ") || setting.starts_with('[') {
                true => format!("{setting}\n"),
                false => format!("{line}\n"),
            }
        };
        fs_err::write(&path, text.lines().map(line).collect::<String>()).unwrap();
        let output = world.command(&["accounts"]).env_clear().output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn wrong_answers_and_files_that_exist_change_nothing() {
    let world = World::new();
    let good = ["--appid", APPID, "--secret-stdin"];
    for (arguments, secret, message) in [
        (
            &["--appid", "gh_0123456789ab", "--secret-stdin"][..],
            SECRET,
            "it begins with gh_, so it is the original id",
        ),
        (&["--appid", "1234567890", "--secret-stdin"], SECRET, "it does not begin with wx"),
        (&["--secret-stdin"], SECRET, "--appid is missing"),
        (&["--appid", APPID], SECRET, "--secret-stdin is missing"),
        (&good, "", "the secret is empty"),
        (&good, "two words", "it contains a space"),
        (&good, "two\nlines", "it has 2 lines"),
        (
            &["--appid", APPID, "--secret-stdin", "--account", "_x"],
            SECRET,
            "cannot name an account",
        ),
        (
            &["--appid", APPID, "--secret-stdin", "--timezone", "Beijing"],
            SECRET,
            "is not an IANA time zone",
        ),
        (
            &["--appid", APPID, "--secret-stdin", "--config", "nowhere/kefu.toml"],
            SECRET,
            "cannot write nowhere/kefu.secret",
        ),
    ] {
        let output = init(&world, arguments, secret);
        assert!(matches!(output.status.code(), Some(2 | 73)), "{arguments:?}");
        assert!(stderr(&output).contains(message), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("two"), "{}", stderr(&output));
        assert!(files(&world).is_empty());
    }
    for name in ["kefu.toml", "kefu.secret"] {
        let path = world.folder.path().join(name);
        // A link to nothing is something, too.
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        let output = init(&world, &good, SECRET);
        assert_eq!(output.status.code(), Some(2));
        let message = format!("{name} exists already, and is not replaced");
        assert!(stderr(&output).contains(&message), "{}", stderr(&output));
        assert_eq!(files(&world), [name]);
        fs_err::remove_file(&path).unwrap();
    }
}
