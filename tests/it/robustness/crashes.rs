//! A process can die at any operation, and the disk can refuse any operation. Each file is then the
//! old or the new one, and the next run completes the work.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kefu::calendar::DayRange;
use kefu::failure::{ErrorKind, Failure};
use kefu::lake::{Failpoint, Operation, Table};
use kefu::metrics::Parameters;
use kefu::model::cancel::Cancel;
use kefu::pipeline::{
    Finding, MetricsJob, Request, Selection, Severity, VerifyJob, Wanted, rebuild_metrics,
    run_account, verify,
};
use kefu::telemetry::Progress;
use rayon::prelude::*;

use crate::world::{MIDNIGHT, World, record, recorded, wanted};

pub const DAYS: [&str; 3] = ["2016-06-01", "2016-06-02", "2016-06-03"];

/// Lets `operations` operations pass, then fails as `then` says.
#[derive(Debug)]
struct After {
    operations: usize,
    passed: AtomicUsize,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    /// The process is killed: all further operations fail.
    Die,
    /// One operation fails with this error. The operations after it pass again.
    Refuse(io::ErrorKind),
}

impl After {
    fn new(operations: usize, then: Then) -> Arc<Self> {
        Arc::new(Self { operations, passed: AtomicUsize::new(0), then })
    }

    fn has_struck(&self) -> bool {
        self.passed.load(Ordering::SeqCst) > self.operations
    }
}

