//! What a run asks of a bucket, two runs at the same time, and what kefu says of a bucket that it
//! cannot use.

use std::path::Path;
use std::process::Output;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use kefu::failure::ErrorKind;
use kefu::lake::Account;
use kefu::model::cancel::Cancel;
use kefu::pipeline::{AccountJob, Request, Wanted, run_account};
use kefu::simulator::{Recorded, SECRET, Simulator};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::stub::{Fate, Mode, Request as Asked, Stub};
use super::{KEY, KEY_ID, PREFIX, command, in_bucket, lake_of};
use crate::cli::accounts::good;
use crate::robustness::crashes::lines;
use crate::world::{DAY, MIDNIGHT, World, files, record, recorded, wanted};

const BUCKET: &str = "records";
const TOKEN: &str = "s3ss10n/t0ken+of=bucket";

fn stub(mode: Mode) -> Stub {
    let stub = Stub::start(mode);
    stub.create_bucket(BUCKET);
    stub
}

/// A message on each of some days up to the day of the world.
fn days(count: i64) -> Recorded {
    recorded((0..count).rev().map(|day| record(MIDNIGHT + 3_600 - day * 86_400, "x")))
}

fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn a_nightly_run_asks_little_of_a_bucket_with_three_years() {
    let (world, stub) = (World::new(), stub(Mode::Honours));
    let simulator = world.simulate(days(3 * 365), world.options(&[]));
    let job = AccountJob {
        lake: lake_of(&stub, &world, BUCKET, KEY_ID),
        ..World { concurrency: 4, ..World::new() }.job(&simulator)
    };
    let all = Request::Run(wanted("2013-06-03", "2016-05-31"));
    let report = run_account(&job, &all, &(), &Cancel::default());
    assert_eq!(report.kind(), None, "{report:?}");
    assert_eq!(stub.tables(BUCKET, PREFIX).len(), (3 * 365 - 1) * 6);

    // The run of a night, in a process of its own.
    let night = |first: &str, last: &str| {
        stub.take_requests();
        let lake = lake_of(&stub, &world, BUCKET, KEY_ID);
        let night = Wanted { is_named: false, refresh: 2, ..wanted(first, last) };
        let job = AccountJob { lake, ..job.clone() };
        let report = run_account(&job, &Request::Run(night), &(), &Cancel::default());
        assert_eq!(report.kind(), None, "{report:?}");
        stub.take_requests()
    };
    let requests = night("2016-05-29", "2016-05-31");
    let shown = || -> Vec<String> {
        requests.iter().map(|asked| format!("{} {}", asked.method, asked.key)).collect()
    };
    let of_tables = requests.iter().filter(|asked| asked.is_of_table() && asked.is_change());
    assert_eq!(of_tables.count(), 0, "{:#?}", shown());
    assert_eq!(requests.iter().filter(|asked| asked.is_listing()).count(), 1, "{:#?}", shown());
    assert!(requests.len() <= 60, "{} requests: {:#?}", requests.len(), shown());

    let requests = night("2016-05-30", DAY);
    let puts = requests.iter().filter(|asked| asked.method == "PUT").count();
    assert!(puts <= 30, "{puts} PUTs");
    assert!(stub.tables(BUCKET, PREFIX).contains_key(&format!("messages/date={DAY}/acme.parquet")));
}

#[test]
fn the_accounts_of_a_command_list_the_rejects_once() {
    let (world, stub) = (World::new(), stub(Mode::Honours));
    let simulator = world.serve(20, world.options(&[]));
    world.list(20, good);
    let run = |day: &str| {
        stub.take_requests();
        let run = world.many(&simulator, &["run", "--date", day]);
        done(&in_bucket(run, &stub, &world, BUCKET).output().unwrap());
        stub.take_requests()
    };
    // New accounts look for earlier days of theirs, too.
    run("2024-05-13");
    let of_rejects = |asked: &Asked| {
        let prefix = asked.query.get("prefix").map_or("", String::as_str);
        asked.is_listing() && prefix.contains("/rejects")
    };
    let listings = run("2024-05-14").into_iter().filter(of_rejects);
    assert_eq!(listings.count(), 1);
    assert_eq!(stub.tables(BUCKET, PREFIX).len(), 20 * 2 * 6);
}

