//! The table `workers`: who is who, as WeChat's list of workers says.

use std::sync::{Arc, Mutex};

use kefu::calendar::{Clock, Day, DayRange};
use kefu::lake::{AppId, Lake, LakeError, Table};
use kefu::model::cancel::Cancel;
use kefu::model::privacy::{Privacy, WorkerNames};
use kefu::pipeline::{Request, RunReport, WorkersReport, redact, run_account};
use kefu::simulator::{
    APPID, Generated, GeneratorOptions, Options, Records, RenderedPage, SimulatedWorker, Simulator,
};

use crate::world::{World, wanted};

const FIRST: &str = "2024-05-13";

/// Midday in Beijing, some days after 2024-05-13.
fn midday(days: i64) -> Clock {
    Clock::starting_at(1_715_572_800 + days * 86_400)
}

fn generated() -> Generated {
    Generated::new(GeneratorOptions {
        first_day: FIRST.parse().unwrap(),
        days: 2,
        messages_per_day: 200,
        seed: 1,
    })
}

/// Generated records, with another list of workers.
#[derive(Clone)]
struct Listing(Arc<Mutex<Vec<(&'static str, &'static str)>>>, Arc<Generated>);

impl Listing {
    fn of(listed: &[(&'static str, &'static str)]) -> Self {
        Self(Arc::new(Mutex::new(listed.to_vec())), Arc::new(generated()))
    }

    fn set(&self, listed: &[(&'static str, &'static str)]) {
        *self.0.lock().unwrap() = listed.to_vec();
    }
}

impl Records for Listing {
    fn page(&self, start: i64, end: i64, after: i64, limit: usize) -> RenderedPage {
        self.1.page(start, end, after, limit)
    }

    fn workers(&self, _day: Day) -> Vec<SimulatedWorker> {
        let listed = self.0.lock().unwrap();
        let worker = |(account, nick): &(&str, &str)| SimulatedWorker {
            account: (*account).to_owned(),
            nick: (*nick).to_owned(),
        };
        listed.iter().map(worker).collect()
    }
}

impl World {
    /// Runs the nightly job some days after 2024-05-13, and fetches that day again.
    fn night(&self, simulator: &Simulator, days: i64) -> RunReport {
        let mut job = self.job(simulator);
        job.clock = midday(days);
        let mut asked = wanted(FIRST, FIRST);
        asked.force = true;
        run_account(&job, &Request::Run(asked), &(), &Cancel::default())
    }

    fn simulate_at(&self, records: impl Records, days: i64, faults: &[&str]) -> Simulator {
        let options = Options { clock: midday(days), ..self.options(faults) };
        self.simulate(records, options)
    }

    fn list_days(&self) -> Vec<String> {
        let days = self.lake().days(Table::Workers, &self.account()).unwrap();
        days.iter().map(ToString::to_string).collect()
    }

    fn name(&self, worker: &str) -> Option<String> {
        self.lake()
            .worker_names(&[self.account()])
            .unwrap()
            .get_mut(&self.account())?
            .remove(worker)
    }
}

#[track_caller]
fn succeeded(report: RunReport) -> WorkersReport {
    assert_eq!(report.kind(), None, "{report:?}");
    report.workers.unwrap()
}

#[test]
fn the_list_is_written_when_it_changes_and_names_of_deleted_workers_stay() {
    let world = World::new();
    for (days, is_changed) in
        [(1, true), (2, false), (29, false), (30, true), (60, true), (61, false)]
    {
        let simulator = world.simulate_at(generated(), days, &[]);
        let workers = succeeded(world.night(&simulator, days));
        assert_eq!(workers.is_changed, is_changed, "{days} days later");
    }
    assert_eq!(world.list_days(), ["2024-05-14", "2024-06-12", "2024-07-12"]);
    // Without the note of the latest list, and with a wrong one, the lists themselves tell.
    let note = world.lake_folder().join("_kefu/accounts/acme/workers");
    assert_eq!(fs_err::read_to_string(&note).unwrap(), "2024-07-12\n");
    for wrong in ["", "2024-07-11\n", "2999-01-01\n", "x"] {
        fs_err::write(&note, wrong).unwrap();
        let simulator = world.simulate_at(generated(), 62, &[]);
        assert!(!succeeded(world.night(&simulator, 62)).is_changed, "{wrong}");
    }
    assert_eq!(
        world.rows("workers", "2024-05-14")[1],
        ["acme", "kf2002@kefu_demo", "1002", "小林"]
    );
    // One worker was renamed, another one has left, and a third one has the same name as before.
    assert_eq!(world.rows("workers", "2024-07-12").len(), 5);
    assert_eq!(world.name("kf2002@kefu_demo").as_deref(), Some("小林（组长）"));
    assert_eq!(world.name("kf2003@kefu_demo").as_deref(), Some("小黄"));
    assert_eq!(world.name("kf2004@kefu_demo").as_deref(), Some("小张"));
}

