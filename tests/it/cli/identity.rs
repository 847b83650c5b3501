//! An account is one app under one name. Readers must see all its files and must not misread the
//! path of the lake.

use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use kefu::failure::{ErrorKind, Failure};
use kefu::lake::{AppId, Failpoint, LakeError, LocksOf, Operation, Table};
use kefu::metrics::{Parameters, Rules};
use kefu::pipeline::{MetricsJob, rebuild_metrics};
use kefu::simulator::{APPID, SECRET, Simulator};
use kefu::wechat::{Client, Tokens};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use crate::world::{DAY, MIDNIGHT, OTHER_APPID, World, files, record, recorded};

const NEXT: &str = "2016-06-02";

fn simulate(world: &World) -> Simulator {
    let records =
        (0..6).map(|number| record(MIDNIGHT + number * 28_800, &format!("text {number}")));
    world.simulate(recorded(records), world.options(&[]))
}

/// Runs kefu with an app id and an account name.
fn with_app(
    world: &World,
    simulator: &Simulator,
    app: &str,
    account: &str,
    arguments: &[&str],
) -> Output {
    let mut command = world.command(arguments);
    command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_APPID", app)
        .env("KEFU_SECRET", SECRET)
        .env("KEFU_ACCOUNT", account);
    command.output().unwrap()
}

