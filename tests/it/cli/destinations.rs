//! Files that a command writes to a path of its user, and what they must not replace.

use std::process::Output;

use kefu::simulator::Simulator;

use crate::world::{DAY, World, generated};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A world with a day in its lake, settings, and the files that the settings name.
fn world_with_settings() -> (World, Simulator) {
    let world = World::new();
    let at = |name: &str| world.folder.path().join(name);
    let settings =
        "secret_file = \"kefu.secret\"\nprivacy.openid = { hmac_key_file = \"kefu.key\" }\n";
    fs_err::write(at("kefu.toml"), settings).unwrap();
    fs_err::write(at("kefu.secret"), "hunter2").unwrap();
    fs_err::write(at("kefu.key"), KEY).unwrap();
    let simulator = world.simulate(generated(DAY, 1, 20, 1), world.options(&[]));
    assert!(world.kefu(&simulator, &["run", "--date", DAY]).status.success());
    (world, simulator)
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_path_of_the_user_replaces_no_file_that_kefu_needs() {
    let (world, simulator) = world_with_settings();
    let at = |name: &str| world.folder.path().join(name);
    for (link, target) in [
        ("page.html", "kefu.toml"),
        ("secret.xlsx", "kefu.secret"),
        ("key.htm", "kefu.key"),
        ("linked", "lake"),
    ] {
        std::os::unix::fs::symlink(at(target), at(link)).unwrap();
    }
    let contents = |name: &str| fs_err::read_to_string(at(name)).unwrap();
    let needed = || ["kefu.toml", "kefu.secret", "kefu.key"].map(contents);
    let (before, tables) = (needed(), world.contents());
    let runs = || crate::world::files(&world.lake_folder().join("_kefu")).len();
    let begun = runs();
    let day = format!("lake/messages/date={DAY}/acme.parquet");
    for path in [
        "kefu.toml",
        "./kefu.toml",
        "lake/../kefu.secret",
        "page.html",
        "kefu.key",
        "lake/kefu.prom",
        "linked/kefu.prom",
        "nowhere/../lake/kefu.prom",
        &day,
    ] {
        for command in ["run", "fetch", "metrics"] {
            let arguments = [command, "--date", DAY, "--textfile", path];
            let output = world.kefu(&simulator, &arguments);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{command} {path}: {said}");
            assert!(said.contains("\n\nhint: name a file elsewhere with --textfile"), "{said}");
        }
    }
    for path in ["page.html", "./secret.xlsx", "lake/../key.htm", "linked/x.html", "lake/x.xlsx"] {
        let output = world.command(&["report", "--out", path]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{path}: {said}");
        assert!(said.contains("\n\nhint: name a file elsewhere with --out"), "{said}");
    }
    let output = world.command(&["init", "--config", "linked/new.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!((needed(), world.contents(), runs()), (before, tables, begun));
    assert!(!at("lake/new.toml").exists() && !at("lake/kefu.secret").exists());
}

/// The figures are written also when the settings cannot be used, so that somebody is warned.
#[test]
fn figures_of_a_run_without_settings_replace_nothing_else() {
    let world = World::new();
    let at = |name: &str| world.folder.path().join(name);
    let wrong = "timezone = 3\nsecret_file = \"kefu.secret\"\n";
    fs_err::write(at("kefu.toml"), wrong).unwrap();
    fs_err::write(at("kefu.secret"), "hunter2").unwrap();
    for path in ["kefu.toml", "./kefu.toml", "kefu.secret", "lake/kefu.prom"] {
        let output = world.command(&["run", "--textfile", path]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{path}: {}", stderr(&output));
        assert!(!stderr(&output).contains("hunter2"));
    }
    assert_eq!(fs_err::read_to_string(at("kefu.toml")).unwrap(), wrong);
    assert_eq!(fs_err::read_to_string(at("kefu.secret")).unwrap(), "hunter2");
    fs_err::write(at("kefu.prom"), "").unwrap();
    for _ in 0..2 {
        let output = world.command(&["run", "--textfile", "kefu.prom"]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
        let figures = fs_err::read_to_string(at("kefu.prom")).unwrap();
        assert!(figures.contains("kefu_last_run_exit_code{account=\"\"} 78"), "{figures}");
    }
}

#[test]
fn a_report_has_a_form_that_kefu_can_write() {
    let (world, _simulator) = world_with_settings();
    let report = |path: &str| world.command(&["report", "--out", path]).output().unwrap();
    for path in ["x.xls", "x.csv", "x.pdf", "x.json", "page", "x.html.bak", ".html"] {
        let output = report(path);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{path}: {said}");
        assert!(said.contains("hint: name a file that ends with .html or .xlsx"), "{said}");
        assert!(!world.folder.path().join(path).exists(), "{path}");
    }
    for (path, begins) in [("x.html", "<!"), ("x.HTM", "<!"), ("x.XLSX", "PK")] {
        assert!(report(path).status.success(), "{path}");
        let bytes = fs_err::read(world.folder.path().join(path)).unwrap();
        assert!(bytes.starts_with(begins.as_bytes()), "{path}");
    }
}

#[test]
fn the_summary_of_a_report_is_in_the_language_of_the_report() {
    let (world, _simulator) = world_with_settings();
    let summary = |lang: &str| {
        let arguments = ["report", "--lang", lang, "--date", DAY];
        String::from_utf8(world.command(&arguments).output().unwrap().stdout).unwrap()
    };
    let (english, chinese) = (summary("en"), summary("zh"));
    assert!(english.contains("these days") && !english.contains('本'), "{english}");
    for word in ["本期", "服务水平", "收到消息"] {
        assert!(chinese.contains(word), "{word}: {chinese}");
    }
    for word in ["these days", "service level", "Service level", "answered", "Not "] {
        assert!(!chinese.contains(word), "{word}: {chinese}");
    }
}
