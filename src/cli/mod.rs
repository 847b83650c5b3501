//! The command line. What each field's comment says is what `--help` shows.

// The comments are for a terminal: a default in brackets is no link, and an address is not
// decorated.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::bare_urls)]

mod days;
mod help;
mod report;
mod simulate;

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::calendar::Day;
use crate::lake::Table;
use crate::model::{SHARDS_MAX, Shard};
use crate::settings::Flags;
use crate::telemetry::{LogFormat, LogLevel};

pub use days::{DaysArgs, NamedDay};
pub use help::{command, parse};
pub use report::ReportArgs;
pub use simulate::SimulateArgs;

/// Pulls the customer-service chat records of a WeChat Official Account, night by night, and turns
/// them into Parquet.
#[derive(Debug, Parser)]
#[command(name = "kefu", bin_name = "kefu", version, propagate_version = true, max_term_width = 110, after_help = EXIT_CODES)]
pub struct Cli {
    /// None when kefu is called without a command.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub global: GlobalArgs,
}

const EXIT_CODES: &str = "\
Settings come from a flag, else the environment (KEFU_APPID, KEFU_SECRET, KEFU_ACCESS_TOKEN, KEFU_ACCOUNT, KEFU_BASE_URL, KEFU_LAKE, \
KEFU_TIMEZONE, KEFU_LOOKBACK, KEFU_REFRESH, KEFU_CONCURRENCY, KEFU_ACCOUNTS_AT_ONCE, KEFU_CONFIG), else kefu.toml, else the default. Secrets have no flag: \
flags are visible to other users of the machine.

Exit codes:
   0  done, or nothing to do
   1  a bug
   2  wrong usage
   3  some days or accounts failed, the others are committed; verify --against-api: some days differ
  65  the API's data breaks the contract, or a day has lost records; verify: the lake is damaged
  69  the API or the bucket was unreachable or busy through every retry
  73  the lake cannot be written or read
  75  another run has the account locked or has replaced the day, or a quota is used up
  77  refused by the API or the bucket: credentials, IP whitelist, permission, frozen account
  78  settings are wrong or missing, or the bucket is
 130  stopped by SIGINT; 143 by SIGTERM";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write kefu.toml and the file of the secret, from questions or flags, then check them
    ///
    /// Asks in a terminal for what no flag gives: the AppID, the name of the account, the time
    /// zone, business hours, and the AppSecret, which is not shown. Then makes the checks of `kefu
    /// doctor`. Replaces no file.
    Init(InitArgs),
    /// The nightly job: fetch what is missing, then bring every metric partition up to date
    Run(FetchArgs),
    /// The first half of the nightly job: fetch what is missing
    Fetch(FetchArgs),
    /// The second half of the nightly job: bring metric partitions up to date
    ///
    /// Recomputes a partition when an input or a parameter differs from the one in its footer.
    /// Without days, checks every fetched day.
    Metrics(MetricsArgs),
    /// The whole job against the built-in simulator, on a week of generated conversations
    ///
    /// Needs no account and no network. Ignores all settings except --lake (default here:
    /// data/demo), --output, --log-format and --log-level.
    Demo,
    /// Show which days are fetched, missing, out of date or final, and count messages and rejects
    ///
    /// Without days, shows everything from the first fetched day to the last.
    Status(StatusArgs),
    /// List the accounts of the settings: name, app id and shard
    ///
    /// Needs no network and no lake. The shard is shown with --shard or --shards.
    Accounts(AccountsArgs),
    /// Show the settings with their origins; check token, permission, quota, clock, disk and lake
    ///
    /// Says what works, and what to do about the rest. Changes nothing, and makes one call of
    /// getmsglist for each account. With --probe, tests instead how WeChat cuts windows and pages.
    Doctor(DoctorArgs),
    /// Delete old days of messages and rejects; without --yes, only list them
    ///
    /// Only `messages` and `rejects` contain texts. `response_pairs` and `sessions` contain
    /// openids, too: name them with --table to delete these as well. Metrics that were computed
    /// from deleted messages stay as they are and are not computed again. A deleted day comes back
    /// only when `kefu run` or `kefu fetch` names it, without --force. Deletes the days of every
    /// account.
    Prune(PruneArgs),
    /// Apply stricter settings under [privacy] to the files in the lake; without --yes, only list
    /// what it would remove
    ///
    /// Changes messages, rejects, response pairs, sessions and workers. Texts and names of workers
    /// become null, and openids become their keyed hash. Records that could not be read become a
    /// note of their length. The numbers stay as they are. Needs no network. Removed data cannot be
    /// restored: looser settings and another key are refused (78). After an interruption, the same
    /// command or the next run finishes the work.
    Redact(RedactArgs),
    /// Remove the texts and the identity of customers from every file, and keep the numbers;
    /// without --yes, only list what it would remove
    ///
    /// Each customer gets a random name in place of the openid. kefu stores a keyed hash of the
    /// openid, so that a later fetch of the same records gives the same rows. Give the openid as
    /// WeChat or the lake has it. Texts of other customers that mention the customer stay.
    Forget(ForgetArgs),
    /// Read the whole lake and check every file
    ///
    /// Compares each file with its footer, its rows with their hash, and the metrics with a
    /// recomputation from their inputs. Needs no network and no credentials, and changes nothing.
    /// Ends with 65 when a check fails. A file that is only missing or out of date is a note.
    ///
    /// Checks all accounts of the lake, and what belongs to no account. With --account, checks only
    /// these accounts.
    Verify(VerifyArgs),
    /// Write a report on some days: figures, charts and tables, as one HTML file or as a workbook
    ///
    /// Shows key figures and their change against the same number of days before. Shows response
    /// time and service level by day, and load by weekday and hour. Shows workers, turns without
    /// an answer, and which days are in the lake. The file loads nothing: it can be mailed,
    /// printed, and opened years later.
    ///
    /// Without days, shows the last 7 final days, compared with the 7 before. A day is final once
    /// the three days after it are fetched, because replies may come until then. Named days that
    /// are not final yet are hatched, and values that may still change are not compared. Covers
    /// every account of the lake, unless --account names some. Needs no credentials, can run
    /// during a run, and changes nothing in the lake. The same lake gives the same page.
    ///
    /// With `--out x.xlsx` the same figures are an Excel workbook, with numbers and dates: key
    /// figures, days, workers, hours, unanswered turns and definitions.
    ///
    /// Customers' texts are in the report only with --with-text. Openids are cut to their end;
    /// workers' names are complete.
    Report(ReportArgs),
    /// Print views over the lake for DuckDB or Spark SQL, ready to pipe into duckdb
    ///
    /// `(kefu sql; echo "FROM service_level(180);") | duckdb`: a view for each table, and views
    /// worker_names, worker_weekly and worker_monthly. Macros for DuckDB: service_level,
    /// service_level_of_accounts, business_service_level, business_service_level_of_accounts,
    /// sessions_by_outcome, worker_period, load_by_weekday_and_hour, load_by_half_hour,
    /// conversation, turn_messages.
    Sql(SqlArgs),
    /// Serve the WeChat API on a loopback port, from recorded or generated records
    ///
    /// The first line on stdout is a JSON object: base_url, appid, secret. Runs until it is
    /// stopped.
    Simulate(SimulateArgs),
    /// Print the completions for a shell to stdout: `kefu completions bash > FILE`
    ///
    /// bash reads ~/.local/share/bash-completion/completions/kefu. zsh reads a file _kefu in a
    /// folder of $fpath. fish reads ~/.config/fish/completions/kefu.fish.
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page of kefu or of one of its commands to stdout, for `man -l -`
    ///
    /// To install the pages: `kefu man > ~/.local/share/man/man1/kefu.1`, and for a command
    /// `kefu man run > ~/.local/share/man/man1/kefu-run.1`.
    Man {
        /// The command; without it, kefu itself
        command: Option<String>,
    },
}

