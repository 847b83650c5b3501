//! The rules for committing a day:
//!
//! - The day is over by both clocks.
//! - The next night fetches it once more.
//! - It is never replaced by fewer records.
//! - It is not empty if it is before the first record.

use std::process::Output;

use kefu::calendar::{Clock, Day, DayRange, Zone};
use kefu::failure::ErrorKind;
use kefu::fetch::AnsweredAt;
use kefu::lake::{Account, Table};
use kefu::pipeline::{OnShrink, Refreshed, Selection, ShrunkDay, Wanted};
use kefu::simulator::{Options, Recorded, Records, RenderedPage, SimulatedWorker, Simulator};
use serde_json::{Value, json};

use crate::world::{DAY, MIDNIGHT, NOW, World, files, record, recorded, records};

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

/// Returns the day that is `number` days after the day of the official example, or before it if
/// negative.
fn nth(number: i64) -> String {
    day(DAY).plus(number).to_string()
}

/// Records for some days. Each pair is a day, counted from the day of the official example, and its
/// number of records.
fn on_days(days: &[(i64, i64)]) -> Recorded {
    recorded(days.iter().flat_map(|(number, count)| {
        (0..*count).map(move |second| record(MIDNIGHT + number * 86_400 + second, "text"))
    }))
}

/// Yesterday in Shanghai, by the machine's clock.
fn yesterday() -> Day {
    let zone = Zone::named("Asia/Shanghai").unwrap();
    zone.day_of(Clock::System.now().unix_timestamp()).plus(-1)
}

/// Records for the last days. The first count is for yesterday, the second for the day before, and
/// so on.
fn on_last_days(world: &World, counts: &[i64]) -> Recorded {
    let noon = |back: i64| world.zone.bounds(yesterday().plus(-back)).start + 43_200;
    recorded(counts.iter().zip(0..).flat_map(|(count, back)| {
        (0..*count).map(move |second| record(noon(back) + second, &format!("text {second}")))
    }))
}

fn kefu(world: &World, records: impl Records, arguments: &[&str]) -> Output {
    world.kefu(&world.simulate(records, world.options(&[])), arguments)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn last_run(world: &World) -> Value {
    let runs = files(&world.lake_folder().join("_kefu/accounts/acme/runs")).into_iter();
    let read = |path| serde_json::from_slice::<Value>(&fs_err::read(path).unwrap()).unwrap();
    runs.map(read).max_by_key(|run| run["started_at"].as_str().unwrap().to_owned()).unwrap()
}

fn events(output: &Output, name: &str) -> Vec<Value> {
    let lines = stderr(output);
    let all = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    all.filter(|event| event["event"] == name).collect()
}

// A day is over only if it is over by WeChat's clock.

#[test]
fn a_day_that_is_not_over_by_the_clock_of_wechat_is_refused_with_both_clocks() {
    let world = World::new();
    let noon = Options { clock: Clock::starting_at(MIDNIGHT + 43_200), ..world.options(&[]) };
    let night = world.fetch_with(on_days(&[(-1, 3), (0, 3)]), noon, &[&nth(-1), DAY, &nth(1)]);
    assert!(world.has(Table::Messages, &nth(-1)) && !world.has(Table::Messages, DAY));
    let failed = &night.report.failed[0];
    assert_eq!((failed.day, failed.failure.kind), (day(DAY), ErrorKind::Settings));
    assert_eq!(
        failed.failure.to_string(),
        "the day is not over: this machine's clock says 2027-01-15 16:00:20, and WeChat's says 2016-06-01 12:00:00 (Asia/Shanghai)"
    );
    assert!(failed.failure.hint.as_ref().unwrap().contains("NTP"));
    // The days after it are not over either.
    assert_eq!(night.report.given_up, [day(&nth(1))]);
    assert_eq!(night.report.clock_skew_seconds, Some(NOW - MIDNIGHT - 43_200));
    assert!(world.staged_files().is_empty());
}

#[test]
fn a_day_that_is_nearly_over_by_the_clock_of_wechat_can_be_tried_again() {
    for (ahead, kind) in [(1, ErrorKind::Unavailable), (600, ErrorKind::Settings)] {
        let over = MIDNIGHT + 86_400;
        let world = World { clock: Clock::starting_at(over - 1 + ahead), ..World::new() };
        let behind = Options { clock: Clock::starting_at(over - 1), ..world.options(&[]) };
        let night = world.fetch_with(records(3), behind, &[DAY]);
        let failure = &night.report.failed[0].failure;
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.hint.as_ref().unwrap().contains("run again"), "{:?}", failure.hint);
        assert!(!world.has(Table::Messages, DAY));
    }
}