#[test]
fn a_list_that_cannot_be_read_is_no_failure_and_the_latest_one_stays() {
    let world = World::new();
    let simulator = world.simulate_at(generated(), 1, &[]);
    succeeded(world.night(&simulator, 1));
    for (fault, word) in [
        ("workers/errcode:48001", "48001"),
        ("workers/errcode:-1", "-1"),
        ("workers/html", "an HTML page"),
        ("workers/status:404", "404"),
        ("workers/reset", "connection"),
    ] {
        let simulator = world.simulate_at(generated(), 40, &[fault]);
        let workers = succeeded(world.night(&simulator, 40));
        assert!(!workers.is_changed, "{fault}");
        let problem = workers.problem().unwrap();
        assert!(problem.contains(word), "{fault}: {problem}");
        assert!(!simulator.tokens().iter().any(|token| problem.contains(token)), "{problem}");
    }
    // A token that expires is renewed, and a call that fails once is repeated.
    for fault in ["workers/expire-token@1", "workers/status:503@1x2"] {
        let simulator = world.simulate_at(generated(), 1, &[fault]);
        assert_eq!(succeeded(world.night(&simulator, 1)).problem(), None, "{fault}");
    }
    assert_eq!(world.list_days(), ["2024-05-14"]);
}

#[test]
fn an_empty_list_removes_no_name_and_two_entries_of_one_worker_are_one() {
    let world = World::new();
    let records = Listing::of(&[("b@acme", "乙"), ("a@acme", "甲"), ("b@acme", "丙"), ("", "x")]);
    let simulator = world.simulate_at(records.clone(), 1, &[]);
    let workers = succeeded(world.night(&simulator, 1));
    assert_eq!((workers.listed, workers.unreadable, workers.is_changed), (2, 1, true));
    assert!(workers.problem().unwrap().contains("left out: 1"));
    let names: Vec<_> =
        world.rows("workers", "2024-05-14").into_iter().map(|row| row[3].clone()).collect();
    assert_eq!(names, ["甲", "丙"]);
    records.set(&[]);
    let workers = succeeded(world.night(&simulator, 2));
    assert_eq!(workers.problem().as_deref(), Some("WeChat lists no worker"));
    assert_eq!(world.list_days(), ["2024-05-14"]);
    // The same list in another order is the same list.
    records.set(&[("a@acme", "甲"), ("b@acme", "丙")]);
    let workers = succeeded(world.night(&simulator, 3));
    assert!(workers.is_changed, "the ids follow the order of the list");
    let lists = world.list_days();
    assert!(!succeeded(world.night(&simulator, 4)).is_changed);
    assert_eq!(world.list_days(), lists);
}

