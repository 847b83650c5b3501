//! Metric partitions as build outputs. kefu rewrites exactly those whose inputs have changed. The
//! files are the same for every order and range of commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::SystemTime;

use kefu::calendar::{Day, DayRange};
use kefu::lake::Table;
use kefu::metrics::{AutoReply, BusinessHours, Parameters};
use kefu::pipeline::{Freshness, MetricsJob, MetricsStopped, rebuild_metrics, status};
use kefu::simulator::{Generated, GeneratorOptions};
use kefu::telemetry::Progress;

use super::chat::day;
use crate::world::World;

const FIRST: &str = "2024-03-01";

fn generated(seed: u64) -> Generated {
    Generated::new(GeneratorOptions { first_day: day(FIRST), days: 60, messages_per_day: 60, seed })
}

fn fetch(world: &World, seed: u64, days: impl IntoIterator<Item = Day>) {
    let days: Vec<String> = days.into_iter().map(|day| day.to_string()).collect();
    let night =
        world.fetch(generated(seed), &[], &days.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(night.report.failed.is_empty(), "{:?}", night.report.failed);
}

fn nth(number: i64) -> Day {
    day(FIRST).plus(number)
}

fn job(world: &World) -> MetricsJob {
    MetricsJob {
        lake: world.lake(),
        account: world.account(),
        zone: world.zone.clone(),
        rules: Parameters::in_zone(world.zone.name()).into(),
    }
}

/// Computes the metrics that are out of date or missing. Returns the days for which a file was
/// written.
fn refresh(world: &World, job: &MetricsJob) -> BTreeSet<Day> {
    let before = metric_files(world);
    let _lock = job.lake.lock(&job.account).unwrap();
    let report = rebuild_metrics(job, None, &(), &Default::default()).unwrap();
    let changed: BTreeSet<Day> = metric_files(world)
        .into_iter()
        .filter(|(path, (_, modified))| {
            before.get(path).is_none_or(|(_, before)| before != modified)
        })
        .map(|(path, _)| {
            day(path
                .parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .strip_prefix("date=")
                .unwrap())
        })
        .collect();
    assert_eq!(changed, report.computed.iter().copied().collect());
    changed
}

fn metric_files(world: &World) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let file = |path: PathBuf| {
        let modified = fs_err::metadata(&path).unwrap().modified().unwrap();
        (path.clone(), (fs_err::read(path).unwrap(), modified))
    };
    world
        .table_files()
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("/messages/"))
        .map(file)
        .collect()
}

fn contents(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let relative = |path: PathBuf| path.strip_prefix(world.lake_folder()).unwrap().to_owned();
    world
        .table_files()
        .into_iter()
        .map(|path| (relative(path.clone()), fs_err::read(path).unwrap()))
        .collect()
}

fn days(first: i64, last: i64) -> BTreeSet<Day> {
    (first..=last).map(nth).collect()
}

#[test]
fn only_files_that_depend_on_a_change_are_rewritten() {
    let world = World::new();
    // Day 40 is missing in the lake.
    fetch(&world, 1, (0..60).filter(|number| *number != 40).map(nth));
    let job = job(&world);
    assert_eq!(refresh(&world, &job).len(), 59);
    assert!(refresh(&world, &job).is_empty());

    // Fetches the same records again. Metrics do not depend on when they were fetched.
    fetch(&world, 1, [nth(20)]);
    assert!(refresh(&world, &job).is_empty());

    // Fetches other records. This affects days whose dependency window contains the day: three days
    // before to two days after it.
    fetch(&world, 2, [nth(20)]);
    assert_eq!(refresh(&world, &job), days(17, 22));

    // A missing or damaged file is written again, and no other file of its day.
    let before = metric_files(&world);
    let (gone, damaged) = (
        world.path("sessions", &nth(5).to_string()),
        world.path("worker_hourly", &nth(7).to_string()),
    );
    fs_err::remove_file(&gone).unwrap();
    fs_err::write(&damaged, "garbage").unwrap();
    assert_eq!(refresh(&world, &job), [nth(5), nth(7)].into());
    let after = metric_files(&world);
    let changed: Vec<&PathBuf> =
        before.keys().filter(|path| before[*path].1 != after[*path].1).collect();
    assert_eq!(changed, [&gone, &damaged]);

    // The missing day is fetched late, so it extends the dependency windows of the days around it.
    fetch(&world, 1, [nth(40)]);
    assert_eq!(refresh(&world, &job), days(37, 42));

    // A new rule affects all days.
    let with_rule = MetricsJob {
        rules: Parameters {
            auto_reply: vec![AutoReply { prefix: Some("您好".into()), ..AutoReply::default() }],
            ..job.rules.parameters().clone()
        }
        .into(),
        ..job.clone()
    };
    assert_eq!(refresh(&world, &with_rule).len(), 60);
    assert_eq!(refresh(&world, &job).len(), 60);
}

