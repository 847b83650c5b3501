//! Arguments of `kefu report`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::DaysArgs;
use crate::report::Language;

#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(flatten)]
    pub days: DaysArgs,
    /// Without days: number of days up to the last final one [default: 7]
    #[arg(
        long = "days",
        value_name = "DAYS",
        conflicts_with_all = ["date", "from", "to", "last"],
        value_parser = clap::value_parser!(u16).range(1..=3660)
    )]
    pub final_days: Option<u16>,
    /// File of the report, which is replaced: .html for a page, .xlsx for a workbook, - for the
    /// page on stdout
    #[arg(long, value_name = "FILE", default_value = "kefu-report.html")]
    pub out: PathBuf,
    /// Language of the report, and of its summary in the terminal
    #[arg(long, value_enum, default_value_t)]
    pub lang: Language,
    /// Show what customers wrote in the turns without an answer, which is personal data
    #[arg(long)]
    pub with_text: bool,
    /// Time limit of the service level: a turn is answered in time within this many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value = "180",
        value_parser = PossibleValuesParser::new(["30", "60", "180", "300"]).try_map(|seconds| seconds.parse::<i64>())
    )]
    pub service_level: i64,
}