#[test]
fn a_wrong_time_zone_is_noticed_after_a_few_files() {
    let (world, stub) = (World::new(), stub(Mode::Honours));
    let simulator = world.serve(10, world.options(&[]));
    world.list(10, good);
    let run = world.many(&simulator, &["run", "--from", "2024-05-13", "--to", "2024-05-18"]);
    done(&in_bucket(run, &stub, &world, BUCKET).output().unwrap());
    let files = stub.tables(BUCKET, PREFIX).len();
    assert_eq!(files, 10 * 6 * 6);
    stub.take_requests();
    let arguments = ["metrics", "--accounts", "1", "--timezone", "UTC"];
    let metrics = world.many(&simulator, &arguments);
    let output = in_bucket(metrics, &stub, &world, BUCKET).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("time zone Asia/Shanghai"), "{said}");
    let read = stub.take_requests().into_iter().filter(Asked::is_of_table).count();
    // The first one tells the zone of the lake. Then there are 8 files of 3 days of 2 tables, once
    // for all accounts.
    assert_eq!(read, 1 + 8 * 3 * 2);
}

#[test]
fn what_a_killed_run_left_in_scratch_space_is_removed_by_a_run_of_another_account() {
    let (world, stub) = (World::new(), stub(Mode::Honours));
    let begin = |account: &str| {
        let account = Account::new(account.to_owned()).unwrap();
        drop(lake_of(&stub, &world, BUCKET, KEY_ID).lock(&account).unwrap());
    };
    let only_entry = |folder: &Path| {
        let mut entries = fs_err::read_dir(folder).unwrap();
        let entry = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none(), "{}", folder.display());
        entry
    };
    begin("acme");
    let of_lake = only_entry(&only_entry(&world.folder.path().join(KEY_ID)));
    let left = of_lake.join("accounts/acme/staging/left");
    fs_err::write(&left, "PAR1").unwrap();
    begin("other");
    assert!(left.exists(), "its process may be alive");
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 60 * 60);
    let times = std::fs::FileTimes::new().set_modified(long_ago);
    fs_err::File::open(&left).unwrap().file().set_times(times).unwrap();
    begin("other");
    assert!(!left.exists());
}

#[test]
fn of_a_large_day_metrics_fetch_no_texts() {
    let (world, stub) = (World::new(), stub(Mode::Honours));
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let mut text =
        || (0..40).map(|_| format!("{:016x}", random.random::<u64>())).collect::<String>();
    let large = (0..20_000).map(|second| record(MIDNIGHT + second, &text()));
    let simulator = world.simulate(recorded(large), world.options(&[]));
    let run = |request: &Request| {
        let job =
            AccountJob { lake: lake_of(&stub, &world, BUCKET, KEY_ID), ..world.job(&simulator) };
        let report = run_account(&job, request, &(), &Cancel::default());
        assert_eq!(report.kind(), None, "{report:?}");
    };
    run(&Request::Fetch(wanted(DAY, DAY)));
    let key = format!("{PREFIX}/messages/date={DAY}/acme.parquet");
    let size = stub.objects(BUCKET)[&key].len();
    assert!(size > 4 << 20, "{size}");
    stub.take_requests();
    run(&Request::Run(wanted(DAY, DAY)));
    let requests = stub.take_requests();
    let gets = requests.iter().filter(|asked| asked.method == "GET" && asked.key == key);
    let fetched: usize = gets.map(|asked| asked.bytes_of(size)).sum();
    assert!(fetched < size / 5, "{fetched} of {size}");
    // The same metrics as those of a folder, where the whole file is there.
    run_account(&world.job(&simulator), &Request::Run(wanted(DAY, DAY)), &(), &Cancel::default());
    let of_bucket = stub.tables(BUCKET, PREFIX);
    let of_folder = world.contents();
    assert_eq!(of_bucket.len(), of_folder.len());
    for (name, content) in of_folder {
        assert!(of_bucket[name.to_str().unwrap()] == content, "{}", name.display());
    }
}

