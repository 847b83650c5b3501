//! Files of the lake appear only when they are complete, even where the lock has no effect.
//! Examples are file systems without locks, two hosts, and a removed lock file. Further tests cover
//! the permissions of files, and pipes at the paths of files.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use kefu::failure::{ErrorKind, Failure};
use kefu::lake::{Failpoint, FinishedPartition, Lake, LakeError, LocksOf, Operation, Table};
use kefu::simulator::{APPID, Generated, Options, SECRET, Simulator};

use crate::world::{DAY, MIDNIGHT, OTHER_APPID, World, files, record, recorded, records};

const RANGE: [&str; 4] = ["--from", "2024-05-13", "--to", "2024-05-15"];

fn generated() -> Generated {
    crate::world::generated("2024-05-13", 3, 300, 5)
}

fn begin(world: &World, simulator: &Simulator, arguments: &[&str]) -> Command {
    let mut command = world.kefu_command(simulator, arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn lock_file(world: &World) -> PathBuf {
    world.lake_folder().join("_kefu/accounts/acme/lock")
}

fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Builds a library in which `flock` succeeds and does nothing, as on NFS mounted with `nolock`.
/// Returns its path.
fn library_without_flock(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("flock.c"), folder.join("flock.so"));
    fs_err::write(&source, "int flock(int file, int how) { return 0; }\n").unwrap();
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.unwrap().success());
    library
}

/// Returns the number of rounds. `KEFU_ROUNDS` sets it; an issue asked for 45.
fn rounds(default: usize) -> usize {
    std::env::var("KEFU_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(default)
}

#[test]
fn parallel_runs_without_flock_publish_complete_files() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    let without_flock = library_without_flock(world.folder.path());
    let arguments = [&["run", "--force"], RANGE.as_slice()].concat();
    assert!(begin(&world, &simulator, &arguments).status().unwrap().success());
    let whole = contents(&world);
    for round in 0..rounds(8) {
        let run = || {
            let mut command = begin(&world, &simulator, &arguments);
            command.env("LD_PRELOAD", &without_flock).spawn().unwrap()
        };
        let (one, other) = (run(), run());
        for (code, said) in [ended(one), ended(other)] {
            assert_eq!(code, Some(0), "round {round}: {said}");
        }
        assert!(contents(&world) == whole, "round {round}");
        assert_eq!(world.command(&["verify"]).output().unwrap().status.code(), Some(0));
        assert!(world.staged_files().is_empty(), "round {round}");
    }
}

#[test]
fn a_run_whose_lock_file_was_removed_publishes_nothing_after_another_run_begins() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    let slow = world.simulate(
        generated(),
        Options { latency: Duration::from_millis(20), ..world.options(&[]) },
    );
    let arguments = [&["run", "--force"], RANGE.as_slice()].concat();
    assert!(begin(&world, &simulator, &arguments).status().unwrap().success());
    let whole = contents(&world);
    for round in 0..rounds(4) {
        let mut one = begin(&world, &slow, &arguments).spawn().unwrap();
        let begun = slow.requests().len();
        while slow.requests().len() == begun && one.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        fs_err::remove_file(lock_file(&world)).unwrap();
        let other = begin(&world, &simulator, &arguments).spawn().unwrap();
        let (other, one) = (ended(other), ended(one));
        assert_eq!(other.0, Some(0), "round {round}: {}", other.1);
        assert_eq!(one.0, Some(75), "round {round}: {}", one.1);
        assert_eq!(outcomes(&world), [(round + 2, "done"), (round + 1, "occupied")]);
        assert!(
            one.1.contains("_kefu/accounts/acme/lock was removed or replaced by another process"),
            "{}",
            one.1
        );
        assert!(contents(&world) == whole, "round {round}");
        assert_eq!(world.command(&["verify"]).output().unwrap().status.code(), Some(0));
    }
}