#[test]
fn a_list_is_no_fetched_day() {
    let world = World::new();
    let simulator = world.simulate_at(generated(), 9, &[]);
    let mut job = world.job(&simulator);
    job.clock = midday(1);
    // WeChat has no record of the days before the first one.
    let asked = wanted("2024-05-10", "2024-05-11");
    let report = run_account(&job, &Request::Fetch(asked), &(), &Cancel::default());
    assert!(succeeded(report).is_changed);
    let lake = world.lake();
    assert_eq!(world.list_days(), ["2024-05-14"]);
    assert_eq!(lake.first_day(&world.account()).unwrap(), None);
    assert_eq!(lake.newest_day("2024-06-01".parse().unwrap()).unwrap(), None);
    assert!(!lake.has_account(&world.account()).unwrap());
    assert!(lake.accounts().unwrap().is_empty());
    // An empty day after it does not count as one with earlier days.
    let report = run_account(
        &job,
        &Request::Fetch(wanted("2024-05-20", "2024-05-20")),
        &(),
        &Cancel::default(),
    );
    assert_eq!(report.fetch.unwrap().left_out.len(), 1);
    // Without a day to fetch, WeChat is not asked.
    succeeded(world.night(&simulator, 1));
    let calls = simulator.requests().len();
    let report = run_account(&job, &Request::Run(wanted(FIRST, FIRST)), &(), &Cancel::default());
    assert!(report.workers.is_none());
    assert_eq!(simulator.requests().len(), calls);
}

#[test]
fn names_are_left_out_and_removed_where_the_settings_say_so() {
    let mut world = World::new();
    let simulator = world.simulate_at(generated(), 1, &[]);
    succeeded(world.night(&simulator, 1));
    world.privacy = Privacy { worker_names: WorkerNames::Drop, ..Privacy::default() };
    assert!(succeeded(world.night(&simulator, 2)).is_changed);
    let names = |day: &str| -> Vec<_> {
        world.rows("workers", day).into_iter().map(|row| row[3].clone()).collect()
    };
    assert!(names("2024-05-15").iter().all(|name| name == "null"), "{:?}", names("2024-05-15"));
    assert!(names("2024-05-14").iter().all(|name| name.starts_with('小')));
    let lake = Lake::at(world.lake_folder());
    let before = world.bytes(FIRST);
    let sweep = |is_applied: bool| {
        let _lock = lake.lock(&world.account()).unwrap();
        let cancel = Cancel::default();
        let report =
            redact(&lake, &world.account(), &world.privacy, &[], is_applied, &(), &cancel).unwrap();
        let of_table = report.tables.iter().find(|table| table.table == "workers").unwrap();
        (report.files(), of_table.texts)
    };
    assert_eq!(sweep(false), (1, 6));
    assert!(names("2024-05-14").iter().all(|name| name.starts_with('小')));
    assert_eq!(sweep(true), (1, 6));
    assert!(names("2024-05-14").iter().all(|name| name == "null"));
    assert_eq!(sweep(true), (0, 0));
    assert_eq!(world.bytes(FIRST), before);
    let verified = world.command(&["verify", "--date", "2024-05-14"]).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    // Names come back with the next list.
    world.privacy = Privacy::default();
    assert!(succeeded(world.night(&simulator, 3)).is_changed);
    assert_eq!(world.name("kf2001@kefu_demo").as_deref(), Some("小陈"));
}

