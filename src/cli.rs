//! The command line. What each field's comment says is what `--help` shows.

// They are written for a terminal: a default in brackets is no link, and an address is not decorated.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::calendar::Day;
use crate::lake::Table;
use crate::report::Language;
use crate::settings::Flags;
use crate::simulator::Fault;
use crate::telemetry::{LogFormat, LogLevel};

/// Pulls the customer-service chat records of a WeChat Official Account, night by night, and turns them into Parquet.
#[derive(Debug, Parser)]
#[command(name = "kefu", bin_name = "kefu", version, propagate_version = true, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// None where somebody wants to know what there is to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub global: GlobalArgs,
}

const EXIT_CODES: &str = "\
Settings come from a flag, else the environment (KEFU_APPID, KEFU_SECRET, KEFU_ACCESS_TOKEN, KEFU_ACCOUNT, KEFU_BASE_URL, KEFU_LAKE, \
KEFU_TIMEZONE, KEFU_LOOKBACK, KEFU_REFRESH, KEFU_CONCURRENCY, KEFU_CONFIG), else kefu.toml, else the default. Secrets have no flag: \
flags are visible to other users of the machine.

Exit codes:
   0  done, or nothing to do
   1  a bug
   2  wrong usage
   3  some days or accounts failed, the others are committed; verify --against-api: some days differ
  65  the API's data breaks the contract, or a day has lost records; verify: the lake is damaged
  69  the API was unreachable or busy through every retry
  73  cannot write the lake, or read it
  75  another run of the account is at work, or a quota is used up
  77  refused: credentials, IP whitelist, permission, frozen account
  78  settings are wrong or missing";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The nightly job: fetch what is missing, then bring every metric partition up to date
    Run(FetchArgs),
    /// Only the first half: fetch what is missing
    Fetch(FetchArgs),
    /// Only the second half: bring metric partitions up to date
    ///
    /// Recomputes a partition when an input or a parameter differs from what its footer records. Without days, looks at every fetched
    /// day.
    Metrics(MetricsArgs),
    /// The whole job against the built-in simulator, on a week of generated conversations
    ///
    /// Needs no account and no network, and heeds no setting but --lake (whose default is data/demo here), --output and the log's.
    Demo,
    /// Which days are there, missing, out of date or final; messages and rejects
    ///
    /// Without days, everything from the first fetched day to the last.
    Status(StatusArgs),
    /// Settings with their origins, then token, permission, quota, clock, disk and lake: what works, and what to do about the rest
    ///
    /// Changes nothing, and makes one call of getmsglist for each account. With --probe it asks
    /// WeChat instead how it cuts windows and pages.
    Doctor(DoctorArgs),
    /// Delete old days, of messages and rejects unless told otherwise; lists them without --yes
    ///
    /// Texts stand in `messages` and `rejects` alone. Openids stand in `response_pairs` and `sessions`, too: name those with --table as well to be rid
    /// of them. The numbers that were made of the messages stay as they are: what cannot be computed again is not, and what was deleted comes back
    /// only when its days are named to `kefu run` or `kefu fetch` without --force. It deletes the days of every account.
    Prune(PruneArgs),
    /// Apply stricter settings under [privacy] to the files that are there; lists what it removes
    /// without --yes
    ///
    /// Texts become null, openids their keyed hash, and records that could not be read a note of
    /// their length, in messages, rejects, response pairs and sessions. Needs no network. The
    /// numbers stay as they are. What is removed cannot be put back: looser settings and another
    /// key are refused (78). When it is interrupted, the same command finishes it, and so does the
    /// next run.
    Redact(RedactArgs),
    /// Remove the texts and the identity of customers from every file, and keep the numbers; lists
    /// what it removes without --yes
    ///
    /// Each customer gets a random name in place of the openid. kefu remembers a keyed hash of the
    /// openid, so that a later fetch of the same records gives the same rows. Give the openid as
    /// WeChat has it, or as it is in the lake. Texts of other customers that mention the customer
    /// stay.
    Forget(ForgetArgs),
    /// Read the whole lake and check everything that it promises
    ///
    /// Every file against what its footer says, its rows against their hash, the metrics against
    /// what their inputs give, for all accounts. Needs no network and no credentials, and changes
    /// nothing. Ends with 65 when a promise is broken; what is merely missing or out of date is a
    /// note.
    Verify(VerifyArgs),
    /// A page to look at: figures, charts and tables of some days, as one HTML file
    ///
    /// Key figures with the change against as many days before, response time and service level by
    /// day, load by weekday and hour, workers, turns without an answer, and which days are in the
    /// lake. The file needs nothing else and loads nothing: it can be mailed, printed, and opened
    /// years later. Without days, the last 7 that are final, compared with the 7 before: a day is
    /// final once the three days after it are fetched, because replies may come until then. Days
    /// that are named and not final yet are hatched, and nothing that may still change is compared.
    /// It reports on every account of the lake, unless --account names some; it needs no
    /// credentials, may run beside a run, and changes nothing in the lake. The same lake gives the
    /// same page.
    ///
    /// What customers wrote is on the page only with --with-text. Of openids it shows the end, and workers' names as they are.
    Report(ReportArgs),
    /// DuckDB views over the lake, ready to pipe into duckdb
    ///
    /// `(kefu sql; echo "FROM service_level(180);") | duckdb`: a view for each table, a macro service_level(T), roll-ups by week and month, and the load by
    /// weekday and hour.
    Sql,
    /// Serve the WeChat API on a loopback port, from recorded or generated records
    ///
    /// The first line on stdout is a JSON object: base_url, appid, secret. Runs until it is stopped.
    Simulate(SimulateArgs),
    /// Completions for a shell, to be read by it
    Completions { shell: clap_complete::Shell },
    /// The manual page, of kefu or of one of its commands: `kefu man run | man -l -`
    Man { command: Option<String> },
}

