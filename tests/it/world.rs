//! A simulator with a lake beside it, and readers that are not kefu's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use kefu::calendar::{Clock, Day, Zone};
use kefu::failure::Class;
use kefu::fetch::Source;
use kefu::lake::{Account, AppId, Failpoint, Lake, Table};
use kefu::model::privacy::{Privacy, Redaction};
use kefu::pipeline::{FetchJob, FetchReport, OnShrink, fetch_days};
use kefu::simulator::{APPID, Fault, LoggedRequest, Options, Recorded, Records, SECRET, Simulator};
use kefu::wechat::{Credential, Endpoint, Proof, Secret};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The day of the official example, in Beijing: 1464710400..1464796800.
pub const DAY: &str = "2016-06-01";
pub const MIDNIGHT: i64 = 1_464_710_400;

/// Another app that the simulator knows.
pub const OTHER_APPID: &str = "wx5ec0de51mu1a71";

/// What time it is in the world: after every day that tests fetch.
pub const NOW: i64 = 1_800_000_020;

/// A record as the API gives it.
pub fn record(time: i64, text: &str) -> String {
    format!(r#"{{"openid":"oC1","opercode":2003,"text":"{text}","time":{time},"worker":"A@acme"}}"#)
}

/// Records in the given order.
pub fn recorded(lines: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Recorded {
    Recorded::from_lines(lines.into_iter().map(Into::into), false)
}

/// `count` records, a second apart.
pub fn records(count: i64) -> Recorded {
    recorded((0..count).map(|number| record(MIDNIGHT + number, &format!("text {number}"))))
}

/// A folder with a lake, a runtime for the simulator, and a clock that costs no time.
pub struct World {
    pub folder: TempDir,
    pub zone: Zone,
    pub clock: Clock,
    pub concurrency: usize,
    pub page_records: usize,
    pub credential: Credential,
    /// Whether the account's name begins with `_`, as earlier versions allowed.
    pub hidden: bool,
    /// What is recorded with what is fetched.
    pub app_id: Option<AppId>,
    pub privacy: Privacy,
    pub runtime: Runtime,
    /// What is in the way of all that changes the lake.
    pub failpoint: Option<Arc<dyn Failpoint>>,
    /// Days that are replaced only if they have changed.
    pub refreshed: BTreeSet<Day>,
    /// What becomes of days that come back with fewer records.
    pub on_shrink: OnShrink,
}

/// What came of a fetch.
pub struct Night {
    pub report: FetchReport,
    pub requests: Vec<LoggedRequest>,
    pub tokens: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        crate::log::begin();
        Self {
            folder: tempfile::tempdir().unwrap(),
            zone: Zone::named("Asia/Shanghai").unwrap(),
            clock: Clock::starting_at(NOW),
            concurrency: 1,
            page_records: 10_000,
            credential: Simulator::credential(),
            hidden: false,
            app_id: Some(AppId::new(APPID.into()).unwrap()),
            privacy: Privacy::default(),
            runtime: Runtime::new().unwrap(),
            failpoint: None,
            refreshed: BTreeSet::new(),
            on_shrink: OnShrink::Fail,
        }
    }

    pub fn in_zone(zone: &str) -> Self {
        Self { zone: Zone::named(zone).unwrap(), ..Self::new() }
    }

    pub fn with_page_records(self, page_records: usize) -> Self {
        Self { page_records, ..self }
    }

    pub fn with_secret(self, secret: &str) -> Self {
        Self {
            credential: Proof::AppSecret {
                appid: APPID.into(),
                secret: Secret::new(secret.into()),
            }
            .into(),
            ..self
        }
    }

    pub fn lake_folder(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    pub fn lake(&self) -> Lake {
        let lake = Lake::at(self.lake_folder());
        match &self.failpoint {
            Some(failpoint) => lake.with_failpoint(failpoint.clone()),
            None => lake,
        }
    }

    pub fn account(&self) -> Account {
        match self.hidden {
            true => Account::existing("_acme".into()).unwrap(),
            false => Account::new("acme".into()).unwrap(),
        }
    }

    /// Options with faults, written as for `--fault`.
    pub fn options(&self, faults: &[&str]) -> Options {
        let faults = faults.iter().map(|fault| fault.parse::<Fault>().unwrap()).collect();
        Options { faults, clock: self.clock.clone(), ..Options::default() }
    }

    /// A simulator for the command line, which goes by the machine's clock: so does the simulator,
    /// unless its options name another clock than the world's.
    pub fn simulate(&self, records: impl Records, options: Options) -> Simulator {
        let is_ours = |clock: &Clock| match (clock, &self.clock) {
            (Clock::Virtual(clock), Clock::Virtual(ours)) => Arc::ptr_eq(clock, ours),
            _ => false,
        };
        let clock = if is_ours(&options.clock) { Clock::System } else { options.clock };
        self.start(records, Options { clock, ..options })
    }

    fn redaction(&self) -> Redaction {
        Redaction { privacy: self.privacy.clone(), ..Redaction::default() }
    }

    fn start(&self, records: impl Records, options: Options) -> Simulator {
        self.runtime.block_on(Simulator::start(records, options)).unwrap()
    }

    /// Fetches the days from a simulator that serves `records` and misbehaves as told.
    pub fn fetch(&self, records: impl Records, faults: &[&str], days: &[&str]) -> Night {
        self.fetch_with(records, self.options(faults), days)
    }

    pub fn fetch_with(&self, records: impl Records, options: Options, days: &[&str]) -> Night {
        let simulator = self.start(records, options);
        let report = self.fetch_from(&simulator.client_url().unwrap(), days);
        Night { report, requests: simulator.requests(), tokens: simulator.tokens() }
    }

    /// Fetches the days from whatever answers there.
    pub fn fetch_from(&self, endpoint: &Endpoint, days: &[&str]) -> FetchReport {
        let source =
            Source::connect(endpoint, self.credential.clone(), self.clock.clone()).unwrap();
        let job = FetchJob {
            source: Arc::new(
                source.with_page_records(self.page_records).with_redaction(self.redaction()),
            ),
            lake: self.lake(),
            account: self.account(),
            app_id: self.app_id.clone(),
            zone: self.zone.clone(),
            concurrency: self.concurrency,
            refreshed: self.refreshed.clone(),
            on_shrink: self.on_shrink,
        };
        let days: Vec<Day> = days.iter().map(|day| day.parse().unwrap()).collect();
        let _lock = Lake::at(self.lake_folder()).lock(&self.account()).unwrap();
        self.runtime.block_on(fetch_days(&job, &days, &()))
    }

    /// Runs the command line against a simulator.
    pub fn kefu(&self, simulator: &Simulator, arguments: &[&str]) -> Output {
        self.kefu_command(simulator, arguments).output().unwrap()
    }

    /// The same, yet to be run.
    pub fn kefu_command(&self, simulator: &Simulator, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("KEFU_APPID", APPID)
            .env("KEFU_SECRET", SECRET)
            .env("KEFU_ACCOUNT", "acme");
        command
    }

    /// The command line, with no settings but the lake.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kefu"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("KEFU_LAKE", self.lake_folder());
        command
    }

    pub fn path(&self, table: &str, day: &str) -> PathBuf {
        self.lake_folder().join(table).join(format!("date={day}")).join("acme.parquet")
    }

    /// The file of a day's messages as it is on disk.
    pub fn bytes(&self, day: &str) -> Vec<u8> {
        fs_err::read(self.path("messages", day)).unwrap()
    }

    /// The rows of a partition by Parquet's own row reader, each as its columns' values in words.
    pub fn rows(&self, table: &str, day: &str) -> Vec<Vec<String>> {
        read_rows(&self.path(table, day))
    }

    /// The rows of any file.
    pub fn rows_at(&self, path: &Path) -> Vec<Vec<String>> {
        read_rows(path)
    }

    /// The texts of a day's messages, in the order of the file.
    pub fn texts(&self, day: &str) -> Vec<String> {
        self.rows("messages", day).into_iter().map(|row| row[4].clone()).collect()
    }

    /// Every file below the lake but those of kefu's own.
    pub fn table_files(&self) -> Vec<PathBuf> {
        files(&self.lake_folder())
            .into_iter()
            .filter(|path| !path.starts_with(self.lake_folder().join("_kefu")))
            .collect()
    }

    pub fn staged_files(&self) -> Vec<PathBuf> {
        let own = files(&self.lake_folder().join("_kefu")).into_iter();
        own.filter(|path| path.iter().any(|folder| folder == "staging")).collect()
    }

    pub fn has(&self, table: Table, day: &str) -> bool {
        self.path(table.name(), day).is_file()
    }
}

impl Night {
    /// The class of the one day's failure.
    #[track_caller]
    pub fn failure(&self) -> Class {
        assert!(self.report.fetched.is_empty(), "{:?}", self.report);
        self.report.failed[0].failure.class
    }

    /// Calls of `getmsglist`.
    pub fn page_requests(&self) -> Vec<&LoggedRequest> {
        self.requests.iter().filter(|request| request.call == "getmsglist").collect()
    }
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { self::files(&path) } else { vec![path] }
        })
        .collect();
    files.sort();
    files
}

fn read_rows(path: &Path) -> Vec<Vec<String>> {
    let reader =
        SerializedFileReader::new(fs_err::File::open(path).unwrap().into_parts().0).unwrap();
    let words = |field: &Field| match field {
        Field::Str(text) => text.clone(),
        Field::TimestampMicros(micros) => (micros / 1_000_000).to_string(),
        other => other.to_string(),
    };
    reader
        .get_row_iter(None)
        .unwrap()
        .map(|row| row.unwrap().get_column_iter().map(|(_, field)| words(field)).collect())
        .collect()
}