#[test]
fn a_day_is_over_when_its_last_second_has_passed() {
    for (seconds, is_over) in [(86_399, false), (86_400, true)] {
        let world = World::new();
        let clock = Clock::starting_at(MIDNIGHT + seconds);
        world.fetch_with(records(3), Options { clock, ..world.options(&[]) }, &[DAY]);
        assert_eq!(world.has(Table::Messages, DAY), is_over);
    }
}

/// Serves records, and moves a clock past the end of the day after the first page.
struct Midnight {
    records: Recorded,
    clock: Clock,
}

impl Records for Midnight {
    fn page(&self, start: i64, end: i64, after: i64, limit: usize) -> RenderedPage {
        if let (Clock::Virtual(micros), 2..) = (&self.clock, after) {
            micros.store((MIDNIGHT + 90_000) * 1_000_000, std::sync::atomic::Ordering::SeqCst);
        }
        self.records.page(start, end, after, limit)
    }

    fn workers(&self, _day: Day) -> Vec<SimulatedWorker> {
        Vec::new()
    }
}

#[test]
fn a_day_that_ends_between_two_of_its_pages_is_refused() {
    let world = World::new().with_page_records(2);
    let clock = Clock::starting_at(MIDNIGHT + 86_390);
    let midnight = Midnight { records: records(5), clock: clock.clone() };
    let night = world.fetch_with(midnight, Options { clock, ..world.options(&[]) }, &[DAY]);
    assert_eq!(night.failure(), ErrorKind::Settings);
}

#[test]
fn a_machine_that_is_two_days_ahead_commits_no_unfinished_day() {
    let world = World::new();
    let two_days_ago = Clock::System.now().unix_timestamp() - 2 * 86_400;
    let options = || Options { clock: Clock::starting_at(two_days_ago), ..world.options(&[]) };
    let simulator = world.simulate(on_last_days(&world, &[5, 5, 5, 5]), options());
    let output = world.kefu(&simulator, &["run"]);
    let [over, not_over] = [-2, -1].map(|back| yesterday().plus(back));
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(world.has(Table::Messages, &over.to_string()));
    assert!(!world.has(Table::Messages, &not_over.to_string()));
    let written = world.zone.written(two_days_ago);
    // Days that fail within the same second are reported together.
    assert!(said.contains(&format!("error: acme: {not_over} ")), "{said}");
    let both = "not fetched: the day is not over: this machine's clock says ";
    assert!(said.contains(both), "{said}");
    assert!(said.contains(&format!(", and WeChat's says {written} (Asia/Shanghai)")), "{said}");
    assert!(said.contains("hint: set this machine's clock (NTP), then run again"), "{said}");
    assert_eq!(said.matches("warning: this machine's clock is 17").count(), 1, "{said}");
    let run = last_run(&world);
    assert!((172_800..173_400).contains(&run["clock_skew_seconds"].as_i64().unwrap()), "{run}");

    // An earlier version could commit a day too early. Such a day is not compared with the records
    // that WeChat has so far.
    let day = not_over.to_string();
    let early = world.simulate(on_last_days(&world, &[5, 5, 5, 5]), world.options(&[]));
    assert!(world.kefu(&early, &["run", "--date", &day]).status.success());
    let compared = world.kefu(&simulator, &["verify", "--against-api", "--date", &day]);
    assert_eq!(compared.status.code(), Some(78));
    assert!(stderr(&compared).contains("the day is not over: this machine's clock says"));
}

