//! Rules for metrics belong to the lake. In a folder without the settings file, commands neither
//! judge metrics by other rules nor compute with them.

use std::path::PathBuf;
use std::process::Output;

use kefu::lake::Table;
use kefu::simulator::{APPID, Generated, GeneratorOptions, SECRET, Simulator};
use serde_json::{Value, json};

use crate::world::{World, files};

const RULES: &str = "\
[metrics]
session_gap = 900
[[metrics.auto_reply]]
prefix = '您好'
[metrics.business_hours]
monday = ['09:00-18:00']
tuesday = ['21:00-02:00']
saturday = ['10:00-16:00']
[metrics.business_hours.dates]
2024-05-02 = []
";

/// The changes that a run without these rules would make, as an error shows them.
const CHANGES: &str =
    "auto_reply 1 rule → none, business_hours a schedule → none, session_gap 900 → 1800";

/// A lake that was created next to a settings file, and another folder without a settings file.
struct Places {
    world: World,
    elsewhere: PathBuf,
    simulator: Simulator,
}

impl Places {
    /// Creates a lake with twelve days from 2024-05-01, computed with these settings.
    fn with(settings: &str) -> Self {
        let world = World::new();
        let generator = GeneratorOptions {
            first_day: "2024-05-01".parse().unwrap(),
            days: 13,
            messages_per_day: 150,
            seed: 1,
        };
        let simulator = world.simulate(Generated::new(generator), world.options(&[]));
        let elsewhere = world.folder.path().join("elsewhere");
        fs_err::create_dir(&elsewhere).unwrap();
        let places = Self { world, elsewhere, simulator };
        places.set(settings);
        places.home(&["run", "--from", "2024-05-01", "--to", "2024-05-12"]);
        places
    }

    fn set(&self, settings: &str) {
        fs_err::write(self.world.folder.path().join("kefu.toml"), settings).unwrap();
    }

    /// Runs a command next to the settings file and returns its JSON. Panics if the command fails.
    #[track_caller]
    fn home(&self, arguments: &[&str]) -> Value {
        result(&self.world.kefu(&self.simulator, &[arguments, &["--output", "json"]].concat()))
    }

    /// Runs a command in the folder without a settings file.
    fn away(&self, arguments: &[&str]) -> Output {
        let mut command = self.world.command(arguments);
        command
            .current_dir(&self.elsewhere)
            .env("KEFU_BASE_URL", self.simulator.base_url())
            .env("KEFU_APPID", APPID)
            .env("KEFU_SECRET", SECRET)
            .env("KEFU_ACCOUNT", "acme");
        command.output().unwrap()
    }

    #[track_caller]
    fn read_away(&self, arguments: &[&str]) -> Value {
        result(&self.away(&[arguments, &["--output", "json"]].concat()))
    }

    fn tables(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let read = |path: PathBuf| (path.clone(), fs_err::read(path).unwrap());
        self.world.table_files().into_iter().map(read).collect()
    }
}