/// Counts the runs of each outcome in the history.
fn outcomes(world: &World) -> [(usize, &'static str); 2] {
    let runs: Vec<String> = files(&world.lake_folder().join("_kefu/accounts/acme/runs"))
        .into_iter()
        .map(|path| fs_err::read_to_string(path).unwrap())
        .collect();
    ["done", "occupied"].map(|outcome| {
        let words = format!("\"outcome\":\"{outcome}\"");
        (runs.iter().filter(|run| run.contains(&words)).count(), outcome)
    })
}

fn contents(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| (path.clone(), fs_err::read(path).unwrap());
    world.table_files().into_iter().map(read).collect()
}

/// An empty day of the account, complete in staging but not committed.
fn finished(world: &World, lake: &Lake) -> FinishedPartition {
    let day = DAY.parse().unwrap();
    let window = world.zone.bounds(day);
    let name = world.zone.name();
    let staged = lake.stage(world.account().partition(Table::Messages, day), name, window).unwrap();
    staged.finish().unwrap()
}

/// The same, through the same steps as a fetch.
fn fetched(world: &World, lake: &Lake) -> FinishedPartition {
    let day = DAY.parse().unwrap();
    let window = world.zone.bounds(day);
    let account = world.account();
    lake.stage_messages(&account, day, world.zone.name(), window).unwrap().finish(0, None).unwrap()
}

#[test]
fn a_day_that_another_run_has_replaced_meanwhile_is_not_replaced_by_less() {
    let world = World::new();
    let lake = world.lake();
    let lock = lake.lock(&world.account()).unwrap();
    let (one, other, late) =
        (fetched(&world, &lake), fetched(&world, &lake), fetched(&world, &lake));
    one.commit().unwrap();
    let before = world.bytes(DAY);
    // The same content is already there.
    other.commit().unwrap();
    assert_eq!(world.bytes(DAY), before);
    drop(lock);

    assert!(world.fetch(records(3), &[], &[DAY]).report.failed.is_empty());
    let full = world.bytes(DAY);
    let failure = Failure::from(late.commit().unwrap_err());
    assert_eq!((failure.kind, failure.hint.is_some()), (ErrorKind::Occupied, true), "{failure}");
    assert!(failure.to_string().contains("was replaced by another run"), "{failure}");
    assert!(world.bytes(DAY) == full && full != before);
    fetched(&world, &lake).commit().unwrap();
    assert_eq!(world.bytes(DAY), before, "this run has begun after the other");
}

#[test]
fn a_footer_that_is_longer_than_the_end_of_a_file_that_is_read_first_is_read_whole() {
    let world = World::new();
    let lake = world.lake();
    let _lock = lake.lock(&world.account()).unwrap();
    let day = DAY.parse().unwrap();
    let key = world.account().partition(Table::Messages, day);
    let mut staged = lake.stage(key.clone(), world.zone.name(), world.zone.bounds(day)).unwrap();
    staged.footer().set("long", "x".repeat(300_000));
    staged.finish().unwrap().commit().unwrap();
    assert_eq!(lake.footer(&key).unwrap().get("long").map(str::len), Some(300_000));
}

#[test]
fn a_second_run_takes_over_the_lake_and_leaves_the_staging_of_the_first_run() {
    let world = World::new();
    let lake = world.lake();
    let lock = lake.lock(&world.account()).unwrap();
    let (first, second) = (finished(&world, &lake), finished(&world, &lake));
    first.commit().unwrap();
    let before = world.bytes(DAY);

    fs_err::remove_file(lock_file(&world)).unwrap();
    let _other = world.lake().lock(&world.account()).unwrap();
    assert_eq!(world.staged_files().len(), 1, "of a process that is alive");
    let failure = Failure::from(second.commit().unwrap_err());
    assert_eq!(failure.kind, ErrorKind::Occupied, "{failure}");
    assert!(failure.hint.is_some_and(|hint| hint.contains("Every file in the lake is complete")));
    assert_eq!(world.bytes(DAY), before);
    let day = DAY.parse().unwrap();
    let refused = |result: Result<(), LakeError>| result.unwrap_err().to_string();
    for said in [
        refused(lake.remove(&world.account().partition(Table::Messages, day))),
        refused(lake.prune(&[Table::Messages], "2016-06-02".parse().unwrap(), |_, _| {
            Ok::<_, LakeError>(())
        })),
    ] {
        assert!(
            said.ends_with("_kefu/accounts/acme/lock was removed or replaced by another process"),
            "{said}"
        );
    }
    assert_eq!(world.bytes(DAY), before);
    assert!(world.staged_files().is_empty());
    drop(lock);
    // The end of one of them must not release the lock of the other.
    assert!(matches!(world.lake().lock(&world.account()), Err(LakeError::Occupied { .. })));
}

#[test]
fn a_staged_file_that_another_process_replaced_is_not_published() {
    let world = World::new();
    let lake = world.lake();
    let _lock = lake.lock(&world.account()).unwrap();
    finished(&world, &lake).commit().unwrap();
    let before = world.bytes(DAY);
    let staged = finished(&world, &lake);
    let [path] = world.staged_files().try_into().unwrap();
    fs_err::write(path.with_extension("other"), "PAR1").unwrap();
    fs_err::rename(path.with_extension("other"), &path).unwrap();
    let failure = Failure::from(staged.commit().unwrap_err());
    assert_eq!(failure.kind, ErrorKind::Occupied, "{failure}");
    assert_eq!(world.bytes(DAY), before);
}

#[test]
fn staged_files_are_cleared_after_their_process_ended_or_after_a_day() {
    let world = World::new();
    let slow = world
        .simulate(generated(), Options { latency: Duration::from_secs(600), ..world.options(&[]) });
    let staging = world.lake_folder().join("_kefu/accounts/acme/staging");
    drop(world.lake().lock(&world.account()).unwrap());
    // Files of a process on another machine, and of an earlier version of kefu.
    let elsewhere = staging.join("0123456789abcdef-1-2-0123456789abcdef");
    fs_err::create_dir(&elsewhere).unwrap();
    fs_err::write(elsewhere.join("0.messages"), "PAR1").unwrap();
    fs_err::write(staging.join("messages.2016-06-01.acme.0.parquet"), "PAR1").unwrap();
    let left = || fs_err::read_dir(&staging).unwrap().count();

    let mut killed = begin(&world, &slow, &[&["run"], RANGE.as_slice()].concat()).spawn().unwrap();
    while left() < 3 && killed.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(left(), 3);
    let verified = world.command(&["verify", "--output", "json"]).output().unwrap();
    let notes = String::from_utf8_lossy(&verified.stdout).matches("\"staging\"").count();
    assert_eq!((verified.status.code(), notes), (Some(0), 3));

    drop(world.lake().lock(&world.account()).unwrap());
    assert_eq!(left(), 2, "the killed process is gone, of the others nobody knows");
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    let age = |path: &Path| {
        let times = std::fs::FileTimes::new().set_modified(long_ago);
        fs_err::File::open(path).unwrap().file().set_times(times).unwrap();
    };
    age(&elsewhere);
    age(&staging.join("messages.2016-06-01.acme.0.parquet"));
    drop(world.lake().lock(&world.account()).unwrap());
    assert_eq!(left(), 1, "a file in the folder is new");
    age(&elsewhere.join("0.messages"));
    age(&elsewhere);
    drop(world.lake().lock(&world.account()).unwrap());
    assert_eq!(left(), 0);
}

#[test]
fn a_reader_does_not_block_a_run_and_learns_that_a_run_began() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    assert!(begin(&world, &simulator, &["run", "--date", DAY]).status().unwrap().success());
    let (one, two) = (world.lake(), world.lake());
    let (reading, other) =
        (one.lock_shared(LocksOf::All).unwrap(), two.lock_shared(LocksOf::All).unwrap());
    assert!(world.lake().owner().unwrap().is_none());
    reading.require_undisturbed().unwrap();
    let (code, said) =
        ended(begin(&world, &simulator, &["run", "--force", "--date", DAY]).spawn().unwrap());
    assert_eq!(code, Some(0), "{said}");
    for reading in [reading, other] {
        let failure = Failure::from(reading.require_undisturbed().unwrap_err());
        assert_eq!(
            (failure.kind, failure.hint.is_some()),
            (ErrorKind::Occupied, true),
            "{failure}"
        );
    }
    // The lock file of the run works as before: readers share it, and a run locks readers out.
    let reading = one.lock_shared(LocksOf::All).unwrap();
    reading.require_undisturbed().unwrap();
    drop(reading);
    let _lock = world.lake().lock(&world.account()).unwrap();
    assert!(matches!(two.lock_shared(LocksOf::All), Err(LakeError::Occupied { .. })));
}