/// A first run that finds no record leaves a list of workers, and no day.
#[test]
fn an_account_that_has_only_a_list_can_be_redacted() {
    let world = World::new();
    let simulator = world.simulate_at(generated(), 9, &[]);
    let mut job = world.job(&simulator);
    job.clock = midday(1);
    let asked = Request::Fetch(wanted("2024-05-10", "2024-05-11"));
    assert!(succeeded(run_account(&job, &asked, &(), &Cancel::default())).is_changed);
    fs_err::write(world.folder.path().join("kefu.toml"), "privacy.workers = \"drop\"\n").unwrap();
    let names = || -> Vec<_> {
        world.rows("workers", "2024-05-14").into_iter().map(|row| row[3].clone()).collect()
    };
    let before = names();
    let redact = |arguments: &[&str]| {
        let output = world.command(&[&["redact"], arguments].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(redact(&[]).contains("6 names removed"));
    assert_eq!(names(), before);
    // The account comes from the lake, or is named.
    redact(&["--account", "acme", "--yes"]);
    assert!(names().iter().all(|name| name == "null"), "{:?}", names());
    assert!(redact(&["--yes"]).contains("no file has anything to remove"));
    // It leaves no record of settings that later records would have to follow.
    assert!(world.lake().privacy(&world.account()).unwrap().is_none());
    // There is no customer to forget, and no other account.
    for arguments in [&["forget", "--openid", "oC1"][..], &["redact", "--account", "nobody"]] {
        let output = world.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
    }
}

#[test]
fn retention_keeps_the_latest_list_of_each_account() {
    let world = World::new();
    for days in [1, 30, 60] {
        let simulator = world.simulate_at(generated(), days, &[]);
        succeeded(world.night(&simulator, days));
    }
    let lake = world.lake();
    let _lock = lake.lock_all().unwrap();
    let listed = |before: &str| -> Vec<String> {
        let files = lake.partitions_before(Table::Workers, before.parse().unwrap()).unwrap();
        files.iter().map(|file| file.day.to_string()).collect()
    };
    assert_eq!(listed("2024-06-12"), ["2024-05-14"]);
    assert_eq!(listed("2025-01-01"), ["2024-05-14", "2024-06-12"]);
    lake.prune(&[Table::Workers], "2025-01-01".parse().unwrap(), |_, _| Ok::<_, LakeError>(()))
        .unwrap();
    assert_eq!(world.list_days(), ["2024-07-12"]);
    assert_eq!(lake.pruned(&world.account()).unwrap().first_kept(Table::Workers), None);
    assert!(listed("2025-01-01").is_empty());
}

#[test]
fn verify_finds_a_list_that_was_changed_and_no_gap_where_only_a_list_is() {
    let world = World::new();
    let simulator = world.simulate_at(generated(), 1, &[]);
    succeeded(world.night(&simulator, 1));
    let verify = || {
        let output = world.command(&["verify", "--output", "json"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str::<serde_json::Value>(text.lines().last().unwrap()).unwrap()
    };
    let sound = verify();
    assert_eq!(sound["findings"], serde_json::json!([]));
    assert_eq!((&sound["days"], &sound["files"]), (&1.into(), &7.into()));
    let path = world.path("workers", "2024-05-14");
    let mut bytes = fs_err::read(&path).unwrap();
    let place = bytes.len() / 3;
    bytes[place] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    let damaged = verify();
    let findings = damaged["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0]["advice"].as_str().unwrap().contains("the next run writes the list again"));
    // Readers of names skip a list that is no Parquet, and the next run writes it again.
    fs_err::write(&path, "not parquet").unwrap();
    assert!(
        world
            .lake()
            .worker_names(&[world.account()])
            .unwrap()
            .values()
            .all(|names| names.is_empty())
    );
    assert!(succeeded(world.night(&simulator, 1)).is_changed);
    assert_eq!(verify()["findings"], serde_json::json!([]));
}

#[test]
fn the_command_line_warns_of_a_list_that_cannot_be_read() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&["workers/errcode:48001"]));
    let arguments = ["run", "--date", FIRST];
    let output = world.kefu(&simulator, &arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("warning: acme: names of workers: WeChat answered 48001"), "{stderr}");
    assert!(
        stderr.contains("\n\nhint: check the account's verification and permissions"),
        "{stderr}"
    );
    let arguments = ["run", "--date", FIRST, "--force", "--log-format", "json"];
    let output = world.kefu(&simulator, &arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let events: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let warned = events.iter().find(|event| event["event"] == "workers_not_listed").unwrap();
    assert_eq!(warned["account"], "acme");
    assert!(warned["reason"].as_str().unwrap().contains("48001"));
}

#[test]
fn the_apps_of_two_accounts_are_not_mixed_up_by_lists() {
    // A first run that finds nothing leaves a list. It must not keep the app from being used under
    // another account name.
    let world = World::new();
    let simulator = world.simulate_at(generated(), 1, &[]);
    let mut job = world.job(&simulator);
    job.clock = midday(1);
    let asked = Request::Fetch(wanted("2024-05-10", "2024-05-10"));
    succeeded(run_account(&job, &asked, &(), &Cancel::default()));
    job.account = kefu::lake::Account::new("flagship".into()).unwrap();
    job.api.as_mut().unwrap().app_id = Some(AppId::new(APPID.into()).unwrap());
    let range = DayRange { first: FIRST.parse().unwrap(), last: FIRST.parse().unwrap() };
    let asked = Request::Fetch(kefu::pipeline::Wanted { range, ..wanted(FIRST, FIRST) });
    succeeded(run_account(&job, &asked, &(), &Cancel::default()));
}
