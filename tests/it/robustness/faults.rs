//! Random schedules of faults of WeChat and of the network. A committed day is complete. Any other
//! day fails with the documented error.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use kefu::failure::ErrorKind;
use kefu::lake::{Failpoint, Operation};
use kefu::wechat::{Proof, Secret};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

use crate::world::{MIDNIGHT, World, record, recorded};

const DAYS: [&str; 2] = ["2016-06-01", "2016-06-02"];

/// Faults that end when the call is repeated.
const PASSING: [&str; 12] = [
    "errcode:-1",
    "errcode:45011",
    "status:500",
    "status:502",
    "status:503:retry-after=7",
    "status:429",
    "status:408",
    "reset",
    "cut",
    "html",
    "expire-token",
    "errcode:42001",
];

/// Faults that do not end, with their error kind.
const LASTING: [(&str, ErrorKind); 22] = [
    ("errcode:40125", ErrorKind::Refused),
    ("errcode:40013", ErrorKind::Refused),
    ("errcode:40002", ErrorKind::Refused),
    ("errcode:41002", ErrorKind::Refused),
    ("errcode:41004", ErrorKind::Refused),
    ("errcode:40243", ErrorKind::Refused),
    ("errcode:40164", ErrorKind::Refused),
    ("errcode:61004", ErrorKind::Refused),
    ("errcode:89503", ErrorKind::Refused),
    ("errcode:48001", ErrorKind::Refused),
    ("errcode:48004", ErrorKind::Refused),
    ("errcode:50001", ErrorKind::Refused),
    ("errcode:50002", ErrorKind::Refused),
    ("errcode:61007", ErrorKind::Refused),
    ("errcode:65400", ErrorKind::Refused),
    ("errcode:45009", ErrorKind::Quota),
    ("errcode:65416", ErrorKind::Bug),
    ("errcode:41001", ErrorKind::Bug),
    ("errcode:47001", ErrorKind::Bug),
    ("status:404", ErrorKind::Settings),
    ("wrong-number", ErrorKind::Contract),
    ("stuck-cursor", ErrorKind::Contract),
];

struct Schedule {
    faults: Vec<String>,
    /// The exit codes that failed days may have. `None` if every fault ends: then all days are
    /// fetched.
    failures: Option<BTreeSet<u8>>,
    records: i64,
    page_records: usize,
    concurrency: usize,
}

impl Schedule {
    fn of(seed: u64) -> Self {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let records = rng.random_range(0..50);
        let page_records = rng.random_range(1..20);
        let calls = 2 * (records / page_records as i64 + 1);
        let is_hopeless = rng.random_bool(0.4);
        let mut faults = Vec::new();
        // The faults begin at the first call, the last call or any other. They have gaps between
        // them, so that no call uses up its retry budget.
        let mut at = match rng.random_range(0..3) {
            0 => 1,
            1 => calls,
            _ => rng.random_range(1..=calls),
        };
        for _ in 0..rng.random_range(1..4) {
            let fault = PASSING[rng.random_range(0..PASSING.len())];
            // If a token is refused twice in a row, kefu forces a new one. It does that only once
            // in a run.
            let times = if fault.contains("token") || fault.contains("42001") {
                1
            } else {
                rng.random_range(1..=2)
            };
            faults.push(format!("{fault}@{at}x{times}"));
            at += times + rng.random_range(2..9);
        }
        if rng.random_bool(0.2) {
            faults.push("token/status:503@1x2".to_owned());
        }
        let failures = is_hopeless.then(|| {
            let (fault, class) = LASTING[rng.random_range(0..LASTING.len())];
            // With its repetitions, the fault reaches the first call that can have it.
            faults.insert(0, format!("{fault}@{}x1000", rng.random_range(1..=calls)));
            BTreeSet::from([class.exit_code()])
        });
        Self {
            faults,
            failures,
            records,
            page_records,
            concurrency: if rng.random_bool(0.5) { 1 } else { 4 },
        }
    }
}