#[test]
fn changed_business_hours_rebuild_only_the_days_they_affect() {
    let world = World::new();
    fetch(&world, 1, (0..60).map(nth));
    let with_hours = |toml: &str| {
        let hours: BusinessHours = toml::from_str(toml).unwrap();
        MetricsJob {
            rules: Parameters {
                business_hours: Some(hours),
                ..job(&world).rules.parameters().clone()
            }
            .into(),
            ..job(&world)
        }
    };
    let weekly = "friday = ['09:00-18:00']\n";
    refresh(&world, &with_hours(weekly));
    let hours = |date: Day| with_hours(&format!("{weekly}[dates]\n{date} = ['10:00-11:00']"));
    let without_hours = || {
        metric_files(&world)
            .into_iter()
            .filter(|(path, _)| {
                ["sessions", "worker_hourly"]
                    .iter()
                    .any(|table| path.to_string_lossy().contains(table))
            })
            .collect::<Vec<_>>()
    };
    let before = without_hours();

    // A holiday years away affects no day. A holiday between the days affects those whose turns can
    // wait on it or on the night after.
    assert!(refresh(&world, &hours(day("2030-01-01"))).is_empty());
    assert_eq!(refresh(&world, &hours(nth(30))), days(27, 31));
    // Tables without business hours do not change.
    assert_eq!(before, without_hours());
}

#[test]
fn a_damaged_day_blocks_only_days_whose_dependency_window_contains_it() {
    let world = World::new();
    fetch(&world, 1, (0..20).map(nth));
    fs_err::write(world.path("messages", &nth(10).to_string()), "garbage").unwrap();
    let MetricsStopped { report, failure } =
        *rebuild_metrics(&job(&world), None, &(), &Default::default()).unwrap_err();
    assert!(failure.to_string().contains(&nth(10).to_string()), "{failure}");
    let computed: BTreeSet<Day> = world.lake().days(Table::AccountDaily, &world.account()).unwrap();
    assert_eq!(report.computed, computed.iter().copied().collect::<Vec<_>>());
    assert_eq!(computed, days(0, 6).into_iter().chain(days(13, 19)).collect());
    let progress = Progress::begin("status", 0);
    let states: Vec<_> = status(&job(&world), None, &progress, &Default::default())
        .unwrap()
        .into_iter()
        .map(|day| day.metrics.unwrap())
        .collect();
    // Metrics that were never computed are missing, not out of date: there is no file that could
    // mislead a reader.
    assert_eq!(
        (states[6], states[7], states[10], states[13]),
        (Freshness::Fresh, Freshness::Missing, Freshness::Damaged, Freshness::Fresh)
    );
}

#[test]
fn the_order_and_range_of_commands_do_not_change_the_files() {
    let at_once = World::new();
    fetch(&at_once, 1, (0..60).map(nth));
    refresh(&at_once, &job(&at_once));
    let expected = contents(&at_once);
    assert_eq!(expected.len(), 60 * 6);

    // Fetches and computes night by night, in an order that leaves gaps and fills them later.
    let piecemeal = World::new();
    for start in [30, 0, 45, 15] {
        for night in (start..start + 15).step_by(5) {
            fetch(&piecemeal, 1, (night..night + 5).rev().map(nth));
            refresh(&piecemeal, &job(&piecemeal));
        }
    }
    assert!(contents(&piecemeal) == expected);

    // Fetches all days at once, then computes one day at a time.
    let alone = World::new();
    fetch(&alone, 1, (0..60).map(nth));
    for number in (0..60).rev() {
        let range = DayRange { first: nth(number), last: nth(number) };
        assert_eq!(
            rebuild_metrics(&job(&alone), Some(&range.days().collect()), &(), &Default::default())
                .unwrap()
                .computed,
            [nth(number)]
        );
    }
    assert!(contents(&alone) == expected);

    // Computes on one thread, with the command line.
    let single = World::new();
    fetch(&single, 1, (0..60).map(nth));
    let output = single
        .command(&["metrics", "--threads", "1"])
        .env("KEFU_ACCOUNT", "acme")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(contents(&single) == expected);
}