impl Cli {
    /// Whether the command computes metrics.
    pub fn is_computing(&self) -> bool {
        use Command::{Demo, Metrics, Report, Run, Verify};
        matches!(self.command, Some(Run(_) | Metrics(_) | Demo | Verify(_) | Report(_)))
    }
}

#[derive(Debug, Args)]
#[command(next_display_order = 100)]
pub struct GlobalArgs {
    /// Folder of the lake [default: data/lake]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub lake: Option<PathBuf>,
    /// Where local days are cut, as an IANA name [default: Asia/Shanghai]
    #[arg(long, global = true, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// The API's address; https, or http towards a loopback address [default: https://api.weixin.qq.com]
    #[arg(long, global = true, value_name = "URL")]
    pub base_url: Option<String>,
    /// Work on this account alone, of those in the settings; may be given several times [default: all of them]
    #[arg(long, global = true, value_name = "NAME")]
    pub account: Vec<String>,
    /// Settings file [default: kefu.toml in the current folder, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Threads that compute [default: one for each core]
    #[arg(long, global = true, value_name = "THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Form of the result on stdout; with json, one object on the last line
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: OutputFormat,
    /// Form of the log on stderr
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// How much is logged
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_level: LogLevel,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    #[default]
    Table,
    Json,
}

#[derive(Clone, Debug, Args)]
pub struct DaysArgs {
    /// A single day, for instance 2016-06-01
    #[arg(long, value_name = "DAY", conflicts_with_all = ["from", "to"])]
    pub date: Option<Day>,
    /// First day of a range
    #[arg(long, value_name = "DAY", requires = "to")]
    pub from: Option<Day>,
    /// Last day of a range, included
    #[arg(long, value_name = "DAY", requires = "from")]
    pub to: Option<Day>,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Instead, ask the API a few small questions about the records of a day, and say whether what
    /// kefu assumes holds
    ///
    /// Whether the start and the end of a window belong to it, whether a page begins after the
    /// msgid that it was asked for with, whether a page that is not full is the last, whether the
    /// size of a page is honoured, and whether records ascend by time. At most 8 calls of
    /// getmsglist for each account. Ends with 65 when something that kefu relies on does not hold.
    /// A day with many records shows more.
    #[arg(long, requires = "date")]
    pub probe: bool,
    /// The day to ask about
    #[arg(long, value_name = "DAY", requires = "probe")]
    pub date: Option<Day>,
}

#[derive(Debug, Args)]
pub struct FetchArgs {
    #[command(flatten)]
    pub days: DaysArgs,
    /// Without days: how many days up to yesterday to look at [default: 3]
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["date", "from", "to"], value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub lookback: Option<u16>,
    /// Fetch days again that are already there, and replace them; a day that lost records and a
    /// pruned day stay as they are
    #[arg(long)]
    pub force: bool,
    /// Fetch the last DAYS up to yesterday again if they are already there, and replace those that
    /// have changed: records can come late. 0 turns it off [default: 2]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(0..=3650))]
    pub refresh: Option<u16>,
    /// Replace a day even if WeChat gives fewer records than are there, which discards the others
    #[arg(long)]
    pub allow_shrink: bool,
    /// Calls that are made side by side [default: 4]
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub concurrency: Option<u16>,
    /// Write figures of the run to this file, for the Prometheus node exporter
    #[arg(long, value_name = "PATH")]
    pub textfile: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct MetricsArgs {
    #[command(flatten)]
    pub days: DaysArgs,
    /// Write figures of the run to this file, for the Prometheus node exporter
    #[arg(long, value_name = "PATH")]
    pub textfile: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub days: DaysArgs,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    pub days: DaysArgs,
    /// Without days: how many up to the last final one [default: 7]
    #[arg(long = "days", value_name = "DAYS", conflicts_with_all = ["date", "from", "to"], value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub last: Option<u16>,
    /// Where the page goes; a file that is there is replaced. - is stdout
    #[arg(long, value_name = "FILE", default_value = "kefu-report.html")]
    pub out: PathBuf,
    /// Language of the page
    #[arg(long, value_enum, default_value_t)]
    pub lang: Language,
    /// Show what customers wrote in the turns without an answer, which is personal data
    #[arg(long)]
    pub with_text: bool,
    /// A turn is answered in time within so many seconds
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = PossibleValuesParser::new(["30", "60", "180", "300"]).try_map(|seconds| seconds.parse::<i64>()))]
    pub service_level: i64,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what_goes").required(true).args(["before", "keep_days", "all"])))]
