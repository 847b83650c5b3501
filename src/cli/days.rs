//! The days that a command works on, as they are written.

use std::str::FromStr;

use clap::Args;

use crate::calendar::Day;

#[derive(Clone, Debug, Default, Args)]
pub struct DaysArgs {
    /// A single day, for instance 2016-06-01, or yesterday
    #[arg(long, value_name = "DAY", conflicts_with_all = ["from", "to", "last"])]
    pub date: Option<NamedDay>,
    /// First day of a range
    #[arg(long, value_name = "DAY", conflicts_with = "last")]
    pub from: Option<NamedDay>,
    /// Last day of a range, included [default: yesterday]
    #[arg(long, value_name = "DAY", requires = "from")]
    pub to: Option<NamedDay>,
    /// The last DAYS up to yesterday
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3660))]
    pub last: Option<u16>,
}

/// A day as it is written on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedDay {
    Day(Day),
    /// The last day that is over, in the time zone of the settings.
    Yesterday,
}

impl NamedDay {
    pub fn day(self, yesterday: Day) -> Day {
        match self {
            Self::Day(day) => day,
            Self::Yesterday => yesterday,
        }
    }
}

impl FromStr for NamedDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "yesterday" => Ok(Self::Yesterday),
            _ => text.parse().map(Self::Day),
        }
    }
}