/// Runs the first job until it puts its first messages, then the second one to its end, then the
/// rest of the first.
fn overlap(stub: &Stub, first: &AccountJob, second: &AccountJob) -> [Option<ErrorKind>; 2] {
    let (waiting, waits) = mpsc::channel();
    let (go, going) = mpsc::channel::<()>();
    let (waiting, going) = (Mutex::new(Some(waiting)), Mutex::new(going));
    stub.set_hook(move |asked: &Asked| {
        let is_first = asked.signer() == "FIRST" && asked.method == "PUT";
        if is_first && asked.key.contains("/messages/") {
            let waiting = waiting.lock().unwrap().take();
            if let Some(waiting) = waiting {
                waiting.send(()).unwrap();
                going.lock().unwrap().recv().unwrap();
            }
        }
        Fate::Pass
    });
    let run = |job: &AccountJob| {
        let request = Request::Run(wanted(DAY, "2016-06-03"));
        run_account(job, &request, &(), &Cancel::default()).kind()
    };
    let classes = std::thread::scope(|scope| {
        let first = scope.spawn(|| run(first));
        waits.recv().unwrap();
        let second = run(second);
        go.send(()).unwrap();
        [first.join().unwrap(), second]
    });
    stub.unset_hook();
    classes
}

#[test]
fn of_two_runs_at_the_same_time_one_wins_each_day_and_none_is_lost() {
    let world = World::new();
    let simulator = |edition| {
        let options = world.options(&[]);
        world.runtime.block_on(Simulator::start(recorded(lines(edition)), options)).unwrap()
    };
    let simulators = [simulator("old"), simulator("new")];
    let request = Request::Run(Wanted { force: true, ..wanted(DAY, "2016-06-03") });
    let calm = {
        let stub = stub(Mode::Honours);
        let lake = lake_of(&stub, &world, BUCKET, KEY_ID);
        let job = AccountJob { lake, ..world.job(&simulators[1]) };
        assert_eq!(run_account(&job, &request, &(), &Cancel::default()).kind(), None);
        stub.tables(BUCKET, PREFIX)
    };
    for (editions, expected) in [([0, 1], Some(ErrorKind::Occupied)), ([1, 1], None)] {
        let stub = stub(Mode::Honours);
        let job = |signer: &str, edition: usize| AccountJob {
            lake: lake_of(&stub, &world, BUCKET, signer),
            ..world.job(&simulators[edition])
        };
        let [first, second] =
            overlap(&stub, &job("FIRST", editions[0]), &job("SECOND", editions[1]));
        assert_eq!(second, None, "{editions:?}");
        // Days after the one that was lost may be replaced: the run looked at them later.
        let is_expected = first == expected || first == expected.map(|_| ErrorKind::Partial);
        assert!(is_expected, "{editions:?}: {first:?}");
        let tables = stub.tables(BUCKET, PREFIX);
        assert_eq!(tables.keys().filter(|name| name.starts_with("messages")).count(), 3);
        let last = run_account(&job("LAST", 1), &request, &(), &Cancel::default());
        assert_eq!(last.kind(), None, "{last:?}");
        assert!(stub.tables(BUCKET, PREFIX) == calm, "{editions:?}");
    }
}