/// Runs a schedule and checks the result.
fn check(seed: u64) {
    let schedule = Schedule::of(seed);
    let spread = rand_pcg::Pcg64Mcg::seed_from_u64(seed).next_u32() % 5_000 + 100;
    let lines = || {
        (0..schedule.records).map(|number| {
            record(MIDNIGHT + number * i64::from(spread) % 172_800, &number.to_string())
        })
    };
    let clean = World::new().with_page_records(10_000);
    clean.fetch(recorded(lines()), &[], &DAYS);

    let world = World {
        concurrency: schedule.concurrency,
        ..World::new().with_page_records(schedule.page_records)
    };
    let faults: Vec<&str> = schedule.faults.iter().map(String::as_str).collect();
    let night = world.fetch(recorded(lines()), &faults, &DAYS);
    let story = || {
        format!(
            "seed {seed}: {faults:?}, {} records in pages of {}",
            schedule.records, schedule.page_records
        )
    };
    for day in DAYS {
        let is_fetched = night.report.fetched.iter().any(|fetched| fetched.date.to_string() == day);
        assert_eq!(is_fetched, world.path("messages", day).is_file(), "{}", story());
        if is_fetched {
            assert!(world.bytes(day) == clean.bytes(day), "{}", story());
        }
    }
    let report = &night.report;
    assert_eq!(
        report.fetched.len() + report.failed.len() + report.given_up.len() + report.left_out.len(),
        DAYS.len(),
        "{}",
        story()
    );
    assert!(world.staged_files().is_empty(), "{}", story());
    assert!(
        world
            .table_files()
            .iter()
            .all(|path| path.starts_with(world.lake_folder().join("messages"))),
        "{}",
        story()
    );
    match &schedule.failures {
        None => {
            assert!(report.failed.is_empty(), "{}: {:?}", story(), report.failed);
            // If there are no records at all, no day is committed.
            let committed = if schedule.records == 0 { 0 } else { DAYS.len() };
            assert_eq!(report.fetched.len(), committed, "{}", story());
        }
        Some(classes) => {
            for failed in &night.report.failed {
                assert!(
                    classes.contains(&failed.failure.kind.exit_code()),
                    "{}: {:?}",
                    story(),
                    failed.failure.causes()
                );
            }
        }
    }
}

#[test]
fn after_random_faults_each_day_is_complete_or_failed() {
    let seeds =
        std::env::var("KEFU_SCHEDULES").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1_000);
    (0..seeds).into_par_iter().for_each(check);
}

#[test]
fn a_call_to_an_unavailable_service_ends_after_at_most_six_attempts() {
    for fault in PASSING.iter().filter(|fault| !matches!(**fault, "expire-token" | "errcode:42001"))
    {
        let world = World::new();
        let night = world.fetch(recorded([record(MIDNIGHT, "x")]), &[fault], &[DAYS[0]]);
        assert_eq!(night.failure(), ErrorKind::Unavailable, "{fault}");
        assert!(night.page_requests().len() <= 6, "{fault}");
    }
}

#[test]
fn a_run_waits_at_most_an_hour_in_total() {
    // Each call succeeds in the end, but only after long waits.
    let faults: Vec<String> =
        (0..400).map(|call| format!("errcode:45011@{}x4", call * 5 + 1)).collect();
    let world = World::new().with_page_records(1);
    let before = world.clock.now();
    let lines: Vec<String> = (0..40).map(|number| record(MIDNIGHT + number * 5_000, "x")).collect();
    let night = world.fetch(
        recorded(lines),
        &faults.iter().map(String::as_str).collect::<Vec<_>>(),
        &["2016-06-01", "2016-06-02", "2016-06-03"],
    );
    assert!(night.report.fetched.is_empty());
    assert!(night.report.failed.iter().all(|failed| failed.failure.kind == ErrorKind::Unavailable));
    let waited = world.clock.now() - before;
    assert!(waited.whole_minutes() <= 61, "{waited}");
}

#[test]
fn a_wrong_secret_is_refused_even_after_other_errors() {
    let world = World {
        credential: Proof::AppSecret { appid: "wx1".into(), secret: Secret::new("no".into()) }
            .into(),
        ..World::new()
    };
    let night =
        world.fetch(recorded([record(MIDNIGHT, "x")]), &["token/status:500@1x2"], &[DAYS[0]]);
    assert_eq!(night.failure(), ErrorKind::Refused);
}

/// A disk without space for files of days.
#[derive(Debug)]
struct Full;

impl Failpoint for Full {
    fn before(&self, operation: Operation, path: &Path) -> io::Result<()> {
        let is_day = path.extension().is_some_and(|extension| extension == "parquet");
        match operation {
            Operation::CreateFile | Operation::Write if is_day => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

#[test]
fn a_full_disk_is_reported_also_when_wechat_fails() {
    let mut world = World::new();
    world.failpoint = Some(Arc::new(Full));
    let lines: Vec<String> = (0..3).map(|number| record(MIDNIGHT + number, "text")).collect();
    let report = world.fetch(recorded(lines), &["status:503"], &DAYS).report;
    let kinds: Vec<ErrorKind> = report.failed.iter().map(|failed| failed.failure.kind).collect();
    // The disk's error concerns all days, so the second day is not attempted.
    assert_eq!((kinds, report.given_up.len()), (vec![ErrorKind::Lake], 1));
}
