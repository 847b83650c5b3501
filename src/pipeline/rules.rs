//! Rules for metrics belong to the lake: what its partitions record decides where no settings file
//! was found.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::MetricsJob;
use crate::calendar::Day;
use crate::failure::{Class, Classified};
use crate::lake::{Account, Footer, LakeError, Table};
use crate::metrics::{Parameters, RuleChange, Rules};

/// Days whose footers are read before anything is fetched, the newest ones.
const NEWEST_DAYS: usize = 7;

/// Why a metric partition is out of date.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutOfDate {
    /// It cannot be read, or its footer does not say what it was made of.
    Unreadable,
    /// Days that it depends on were fetched, replaced or deleted since.
    Messages,
    /// Another version of kefu computed it.
    Definitions,
    /// Its openids are not those of the messages.
    Openids,
    /// A rule for metrics differs from the one that it records.
    Rule(RuleChange),
}

impl fmt::Display for OutOfDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("the file cannot be read"),
            Self::Messages => f.write_str("the messages have changed"),
            Self::Definitions => f.write_str("computed by another version of kefu"),
            Self::Openids => f.write_str("openids of other privacy settings"),
            Self::Rule(change) => change.fmt(f),
        }
    }
}

impl Serialize for OutOfDate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reasons in one line.
pub fn reasons<'a, T: fmt::Display + 'a>(reasons: impl IntoIterator<Item = &'a T>) -> String {
    reasons.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The days that are computed again because rules differ from those that their metrics record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChangedRules {
    pub rules: BTreeSet<RuleChange>,
    pub days: BTreeSet<Day>,
}

/// The rules that a partition records. None when its footer does not say them.
pub(super) fn recorded(footer: &Footer, table: Table, day: Day) -> Option<Parameters> {
    Parameters::recorded(footer.get("parameters")?, table, day)
}

/// The rules that the metrics of a day record; those of `account_daily` where the tables differ.
pub(super) fn recorded_by_day(
    footers: &BTreeMap<Table, &Footer>,
    timezone: &str,
    day: Day,
) -> Option<Parameters> {
    let mut tables = Table::METRICS;
    tables.reverse();
    // Only those that need business hours record them.
    tables.sort_by_key(|table| !table.needs_hours());
    tables
        .into_iter()
        .filter_map(|table| recorded(footers.get(&table)?, table, day))
        .find(|parameters| parameters.timezone == timezone)
}

/// The rules that the partitions of a day should record.
pub(super) fn expected<'a>(
    rules: &'a Rules,
    footers: &BTreeMap<Table, &Footer>,
    day: Day,
) -> Cow<'a, Parameters> {
    match rules {
        Rules::Given(parameters) => Cow::Borrowed(parameters),
        Rules::Defaults(defaults) => {
            // Most lakes have no rules of their own, which takes no parsing to see.
            let is_default = |(table, footer): (&Table, &&Footer)| {
                let default = defaults.for_partition(*table, day).to_string();
                footer.get("parameters") == Some(&default)
            };
            match footers.iter().all(is_default) {
                true => Cow::Borrowed(defaults),
                false => recorded_by_day(footers, &defaults.timezone, day)
                    .map_or(Cow::Borrowed(defaults), Cow::Owned),
            }
        }
    }
}

/// Metrics of the lake were computed with rules that no settings file here contains.
#[derive(Debug, thiserror::Error)]
#[error(
    "no settings file was found, and the lake's metrics have rules of their own, which would change for {account} ({day}): {}",
    reasons(changes)
)]
pub struct UnknownRules {
    pub account: Account,
    pub day: Day,
    pub changes: BTreeSet<RuleChange>,
}

impl Classified for UnknownRules {
    fn class(&self) -> Class {
        Class::Settings
    }

    fn hint(&self) -> Option<String> {
        Some(
            "run kefu in the folder with the lake's kefu.toml, or name that file with --config or KEFU_CONFIG; no metrics were changed"
                .into(),
        )
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Unknown(#[from] UnknownRules),
}

impl Classified for RulesError {
    fn class(&self) -> Class {
        match self {
            Self::Lake(error) => error.class(),
            Self::Unknown(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lake(error) => error.hint(),
            Self::Unknown(error) => error.hint(),
        }
    }
}

/// Checks that the rules to compute with are known, before anything is fetched. Looks at the
/// newest days of every account; `refresh_metrics` looks at all that it could replace.
///
/// # Errors
/// [`UnknownRules`] when no settings file was found and the lake's metrics have rules of their own.
pub fn require_rules(job: &MetricsJob) -> Result<(), RulesError> {
    let Rules::Defaults(defaults) = &job.rules else { return Ok(()) };
    let mut newest = job.lake.last_partitions(Table::AccountDaily, NEWEST_DAYS)?;
    // The error names the account itself, if it can.
    newest.sort_by_key(|(account, _)| *account != job.account);
    for (account, day) in newest {
        for table in Table::METRICS {
            // A file that is missing or damaged records nothing.
            let Ok(footer) = job.lake.footer(table, &account, day) else { continue };
            let changes = other_rules(&footer, defaults, table, day);
            if !changes.is_empty() {
                return Err(UnknownRules { account, day, changes }.into());
            }
        }
    }
    Ok(())
}

/// Where rules differ from those that a partition records.
pub(super) fn other_rules(
    footer: &Footer,
    parameters: &Parameters,
    table: Table,
    day: Day,
) -> BTreeSet<RuleChange> {
    let text = footer.get("parameters");
    match text == Some(&parameters.for_partition(table, day).to_string()) {
        true => BTreeSet::new(),
        false => recorded(footer, table, day)
            .map(|recorded| parameters.changes_from(&recorded, table, day).into_iter().collect())
            .unwrap_or_default(),
    }
}