#[test]
fn a_store_without_conditions_needs_a_single_writer() {
    let world = World::new();
    let simulator = world.simulate(days(3), world.options(&[]));
    let arguments = ["run", "--from", "2016-05-30", "--to", DAY];
    for mode in [Mode::Refuses, Mode::Ignores] {
        let stub = stub(mode);
        let settings = world.folder.path().join("kefu.toml");
        let run = |arguments: &[&str]| {
            command(&stub, &world, &simulator, BUCKET, arguments).output().unwrap()
        };
        let refused = run(&arguments);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{said}");
        assert!(said.contains("single_writer"), "{said}");
        assert!(stub.objects(BUCKET).is_empty(), "{:?}", stub.objects(BUCKET).keys());
        fs_err::write(&settings, "[lake_options]\nsingle_writer = true\n").unwrap();
        let said = done(&run(&arguments));
        assert!(said.contains("not protected"), "{said}");
        assert_eq!(stub.tables(BUCKET, PREFIX).len(), 3 * 6);
        let doctor = run(&["doctor", "--output", "json"]);
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(said.contains("not protected") || said.contains("single_writer"), "{said}");
        // Several accounts say it once.
        fs_err::write(&settings, TWO_ACCOUNTS).unwrap();
        let metrics = command(&stub, &world, &simulator, BUCKET, &["metrics"])
            .env_remove("KEFU_APPID")
            .env_remove("KEFU_SECRET")
            .env_remove("KEFU_ACCOUNT")
            .output();
        let said = String::from_utf8(metrics.unwrap().stderr).unwrap();
        assert_eq!(said.matches("not protected").count(), 1, "{said}");
        fs_err::remove_file(&settings).unwrap();
    }
}

/// The state and the finding of a check of `kefu doctor`.
fn checked(world: &World, stub: &Stub, simulator: &Simulator, check: &str) -> (String, String) {
    let arguments = ["doctor", "--output", "json"];
    let output = command(stub, world, simulator, BUCKET, &arguments).output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = said["checks"].as_array().unwrap().iter().find(|found| found["check"] == check);
    let text = |name: &str| found.unwrap()[name].as_str().unwrap().to_owned();
    (text("state"), text("finding"))
}

/// Decides about the requests without credentials.
type Answers = fn(&Asked) -> Fate;

#[test]
fn the_doctor_says_whether_anybody_reaches_the_bucket_and_what_it_does_not_know() {
    let (world, stub) = (World::new(), stub(Mode::Honours));
    let simulator = world.simulate(days(2), world.options(&[]));
    let found = |fate: Answers| {
        stub.set_hook(move |asked: &Asked| match asked.signer() {
            "" => fate(asked),
            _ => Fate::Pass,
        });
        checked(&world, &stub, &simulator, "bucket access")
    };
    // There is no object yet that anybody could read.
    let (state, finding) = found(|_| Fate::Refuse(403, "AccessDenied"));
    assert_eq!(state, "warn");
    assert!(finding.contains("not known: whether anybody can read its objects"), "{finding}");
    done(&command(&stub, &world, &simulator, BUCKET, &["run", "--date", DAY]).output().unwrap());
    let cases: [(Answers, &str, &str); 6] = [
        (|_| Fate::Refuse(403, "AccessDenied"), "ok", "nobody lists or reads it"),
        (|_| Fate::Pass, "warn", "anybody can list it"),
        (
            |asked| match asked.is_listing() {
                true => Fate::Refuse(403, "AccessDenied"),
                false => Fate::Pass,
            },
            "warn",
            "anybody can read its objects",
        ),
        (|_| Fate::Drop, "warn", "not known: whether anybody can list it or read its objects"),
        (
            |asked| match asked.is_listing() {
                true => Fate::Refuse(503, "SlowDown"),
                false => Fate::Refuse(403, "AccessDenied"),
            },
            "warn",
            "not known: whether anybody can list it",
        ),
        (
            |asked| match asked.is_listing() {
                true => Fate::Refuse(403, "AccessDenied"),
                false => Fate::Refuse(301, "PermanentRedirect"),
            },
            "warn",
            "not known: whether anybody can read its objects",
        ),
    ];
    for (fate, state, finding) in cases {
        let found = found(fate);
        assert!(found.0 == state && found.1.contains(finding), "{finding}: {found:?}");
    }
}