impl Cli {
    /// Whether the command computes metrics.
    pub fn is_computing(&self) -> bool {
        use Command::{Demo, Metrics, Report, Run, Verify};
        matches!(self.command, Some(Run(_) | Metrics(_) | Demo | Verify(_) | Report(_)))
    }

    /// Whether the command changes a lake.
    pub fn is_committing(&self) -> bool {
        use Command::{Demo, Fetch, Forget, Metrics, Prune, Redact, Run};
        matches!(
            self.command,
            Some(Run(_) | Fetch(_) | Metrics(_) | Demo | Prune(_) | Redact(_) | Forget(_))
        )
    }
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = help::HEADING, next_display_order = 100)]
pub struct GlobalArgs {
    /// The lake: a folder, or s3://bucket/prefix [default: data/lake]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub lake: Option<PathBuf>,
    /// Time zone of local days, as an IANA name [default: Asia/Shanghai]
    #[arg(long, global = true, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Address of the API: https, or http for a loopback address [default:
    /// https://api.weixin.qq.com]
    #[arg(long, global = true, value_name = "URL")]
    pub base_url: Option<String>,
    /// Work only on this account of the settings; may be given several times [default: all
    /// accounts]
    #[arg(long, global = true, value_name = "NAME")]
    pub account: Vec<String>,
    /// Settings file [default: kefu.toml in the current folder, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Number of computing threads [default: one for each core]
    #[arg(
        long,
        global = true,
        value_name = "THREADS",
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    pub threads: Option<u16>,
    /// Format of the result on stdout; with json, one object on the last line
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: OutputFormat,
    /// Format of the log on stderr
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Lowest level that is logged
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_level: LogLevel,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    #[default]
    Table,
    Json,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// AppID (开发者ID) of the account, which begins with wx
    #[arg(long, value_name = "ID")]
    pub appid: Option<String>,
    /// Read the AppSecret from stdin, and ask nothing
    #[arg(long)]
    pub secret_stdin: bool,
    /// Whether to write a schedule of business hours, from Monday to Friday
    #[arg(long, value_name = "ANSWER", value_enum)]
    pub business_hours: Option<YesNo>,
    /// Write the files only, without the checks
    #[arg(long)]
    pub no_check: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum YesNo {
    Yes,
    No,
}

impl YesNo {
    pub fn is_yes(self) -> bool {
        self == Self::Yes
    }
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Instead, test with a few small calls about one day whether the API behaves as kefu assumes
    ///
    /// Tests whether the start and the end of a window belong to it, and whether a page begins
    /// after the requested msgid. Tests whether a page that is not full is the last, whether the
    /// page size is honoured, and whether records ascend by time. Makes at most 8 calls of
    /// getmsglist for each account. Ends with 65 when an assumption that kefu relies on fails. A
    /// day with many records shows more.
    #[arg(long, requires = "date")]
    pub probe: bool,
    /// The day to test with, for instance 2016-06-01, or yesterday
    #[arg(long, value_name = "DAY", requires = "probe")]
    pub date: Option<NamedDay>,
}

#[derive(Clone, Debug, Args)]
pub struct ManyArgs {
    /// Number of accounts to work on at once [default: 16]
    #[arg(long, value_name = "ACCOUNTS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub accounts: Option<u16>,
    /// Work only on shard I of N of the accounts, counted from 0: those whose BLAKE3 hash of the
    /// name (first 8 bytes, little-endian) modulo N is I
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
}

#[derive(Debug, Args)]
pub struct FetchArgs {
    #[command(flatten)]
    pub days: DaysArgs,
    #[command(flatten)]
    pub many: ManyArgs,
    /// Without days: number of days up to yesterday to look at [default: 3]
    #[arg(
        long,
        value_name = "DAYS",
        conflicts_with_all = ["date", "from", "to", "last"],
        value_parser = clap::value_parser!(u16).range(1..=3650)
    )]
    pub lookback: Option<u16>,
    /// Fetch days again that are already in the lake, and replace them; a day that lost records
    /// and a pruned day stay as they are
    #[arg(long)]
    pub force: bool,
    /// Fetch the last DAYS up to yesterday again if they are in the lake, and replace those that
    /// have changed, because records can come late. 0 turns it off [default: 2]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(0..=3650))]
    pub refresh: Option<u16>,
    /// Replace a day even if WeChat returns fewer records than the lake has; the others are
    /// discarded
    #[arg(long)]
    pub allow_shrink: bool,
    /// Number of concurrent calls of an account [default: 4]
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
    #[command(flatten)]
    pub many: ManyArgs,
    /// Write figures of the run to this file, for the Prometheus node exporter
    #[arg(long, value_name = "PATH")]
    pub textfile: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct AccountsArgs {
    /// Show which of N shards each account is in
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "shard",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(SHARDS_MAX))
    )]
    pub shards: Option<u32>,
    /// List only shard I of N
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub days: DaysArgs,
}

