//! Chooses the rules for metrics. If no settings file was found, the rules that the lake's
//! partitions record apply.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::MetricsJob;
use super::inputs::is_older;
use crate::calendar::Day;
use crate::failure::{Classified, ErrorKind};
use crate::lake::{Account, Footer, LakeError, PartitionKey, Table, entry};
use crate::metrics::{DEFINITIONS_VERSION, Parameters, RuleChange, Rules};

/// Why a metric partition is out of date.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutOfDate {
    /// It cannot be read, or its footer does not record its inputs.
    Unreadable,
    /// Days that it depends on were fetched, replaced or deleted after it was computed.
    Messages,
    /// Another version of kefu computed it.
    Definitions,
    /// Its openids differ in treatment from those of the messages.
    Openids,
    /// A rule for metrics differs from the recorded one.
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

/// Joins reasons into one line.
pub fn reasons<'a, T: fmt::Display + 'a>(reasons: impl IntoIterator<Item = &'a T>) -> String {
    reasons.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Days that are computed again because their metrics record other rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChangedRules {
    pub rules: BTreeSet<RuleChange>,
    pub days: BTreeSet<Day>,
}

/// Days before the range of a run whose metrics stay out of date. Only the newest of these days is
/// checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OlderDays {
    pub up_to: Day,
    pub because: BTreeSet<OutOfDate>,
}

/// Checks whether the newest day before `first` has metrics of other rules or definitions than the
/// current ones. Reads one footer.
pub(super) fn older_days(job: &MetricsJob, first: Day) -> Result<Option<OlderDays>, LakeError> {
    let (lake, account, table) = (&job.lake, &job.account, Table::AccountDaily);
    let day_before = first.plus(-1);
    // As a rule it is there, and nothing needs to be listed.
    let day = match lake.has(&account.partition(table, day_before))? {
        true => Some(day_before),
        false => lake.last_day_before(table, account, first)?,
    };
    let Some(day) = day else { return Ok(None) };
    let footer = match lake.footer(&account.partition(table, day)) {
        // `kefu verify` reports damage.
        Err(LakeError::Damaged { .. }) => return Ok(None),
        footer => footer?,
    };
    let mut because = BTreeSet::new();
    if is_older(&footer, table) {
        because.insert(OutOfDate::Definitions);
    }
    // Metrics are not computed again when some of their messages are gone.
    let inputs: BTreeSet<Day> = footer.inputs().into_keys().collect();
    if lake.days_among(Table::Messages, account, inputs.iter().copied())? == inputs {
        if footer.get(entry::DEFINITIONS_VERSION) != Some(DEFINITIONS_VERSION) {
            because.insert(OutOfDate::Definitions);
        }
        if let Rules::Given(parameters) = &job.rules {
            let changes = other_rules(&footer, parameters, table, day);
            because.extend(changes.into_iter().map(OutOfDate::Rule));
        }
    }
    Ok((!because.is_empty()).then_some(OlderDays { up_to: day, because }))
}

/// Returns the rules that a partition records. `None` when its footer does not contain them.
pub(super) fn recorded(footer: &Footer, table: Table, day: Day) -> Option<Parameters> {
    Parameters::recorded(footer.get(entry::PARAMETERS)?, table, day)
}

/// Returns the rules that the metrics of a day record. If the tables differ, `account_daily`
/// decides.
pub(super) fn recorded_by_day(
    footers: &BTreeMap<Table, &Footer>,
    timezone: &str,
    day: Day,
) -> Option<Parameters> {
    let mut tables = Table::METRICS;
    tables.reverse();
    // Only tables that need business hours record them.
    tables.sort_by_key(|table| !table.needs_hours());
    tables
        .into_iter()
        .filter_map(|table| recorded(footers.get(&table)?, table, day))
        .find(|parameters| parameters.timezone == timezone)
}

/// Returns the rules that the partitions of a day should record.
pub(super) fn expected<'a>(
    rules: &'a Rules,
    footers: &BTreeMap<Table, &Footer>,
    day: Day,
) -> Cow<'a, Parameters> {
    match rules {
        Rules::Given(parameters) => Cow::Borrowed(parameters),
        Rules::Defaults(defaults) => {
            // Most lakes use the default rules. Comparing text finds that without parsing.
            let is_default = |(table, footer): (&Table, &&Footer)| {
                let default = defaults.for_partition(*table, day).to_string();
                footer.get(entry::PARAMETERS) == Some(&default)
            };
            match footers.iter().all(is_default) {
                true => Cow::Borrowed(defaults),
                false => recorded_by_day(footers, &defaults.timezone, day)
                    .map_or(Cow::Borrowed(defaults), Cow::Owned),
            }
        }
    }
}

/// The lake's metrics were computed with rules that no settings file here contains.
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
    fn kind(&self) -> ErrorKind {
        ErrorKind::Settings
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
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Lake(error) => error.kind(),
            Self::Unknown(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Lake(error) => error.hint(),
            Self::Unknown(error) => error.hint(),
        }
    }
}

/// Checks that the rules for metrics are known, before anything is fetched. Checks the newest
/// metrics of the days `near`, else of the account, or of another account if it has none.
/// `rebuild_metrics` checks all metrics that it could replace.
///
/// # Errors
/// [`UnknownRules`] when no settings file was found and the lake's metrics record other rules than
/// the defaults.
pub fn require_rules(job: &MetricsJob, near: &BTreeSet<Day>) -> Result<(), RulesError> {
    let Rules::Defaults(defaults) = &job.rules else { return Ok(()) };
    let table = Table::AccountDaily;
    let partition = |day: Day| job.account.partition(table, day);
    let near = job.lake.days_among(table, &job.account, near.iter().copied())?;
    let newest = match near.last() {
        Some(day) => Some(partition(*day)),
        None => match job.lake.last_day(table, &job.account)? {
            Some(day) => Some(partition(day)),
            None => job.lake.last_partitions(table, 1)?.into_iter().next(),
        },
    };
    let Some(newest) = newest else { return Ok(()) };
    // A damaged file records no rules.
    let Ok(footer) = job.lake.footer(&newest) else { return Ok(()) };
    let PartitionKey { account, date: day, .. } = newest;
    let changes = other_rules(&footer, defaults, table, day);
    match changes.is_empty() {
        true => Ok(()),
        false => Err(UnknownRules { account, day, changes }.into()),
    }
}

/// Returns where rules differ from those that a partition records.
pub(super) fn other_rules(
    footer: &Footer,
    parameters: &Parameters,
    table: Table,
    day: Day,
) -> BTreeSet<RuleChange> {
    let text = footer.get(entry::PARAMETERS);
    match text == Some(&parameters.for_partition(table, day).to_string()) {
        true => BTreeSet::new(),
        false => recorded(footer, table, day)
            .map(|recorded| parameters.changes_from(&recorded, table, day).into_iter().collect())
            .unwrap_or_default(),
    }
}