#[test]
fn a_clock_difference_is_one_warning_and_is_in_the_history_and_the_result() {
    let world = World::new();
    let run = |seconds: i64, more: &[&str]| {
        let clock = Clock::starting_at(Clock::System.now().unix_timestamp() + seconds);
        let options = Options { clock, ..world.options(&[]) };
        let simulator = world.simulate(on_days(&[(0, 3), (1, 3)]), options);
        let range = ["run", "--from", DAY, "--to", "2016-06-02", "--force"];
        let output = world.kefu(&simulator, &[&range, more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        output
    };
    let said = stderr(&run(3_600, &[]));
    assert_eq!(said.matches("warning: this machine's clock is 3").count(), 1, "{said}");
    assert!(said.contains(" s behind WeChat's; set it with NTP"), "{said}");
    let machine = run(3_600, &["--log-format", "json", "--output", "json"]);
    let told = events(&machine, "clock_skew");
    assert_eq!(told.len(), 1);
    let result: Value = serde_json::from_slice(&machine.stdout).unwrap();
    let skew = &result["fetch"]["clock_skew_seconds"];
    assert!((-3_600..-3_000).contains(&skew.as_i64().unwrap()), "{result}");
    assert_eq!((&last_run(&world)["clock_skew_seconds"], &told[0]["skew_seconds"]), (skew, skew));
    let said = stderr(&run(0, &[]));
    assert!(!said.contains("clock"), "{said}");
}

#[test]
fn the_duration_of_a_call_is_not_clock_skew() {
    let here = kefu::calendar::Span { start: 100, end: 130 };
    let skew = |wechat| AnsweredAt { here, wechat: Some(wechat) }.skew_seconds();
    assert_eq!([70, 100, 130, 190].map(skew), [30, 0, 0, -60].map(Some));
}

// Late records.

#[test]
fn the_next_nightly_run_fetches_late_records() {
    let world = World::new();
    assert!(kefu(&world, on_last_days(&world, &[4, 5, 6]), &["run"]).status.success());
    let same = stdout(&kefu(&world, on_last_days(&world, &[4, 5, 6]), &["run"]));
    assert!(same.contains("unchanged 2 days") && same.contains("skipped   1 day"), "{same}");
    let changed = stdout(&kefu(&world, on_last_days(&world, &[5, 6, 7]), &["run"]));
    let line = |back, now| {
        format!("changed   {}: {now} messages, {} before", yesterday().plus(back), now - 1)
    };
    assert!(changed.contains(&line(0, 5)) && changed.contains(&line(-1, 6)), "{changed}");
    assert!(!changed.contains(&line(-2, 7)), "{changed}");
    // The metrics are computed again.
    assert!(changed.contains("metrics   computed 3 days"), "{changed}");
}

#[test]
fn refresh_is_the_number_of_days_to_refetch_and_zero_turns_it_off() {
    let world = World::new();
    let records = || on_last_days(&world, &[4, 5, 6, 7, 8]);
    assert!(kefu(&world, records(), &["run", "--lookback", "5"]).status.success());
    for (more, refreshed) in
        [(&["--refresh", "0"][..], 0), (&["--refresh", "1"], 1), (&[], 2), (&["--refresh", "5"], 5)]
    {
        let output = kefu(&world, records(), &[&["run", "--output", "json"], more].concat());
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        // A run without named days selects at least as many days as it re-fetches.
        let (again, skipped) = (&result["fetch"]["fetched"], &result["fetch"]["skipped"]);
        assert_eq!(again.as_array().unwrap().len(), refreshed, "{more:?}");
        assert_eq!(skipped.as_array().unwrap().len(), 3usize.saturating_sub(refreshed));
    }
    for (toml, variable, refreshed) in [("refresh = 3", None, 3), ("refresh = 3", Some("0"), 0)] {
        fs_err::write(world.folder.path().join("kefu.toml"), toml).unwrap();
        let simulator = world.simulate(records(), world.options(&[]));
        let mut command = world.command(&["run", "--output", "json"]);
        command
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("KEFU_APPID", kefu::simulator::APPID)
            .env("KEFU_SECRET", kefu::simulator::SECRET)
            .env("KEFU_ACCOUNT", "acme")
            .env("KEFU_REFRESH", variable.unwrap_or_default());
        let result: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        assert_eq!(result["fetch"]["fetched"].as_array().unwrap().len(), refreshed, "{result}");
    }
}

#[test]
fn only_the_last_days_that_are_in_the_range_and_in_the_lake_are_refetched() {
    let world = World::new();
    let last = yesterday().plus(10);
    world.fetch(
        recorded((0..6).map(|back| record(world.zone.bounds(last.plus(-back)).start, "text"))),
        &[],
        &(0..6)
            .rev()
            .map(|back| last.plus(-back).to_string())
            .collect::<Vec<_>>()
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let refreshed = |first: i64, until: i64, force: bool| {
        let range = DayRange { first: last.plus(first), last: last.plus(until) };
        let wanted = Wanted {
            range,
            is_named: true,
            force,
            refresh: 2,
            allow_shrink: false,
            last_over: last,
        };
        let selection = Selection::of(&world.lake(), &world.account(), wanted).unwrap();
        (selection.days, selection.refreshed.into_iter().collect::<Vec<_>>())
    };
    let days =
        |numbers: &[i64]| numbers.iter().map(|number| last.plus(*number)).collect::<Vec<_>>();
    // The number of days is counted back from the last day that is over, not from the end of the
    // range.
    assert_eq!(refreshed(-5, -2, false), (days(&[]), days(&[])));
    assert_eq!(refreshed(-5, -1, false), (days(&[-1]), days(&[-1])));
    assert_eq!(refreshed(-5, 0, false), (days(&[-1, 0]), days(&[-1, 0])));
    // A forced day is replaced, so it is not in the second list.
    assert_eq!(refreshed(-2, 0, true), (days(&[-2, -1, 0]), days(&[])));
}

// A re-fetch never loses records.

#[test]
fn a_day_is_replaced_by_fewer_records_only_with_allow_shrink() {
    let mut world = World::new();
    world.fetch(records(100), &[], &[DAY]);
    let before = world.bytes(DAY);

    let night = world.fetch(records(10), &[], &[DAY]);
    assert_eq!(night.failure(), ErrorKind::Contract);
    let failure = &night.report.failed[0].failure;
    assert_eq!(failure.to_string(), "WeChat returns 10 records of the day, but the lake has 100");
    // The hint must say what is lost, because operators follow it at night.
    let hint = failure.hint.as_ref().unwrap();
    assert!(hint.contains("--allow-shrink") && hint.contains("discard the records"), "{hint}");

    world.on_shrink = OnShrink::Keep;
    let night = world.fetch(records(10), &[], &[DAY]);
    let shrunk = ShrunkDay { date: day(DAY), records_before: 100, records_after: 10 };
    assert_eq!((night.report.kind(), night.report.shrunk), (None, vec![shrunk]));
    assert!(world.bytes(DAY) == before && world.staged_files().is_empty());

    world.on_shrink = OnShrink::Replace;
    world.fetch(records(10), &[], &[DAY]);
    assert_eq!(world.texts(DAY).len(), 10);
}

#[test]
fn a_day_is_replaced_by_the_same_number_of_records_and_rejects_count() {
    let world = World::new();
    let lines = |count: i64, unreadable: i64, text: &str| -> Vec<String> {
        let line = |number: i64| record(MIDNIGHT + number, &format!("{text} {number}"));
        let spoilt = |number: i64| line(number).replace("oC1", "");
        (0..count).map(line).chain((count..count + unreadable).map(spoilt)).collect()
    };
    let fetch = |count, unreadable, text: &str| {
        world.fetch(recorded(lines(count, unreadable, text)), &[], &[DAY]).report.failed.len()
    };
    assert_eq!(fetch(10, 0, "first"), 0);
    assert_eq!(fetch(10, 0, "other"), 0);
    assert!(world.texts(DAY)[0].starts_with("other"));
    assert_eq!(fetch(7, 3, "unreadable"), 0);
    assert_eq!((world.texts(DAY).len(), world.rows("rejects", DAY).len()), (7, 3));
    assert_eq!(fetch(7, 2, "fewer"), 1);
    assert_eq!(fetch(10, 0, "readable"), 0);
    assert!(!world.has(Table::Rejects, DAY));
}

#[test]
fn lost_records_are_a_warning_in_the_nightly_run_and_an_error_for_a_named_day() {
    let world = World::new();
    let whole = || on_last_days(&world, &[100, 90, 80]);
    let fewer = || on_last_days(&world, &[10, 90, 80]);
    assert!(kefu(&world, whole(), &["run"]).status.success());
    let date = yesterday().to_string();
    let before = world.bytes(&date);

    let output = kefu(&world, fewer(), &["run"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(
        shown.contains(&format!("shrunk    {date}: 10 records, 100 before; left as it is")),
        "{shown}"
    );
    let warning = format!(
        "warning: acme: {date} was left as it is: WeChat gives 10 records of it, and the lake has 100"
    );
    assert!(stderr(&output).contains(&warning), "{}", stderr(&output));
    let shrunk = json!([{ "date": date, "records_before": 100, "records_after": 10 }]);
    let run = last_run(&world);
    assert_eq!(
        (&run["days_shrunk"], &run["shrunk"], &run["days_given_up"], &run["exit_code"]),
        (&json!(1), &shrunk, &json!(0), &json!(0))
    );
    let machine = kefu(&world, fewer(), &["run", "--log-format", "json", "--output", "json"]);
    let result: Value = serde_json::from_slice(&machine.stdout).unwrap();
    assert_eq!(result["fetch"]["shrunk"], shrunk);
    let event = &events(&machine, "day_shrunk")[0];
    assert_eq!(
        (&event["account"], &event["date"], &event["records_after"], &event["level"]),
        (&json!("acme"), &json!(date), &json!(10), &json!("WARN"))
    );

    for arguments in
        [&["run", "--date", &date][..], &["run", "--date", &date, "--force"], &["run", "--force"]]
    {
        let output = kefu(&world, fewer(), arguments);
        // The exit code is 65 even if other days succeed, because another run would not help.
        assert_eq!(output.status.code(), Some(65), "{arguments:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains("WeChat returns 10 records of the day, but the lake has 100")
        );
    }
    assert!(world.bytes(&date) == before);
    let output = kefu(&world, fewer(), &["run", "--date", &date, "--force", "--allow-shrink"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("10 messages, 100 before"), "{said}");
    assert_eq!(world.texts(&date).len(), 10);
}

/// A world with one day of twenty messages and its metrics.
fn computed() -> World {
    let world = World::new();
    assert!(kefu(&world, records(20), &["run", "--date", DAY]).status.success());
    world
}

#[test]
fn metrics_give_the_record_count_of_damaged_or_missing_messages() {
    for remove in [
        |world: &World| fs_err::write(world.path("messages", DAY), "garbage").unwrap(),
        |world: &World| fs_err::remove_file(world.path("messages", DAY)).unwrap(),
        |world: &World| {
            let pruned = world.command(&["prune", "--all", "--yes"]).output();
            assert!(pruned.unwrap().status.success());
        },
    ] {
        let world = computed();
        remove(&world);
        let before = world.table_files();
        let run = |count: i64, more: &[&str]| {
            let arguments = [&["fetch", "--date", DAY], more].concat();
            let output = kefu(&world, records(count), &arguments);
            (output.status.code(), stderr(&output))
        };
        // A deleted day is fetched again only without `--force`, a damaged day only with it.
        let force: &[&str] =
            if before.contains(&world.path("messages", DAY)) { &["--force"] } else { &[] };
        let holds = match force {
            [] => "the metrics in the lake were computed from",
            _ => "the lake has",
        };
        for count in [0, 19] {
            let (code, said) = run(count, force);
            let numbers = format!("WeChat returns {count} records of the day, but {holds} 20");
            assert!(code == Some(65) && said.contains(&numbers), "{said}");
            assert_eq!(world.table_files(), before);
        }
        assert_eq!(run(20, force).0, Some(0));
        assert_eq!(world.texts(DAY).len(), 20);
    }
}

#[test]
fn a_damaged_day_without_a_known_record_count_counts_as_one_record() {
    let world = World::new();
    world.fetch(on_days(&[(-1, 1), (0, 20)]), &[], &[&nth(-1), DAY]);
    fs_err::write(world.path("messages", DAY), "garbage").unwrap();
    assert_eq!(
        world.fetch(records(0), &[], &[DAY]).report.failed[0].failure.to_string(),
        "WeChat returns 0 records of the day, but the lake has 1"
    );
    assert!(world.fetch(records(1), &[], &[DAY]).report.failed.is_empty());
    assert_eq!(world.texts(DAY).len(), 1);
}

#[test]
fn a_half_changed_day_is_not_replaced_by_fewer_records() {
    let mut world = World::new();
    world.fetch(records(20), &[], &[DAY]);
    let account = world.account();
    // Rejects whose hash is not in the footer of the messages.
    let unreadable = record(MIDNIGHT, "bad").replace("\"time\"", "\"tim\"");
    let other = World::new();
    other.fetch(recorded([record(MIDNIGHT, "good"), unreadable]), &[], &[DAY]);
    let rejects = world.path("rejects", DAY);
    fs_err::create_dir_all(rejects.parent().unwrap()).unwrap();
    fs_err::copy(other.path("rejects", DAY), &rejects).unwrap();
    let is_unfinished = |world: &World| {
        let footer = world.lake().footer(&account.partition(Table::Messages, day(DAY))).unwrap();
        world.lake().is_unfinished(&account, day(DAY), Some(&footer)).unwrap()
    };
    assert_eq!(world.fetch(records(19), &[], &[DAY]).failure(), ErrorKind::Contract);
    assert!(is_unfinished(&world));
    world.on_shrink = OnShrink::Replace;
    world.fetch(records(19), &[], &[DAY]);
    assert!(!is_unfinished(&world));
    assert_eq!(world.texts(DAY).len(), 19);
}

#[test]
fn a_refetched_day_with_the_same_number_of_records_is_compared_by_content() {
    let mut world = World::new();
    world.fetch(records(3), &[], &[DAY]);
    world.refreshed = [day(DAY)].into();
    let other = recorded((0..3).map(|second| record(MIDNIGHT + second, "other")));
    assert_eq!(
        world.fetch(other, &[], &[DAY]).report.fetched[0].refreshed,
        Some(Refreshed { is_changed: true, messages_before: 3 })
    );
}

// Empty days before the first record are not committed.

#[test]
fn empty_days_before_the_first_record_are_left_out_and_those_after_it_are_committed() {
    let days: Vec<String> = (-9..=9).map(nth).collect();
    let backwards: Vec<String> = days.iter().rev().cloned().collect();
    for concurrency in [1, 4] {
        for order in [&days, &backwards] {
            let world = World { concurrency, ..World::new() };
            let order: Vec<&str> = order.iter().map(String::as_str).collect();
            let night = world.fetch(on_days(&[(-2, 3), (3, 1)]), &[], &order);
            let left_out: Vec<String> =
                night.report.left_out.iter().map(ToString::to_string).collect();
            assert_eq!(left_out, days[..7]);
            assert_eq!(night.report.first_day, Some(day(&nth(-2))));
            let committed = world.lake().days(Table::Messages, &world.account()).unwrap();
            assert_eq!(committed, (-2..=9).map(|number| day(&nth(number))).collect());
            let fetched = night.report.fetched.iter().map(|fetched| fetched.date);
            assert!(fetched.eq(committed), "{:?}", night.report);
            assert_eq!((night.report.kind(), night.report.given_up.len()), (None, 0));
            assert!(world.staged_files().is_empty());
        }
    }
}

#[test]
fn an_empty_day_is_left_out_while_its_earlier_days_are_missing() {
    let world = World::new();
    let days = [nth(0), nth(1), nth(2)];
    let days: Vec<&str> = days.iter().map(String::as_str).collect();
    let night = world.fetch(on_days(&[(0, 3), (2, 3)]), &["wrong-number@1"], &days);
    assert_eq!(night.report.left_out, [day(&nth(1))]);
    assert_eq!(night.report.first_day, Some(day(&nth(2))));
    let night = world.fetch(on_days(&[(0, 3), (2, 3)]), &[], &days[..2]);
    assert_eq!((night.report.fetched.len(), night.report.left_out.len()), (2, 0));
}

#[test]
fn a_deleted_day_counts_as_an_earlier_day_of_its_own_account_only() {
    let world = World::new();
    assert!(kefu(&world, on_days(&[(0, 3)]), &["run", "--date", DAY]).status.success());
    let prune = ["prune", "--all", "--yes"];
    assert!(world.command(&prune).output().unwrap().status.success());
    assert_eq!(world.fetch(records(0), &[], &[&nth(1)]).report.fetched.len(), 1);
    // Another account has neither an earlier day nor deleted days.
    let simulator = world.simulate(records(0), world.options(&[]));
    let mut command =
        world.command(&["run", "--from", &nth(-1), "--to", &nth(1), "--output", "json"]);
    command
        .env("KEFU_BASE_URL", simulator.base_url())
        .env("KEFU_ACCESS_TOKEN", token(&simulator))
        .env("KEFU_ACCOUNT", "other");
    let output = command.output().unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{result}");
    assert_eq!(result["fetch"]["left_out"], json!([nth(-1), nth(0), nth(1)]));
    let other = Account::new("other".into()).unwrap();
    assert!(world.lake().days(Table::Messages, &other).unwrap().is_empty());
}

/// Returns a token of the simulator, for tests where another service provides the token.
fn token(simulator: &Simulator) -> String {
    let world = World::new();
    world.kefu(simulator, &["doctor"]);
    simulator.tokens().pop().unwrap()
}

#[test]
fn days_that_are_left_out_are_reported_and_counted() {
    let world = World::new();
    let arguments = ["run", "--from", &nth(-7), "--to", &nth(1)];
    let output = kefu(&world, on_days(&[(0, 3)]), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let shown = stdout(&output);
    let line = "no records before 2016-06-01: 7 days left out (2016-05-25 to 2016-05-31)";
    assert!(shown.contains(line), "{shown}");
    let run = last_run(&world);
    assert_eq!(
        (&run["days_left_out"], &run["days_fetched"], &run["days_given_up"]),
        (&json!(7), &json!(2), &json!(0))
    );
    // The next run requests these days again and prints the same line.
    let again = kefu(&world, on_days(&[(0, 3)]), &arguments);
    assert!(stdout(&again).contains(line), "{}", stdout(&again));
}

#[test]
fn a_run_without_any_record_says_what_to_check() {
    let world = World::new();
    let output = kefu(&world, records(0), &["run", "--from", &nth(-7), "--to", &nth(-1)]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("no records: 7 days left out (2016-05-25 to 2016-05-31)"));
    insta::assert_snapshot!(stderr(&output));
    assert!(world.table_files().is_empty());
}