#[track_caller]
fn result(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn freshness(status: &Value) -> Vec<&str> {
    let days = status["days"].as_array().unwrap();
    days.iter().map(|day| day["metrics"].as_str().unwrap()).collect()
}

#[test]
fn a_lake_with_rules_is_up_to_date_from_any_folder() {
    let places = Places::with(RULES);
    assert_eq!(freshness(&places.home(&["status"])), ["fresh"; 12]);
    assert_eq!(freshness(&places.read_away(&["status"])), ["fresh"; 12]);

    let verified = places.read_away(&["verify"]);
    assert_eq!((&verified["findings"], &verified["recomputed"]), (&json!([]), &json!(5 * 12)));

    // The page has the same bytes. The number of served customers depends on which messages are
    // automatic.
    let days = ["--from", "2024-05-04", "--to", "2024-05-09"];
    let page = |arguments: &[&str]| {
        let at_home = places.home(&[&["report"], arguments].concat());
        let away = places.read_away(&[&["report"], arguments].concat());
        let [at_home_page, away_page] = [places.world.folder.path(), &places.elsewhere]
            .map(|folder| fs_err::read_to_string(folder.join("kefu-report.html")).unwrap());
        assert!(at_home_page == away_page, "another page");
        assert_eq!(at_home, away);
        away
    };
    page(&[]);
    let served = page(&days)["totals"]["customers_served"].clone();
    // The rules affect this number.
    let plain = Places::with("");
    plain.home(&[&["report"][..], &days].concat());
    let plain = plain.read_away(&[&["report"][..], &days].concat());
    assert_ne!(plain["totals"]["messages_sent"], served);
}

#[test]
fn without_the_settings_file_nothing_is_fetched_or_computed_with_other_rules() {
    let places = Places::with(RULES);
    let (before, requests) = (places.tables(), places.simulator.requests().len());
    for command in [
        &["run", "--date", "2024-05-13"][..],
        &["run", "--from", "2024-05-12", "--to", "2024-05-12", "--force"],
        &["metrics"],
        &["metrics", "--date", "2024-05-03"],
    ] {
        let refused = places.away(command);
        assert_eq!(refused.status.code(), Some(78), "{command:?}");
        let said = stderr(&refused);
        assert!(said.contains("no settings file was found") && said.contains(CHANGES), "{said}");
        assert!(said.contains("hint: ") && said.contains("--config"), "{said}");
    }
    assert!(places.tables() == before);
    assert_eq!(places.simulator.requests().len(), requests, "nobody was asked for anything");

    // `kefu fetch` computes nothing, so it needs no rules.
    assert!(places.away(&["fetch", "--date", "2024-05-13"]).status.success());
    // `--config` names the settings file from any folder.
    let config = places.world.folder.path().join("kefu.toml");
    let config = config.to_str().unwrap();
    assert!(places.away(&["run", "--date", "2024-05-13", "--config", config]).status.success());
    assert_eq!(freshness(&places.read_away(&["status"])), ["fresh"; 13]);
}

#[test]
fn rules_that_only_older_days_have_are_not_replaced() {
    let places = Places::with(RULES);
    // The last nine days have the defaults on purpose: an empty settings file counts as one.
    places.set("");
    places.home(&["metrics", "--from", "2024-05-04", "--to", "2024-05-12"]);
    let before = places.tables();
    let refused = places.away(&["metrics"]);
    assert_eq!(refused.status.code(), Some(78), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("(2024-05-03)"), "{}", stderr(&refused));
    assert!(places.tables() == before);
    // Days that were computed with the defaults can be computed without a settings file.
    fs_err::remove_file(places.world.path("sessions", "2024-05-10")).unwrap();
    assert!(places.away(&["metrics", "--date", "2024-05-10"]).status.success());
    assert!(places.tables() == before);
}

#[test]
fn a_lake_without_rules_needs_no_settings_file() {
    let places = Places::with("");
    fs_err::remove_file(places.world.folder.path().join("kefu.toml")).unwrap();
    assert!(places.away(&["run", "--date", "2024-05-13"]).status.success());
    assert!(places.away(&["metrics"]).status.success());
}

#[test]
fn changed_rules_are_reported_with_the_days_to_rebuild() {
    let places = Places::with(RULES);
    places.set("[metrics]\nsession_gap = 3600\n");
    let shown =
        String::from_utf8(places.world.kefu(&places.simulator, &["status"]).stdout).unwrap();
    let changes =
        "auto_reply 1 rule → none, business_hours a schedule → none, session_gap 900 → 3600";
    let expected = format!(
        "out of date 2024-05-01 to 2024-05-12 ({changes}: `kefu metrics` computes them again)"
    );
    assert!(shown.contains(&expected), "{shown}");
    let verified = places.home(&["verify"]);
    // The values are still correct for the rules that the files record.
    assert_eq!((&verified["broken"], &verified["recomputed"]), (&json!(0), &json!(60)));
    assert_eq!(verified["notes"], json!(60));
    // Without a settings file there are no other rules, so all days are up to date.
    assert_eq!(freshness(&places.read_away(&["status"])), ["fresh"; 12]);

    let output = places.world.kefu(&places.simulator, &["metrics", "--output", "json"]);
    let said = stderr(&output);
    assert!(
        said.contains(&format!(
            "the rules for metrics have changed ({changes}), so the metrics of 12 days"
        )),
        "{said}"
    );
    let changed = &result(&output)["metrics"]["changed_rules"];
    assert_eq!(changed["days"].as_array().unwrap().len(), 12);
    assert_eq!(changed["rules"][2], json!({ "rule": "session_gap", "from": "900", "to": "3600" }));
    assert_eq!(places.home(&["metrics"])["metrics"]["changed_rules"], Value::Null);
}

#[test]
fn each_day_is_verified_with_its_own_rules() {
    let places = Places::with(RULES);
    places.set("[metrics.business_hours]\nmonday = ['10:00-12:00']\n");
    places.home(&["metrics", "--from", "2024-05-05", "--to", "2024-05-07"]);
    places.set("[metrics]\nreply_window = 3600\n");
    places.home(&["metrics", "--from", "2024-05-10", "--to", "2024-05-12"]);
    let verified = places.read_away(&["verify"]);
    assert_eq!((&verified["findings"], &verified["recomputed"]), (&json!([]), &json!(60)));
}

/// Recreates a run with new rules that was killed between two tables of a day.
#[test]
fn tables_of_one_day_with_different_rules_are_out_of_date_from_any_folder() {
    let places = Places::with(RULES);
    let path = places.world.path("sessions", "2024-05-06");
    let of_old_rules = fs_err::read(&path).unwrap();
    places.set("[metrics]\nsession_gap = 60\n");
    places.home(&["metrics"]);
    fs_err::write(&path, of_old_rules).unwrap();
    let status = places.read_away(&["status"]);
    let states = freshness(&status);
    assert_eq!((states[4], states[5], states[6]), ("fresh", "stale", "fresh"));
    assert_eq!(
        status["days"][5]["stale_because"],
        json!(["auto_reply 1 rule → none", "session_gap 900 → 60"])
    );
    let findings = places.read_away(&["verify"])["findings"].take();
    assert_eq!(findings.as_array().unwrap().len(), 1, "{findings}");
    assert_eq!(findings[0]["kind"], "stale");
    assert!(
        findings[0]["path"].as_str().unwrap().ends_with("sessions/date=2024-05-06/acme.parquet")
    );
}

#[test]
fn commands_that_only_read_use_the_time_zone_of_the_lake() {
    let places = Places::with("timezone = 'America/New_York'\n[metrics]\nsession_gap = 60\n");
    for command in ["status", "report", "verify"] {
        assert_eq!(places.read_away(&[command])["timezone"], "America/New_York", "{command}");
    }
    let sql = places.away(&["sql"]);
    assert!(String::from_utf8_lossy(&sql.stdout).contains("SET TimeZone = 'America/New_York'"));
    assert_eq!(freshness(&places.read_away(&["status"])), ["fresh"; 12]);
    assert_eq!(places.read_away(&["verify"])["findings"], json!([]));
    // A settings file without a time zone also takes the zone of the lake.
    places.set("[metrics]\nsession_gap = 60\n");
    assert_eq!(freshness(&places.home(&["status"])), ["fresh"; 12]);
    // A zone in the settings takes precedence. Commands that compute do not take the zone of the
    // lake.
    for arguments in [&["status", "--timezone", "UTC"][..], &["metrics"]] {
        let refused = places.away(arguments);
        assert_eq!(refused.status.code(), Some(78));
        assert!(stderr(&refused).contains("time zone America/New_York"), "{}", stderr(&refused));
    }
}

#[test]
fn commands_that_only_read_do_not_change_the_lake() {
    let places = Places::with(RULES);
    let state = || files(&places.world.lake_folder());
    let before = (state(), places.tables());
    for command in ["status", "report", "verify", "sql"] {
        assert!(places.away(&[command]).status.success(), "{command}");
    }
    assert!(before == (state(), places.tables()));
    assert!(places.world.has(Table::ResponsePairs, "2024-05-12"));
}