#[test]
fn the_doctor_compares_the_clocks() {
    let (world, stub) = (World::new(), stub(Mode::Honours));
    let simulator = world.simulate(days(2), world.options(&[]));
    for (ahead, state, finding) in [
        (Some(0), "ok", "agrees"),
        (Some(600), "warn", "s behind the store's clock"),
        (Some(-600), "warn", "s ahead of the store's clock"),
        (None, "warn", "have no date"),
    ] {
        stub.set_clock(ahead);
        let found = checked(&world, &stub, &simulator, "bucket clock");
        assert!(found.0 == state && found.1.contains(finding), "{ahead:?}: {found:?}");
    }
}

#[test]
fn empty_objects_for_folders_are_no_damage_and_no_accounts() {
    let (world, stub) = (World::new(), stub(Mode::Honours));
    let simulator = world.simulate(days(2), world.options(&[]));
    let run = |arguments: &[&str]| {
        done(&command(&stub, &world, &simulator, BUCKET, arguments).output().unwrap())
    };
    run(&["run", "--from", "2016-05-31", "--to", DAY]);
    let mut objects = stub.objects(BUCKET);
    let folders: Vec<String> = objects
        .keys()
        .flat_map(|key| key.match_indices('/').map(|(at, _)| key[..=at].to_owned()))
        .collect();
    objects.extend(folders.into_iter().map(|folder| (folder, bytes::Bytes::new())));
    stub.fill(BUCKET, &objects);
    run(&["verify"]);
    run(&["status"]);
    run(&["prune", "--before", DAY, "--yes"]);
    let accounts = format!("{PREFIX}/_kefu/accounts/");
    let others = stub.objects(BUCKET).into_keys().filter(|key| {
        let below = key.strip_prefix(&accounts).filter(|below| !below.is_empty());
        below.is_some_and(|below| !below.starts_with("acme/"))
    });
    assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new());
}

const TWO_ACCOUNTS: &str = "
lake_options.single_writer = true
[[accounts]]
name = 'acme'
access_token_file = 'token'
[[accounts]]
name = 'other'
access_token_file = 'token'
";

/// A bucket that cannot be used: the answers to all requests or only to listings, the exit code and
/// a word of the hint.
const UNUSABLE: [(&str, u16, &str, u8, &str); 8] = [
    ("a wrong key", 403, "InvalidAccessKeyId", 77, "access key"),
    ("a wrong secret", 403, "SignatureDoesNotMatch", 77, "access key"),
    ("another region", 301, "PermanentRedirect", 78, "region"),
    ("another region's signature", 400, "AuthorizationHeaderMalformed", 78, "region"),
    ("no bucket", 404, "NoSuchBucket", 78, "create the bucket"),
    ("no permission to list", 403, "AccessDenied", 77, "list"),
    ("a wrong clock", 403, "RequestTimeTooSkewed", 77, "clock"),
    ("an expired token", 400, "ExpiredToken", 77, "AWS_SESSION_TOKEN"),
];

/// Checks that no credential is in a text.
#[track_caller]
fn require_no_credential(text: &[u8], place: &str) {
    let text = String::from_utf8_lossy(text);
    for secret in [KEY, TOKEN, SECRET, KEY_ID, "Signature=", "AWS4-HMAC"] {
        assert!(!text.contains(secret), "{secret} is in {place}: {text}");
    }
}

/// The command lines of the running kefu. Other processes of the machine may have any text in
/// theirs.
fn process_list() -> Vec<u8> {
    let processes = fs_err::read_dir("/proc").unwrap().flatten();
    processes
        .map(|process| fs_err::read(process.path().join("cmdline")).unwrap_or_default())
        .filter(|line| line.starts_with(env!("CARGO_BIN_EXE_kefu").as_bytes()))
        .flatten()
        .collect()
}