/// Runs kefu with an access token and an account name, but without an app id.
fn with_token(world: &World, simulator: &Simulator, account: &str, arguments: &[&str]) -> Output {
    let client = Client::new(&simulator.client_url().unwrap()).unwrap();
    let tokens = Tokens::new(Simulator::credential(), client);
    let token = world.runtime.block_on(tokens.current()).unwrap();
    let mut command = world.command(arguments);
    command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_ACCESS_TOKEN", token.expose())
        .env("KEFU_ACCOUNT", account);
    command.output().unwrap()
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", stderr(output));
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts that a command is refused before it calls WeChat or changes a file. Its error must
/// contain `words`.
#[track_caller]
fn is_refused(world: &World, simulator: &Simulator, words: &[&str], refused: impl Fn() -> Output) {
    let state = |world: &World| -> Vec<_> {
        let tables = world.table_files().into_iter();
        let own = files(&world.lake_folder().join("_kefu/apps")).into_iter();
        tables.chain(own).map(|path| (fs_err::read(&path).unwrap(), path)).collect()
    };
    let (before, calls) = (state(world), simulator.requests().len());
    let output = refused();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(words.iter().all(|words| stderr(&output).contains(words)), "{}", stderr(&output));
    assert_eq!(simulator.requests().len(), calls, "nothing is asked of WeChat");
    assert!(state(world) == before, "nothing is changed");
}

fn record_of(world: &World, app: &str) -> Option<String> {
    fs_err::read_to_string(world.lake_folder().join("_kefu/apps").join(app)).ok()
}

/// Returns the app id in the footer of a day's messages, which any Parquet reader can read.
fn app_in_footer(world: &World, day: &str) -> Option<String> {
    let file = fs_err::File::open(world.path("messages", day)).unwrap().into_parts().0;
    let reader = SerializedFileReader::new(file).unwrap();
    let entries = reader.metadata().file_metadata().key_value_metadata().unwrap();
    entries.iter().find(|entry| entry.key == "kefu.app_id").and_then(|entry| entry.value.clone())
}

/// Returns what `kefu verify` reports as broken: finding kinds, and paths relative to the lake.
#[track_caller]
fn broken(world: &World, lake: &Path) -> Vec<(String, String)> {
    let output =
        world.command(&["verify", "--output", "json"]).env("KEFU_LAKE", lake).output().unwrap();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let findings = report["findings"].as_array().unwrap().iter();
    let broken: Vec<(String, String)> = findings
        .filter(|finding| finding["severity"] == "broken")
        .map(|finding| {
            let path = Path::new(finding["path"].as_str().unwrap());
            let path = path.strip_prefix(lake).unwrap().display().to_string();
            (finding["kind"].as_str().unwrap().to_owned(), path)
        })
        .collect();
    assert_eq!(output.status.code(), Some(if broken.is_empty() { 0 } else { 65 }), "{report}");
    broken
}

#[test]
fn another_app_under_the_same_account_is_refused_before_anything_is_fetched() {
    let world = World::new();
    let simulator = simulate(&world);
    succeeds(&with_app(&world, &simulator, APPID, "acme", &["run", "--date", DAY]));
    assert_eq!(record_of(&world, APPID).as_deref(), Some("acme\n"));
    assert_eq!(app_in_footer(&world, DAY).as_deref(), Some(APPID));

    let words =
        ["the account acme has records of", APPID, OTHER_APPID, "hint: correct the app id to"];
    for arguments in [
        ["run", "--date", NEXT].as_slice(),
        &["fetch", "--date", NEXT],
        &["run", "--date", DAY, "--force"],
        &["verify", "--against-api", "--date", DAY],
    ] {
        is_refused(&world, &simulator, &words, || {
            with_app(&world, &simulator, OTHER_APPID, "acme", arguments)
        });
    }
    let doctor = with_app(&world, &simulator, OTHER_APPID, "acme", &["doctor"]);
    assert_eq!(doctor.status.code(), Some(78));
    let shown = String::from_utf8(doctor.stdout).unwrap();
    assert!(shown.contains("FAIL  app") && shown.contains("the account acme has"), "{shown}");

    // Copies a lake without kefu's own folder. The app id then comes from the newest messages.
    fs_err::remove_dir_all(world.lake_folder().join("_kefu")).unwrap();
    is_refused(&world, &simulator, &words, || {
        with_app(&world, &simulator, OTHER_APPID, "acme", &["run", "--date", NEXT])
    });
    succeeds(&with_app(&world, &simulator, APPID, "acme", &["run", "--date", NEXT]));
    assert_eq!(record_of(&world, APPID).as_deref(), Some("acme\n"));
    assert_eq!(broken(&world, &world.lake_folder()), []);
    // Another app can use the same lake under its own name.
    succeeds(&with_app(&world, &simulator, OTHER_APPID, "outlet", &["run", "--date", DAY]));
    assert_eq!(broken(&world, &world.lake_folder()), []);
}

#[test]
fn one_app_under_two_names_is_refused_before_anything_is_fetched() {
    let world = World::new();
    let simulator = simulate(&world);
    succeeds(&with_app(&world, &simulator, APPID, "acme", &["run", "--date", DAY]));
    let words = [
        APPID,
        "under the account acme",
        "its account in the settings is shop",
        "use the name acme",
    ];
    is_refused(&world, &simulator, &words, || {
        with_app(&world, &simulator, APPID, "shop", &["run", "--date", DAY])
    });
    // The demo has the same app id as the simulator.
    is_refused(&world, &simulator, &["its account in the settings is demo"], || {
        world
            .command(&["demo", "--lake", &world.lake_folder().display().to_string()])
            .output()
            .unwrap()
    });
}

#[test]
fn a_token_without_an_app_id_records_no_app_and_a_later_app_id_is_recorded() {
    let world = World::new();
    let simulator = simulate(&world);
    succeeds(&with_token(&world, &simulator, "acme", &["run", "--date", DAY]));
    assert_eq!((app_in_footer(&world, DAY), world.lake().apps().unwrap().len()), (None, 0));

    // Existing messages without an app id stay unchanged, and the account continues.
    let first = world.bytes(DAY);
    succeeds(&with_app(&world, &simulator, APPID, "acme", &["run", "--from", DAY, "--to", NEXT]));
    assert_eq!(record_of(&world, APPID).as_deref(), Some("acme\n"));
    assert_eq!(app_in_footer(&world, NEXT).as_deref(), Some(APPID));
    assert!(world.bytes(DAY) == first);
    assert_eq!(broken(&world, &world.lake_folder()), []);
    succeeds(&with_token(&world, &simulator, "acme", &["run", "--date", DAY, "--force"]));
    assert_eq!(broken(&world, &world.lake_folder()), []);
    // The metrics depend on the rows of the messages, not on the app id in their footer.
    let metrics = world.command(&["metrics", "--output", "json"]).output().unwrap();
    let metrics: Value = serde_json::from_slice(&metrics.stdout).unwrap();
    assert_eq!(metrics["metrics"]["computed"], serde_json::json!([]));
}

#[test]
fn an_app_id_that_wechat_refuses_is_not_recorded() {
    let world = World::new();
    let simulator = simulate(&world);
    let run = |app: &str| with_app(&world, &simulator, app, "acme", &["run", "--date", DAY]);
    assert_eq!(run("wx0").status.code(), Some(77));
    assert_eq!(world.lake().apps().unwrap().len(), 0);
    succeeds(&run(APPID));
}

#[test]
fn an_app_id_that_could_leave_its_folder_is_refused() {
    let world = World::new();
    let simulator = simulate(&world);
    for app in ["../../../outside", "/tmp/outside", "..", "wx 1", "_wx1", "a\nb"] {
        is_refused(&world, &simulator, &["KEFU_APPID is wrong"], || {
            with_app(&world, &simulator, app, "acme", &["run", "--date", DAY])
        });
    }
    assert!(files(world.folder.path()).iter().all(|path| path.starts_with(world.lake_folder())));
}

#[test]
fn mixed_apps_and_wrong_app_records_are_found() {
    let mut world = World::new();
    let fetch = |world: &World, day: &str| {
        let records = (0..6).map(|number| record(MIDNIGHT + number * 28_800, "text"));
        let night = world.fetch(recorded(records), &[], &[day]);
        assert!(night.report.failed.is_empty());
    };
    fetch(&world, DAY);
    let job = |world: &World| MetricsJob {
        lake: world.lake(),
        account: world.account(),
        zone: world.zone.clone(),
        rules: Rules::Given(Parameters::in_zone(world.zone.name())),
    };
    let compute = |world: &World| {
        assert!(rebuild_metrics(&job(world), None, &(), &Default::default()).is_ok())
    };
    compute(&world);
    let root = world.lake_folder();
    let apps = root.join("_kefu/apps");
    assert_eq!(broken(&world, &root), []);

    let of = |path: String| ("app".to_owned(), path);
    let of_day = |day: &str| of(format!("messages/date={day}/acme.parquet"));
    // The record of the app names another account.
    fs_err::write(apps.join(APPID), "other\n").unwrap();
    assert_eq!(broken(&world, &root), [of_day(DAY)]);
    // Another app is recorded for the same account.
    fs_err::write(apps.join(APPID), "acme\n").unwrap();
    fs_err::write(apps.join(OTHER_APPID), "acme\n").unwrap();
    assert_eq!(broken(&world, &root), [of(format!("_kefu/apps/{OTHER_APPID}"))]);
    // An empty record does not name an account.
    fs_err::write(apps.join(OTHER_APPID), "").unwrap();
    let unreadable = ("unreadable".to_owned(), format!("_kefu/apps/{OTHER_APPID}"));
    assert_eq!(broken(&world, &root), [unreadable]);
    let simulator = simulate(&world);
    let run = with_app(&world, &simulator, APPID, "acme", &["run", "--date", DAY]);
    assert_eq!(run.status.code(), Some(73));
    assert!(
        stderr(&run)
            .contains("write the name of the account with the records of this app into the file"),
        "{}",
        stderr(&run)
    );
    fs_err::remove_file(apps.join(OTHER_APPID)).unwrap();

    // Adds messages of a second app to the account. Earlier versions allowed this.
    world.app_id = Some(AppId::new(OTHER_APPID.into()).unwrap());
    fetch(&world, NEXT);
    compute(&world);
    assert_eq!(broken(&world, &root), [of_day(DAY)]);
}

#[test]
fn an_app_record_without_files_is_ignored_and_a_lost_one_comes_from_the_messages() {
    let world = World::new();
    let simulator = simulate(&world);
    let run = |account: &str, day: &str| {
        with_app(&world, &simulator, APPID, account, &["run", "--date", day])
    };
    succeeds(&run("acme", DAY));
    // A lake may be copied without kefu's own folder.
    fs_err::remove_dir_all(world.lake_folder().join("_kefu")).unwrap();
    let refused = run("other", DAY);
    assert_eq!(refused.status.code(), Some(78), "{}", stderr(&refused));
    assert!(
        stderr(&refused).contains(
            "this lake has the records of the app wx5ec0de51mu1a70 under the account acme"
        ),
        "{}",
        stderr(&refused)
    );
    assert!(!world.lake_folder().join(format!("messages/date={DAY}/other.parquet")).exists());
    // After the files of an account were deleted, its app may have another name.
    succeeds(&run("acme", NEXT));
    for table in Table::ALL {
        let _ = fs_err::remove_dir_all(world.lake_folder().join(table.name()));
    }
    // This also works where an old record has the same name with a capital letter.
    fs_err::write(world.lake_folder().join("_kefu/apps/wx0"), "Other\n").unwrap();
    succeeds(&run("other", DAY));
    let recorded = fs_err::read_to_string(world.lake_folder().join("_kefu/apps").join(APPID));
    assert_eq!(recorded.unwrap(), "other\n");
}

#[test]
fn the_same_records_of_the_same_app_give_the_same_bytes() {
    let lakes = [World::new(), World::new()].map(|world| {
        let simulator = simulate(&world);
        succeeds(&with_app(
            &world,
            &simulator,
            APPID,
            "acme",
            &["run", "--from", DAY, "--to", NEXT],
        ));
        let root = world.lake_folder();
        let own = files(&root.join("_kefu/apps"));
        let all = world.table_files().into_iter().chain(own);
        all.map(|path| (path.strip_prefix(&root).unwrap().to_owned(), fs_err::read(&path).unwrap()))
            .collect::<Vec<_>>()
    });
    assert!(lakes[0] == lakes[1] && lakes[0].len() == 2 * 6 + 2);
}

#[test]
fn an_account_name_that_readers_hide_is_refused_from_any_setting() {
    let world = World::new();
    let simulator = simulate(&world);
    for name in ["_shop", ".shop"] {
        let words = [name, "begin"];
        is_refused(&world, &simulator, &words, || {
            with_app(&world, &simulator, APPID, name, &["run", "--date", DAY])
        });
        // Without an account name, the app id becomes the account name.
        is_refused(&world, &simulator, &words, || {
            let mut command = world.command(&["run", "--date", DAY]);
            command.env("KEFU_APPID", name).env("KEFU_SECRET", SECRET).output().unwrap()
        });
        let config = world.folder.path().join("kefu.toml");
        let accounts = [format!("name = '{name}'\nappid = 'wx1'"), format!("appid = '{name}'")];
        for account in accounts {
            fs_err::write(&config, format!("[[accounts]]\n{account}\nsecret_env = 'S'")).unwrap();
            is_refused(&world, &simulator, &words, || world.command(&["run"]).output().unwrap());
        }
        fs_err::remove_file(&config).unwrap();
    }
    assert!(!world.lake_folder().exists());
}

#[test]
fn a_hidden_account_of_an_earlier_version_is_still_read_and_reported() {
    let world = World { hidden: true, ..World::new() };
    let records = (0..3).map(|number| record(MIDNIGHT + number, "text"));
    let night = world.fetch(recorded(records), &[], &[DAY]);
    assert!(night.report.failed.is_empty());
    succeeds(&world.command(&["metrics"]).output().unwrap());
    let status = world.command(&["status", "--output", "json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((&status["account"], &status["days"][0]["messages"]), (&"_acme".into(), &3.into()));
    // The commands also read the account if the settings name it.
    for command in ["status", "verify", "report", "sql"] {
        let output = world.command(&[command]).env("KEFU_ACCOUNT", "_acme").output().unwrap();
        let code = if command == "verify" { 65 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{command}: {output:?}");
    }
    let hidden = format!("messages/date={DAY}/_acme.parquet");
    let found = broken(&world, &world.lake_folder());
    assert_eq!(found, [("hidden_account".to_owned(), hidden.clone())]);
    // Its files are verified like those of any other account.
    fs_err::write(world.lake_folder().join(&hidden), "garbage").unwrap();
    let found = broken(&world, &world.lake_folder());
    assert!(found.contains(&("unreadable".to_owned(), hidden)), "{found:?}");
}

#[test]
fn a_lake_below_a_key_value_folder_is_refused_for_writing_and_can_be_read() {
    let world = World::new();
    let simulator = simulate(&world);
    succeeds(&with_app(&world, &simulator, APPID, "acme", &["run", "--date", DAY]));
    let below = world.folder.path().join("region=cn");
    let link = world.folder.path().join("link");
    fs_err::create_dir(&below).unwrap();
    symlink(&below, &link).unwrap();
    let words = ["region=cn", "take for a partition", "hint: move the whole folder of the lake"];
    let at = |arguments: &[&str], lake: &Path, from: &Path| -> Command {
        let mut command = world.command(arguments);
        command
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("KEFU_APPID", APPID)
            .env("KEFU_SECRET", SECRET)
            .env("KEFU_LAKE", lake)
            .current_dir(from);
        command
    };
    let run = ["run", "--date", DAY];
    let here = world.folder.path();
    for (lake, from) in [
        (below.join("new/lake").as_path(), here),
        (&here.join("lake=1"), here),
        (Path::new("lake"), &below),
        (Path::new("../region=cn/lake"), &below),
        (&link.join("lake"), here),
    ] {
        is_refused(&world, &simulator, &words[1..], || at(&run, lake, from).output().unwrap());
    }
    is_refused(&world, &simulator, &words, || {
        world.command(&["demo"]).current_dir(&below).output().unwrap()
    });
    assert_eq!(fs_err::read_dir(&below).unwrap().count(), 0, "no lake was begun");

    // A lake that is already in such a folder.
    let lake = below.join("lake");
    fs_err::rename(world.lake_folder(), &lake).unwrap();
    for arguments in [["metrics"].as_slice(), &["prune", "--before", "2016-01-01", "--yes"]] {
        is_refused(&world, &simulator, &words, || at(arguments, &lake, here).output().unwrap());
    }
    for arguments in ["status", "report", "sql"] {
        succeeds(&at(&[arguments], &lake, here).output().unwrap());
    }
    let sql = at(&["sql"], &lake, here).output().unwrap();
    assert!(stderr(&sql).contains("warning: the path of the lake at"), "{}", stderr(&sql));
    assert_eq!(broken(&world, &lake), [("place".to_owned(), String::new())]);
    let doctor = at(&["doctor"], &lake, here).output().unwrap();
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("FAIL  lake"), "{doctor:?}");

    // The hint says to move the lake. After that, `kefu verify` finds nothing broken.
    fs_err::rename(&lake, world.lake_folder()).unwrap();
    assert_eq!(broken(&world, &world.lake_folder()), []);
}

/// A file system without locks: each lock fails with this errno.
#[derive(Debug)]
struct WithoutLocks(i32);

impl Failpoint for WithoutLocks {
    fn before(&self, operation: Operation, _: &Path) -> io::Result<()> {
        match operation {
            Operation::Lock => Err(io::Error::from_raw_os_error(self.0)),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_file_system_without_locks_is_an_error_with_path_and_hint() {
    let world = World::new();
    drop(world.lake().lock(&world.account()).unwrap());
    // ENOLCK, EINVAL, EOPNOTSUPP, ENOSYS
    for errno in [37, 22, 95, 38] {
        let lake = world.lake().with_failpoint(Arc::new(WithoutLocks(errno)));
        let failures = [
            lake.lock(&world.account()).map(drop).map_err(Failure::from),
            lake.lock_shared(LocksOf::All).map(drop).map_err(Failure::from),
            lake.owner().map(drop).map_err(Failure::from),
        ];
        for failure in failures {
            let failure = failure.unwrap_err();
            assert_eq!(failure.kind.exit_code(), 73);
            let (said, hint) = (failure.to_string(), failure.hint.unwrap_or_default());
            let path = world.lake_folder().join("_kefu/accounts/acme/lock").display().to_string();
            assert!(
                said.starts_with(&format!("{path} cannot be locked on its file system (")),
                "{said}"
            );
            assert!(hint.contains("local disk") && hint.contains("nobrl"), "{hint}");
        }
    }
}

/// A file system that cannot sync folders, such as CIFS and some FUSE mounts.
#[derive(Debug)]
struct WithoutFolderSync;

impl Failpoint for WithoutFolderSync {
    fn before(&self, operation: Operation, _: &Path) -> io::Result<()> {
        match operation {
            Operation::SyncFolder => Err(io::Error::from_raw_os_error(22)),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_lake_is_written_even_where_folders_cannot_be_synced() {
    let world = World { failpoint: Some(Arc::new(WithoutFolderSync)), ..World::new() };
    drop(world.lake().lock(&world.account()).unwrap());
    let night = world.fetch(recorded([record(MIDNIGHT, "x")]), &[], &[DAY]);
    assert!(night.report.failed.is_empty(), "{:?}", night.report.failed);
    assert!(world.has(Table::Messages, DAY));
    world
        .lake()
        .prune(&[Table::Messages], NEXT.parse().unwrap(), |_, _| Ok::<_, LakeError>(()))
        .unwrap();
    assert!(!world.has(Table::Messages, DAY));
}

#[test]
fn two_accounts_that_start_with_one_app_cannot_both_store_its_records() {
    // Recreates two runs that both looked for the app before either had recorded it.
    let mut world = World::new();
    assert!(world.fetch(recorded([record(MIDNIGHT, "x")]), &[], &[DAY]).report.failed.is_empty());
    world.hidden = true;
    let night = world.fetch(recorded([record(MIDNIGHT, "x")]), &[], &[DAY]);
    let said = night.report.failed[0].failure.to_string();
    assert_eq!(night.failure(), ErrorKind::Settings, "{said}");
    assert!(
        said.contains(
            "this lake has the records of the app wx5ec0de51mu1a70 under the account acme"
        ),
        "{said}"
    );
}