pub struct PruneArgs {
    /// Delete the days before this one, which may not be all
    #[arg(long, value_name = "DAY")]
    pub before: Option<Day>,
    /// Delete all but the last DAYS, counted back from the newest day in the lake; with fewer than
    /// 5, metrics that are not final yet stay so
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    pub keep_days: Option<u16>,
    /// Delete every day there is
    #[arg(long)]
    pub all: bool,
    /// A table to delete from; may be given several times
    #[arg(long = "table", value_name = "TABLE", value_enum, default_values_t = [Table::Messages, Table::Rejects])]
    pub tables: Vec<Table>,
    /// Delete what is listed; without it, nothing is deleted
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct RedactArgs {
    /// Remove what is listed; without it, nothing is removed
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("who").required(true).multiple(true).args(["openids", "openid_file"])))]
pub struct ForgetArgs {
    /// Openid of a customer; may be given several times
    #[arg(long = "openid", value_name = "OPENID")]
    pub openids: Vec<String>,
    /// File with more openids, one a line
    #[arg(long, value_name = "FILE")]
    pub openid_file: Option<PathBuf>,
    /// Remove what is listed; without it, nothing is removed
    #[arg(long)]
    pub yes: bool,
}

impl ValueEnum for Table {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub days: DaysArgs,
    /// Instead, fetch the days of one account again, and show which records were added or are gone; the lake stays as it is
    ///
    /// Asks once more after the last page of each window, which proves that it is the last. Without
    /// days, the lookback. Ends with 3 when some day differs.
    #[arg(long)]
    pub against_api: bool,
    /// Show the texts of such records too, which are personal data
    #[arg(long, requires = "against_api")]
    pub with_text: bool,
}

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Records to serve, one JSON object a line, as the API gives them; may be given several times
    #[arg(long, value_name = "FILE")]
    pub records: Vec<PathBuf>,
    /// First generated day, in Beijing time
    #[arg(long, value_name = "DAY", default_value = "2024-05-13", conflicts_with = "records")]
    pub first_day: Day,
    /// Generated days
    #[arg(long, default_value_t = 7, conflicts_with = "records", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub days: u32,
    /// Generated messages on each day
    #[arg(long, default_value_t = 1_500, conflicts_with = "records")]
    pub messages_per_day: u32,
    /// The same seed generates the same records
    #[arg(long, default_value_t = 1, conflicts_with = "records")]
    pub seed: u64,
    /// Port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Wait before each answer of getmsglist
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// How long a token lives
    #[arg(long, value_name = "SECONDS", default_value_t = 7_200)]
    pub token_lifetime: u64,
    /// Calls of getmsglist before the quota is used up
    #[arg(long, value_name = "CALLS", default_value_t = 5_000_000)]
    pub daily_limit: u64,
    /// Keep so many pages once they were asked for, to give them again at once (for benchmarks)
    #[arg(long, value_name = "PAGES", default_value_t = 0)]
    pub keep_pages: usize,
    /// A record at exactly endtime belongs to the window (WeChat does not say whether it does)
    #[arg(long)]
    pub end_inclusive: bool,
    /// Leave out records at exactly starttime, which kefu assumes to belong to the window
    #[arg(long)]
    pub start_exclusive: bool,
    /// Begin each page with the record whose msgid it was asked for with, where kefu assumes the
    /// next one
    #[arg(long)]
    pub cursor_inclusive: bool,
    /// Most records on a page, even when more are asked for
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub page_cap: Option<u16>,
    /// Hours by which the windows are later than the ones asked for
    #[arg(long, value_name = "HOURS", default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-48..=48))]
    pub shift_hours: i64,
    /// Give the first page of a window again and again, each time with a higher msgid
    #[arg(long)]
    pub repeat_pages: bool,
    /// Misbehave: [token/]KIND[@CALL[xTIMES]]; may be given several times
    ///
    /// KIND is errcode:N, status:N[:retry-after=S], reset, cut, html, stuck-cursor, wrong-number or expire-token. It meets the calls of
    /// getmsglist (with token/, those for a token) from number CALL on, TIMES in a row; all of them without @CALL.
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<Fault>,
}

impl GlobalArgs {
    /// The settings given by flags.
    pub fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            lake: self.lake.clone(),
            timezone: self.timezone.clone(),
            base_url: self.base_url.clone(),
            lookback: None,
            refresh: None,
            concurrency: None,
            accounts: self.account.clone(),
        }
    }
}
