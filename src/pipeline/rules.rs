//! Rules for metrics belong to the lake: what its partitions record decides where no settings file
//! was found.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::MetricsJob;
use super::inputs::is_older;
use crate::calendar::Day;
use crate::failure::{Class, Classified};
use crate::lake::{Account, Footer, LakeError, PartitionKey, Table};
use crate::metrics::{DEFINITIONS_VERSION, Parameters, RuleChange, Rules};

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

/// Days before those that a run looks at whose metrics it leaves out of date. The newest of them
/// tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OlderDays {
    pub up_to: Day,
    pub because: BTreeSet<OutOfDate>,
}

/// Whether the newest day before `first` has metrics of other rules or definitions than those of
/// now. Reads one footer.
pub(super) fn older_days(job: &MetricsJob, first: Day) -> Result<Option<OlderDays>, LakeError> {
    let (lake, account, table) = (&job.lake, &job.account, Table::AccountDaily);
    let Some(day) = lake.last_day_before(table, account, first)? else { return Ok(None) };
    let footer = match lake.footer(&account.partition(table, day)) {
        // `kefu verify` reports damage.
        Err(LakeError::Damaged { .. }) => return Ok(None),
        footer => footer?,
    };
    let mut because = BTreeSet::new();
    if is_older(&footer, table) {
        because.insert(OutOfDate::Definitions);
    }
    // Metrics of messages that are gone are not computed again.
    if footer.inputs().into_keys().all(|input| lake.has(&account.partition(Table::Messages, input)))
    {
        if footer.get("definitions_version") != Some(DEFINITIONS_VERSION) {
            because.insert(OutOfDate::Definitions);
        }
        if let Rules::Given(parameters) = &job.rules {
            let changes = other_rules(&footer, parameters, table, day);
            because.extend(changes.into_iter().map(OutOfDate::Rule));
        }
    }
    Ok((!because.is_empty()).then_some(OlderDays { up_to: day, because }))
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
    "no settings file was found, but the lake's metrics have their own rules, which would change for {account} ({day}): {}",
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
            "run kefu in the folder with the lake's kefu.toml, or name that file with --config or KEFU_CONFIG. No metrics were changed"
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
/// newest metrics of the account, or of another one where it has none; `rebuild_metrics` looks at
/// all that it could replace.
///
/// # Errors
/// [`UnknownRules`] when no settings file was found and the lake's metrics have rules of their own.
pub fn require_rules(job: &MetricsJob) -> Result<(), RulesError> {
    let Rules::Defaults(defaults) = &job.rules else { return Ok(()) };
    let table = Table::AccountDaily;
    let newest = match job.lake.first_and_last(table, &job.account)? {
        Some(days) => Some(job.account.partition(table, days.last)),
        None => job.lake.last_partitions(table, 1)?.into_iter().next(),
    };
    let Some(newest) = newest else { return Ok(()) };
    // A file that is damaged records nothing.
    let Ok(footer) = job.lake.footer(&newest) else { return Ok(()) };
    let PartitionKey { account, date: day, .. } = newest;
    let changes = other_rules(&footer, defaults, table, day);
    match changes.is_empty() {
        true => Ok(()),
        false => Err(UnknownRules { account, day, changes }.into()),
    }
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
