//! A simulator with a lake for each test, and readers that do not use kefu's code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use kefu::calendar::{Clock, Day, DayRange, Zone};
use kefu::failure::ErrorKind;
use kefu::fetch::Source;
use kefu::lake::{Account, AppId, Failpoint, Lake, Table};
use kefu::metrics::Parameters;
use kefu::model::cancel::Cancel;
use kefu::model::privacy::Privacy;
use kefu::model::redaction::Redaction;
use kefu::pipeline::{
    AccountJob, Api, FetchJob, FetchReport, Network, OnShrink, Wanted, fetch_days,
};
use kefu::simulator::{
    APPID, Fault, Generated, GeneratorOptions, LoggedRequest, Options, Recorded, Records, SECRET,
    Simulator,
};
use kefu::wechat::{Credential, Endpoint, Proof, Secret};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The day of WeChat's official example, in Beijing: 1464710400..1464796800.
pub const DAY: &str = "2016-06-01";
pub const MIDNIGHT: i64 = 1_464_710_400;

/// A second app that the simulator accepts.
pub const OTHER_APPID: &str = "wx5ec0de51mu1a71";

/// The time of the test clock, in unix seconds. It is after every day that tests fetch.
pub const NOW: i64 = 1_800_000_020;

/// A record in the format of the API. `time` is in unix seconds.
pub fn record(time: i64, text: &str) -> String {
    format!(r#"{{"openid":"oC1","opercode":2003,"text":"{text}","time":{time},"worker":"A@acme"}}"#)
}

/// Records in the given order.
pub fn recorded(lines: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Recorded {
    Recorded::from_lines(lines.into_iter().map(Into::into), false)
}

/// `count` records, one second apart.
pub fn records(count: i64) -> Recorded {
    recorded((0..count).map(|number| record(MIDNIGHT + number, &format!("text {number}"))))
}

/// Generated records of some days.
pub fn generated(first_day: &str, days: u32, messages_per_day: u32, seed: u64) -> Generated {
    let first_day = first_day.parse().unwrap();
    Generated::new(GeneratorOptions { first_day, days, messages_per_day, seed })
}

/// A temporary folder with a lake, a runtime for the simulator, and a clock that never really
/// waits.
pub struct World {
    pub folder: TempDir,
    pub zone: Zone,
    pub clock: Clock,
    pub concurrency: usize,
    pub page_records: usize,
    pub credential: Credential,
    /// True if the account's name begins with `_`, as earlier versions allowed.
    pub hidden: bool,
    /// The app id that a fetch records.
    pub app_id: Option<AppId>,
    pub privacy: Privacy,
    pub runtime: Runtime,
    /// The failpoint for all operations that change the lake.
    pub failpoint: Option<Arc<dyn Failpoint>>,
    /// Days that are replaced only if their records have changed.
    pub refreshed: BTreeSet<Day>,
    /// What a fetch does with a day that has fewer records than before.
    pub on_shrink: OnShrink,
}

/// The result of a fetch: its report, the requests to the simulator, and its tokens.
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

    /// Options with faults, in the format of `--fault`.
    pub fn options(&self, faults: &[&str]) -> Options {
        let faults = faults.iter().map(|fault| fault.parse::<Fault>().unwrap()).collect();
        Options { faults, clock: self.clock.clone(), ..Options::default() }
    }

    /// Starts a simulator for the command line. The command line uses the machine's clock, so the
    /// simulator does too, unless `options` has a clock other than the world's.
    pub fn simulate(&self, records: impl Records, options: Options) -> Simulator {
        let is_ours = |clock: &Clock| match (clock, &self.clock) {
            (Clock::Virtual(clock), Clock::Virtual(ours)) => Arc::ptr_eq(clock, ours),
            _ => false,
        };
        let clock = if is_ours(&options.clock) { Clock::System } else { options.clock };
        self.start(records, Options { clock, ..options })
    }

    /// The job of the account, with records from a simulator.
    pub fn job(&self, simulator: &Simulator) -> AccountJob {
        AccountJob {
            lake: self.lake(),
            account: self.account(),
            zone: self.zone.clone(),
            rules: Parameters::in_zone(self.zone.name()).into(),
            privacy: Some(self.privacy.clone()),
            api: Some(Api {
                network: Network::open(&simulator.client_url().unwrap(), self.concurrency).unwrap(),
                credential: self.credential.clone(),
                app_id: self.app_id.clone(),
                concurrency: self.concurrency,
            }),
            clock: self.clock.clone(),
        }
    }

    fn redaction(&self) -> Redaction {
        Redaction { privacy: self.privacy.clone(), ..Redaction::default() }
    }

    fn start(&self, records: impl Records, options: Options) -> Simulator {
        self.runtime.block_on(Simulator::start(records, options)).unwrap()
    }

    /// Fetches the days from a simulator that serves `records` with `faults`.
    pub fn fetch(&self, records: impl Records, faults: &[&str], days: &[&str]) -> Night {
        self.fetch_with(records, self.options(faults), days)
    }

    pub fn fetch_with(&self, records: impl Records, options: Options, days: &[&str]) -> Night {
        let simulator = self.start(records, options);
        let report = self.fetch_from(&simulator.client_url().unwrap(), days);
        Night { report, requests: simulator.requests(), tokens: simulator.tokens() }
    }

    /// Fetches the days from the server at `endpoint`.
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
            cancel: Cancel::default(),
        };
        let days: Vec<Day> = days.iter().map(|day| day.parse().unwrap()).collect();
        let _lock = Lake::at(self.lake_folder()).lock(&self.account()).unwrap();
        self.runtime.block_on(fetch_days(&job, &days, &()))
    }

    /// Runs the command line against a simulator, with the account `acme`.
    pub fn kefu(&self, simulator: &Simulator, arguments: &[&str]) -> Output {
        self.kefu_command(simulator, arguments).output().unwrap()
    }

    /// The command of `kefu`, not run yet.
    pub fn kefu_command(&self, simulator: &Simulator, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command
            .env("KEFU_BASE_URL", simulator.base_url())
            .env("KEFU_APPID", APPID)
            .env("KEFU_SECRET", SECRET)
            .env("KEFU_ACCOUNT", "acme");
        command
    }

    /// The command line, with the lake as its only setting.
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

    /// The bytes of the file of a day's messages.
    pub fn bytes(&self, day: &str) -> Vec<u8> {
        fs_err::read(self.path("messages", day)).unwrap()
    }

    /// The rows of a partition, read by Parquet's own row reader, with each value as text.
    pub fn rows(&self, table: &str, day: &str) -> Vec<Vec<String>> {
        read_rows(&self.path(table, day))
    }

    /// The rows of any Parquet file.
    pub fn rows_at(&self, path: &Path) -> Vec<Vec<String>> {
        read_rows(path)
    }

    /// The texts of a day's messages, in the order of the file.
    pub fn texts(&self, day: &str) -> Vec<String> {
        self.rows("messages", day).into_iter().map(|row| row[4].clone()).collect()
    }

    /// Every file of the tables, by its path in the lake.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let root = self.lake_folder();
        let contents = |path: PathBuf| {
            (path.strip_prefix(&root).unwrap().to_owned(), fs_err::read(path).unwrap())
        };
        let is_list = |path: &PathBuf| path.starts_with(root.join("workers"));
        self.table_files().into_iter().filter(|path| !is_list(path)).map(contents).collect()
    }

    /// All files of the lake except those in kefu's own folder `_kefu`.
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
    /// Returns the error kind of the first failed day. Panics if a day was fetched.
    #[track_caller]
    pub fn failure(&self) -> ErrorKind {
        assert!(self.report.fetched.is_empty(), "{:?}", self.report);
        self.report.failed[0].failure.kind
    }

    /// The requests of `getmsglist`.
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

/// A request for days by name. All of them are over.
pub fn wanted(first: &str, last: &str) -> Wanted {
    let (first, last) = (first.parse().unwrap(), last.parse().unwrap());
    Wanted {
        range: DayRange { first, last },
        is_named: true,
        force: false,
        refresh: 0,
        allow_shrink: false,
        last_over: last,
    }
}
