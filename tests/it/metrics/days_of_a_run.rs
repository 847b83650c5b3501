//! A run reads its own days and the days that depend on them, not the whole lake.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kefu::calendar::Day;
use kefu::simulator::{Generated, GeneratorOptions, Simulator};
use serde_json::{Value, json};

use crate::world::World;

const FIRST: &str = "2024-01-01";

fn nth(number: i64) -> Day {
    FIRST.parse::<Day>().unwrap().plus(number)
}

fn simulate(world: &World, days: u32) -> Simulator {
    let options =
        GeneratorOptions { first_day: FIRST.parse().unwrap(), days, messages_per_day: 10, seed: 1 };
    world.simulate(Generated::new(options), world.options(&[]))
}

#[track_caller]
fn result(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command for a range of days and returns its JSON. The days are counted from `FIRST`.
#[track_caller]
fn run(world: &World, simulator: &Simulator, command: &str, days: (i64, i64)) -> Value {
    let (from, to) = (nth(days.0).to_string(), nth(days.1).to_string());
    let arguments = [command, "--from", &from, "--to", &to, "--output", "json"];
    result(&world.kefu(simulator, &arguments))
}

/// Builds a library that logs each Parquet file that a process opens for reading. Returns its path.
fn library_that_counts(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("opens.c"), folder.join("opens.so"));
    let code = r#"
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <stdarg.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        static int opened(const char *path, int flags, int mode) {
            const char *log = getenv("OPENED"), *end = strrchr(path, '.');
            if (log && end && !strcmp(end, ".parquet") && !(flags & O_CREAT)) {
                int file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT, 0600);
                dprintf(file, "%s\n", path);
                close(file);
            }
            return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
        }
        #define MODE va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest)
        int open(const char *path, int flags, ...) { MODE; return opened(path, flags, mode); }
        int open64(const char *path, int flags, ...) { MODE; return opened(path, flags, mode); }
    "#;
    fs_err::write(&source, code).unwrap();
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.unwrap().success());
    library
}

/// Returns how many Parquet files a command opens if it has nothing to do.
fn opens(world: &World, simulator: &Simulator, library: &Path, arguments: &[&str]) -> usize {
    let log = world.folder.path().join("opened");
    let _ = fs_err::remove_file(&log);
    let mut command = world.kefu_command(simulator, arguments);
    let output = command.env("LD_PRELOAD", library).env("OPENED", &log).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("metrics   up to date"), "{said}");
    fs_err::read_to_string(&log).unwrap().lines().count()
}

#[test]
fn the_age_of_the_lake_does_not_change_how_many_files_a_run_opens() {
    let world = World::new();
    let simulator = simulate(&world, 121);
    let library = library_that_counts(world.folder.path());
    let (first, last, middle) = (nth(117).to_string(), nth(119).to_string(), nth(100).to_string());
    let commands = [
        &["run", "--from", &first, "--to", &last][..],
        &["run", "--date", &last],
        &["run", "--date", &middle],
    ];
    let nothing_to_do = || -> Vec<usize> {
        let opens = |command: &&[&str]| opens(&world, &simulator, &library, command);
        commands.iter().map(opens).collect()
    };
    run(&world, &simulator, "run", (80, 119));
    let of_40_days = nothing_to_do();
    run(&world, &simulator, "run", (0, 79));
    let of_120_days = nothing_to_do();
    assert_eq!(of_40_days, of_120_days);
    assert!(of_120_days.iter().all(|opens| *opens <= 60), "{of_120_days:?}");
    // `kefu metrics` covers all days, so it still opens all files.
    assert!(opens(&world, &simulator, &library, &["metrics"]) > 120 * 6);
}

#[test]
fn a_run_applies_changed_rules_to_its_days_and_reports_older_days_as_out_of_date() {
    let world = World::new();
    let simulator = simulate(&world, 21);
    let set = |rules: &str| fs_err::write(world.folder.path().join("kefu.toml"), rules).unwrap();
    set("");
    let first = run(&world, &simulator, "run", (0, 18));
    assert_eq!(first["metrics"].get("older_days"), None);
    set("[metrics]\nsession_gap = 900\n");
    let changed = run(&world, &simulator, "run", (19, 19))["metrics"].take();
    // The metrics of a day depend on the three days after it.
    let computed: Vec<String> = (16..=19).map(|number| nth(number).to_string()).collect();
    assert_eq!(changed["computed"], json!(computed));
    let older = json!({ "up_to": nth(15).to_string(), "because": ["session_gap 1800 → 900"] });
    assert_eq!(changed["older_days"], older);
    assert_eq!(run(&world, &simulator, "run", (19, 19))["metrics"]["older_days"], older);

    let day = nth(19).to_string();
    let output = world.kefu(&simulator, &["run", "--date", &day, "--log-format", "json"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = format!(
        "older days, up to {}, are out of date (session_gap 1800 → 900): `kefu metrics` computes them again",
        nth(15)
    );
    assert!(said.contains(&line), "{said}");
    let events = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(events.contains("\"event\":\"older_days_out_of_date\""), "{events}");

    let all = result(&world.kefu(&simulator, &["metrics", "--output", "json"]));
    assert_eq!(all["metrics"]["computed"].as_array().unwrap().len(), 16);
    assert_eq!(run(&world, &simulator, "run", (19, 19))["metrics"].get("older_days"), None);
}

#[test]
fn a_run_rebuilds_days_that_depend_on_its_days_and_no_other_days() {
    let world = World::new();
    let simulator = simulate(&world, 21);
    run(&world, &simulator, "run", (0, 19));
    for number in 0..20 {
        fs_err::remove_file(world.path("sessions", &nth(number).to_string())).unwrap();
    }
    let days = |value: &Value| -> BTreeSet<String> {
        let days = value["metrics"]["computed"].as_array().unwrap().iter();
        days.map(|day| day.as_str().unwrap().to_owned()).collect()
    };
    let named = |first, last| (first..=last).map(|number| nth(number).to_string()).collect();
    assert_eq!(days(&run(&world, &simulator, "run", (8, 10))), named(5, 12));
    assert_eq!(days(&run(&world, &simulator, "metrics", (2, 3))), named(2, 3));
    let rest = result(&world.kefu(&simulator, &["metrics", "--output", "json"]));
    assert_eq!(days(&rest).len(), 20 - 8 - 2);
}

#[test]
fn a_run_of_a_distant_day_detects_other_privacy_settings() {
    let world = World::new();
    let simulator = simulate(&world, 60);
    run(&world, &simulator, "run", (20, 22));
    fs_err::write(world.folder.path().join("kefu.toml"), "privacy.text = 'drop'\n").unwrap();
    for number in [1, 50] {
        let output = world.kefu(&simulator, &["run", "--date", &nth(number).to_string()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("are stricter than those of acme in the lake"), "{said}");
    }
}