#[derive(Debug, Args)]
pub struct SqlArgs {
    /// The program that reads the views
    #[arg(long, value_enum, default_value_t)]
    pub dialect: Dialect,
}

/// A dialect of SQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// DuckDB, from 1.0
    #[default]
    Duckdb,
    /// Spark SQL, from 3.5
    Spark,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what_goes").required(true).args(["before", "keep_days", "all"])))]
pub struct PruneArgs {
    /// Delete the days before this one; at least one day must remain
    #[arg(long, value_name = "DAY")]
    pub before: Option<Day>,
    /// Delete all but the last DAYS, counted back from the newest day in the lake; with fewer than
    /// 5, metrics that are not final yet stay so
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..))]
    pub keep_days: Option<u16>,
    /// Delete every day
    #[arg(long)]
    pub all: bool,
    /// A table to delete from; may be given several times
    #[arg(
        long = "table",
        value_name = "TABLE", value_enum,
        default_values_t = [Table::Messages, Table::Rejects]
    )]
    pub tables: Vec<Table>,
    /// Delete the listed days; without it, nothing is deleted
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
    /// File with more openids, one per line
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
    /// Check only shard I of N of the accounts of the lake, as in `kefu run --shard`; shard 0 also
    /// checks what belongs to no account
    #[arg(long, value_name = "I/N", conflicts_with = "against_api")]
    pub shard: Option<Shard>,
    /// Instead, fetch the days of one account again, and show which records were added or are
    /// gone; changes nothing in the lake
    ///
    /// Makes one more request after the last page of each window, which proves that it is the
    /// last. Without days, compares the days of the lookback. Ends with 3 when some day differs.
    #[arg(long)]
    pub against_api: bool,
    /// Show the texts of these records too, which are personal data
    #[arg(long, requires = "against_api")]
    pub with_text: bool,
}

impl ManyArgs {
    /// The settings given by flags.
    pub fn flags(&self, global: &GlobalArgs) -> Flags {
        Flags { accounts_at_once: self.accounts, shard: self.shard, ..global.flags() }
    }
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
            accounts_at_once: None,
            accounts: self.account.clone(),
            shard: None,
        }
    }
}