impl Failpoint for After {
    fn before(&self, _: Operation, path: &Path) -> io::Result<()> {
        let passed = self.passed.fetch_add(1, Ordering::SeqCst);
        match self.then {
            Then::Die if passed >= self.operations => {
                Err(io::Error::other(format!("dead before {}", path.display())))
            }
            Then::Refuse(kind) if passed == self.operations => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

/// The records of three days in one of two editions, `old` and `new`. All texts differ between
/// them. In the old edition, the first and the second day have one unreadable record each. In the
/// new edition, the first day has two, the second has none and the third has one.
pub fn lines(edition: &str) -> Vec<String> {
    let mut lines: Vec<String> = (0..60)
        .map(|number| record(MIDNIGHT + number * 4_000, &format!("{edition} {number}")))
        .collect();
    let unreadable: &[usize] = if edition == "old" { &[7, 25] } else { &[7, 8, 50] };
    unreadable.iter().for_each(|line| lines[*line] = lines[*line].replace("oC1", ""));
    lines
}

/// Fetches the days, even if they are in the lake, and brings the metrics up to date.
fn run(world: &World, edition: &str) -> Result<(), Failure> {
    run_days(world, edition, &DAYS)
}

fn run_days(world: &World, edition: &str, days: &[&str]) -> Result<(), Failure> {
    let night = world.fetch(recorded(lines(edition)), &[], days);
    let metrics = refresh(world);
    match night.report.failed.into_iter().next() {
        Some(failed) => Err(failed.failure),
        None => metrics,
    }
}

fn refresh(world: &World) -> Result<(), Failure> {
    let job = MetricsJob {
        lake: world.lake(),
        account: world.account(),
        zone: world.zone.clone(),
        rules: Parameters::in_zone(world.zone.name()).into(),
    };
    Ok(rebuild_metrics(&job, None, &(), &Default::default()).map(drop)?)
}

/// A world with small pages and several cursors, so that some of the fetched records wait on the
/// disk.
fn world() -> World {
    World { concurrency: 3, ..World::new().with_page_records(4) }
}

fn of_edition(edition: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let world = world();
    run(&world, edition).unwrap();
    world.contents()
}

/// Runs the new edition over the old one until the failpoint takes effect. Checks the lake and runs
/// again. Returns whether the failpoint took effect.
fn is_safe(
    failpoint: &Arc<After>,
    old: &BTreeMap<PathBuf, Vec<u8>>,
    new: &BTreeMap<PathBuf, Vec<u8>>,
) -> bool {
    let mut world = world();
    run(&world, "old").unwrap();
    assert!(world.contents() == *old);
    world.failpoint = Some(failpoint.clone());
    let outcome = run(&world, "new");
    match outcome {
        Err(failure) => {
            assert_eq!(failure.kind, ErrorKind::Lake, "{failpoint:?}: {:?}", failure.causes())
        }
        // A file that cannot be removed from staging does not fail the run.
        Ok(()) => assert!(!failpoint.has_struck() || world.contents() == *new, "{failpoint:?}"),
    }
    for (path, bytes) in world.contents() {
        // A metric can also depend on old messages of one day and new messages of another.
        let is_metric = !(path.starts_with("messages") || path.starts_with("rejects"));
        let is_of = |edition: &BTreeMap<PathBuf, Vec<u8>>| edition.get(&path) == Some(&bytes);
        assert!(is_metric || is_of(old) || is_of(new), "{failpoint:?}: {}", path.display());
    }
    assert!(DAYS.iter().all(|day| world.has(Table::Messages, day)), "{failpoint:?}");
    world.failpoint = None;
    assert_eq!(broken(&world), [], "{failpoint:?}");

    // The next run fetches half-changed days again without being asked to. Then the messages and
    // rejects of each day belong together.
    let far_away =
        DayRange { first: "2016-01-01".parse().unwrap(), last: "2016-01-01".parse().unwrap() };
    let wanted = Wanted {
        range: far_away,
        is_named: false,
        force: false,
        refresh: 0,
        allow_shrink: false,
        last_over: "2016-06-30".parse().unwrap(),
    };
    let unfinished = || -> Vec<String> {
        let selection = Selection::of(&world.lake(), &world.account(), wanted).unwrap();
        selection.days.iter().skip(1).map(ToString::to_string).collect()
    };
    let selected = unfinished();
    run_days(&world, "new", &selected.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let there = world.contents();
    for day in DAYS {
        let of_day = |files: &BTreeMap<PathBuf, Vec<u8>>| {
            [Table::Messages, Table::Rejects]
                .map(|table| files.get(&path(&world, table, day)).cloned())
        };
        assert!([of_day(old), of_day(new)].contains(&of_day(&there)), "{failpoint:?}: {day}");
    }
    assert_eq!(broken(&world), [], "{failpoint:?}");
    assert!(unfinished().is_empty(), "{failpoint:?}");

    run(&world, "new").unwrap();
    assert!(world.contents() == *new, "{failpoint:?}");
    assert!(world.staged_files().is_empty(), "{failpoint:?}");
    failpoint.has_struck()
}

/// Returns the findings for which `kefu verify` exits with 65.
fn broken(world: &World) -> Vec<Finding> {
    let job = VerifyJob {
        lake: world.lake(),
        zone: world.zone.clone(),
        rules: Parameters::in_zone(world.zone.name()).into(),
        today: "2027-01-15".parse().unwrap(),
        accounts: None,
        shard: None,
    };
    let found =
        verify(&job, None, &Progress::begin("verify", 0), &Default::default()).unwrap().findings;
    found.into_iter().filter(|finding| finding.severity == Severity::Broken).collect()
}

fn path(world: &World, table: Table, day: &str) -> PathBuf {
    world.path(table.name(), day).strip_prefix(world.lake_folder()).unwrap().to_owned()
}

/// Runs once for each operation, with the failpoint at that operation. Stops when a run ends before
/// its failpoint takes effect. Returns the number of operations, as a multiple of 8.
fn strike_at_each(then: Then) -> usize {
    let (old, new) = (of_edition("old"), of_edition("new"));
    assert_eq!(
        (old.len(), new.len()),
        (3 * 6 + 2, 3 * 6 + 2),
        "messages and five tables for each day, rejects for two"
    );
    let step = 8;
    let mut operations = 0;
    while (operations..operations + step)
        .into_par_iter()
        .map(|at| is_safe(&After::new(at, then), &old, &new))
        .reduce(|| true, |one, other| one && other)
    {
        operations += step;
    }
    operations
}

#[test]
fn a_crash_before_any_operation_leaves_old_or_new_files_and_the_next_run_completes() {
    let operations = strike_at_each(Then::Die);
    assert!(operations > 90, "{operations}");
}

#[test]
fn a_full_disk_at_any_operation_leaves_old_or_new_files_and_the_next_run_completes() {
    let operations = strike_at_each(Then::Refuse(io::ErrorKind::StorageFull));
    assert!(operations > 90, "{operations}");
}

#[test]
fn a_crash_of_the_first_run_leaves_a_complete_app_record_or_none() {
    let mut operations = 0;
    loop {
        let failpoint = After::new(operations, Then::Die);
        let mut world = World { failpoint: Some(failpoint.clone()), ..World::new() };
        let fetch = |world: &World| world.fetch(recorded(lines("new")), &[], &DAYS[..1]);
        fetch(&world);
        let expected = (world.app_id.clone().unwrap(), world.account());
        let apps = || world.lake().apps().unwrap().into_iter().collect::<Vec<_>>();
        // The app must be recorded before any messages have it in their footer.
        let has_messages = world.has(Table::Messages, DAYS[0]);
        match apps().as_slice() {
            [] => assert!(!has_messages, "{failpoint:?}"),
            recorded => assert_eq!(recorded, std::slice::from_ref(&expected), "{failpoint:?}"),
        }
        world.failpoint = None;
        assert!(fetch(&world).report.failed.is_empty(), "{failpoint:?}");
        let apps = world.lake().apps().unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(apps, [expected], "{failpoint:?}");
        if !failpoint.has_struck() {
            break;
        }
        operations += 1;
    }
    assert!(operations > 10, "{operations}");
}

#[test]
fn a_disk_error_is_an_error_of_the_lake_with_a_hint() {
    for kind in [
        io::ErrorKind::StorageFull,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::ReadOnlyFilesystem,
    ] {
        let world = World { failpoint: Some(After::new(3, Then::Refuse(kind))), ..World::new() };
        let failure = run(&world, "new").unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Lake, "{:?}", failure.causes());
        assert!(failure.hint.is_some());
    }
}

/// Replaces the lake by an empty folder just before its first file is put into place, as when its
/// disk is unmounted.
#[derive(Debug)]
struct Unmounted {
    lake: PathBuf,
}

impl Failpoint for Unmounted {
    fn before(&self, operation: Operation, path: &Path) -> io::Result<()> {
        if operation == Operation::SyncFile
            && path.starts_with(self.lake.join("_kefu/accounts/acme/staging"))
            && path.extension().is_some_and(|extension| extension == "parquet")
            && path.is_file()
        {
            fs_err::rename(&self.lake, self.lake.with_extension("gone"))?;
            fs_err::create_dir(&self.lake)?;
        }
        Ok(())
    }
}

#[test]
fn a_run_does_not_create_a_new_lake_in_place_of_an_unmounted_one() {
    let mut world = World::new();
    let simulator = world.simulate(recorded(lines("old")), world.options(&[]));
    world.failpoint = Some(Arc::new(Unmounted { lake: world.lake_folder() }));
    let request = Request::Fetch(wanted(DAYS[0], DAYS[0]));
    let report = run_account(&world.job(&simulator), &request, &(), &Cancel::default());
    assert_eq!(report.kind(), Some(ErrorKind::Lake));
    assert_eq!(fs_err::read_dir(world.lake_folder()).unwrap().count(), 0);
    assert_eq!(
        fs_err::read_dir(
            world.lake_folder().with_extension("gone").join("_kefu/accounts/acme/runs")
        )
        .unwrap()
        .count(),
        1
    );
}
