//! The arguments of `kefu simulate`.

use std::path::PathBuf;

use clap::Args;

use crate::calendar::Day;
use crate::simulator::Fault;

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Records to serve, one JSON object per line, as the API returns them; may be given several
    /// times
    #[arg(long, value_name = "FILE")]
    pub records: Vec<PathBuf>,
    /// First generated day, in Beijing time
    #[arg(long, value_name = "DAY", default_value = "2024-05-13", conflicts_with = "records")]
    pub first_day: Day,
    /// Generated days
    #[arg(
        long,
        default_value_t = 7,
        conflicts_with = "records",
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub days: u32,
    /// Generated messages on each day
    #[arg(long, default_value_t = 1_500, conflicts_with = "records")]
    pub messages_per_day: u32,
    /// The same seed generates the same records
    #[arg(long, default_value_t = 1, conflicts_with = "records")]
    pub seed: u64,
    /// Serve this many accounts, each with its own records; their app ids are wx and the number of
    /// the account from 1 on in 16 hexadecimal digits (wx0000000000000001 …), and their secret is
    /// the same
    #[arg(
        long,
        value_name = "ACCOUNTS",
        conflicts_with = "records",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub accounts: Option<u32>,
    /// Messages on each day of the first of these accounts, in place of --messages-per-day
    #[arg(long, value_name = "MESSAGES", requires = "accounts")]
    pub large_account: Option<u32>,
    /// Port on 127.0.0.1; 0 picks a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Wait before each answer of getmsglist
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// Lifetime of a token
    #[arg(long, value_name = "SECONDS", default_value_t = 7_200)]
    pub token_lifetime: u64,
    /// Calls of getmsglist before the quota of an account is used up
    #[arg(long, value_name = "CALLS", default_value_t = 5_000_000)]
    pub daily_limit: u64,
    /// Number of requested pages to keep, for fast repeated answers in benchmarks
    #[arg(long, value_name = "PAGES", default_value_t = 0)]
    pub keep_pages: usize,
    /// Compress pages with gzip for clients that accept it
    #[arg(long)]
    pub gzip: bool,
    /// A record at exactly endtime belongs to the window (WeChat does not document this)
    #[arg(long)]
    pub end_inclusive: bool,
    /// Leave out records at exactly starttime, which kefu assumes to belong to the window
    #[arg(long)]
    pub start_exclusive: bool,
    /// Begin each page with the record of the requested msgid; kefu assumes the record after it
    #[arg(long)]
    pub cursor_inclusive: bool,
    /// Maximum number of records on a page, even when more are requested
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub page_cap: Option<u16>,
    /// Hours by which the windows are later than the requested ones
    #[arg(
        long,
        value_name = "HOURS",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i64).range(-48..=48)
    )]
    pub shift_hours: i64,
    /// Give the first page of a window again and again, each time with a higher msgid
    #[arg(long)]
    pub repeat_pages: bool,
    /// Inject a fault: [account=N/][token/|workers/]KIND[@CALL[xTIMES]]; may be given several times
    ///
    /// KIND is errcode:N, status:N[:retry-after=S], reset, cut, html, stuck-cursor, wrong-number or
    /// expire-token. It affects the calls of getmsglist (with token/, the calls for a token; with
    /// workers/, those of getkflist) from number CALL on, TIMES in a row. Without @CALL, it affects
    /// all calls. With account=N/, it affects only the account with this number of --accounts.
    /// Calls are counted for each account.
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<Fault>,
}