#[test]
fn a_reader_of_a_new_lake_learns_that_the_first_run_began() {
    let world = World::new();
    fs_err::create_dir(world.lake_folder()).unwrap();
    let lake = world.lake();
    let reading = lake.lock_shared(LocksOf::All).unwrap();
    reading.require_undisturbed().unwrap();
    drop(world.lake().lock(&world.account()).unwrap());
    assert!(matches!(reading.require_undisturbed(), Err(LakeError::Overtaken)));
}

/// Returns the command for a run of another account with another app.
fn run_of_other(world: &World, simulator: &Simulator) -> Command {
    let mut command = begin(world, simulator, &[&["run", "--force"], RANGE.as_slice()].concat());
    command.env("KEFU_ACCOUNT", "客服").env("KEFU_APPID", OTHER_APPID);
    command
}

#[test]
fn two_accounts_can_run_at_the_same_time_but_one_account_cannot_run_twice() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    let run = [&["run", "--force"], RANGE.as_slice()].concat();
    let lock = world.lake().lock(&world.account()).unwrap();
    let (code, said) = ended(run_of_other(&world, &simulator).spawn().unwrap());
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = ended(begin(&world, &simulator, &run).spawn().unwrap());
    assert_eq!(code, Some(75), "{said}");
    let owner = std::process::id();
    assert!(said.contains(&format!("the account acme is locked by another run: process {owner}")));
    // Commands that read or delete the data of all accounts need the locks of both.
    for arguments in [&["verify"][..], &["prune", "--all", "--yes"]] {
        let (code, said) = ended(begin(&world, &simulator, arguments).spawn().unwrap());
        assert_eq!(code, Some(75), "{said}");
    }
    drop(lock);
    for file in ["lock", "staging", "runs"] {
        assert!(world.lake_folder().join("_kefu/accounts/客服").join(file).exists(), "{file}");
    }

    // Runs both accounts at the same time. Each creates and removes folders that the other needs
    // too.
    for round in 0..rounds(4) {
        fs_err::remove_dir_all(world.lake_folder().join("messages")).unwrap();
        let one = begin(&world, &simulator, &run).spawn().unwrap();
        let other = run_of_other(&world, &simulator).spawn().unwrap();
        for (code, said) in [ended(one), ended(other)] {
            assert_eq!(code, Some(0), "round {round}: {said}");
        }
        assert_eq!(world.command(&["verify"]).output().unwrap().status.code(), Some(0));
    }
}