#[test]
fn a_bucket_that_cannot_be_used_is_an_error_with_a_hint_and_without_credentials() {
    let world = World::new();
    let simulator = world.simulate(days(2), world.options(&[]));
    let run = ["run", "--date", DAY];
    for (what, status, code, exit, word) in UNUSABLE {
        let stub = stub(Mode::Honours);
        let list: Arc<Mutex<Vec<u8>>> = Arc::default();
        let seen = list.clone();
        stub.set_hook(move |asked: &Asked| {
            seen.lock().unwrap().extend(process_list());
            match code != "AccessDenied" || asked.is_listing() {
                true => Fate::Refuse(status, code),
                false => Fate::Pass,
            }
        });
        for arguments in [&run[..], &["status"], &["verify"], &["doctor"]] {
            let arguments = [arguments, &["--log-level", "debug"]].concat();
            let mut command = command(&stub, &world, &simulator, BUCKET, &arguments);
            let output = command.env("AWS_SESSION_TOKEN", TOKEN).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            require_no_credential(&said, what);
            let said = String::from_utf8_lossy(&said).into_owned();
            // The client does not hand on what a redirect says.
            let is_named = said.contains(code) || what == "another region";
            assert!(is_named && said.contains(word), "{what}, {arguments:?}: {said}");
            let is_checked = arguments[0] != "doctor";
            assert!(
                !is_checked || output.status.code() == Some(i32::from(exit)),
                "{what}, {arguments:?}: {:?}: {said}",
                output.status
            );
        }
        require_no_credential(&list.lock().unwrap(), "the process list");
        assert!(!list.lock().unwrap().is_empty());
    }
    for path in files(world.folder.path()) {
        require_no_credential(&fs_err::read(&path).unwrap(), &path.display().to_string());
    }
}

#[test]
fn no_file_and_no_output_of_a_run_has_a_credential() {
    let (world, stub) = (World::new(), stub(Mode::Honours));
    let simulator = world.simulate(days(2), world.options(&[]));
    for arguments in [
        &["run", "--date", DAY][..],
        &["status"],
        &["verify"],
        &["report", "--from", DAY, "--to", DAY],
        &["sql"],
        &["doctor"],
    ] {
        let arguments = [arguments, &["--log-level", "debug"]].concat();
        let mut command = command(&stub, &world, &simulator, BUCKET, &arguments);
        let output = command.env("AWS_SESSION_TOKEN", TOKEN).output().unwrap();
        done(&output);
        require_no_credential(&[output.stdout, output.stderr].concat(), &arguments.join(" "));
    }
    for (key, content) in stub.objects(BUCKET) {
        require_no_credential(&content, &key);
    }
    for path in files(world.folder.path()) {
        require_no_credential(&fs_err::read(&path).unwrap(), &path.display().to_string());
    }
}

/// What a nightly run takes when each answer takes 30 ms. `benches/README.md` has the command.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout)]
fn a_nightly_run_at_30_ms_a_request() {
    let (world, stub) = (World::new(), stub(Mode::Honours));
    let simulator = world.simulate(days(30), world.options(&[]));
    let range = ["run", "--from", "2016-05-04", "--to", "2016-05-31"];
    done(&command(&stub, &world, &simulator, BUCKET, &range).output().unwrap());
    stub.set_hook(|_: &Asked| {
        std::thread::sleep(std::time::Duration::from_millis(30));
        Fate::Pass
    });
    for (what, last) in [("a new day", DAY), ("nothing to do", DAY)] {
        stub.take_requests();
        let begun = std::time::Instant::now();
        let nightly = ["run", "--from", "2016-05-30", "--to", last, "--refresh", "2"];
        done(&command(&stub, &world, &simulator, BUCKET, &nightly).output().unwrap());
        let seconds = begun.elapsed().as_secs_f64();
        println!("{what}: {} requests, {seconds:.2} s", stub.take_requests().len());
    }
}
