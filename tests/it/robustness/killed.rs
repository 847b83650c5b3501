//! kefu as a process that is killed, or that gets a signal to shut down.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kefu::simulator::{APPID, Generated, GeneratorOptions, Options, SECRET, Simulator};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::world::{DAY, World};

const RANGE: [&str; 4] = ["--from", "2024-05-13", "--to", "2024-05-24"];

fn generated() -> Generated {
    Generated::new(GeneratorOptions {
        first_day: "2024-05-13".parse().unwrap(),
        days: 12,
        messages_per_day: 100,
        seed: 3,
    })
}

fn command(world: &World, simulator: &Simulator, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_APPID", APPID)
        .env("KEFU_SECRET", SECRET)
        .env("KEFU_ACCOUNT", "acme");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Kills the process after it wrote `lines` lines to stderr. Returns false if it ended before that.
fn kill_after(mut child: Child, lines: usize) -> bool {
    let said = BufReader::new(child.stderr.take().unwrap()).lines().take(lines).count();
    child.kill().unwrap();
    !child.wait().unwrap().success() && said == lines
}

fn files(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = world.lake_folder();
    world
        .table_files()
        .into_iter()
        // A run without a day to fetch does not ask for the list of workers.
        .filter(|path| !path.starts_with(root.join("workers")))
        .map(|path| (path.strip_prefix(&root).unwrap().to_owned(), fs_err::read(path).unwrap()))
        .collect()
}

/// `KEFU_KILLS` sets the number of kills. An issue asked for 200, which takes some seconds more.
#[test]
fn a_run_killed_at_any_moment_leaves_complete_files_and_the_last_run_completes_the_lake() {
    let kills: usize =
        std::env::var("KEFU_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(40);
    let calm = World::new();
    let simulator = calm.simulate(generated(), calm.options(&[]));
    let is_done = |world: &World, verb: &str| {
        let range: &[&str] = if verb == "run" { &RANGE } else { &[] };
        command(world, &simulator, &[&[verb], range].concat()).status().unwrap().success()
    };
    assert!(is_done(&calm, "run"));
    let whole = files(&calm);
    assert_eq!(whole.len(), 12 * 6);

    let mut rng = Pcg64Mcg::seed_from_u64(1);
    let mut world = World::new();
    let mut killed = 0;
    while killed < kills {
        // The log has a line for every event of a day or a partition. So a number of lines selects
        // a moment of the run.
        let mut arguments = if rng.random_bool(0.7) {
            [&["run"], RANGE.as_slice()].concat()
        } else {
            vec!["metrics"]
        };
        if rng.random_bool(0.2) && arguments[0] == "run" {
            arguments.push("--force");
        }
        if arguments[0] == "metrics" && !world.lake_folder().is_dir() {
            continue;
        }
        arguments.extend(["--log-level", "debug"]);
        let child = command(&world, &simulator, &arguments).stderr(Stdio::piped()).spawn().unwrap();
        if kill_after(child, rng.random_range(0..60)) {
            killed += 1;
        }
        for (path, bytes) in files(&world) {
            let is_early_metric = !path.starts_with("messages");
            assert!(is_early_metric || whole[&path] == bytes, "{}", path.display());
        }
        // Files that are still missing are no damage.
        if world.lake_folder().join("messages").is_dir() {
            assert!(is_done(&world, "verify"), "kefu verify finds something broken");
        }
        // A lake that is almost complete leaves little work to interrupt, so a new one is started.
        if rng.random_bool(0.15) {
            assert!(is_done(&world, "run"));
            assert!(files(&world) == whole);
            assert!(world.staged_files().is_empty());
            world = World::new();
        }
    }
    assert!(is_done(&world, "run"));
    assert!(files(&world) == whole);
}

#[test]
fn a_signal_shuts_down_a_run_at_once_and_clears_its_staging() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let world = World::new();
        let options = Options { latency: Duration::from_secs(600), ..world.options(&[]) };
        let simulator = world.simulate(generated(), options);
        let mut child =
            command(&world, &simulator, &[&["run", "--output", "json"], RANGE.as_slice()].concat())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
        while simulator.requests().iter().all(|request| request.call != "getmsglist") {
            assert!(child.try_wait().unwrap().is_none(), "it has ended by itself");
            std::thread::yield_now();
        }
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let said: Vec<String> =
            BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(
            said.iter().any(|line| line.contains(&format!("stopped by SIG{signal}"))),
            "{said:?}"
        );
        let result: serde_json::Value =
            serde_json::from_reader(child.stdout.take().unwrap()).unwrap();
        assert_eq!(
            (result["account"].as_str(), result["failure"]["class"].as_str()),
            (Some("acme"), Some("stopped"))
        );
        assert!(world.table_files().is_empty() && world.staged_files().is_empty());
    }
}

#[test]
fn the_run_record_of_a_cancelled_run_has_its_committed_days() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&["status:503:retry-after=100@7"]));
    let arguments = [&["run", "--concurrency", "1"], RANGE.as_slice()].concat();
    let mut child = command(&world, &simulator, &arguments).spawn().unwrap();
    while simulator.requests().iter().filter(|request| request.call == "getmsglist").count() < 7 {
        assert!(child.try_wait().unwrap().is_none(), "it has ended by itself");
        std::thread::yield_now();
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let history: Vec<PathBuf> =
        fs_err::read_dir(world.lake_folder().join("_kefu/accounts/acme/runs"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
    let run: serde_json::Value =
        serde_json::from_slice(&fs_err::read(&history[0]).unwrap()).unwrap();
    assert_eq!(
        (history.len(), run["outcome"].as_str(), run["days_fetched"].as_u64()),
        (1, Some("stopped"), Some(3))
    );
    assert!(run["days_given_up"].as_u64() > Some(0), "{run}");
    assert_eq!(
        run["messages_received"].as_u64().unwrap() + run["messages_sent"].as_u64().unwrap(),
        300
    );
    assert_eq!(world.table_files().len(), 3);
}

/// True if a process exists and is not dead. A zombie process counts as dead.
fn is_alive(pid: &str) -> bool {
    let state = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(')').is_some_and(|(_, state)| !state.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn a_token_command_and_its_children_end_with_kefu() {
    // `kefu doctor` does not lock the lake and has no other work before it exits.
    for (signal, code, arguments) in [
        ("TERM", 143, vec!["fetch", "--date", DAY]),
        ("INT", 130, vec!["fetch", "--date", DAY]),
        ("INT", 130, vec!["doctor"]),
    ] {
        let world = World::new();
        let simulator =
            world.simulate(generated(), Options { latency: Duration::ZERO, ..world.options(&[]) });
        let script = "sleep 600 & echo $! $$ > pids.new; mv pids.new pids; sleep 600";
        let settings =
            format!("account = 'acme'\naccess_token_command = ['/bin/sh', '-c', '{script}']\n");
        fs_err::write(world.folder.path().join("kefu.toml"), settings).unwrap();
        let mut command = world.command(&arguments);
        command
            .env("KEFU_BASE_URL", simulator.base_url())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let pids = world.folder.path().join("pids");
        while !pids.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it has ended by itself");
            std::thread::yield_now();
        }
        let pids = fs_err::read_to_string(pids).unwrap();
        assert!(pids.split_whitespace().count() == 2 && pids.split_whitespace().all(is_alive));
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(code), "{arguments:?}");
        let deadline = Instant::now() + Duration::from_secs(20);
        while pids.split_whitespace().any(is_alive) {
            assert!(Instant::now() < deadline, "{arguments:?}: {pids} live on");
            std::thread::yield_now();
        }
    }
}