/// Removes a folder just before a file is moved into it. A run of another account does this after
/// it removed the last file of the folder.
#[derive(Debug)]
struct TakesFolderAway(AtomicUsize);

impl Failpoint for TakesFolderAway {
    fn before(&self, operation: Operation, path: &Path) -> io::Result<()> {
        let is_partition = path.extension().is_some_and(|extension| extension == "parquet");
        if operation == Operation::Rename
            && is_partition
            && self.0.fetch_add(1, Ordering::SeqCst) < 3
        {
            fs_err::remove_dir(path.parent().unwrap())?;
        }
        Ok(())
    }
}

#[test]
fn a_folder_that_another_account_removed_is_created_again() {
    let taken = Arc::new(TakesFolderAway(AtomicUsize::new(0)));
    let world = World { failpoint: Some(taken.clone()), ..World::new() };
    let night = world.fetch(records(3), &[], &[DAY]);
    assert!(night.report.failed.is_empty(), "{:?}", night.report.failed);
    assert_eq!((world.texts(DAY).len(), taken.0.load(Ordering::SeqCst)), (3, 4));
}

/// Counts the syncs of the file system.
#[derive(Debug, Default)]
struct Syncs(AtomicUsize);

impl Failpoint for Syncs {
    fn before(&self, operation: Operation, _: &Path) -> io::Result<()> {
        self.0.fetch_add(usize::from(operation == Operation::SyncFileSystem), Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn the_next_run_syncs_the_files_of_a_killed_run_once() {
    let world = World::new();
    let slow = world
        .simulate(generated(), Options { latency: Duration::from_secs(600), ..world.options(&[]) });
    let mut killed = begin(&world, &slow, &[&["run"], RANGE.as_slice()].concat()).spawn().unwrap();
    while slow.requests().is_empty() && killed.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let syncs = Arc::new(Syncs::default());
    let mut after = Vec::new();
    for _ in 0..3 {
        drop(world.lake().with_failpoint(syncs.clone()).lock(&world.account()).unwrap());
        after.push(syncs.0.load(Ordering::SeqCst));
    }
    assert_eq!(after, [1, 1, 1]);
}

#[test]
fn a_new_lake_is_readable_by_user_and_group_unless_the_umask_is_stricter() {
    for (umask, folder_mode, file_mode) in
        [("000", 0o750, 0o640), ("022", 0o750, 0o640), ("077", 0o700, 0o600)]
    {
        let world = World::new();
        let lines = [record(MIDNIGHT, "hello"), record(MIDNIGHT, "hello").replace("oC1", "")];
        let simulator = world.simulate(
            recorded((0..40).map(|_| lines[0].clone()).chain([lines[1].clone()])),
            world.options(&[]),
        );
        let kefu = begin(&world, &simulator, &[]);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("umask {umask}; exec \"$0\" run --date {DAY}")])
            .arg(kefu.get_program())
            .current_dir(world.folder.path())
            .env_clear()
            .envs(kefu.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let files = files(&world.lake_folder());
        assert!(files.len() > 8, "{files:?}");
        for file in files {
            assert_eq!(mode(&file), file_mode, "{umask}: {}", file.display());
            let below =
                file.ancestors().skip(1).take_while(|folder| *folder != world.folder.path());
            for folder in below {
                assert_eq!(mode(folder), folder_mode, "{umask}: {}", folder.display());
            }
        }
    }
}

/// Runs a command with a limit of one minute. Returns its exit code and stderr. The exit code is
/// 124 if it did not end in time.
fn within_a_minute(command: &Command) -> (Option<i32>, String) {
    let mut timed = Command::new("timeout");
    timed
        .arg("60")
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = timed.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_pipe_in_place_of_a_file_of_the_lake_is_refused_without_waiting() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    let kefu = |arguments: &[&str]| within_a_minute(&begin(&world, &simulator, arguments));
    let days = ["run", "--force", "--date", DAY];
    assert_eq!(kefu(&days).0, Some(0));
    let pipe_instead_of = |path: &Path| {
        let _ = fs_err::remove_file(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let own = world.lake_folder().join("_kefu");
    let locking: &[&[&str]] = &[&days, &["metrics"], &["verify"], &["prune", "--all", "--yes"]];
    let reading_marks: &[&[&str]] = &[&days, &["metrics"], &["verify"], &["status"]];
    let commands: [(&str, &[&[&str]]); 5] = [
        ("accounts/acme/lock", locking),
        ("accounts/acme/pruned.json", reading_marks),
        (&format!("apps/{APPID}"), &[&days]),
        // These files are from earlier versions.
        ("lock", locking),
        ("pruned.json", reading_marks),
    ];
    for (name, commands) in commands {
        let path = own.join(name);
        let content = fs_err::read(&path).ok();
        pipe_instead_of(&path);
        for arguments in commands {
            let (code, said) = kefu(arguments);
            assert_eq!(code, Some(73), "{name}, {arguments:?}: {said}");
            assert!(said.contains("is not a plain file but a named pipe"), "{said}");
            assert!(said.contains("hint: move what is at this path out of the lake"));
        }
        fs_err::remove_file(&path).unwrap();
        if let Some(content) = content {
            fs_err::write(&path, content).unwrap();
        }
    }

    // A pipe in place of a table is like a table without days.
    let rejects = world.lake_folder().join("rejects");
    pipe_instead_of(&rejects);
    assert_eq!(kefu(&["verify"]).0, Some(65));
    fs_err::remove_file(&rejects).unwrap();

    // A pipe in place of a partition does not count as a day. The next run that fetches the day
    // replaces it.
    let partition = world.path("messages", DAY);
    pipe_instead_of(&partition);
    assert_eq!(kefu(&["verify"]).0, Some(65));
    let status = kefu(&["status"]);
    assert!(status.0.is_some_and(|code| code != 124), "{status:?}");
    assert_eq!(kefu(&days).0, Some(0));
    assert_eq!((partition.is_file(), kefu(&["verify"]).0), (true, Some(0)));
}

#[test]
fn a_pipe_in_place_of_a_settings_file_a_secret_or_certificates_is_refused() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    let pipe = world.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    let settings = world.folder.path().join("kefu.toml");
    for (variable, written) in [
        (Some("KEFU_CONFIG"), ""),
        (None, "secret_file = 'pipe'"),
        (None, "access_token_file = 'pipe'"),
    ] {
        let mut command = begin(&world, &simulator, &["run", "--date", DAY]);
        fs_err::write(&settings, written).unwrap();
        match variable {
            Some(variable) => command.env(variable, pipe),
            None => command.env_remove("KEFU_SECRET"),
        };
        let (code, said) = within_a_minute(&command);
        assert_eq!(code, Some(78), "{variable:?} {written}: {said}");
        assert!(said.contains("pipe is not a plain file but a named pipe"), "{written}: {said}");
    }
    let (code, said) =
        within_a_minute(&begin(&world, &simulator, &["simulate", "--records", pipe]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("pipe is not a plain file but a named pipe"), "{said}");
    // A pipe that a shell opened for kefu is accepted.
    fs_err::write(&settings, "secret_file = '/dev/stdin'").unwrap();
    let mut shell = Command::new("sh");
    let kefu = begin(&world, &simulator, &[]);
    shell
        .args(["-c", &format!("printf {SECRET} | \"$0\" run --date {DAY}")])
        .arg(kefu.get_program())
        .current_dir(world.folder.path())
        .env_clear()
        .envs(kefu.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env_remove("KEFU_SECRET");
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_run_warns_of_a_settings_file_with_a_secret_that_everybody_can_read() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    let settings = world.folder.path().join("kefu.toml");
    let written = format!("account = 'acme'\nappid = '{APPID}'\nsecret = '{SECRET}'\n");
    fs_err::write(&settings, written).unwrap();
    for (mode, warns) in [(0o644, true), (0o640, false), (0o600, false)] {
        fs_err::set_permissions(&settings, PermissionsExt::from_mode(mode)).unwrap();
        for format in ["text", "json"] {
            let mut command = world.command(&["run", "--date", DAY, "--log-format", format]);
            let output = command.env("KEFU_BASE_URL", simulator.base_url()).output().unwrap();
            assert!(output.status.success());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let warning = "every user of this machine can read kefu.toml, which contains a secret";
            assert_eq!(said.contains(warning), warns, "{mode:o}: {said}");
            assert_eq!(said.contains("chmod o-r kefu.toml"), warns, "{mode:o}: {said}");
            assert_eq!(said.contains("warning: "), warns && format == "text", "{mode:o}: {said}");
            assert!(!said.contains(SECRET));
        }
    }
}

#[test]
fn days_before_1970_are_refused_and_reported_by_verify() {
    let world = World::new();
    let simulator = world.simulate(records(3), world.options(&[]));
    for days in [["--date", "1969-12-31"], ["--from", "1900-01-01"]] {
        let mut arguments = vec!["fetch", days[0], days[1]];
        if days[0] == "--from" {
            arguments.extend(["--to", "1970-02-01"]);
        }
        let (code, said) = ended(begin(&world, &simulator, &arguments).spawn().unwrap());
        assert_eq!(code, Some(2), "{days:?}: {said}");
        assert!(simulator.requests().is_empty());
    }
    assert!(begin(&world, &simulator, &["run", "--date", DAY]).status().unwrap().success());
    let old = world.path("messages", "1969-12-31");
    fs_err::create_dir(old.parent().unwrap()).unwrap();
    fs_err::copy(world.path("messages", DAY), &old).unwrap();
    let verified = world.command(&["verify", "--output", "json"]).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!(verified.status.code(), Some(65), "{said}");
    assert!(said.contains("messages/date=1969-12-31"), "{said}");
}
