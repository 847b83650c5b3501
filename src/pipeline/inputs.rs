//! Reads the inputs of metric partitions, and checks whether partitions are up to date.
//!
//! The footer of a metric partition records its inputs. These are the content hash of each day of
//! messages, the parameters, and the version of the definitions. The partition is up to date while
//! these inputs are unchanged. If no settings file was found, the recorded parameters count as
//! unchanged.
//!
//! A partition is frozen when retention has deleted some of its messages. If it were computed again
//! from fewer messages, its numbers would change. Lost messages also freeze a partition until they
//! are fetched again. Lost messages are damage.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{OutOfDate, expected, other_rules};
use super::{MetricsJob, PrivacyError};
use crate::calendar::{Day, DayRange};
use crate::lake::{ContentHash, Footer, LakeError, Pruned, Seen, Table, entry};
use crate::metrics::{DAYS_AFTER, DAYS_BEFORE, DEFINITIONS_VERSION, Parameters, RuleChange, Rules};
use crate::threads;

/// The fetched days of an account: all of them, or those that the wanted days depend on.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Days with a file of messages.
    pub(super) fetched: BTreeSet<Day>,
    /// Days whose file can be read.
    pub(super) days: BTreeMap<Day, Input>,
    /// Days whose file cannot be read.
    pub(super) damaged: BTreeMap<Day, LakeError>,
    pub(super) pruned: Pruned,
}

/// A fetched day.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) content_hash: ContentHash,
    /// Content hashes that its rows had before personal data was removed from them.
    pub(super) redacted_from: Vec<ContentHash>,
    pub(super) rows: usize,
    pub(super) rejects: u64,
    /// Treatment of the openids.
    pub(super) openids: String,
    pub(super) has_all_texts: bool,
}

/// Returns the days whose metrics depend on the messages of the given days. These are each given
/// day, the three days before it and the two days after it.
pub fn dependents(days: impl IntoIterator<Item = Day>) -> BTreeSet<Day> {
    let around = |day: Day| (-DAYS_AFTER..=DAYS_BEFORE).map(move |step| day.plus(step));
    days.into_iter().flat_map(around).collect()
}

/// Returns the fetched days of those that the metrics of the given days can depend on. Days after a
/// missing one do not count, so they are looked at only once the first day after is there.
fn fetched_inputs(job: &MetricsJob, days: &BTreeSet<Day>) -> Result<BTreeSet<Day>, LakeError> {
    let around = |first: i64, last: i64| -> BTreeSet<Day> {
        days.iter().flat_map(|day| (first..=last).map(|step| day.plus(step))).collect()
    };
    let fetched_of = |days: BTreeSet<Day>| job.lake.days_among(Table::Messages, &job.account, days);
    let near = around(-DAYS_BEFORE, 1);
    let mut fetched = fetched_of(near.clone())?;
    let is_gap = |day: &Day| near.contains(day) && !fetched.contains(day);
    let is_followed = |day: &Day| {
        (2..=DAYS_AFTER).filter(|step| days.contains(&day.plus(-step))).any(|step| {
            let between = (1..step).map(|back| day.plus(-back));
            !between.into_iter().any(|day| is_gap(&day))
        })
    };
    let far = around(2, DAYS_AFTER).into_iter().filter(|day| !near.contains(day));
    let far: BTreeSet<Day> = far.filter(is_followed).collect();
    if !far.is_empty() {
        fetched.extend(fetched_of(far)?);
    }
    Ok(fetched)
}

/// Reads the inputs of metrics: of the days `among`, or of all fetched days if it is `None`.
pub(super) fn read_inputs(
    job: &MetricsJob,
    among: Option<&BTreeSet<Day>>,
    pruned: Pruned,
) -> Result<Inputs, LakeError> {
    let fetched = match among {
        None => job.lake.days(Table::Messages, &job.account)?,
        Some(days) => fetched_inputs(job, days)?,
    };
    let read = |day: &Day| -> Result<Input, LakeError> {
        let key = job.account.partition(Table::Messages, *day);
        let input = Input::of(&job.lake.footer(&key)?);
        input.ok_or_else(|| job.lake.damaged(&key, "its footer lacks the counts"))
    };
    let messages = |day: &Day| job.account.partition(Table::Messages, *day);
    job.lake.look_ahead(fetched.iter().map(messages))?;
    let mut inputs = Inputs { fetched, days: BTreeMap::new(), damaged: BTreeMap::new(), pruned };
    let read_day = |day: Day| Ok::<_, LakeError>((day, read(&day)));
    for (day, input) in threads::map(inputs.fetched.iter().copied().collect(), true, read_day)? {
        match input {
            Ok(input) => drop(inputs.days.insert(day, input)),
            Err(error @ LakeError::Damaged { .. }) => drop(inputs.damaged.insert(day, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(inputs)
}

impl Inputs {
    pub(super) fn was_pruned(&self, day: Day) -> bool {
        self.pruned.includes(Table::Messages, day) && !self.fetched.contains(&day)
    }

    /// Whether messages that a metric partition was made of are missing, either deleted by
    /// retention or lost.
    pub(super) fn lack_some_of(&self, partition: &Footer) -> bool {
        partition.inputs().into_keys().any(|day| !self.fetched.contains(&day))
    }

    /// Returns the days whose messages a metric partition was made of and that are lost. Lost
    /// messages are missing, although retention did not delete them.
    pub(super) fn lost_of(&self, partition: &Footer) -> Vec<Day> {
        partition.inputs().into_keys().filter(|day| self.is_not_there(*day)).collect()
    }

    /// Whether the messages of a day are missing, although retention did not delete them.
    pub(super) fn is_not_there(&self, day: Day) -> bool {
        !self.fetched.contains(&day) && !self.was_pruned(day)
    }

    /// Returns the days that have metrics or rejects but have lost their messages. Days whose
    /// messages retention deleted are not lost. With `among`, looks only at those days.
    pub(super) fn lost(
        &self,
        job: &MetricsJob,
        among: Option<&BTreeSet<Day>>,
    ) -> Result<BTreeSet<Day>, LakeError> {
        let mut lost = BTreeSet::new();
        for table in Table::METRICS.into_iter().chain([Table::Rejects]) {
            let days = match among {
                None => job.lake.days(table, &job.account)?,
                Some(days) => days.clone(),
            };
            let gone = days.into_iter().filter(|day| self.is_not_there(*day));
            lost.extend(job.lake.days_among(table, &job.account, gone)?);
        }
        Ok(lost)
    }

    /// Whether a metric partition was made of the current messages of all days that it depends on.
    /// Redacted messages count as the same messages.
    fn are_those_of(&self, partition: &Footer, day: Day) -> bool {
        let range = dependency_window(&self.fetched, day);
        let made_of = partition.inputs();
        let expected = || self.days.range(range.first..=range.last);
        expected().count() == made_of.len()
            && expected().all(|(day, input)| made_of.get(day).is_some_and(|hash| input.is(hash)))
    }

    /// Whether all messages that a day depends on have their texts.
    pub(super) fn have_all_texts(&self, day: Day) -> bool {
        let range = dependency_window(&self.fetched, day);
        self.days.range(range.first..=range.last).all(|(_, input)| input.has_all_texts)
    }

    /// Checks that all of these days have the same treatment of openids.
    ///
    /// # Errors
    /// [`PrivacyError::Mixed`] when two days differ.
    pub(super) fn require_one_treatment(&self, job: &MetricsJob) -> Result<(), PrivacyError> {
        let mut days = self.days.iter();
        let Some((first, input)) = days.next() else { return Ok(()) };
        match days.find(|(_, other)| other.openids != input.openids) {
            None => Ok(()),
            Some((second, _)) => Err(PrivacyError::Mixed {
                account: job.account.clone(),
                root: job.lake.root().to_owned(),
                first: *first,
                second: *second,
            }),
        }
    }
}

impl Input {
    /// The day with these messages. None when the footer lacks a count or the hash.
    pub(super) fn of(messages: &Footer) -> Option<Self> {
        let count = |key: &str| messages.get(key)?.parse::<u64>().ok();
        Some(Self {
            content_hash: messages.content_hash()?,
            redacted_from: messages.redacted_from().collect(),
            rows: count(entry::ROWS)? as usize,
            rejects: count(entry::REJECTS)?,
            openids: messages.openids().to_owned(),
            has_all_texts: messages.has_all_texts(),
        })
    }

    /// Whether its rows have this hash, or had it before a redaction.
    fn is(&self, content_hash: &ContentHash) -> bool {
        self.content_hash == *content_hash || self.redacted_from.contains(content_hash)
    }
}

/// Returns the dependency window of a day: the days from D−2 to D+3 that are in the same unbroken
/// run of fetched days.
pub(super) fn dependency_window(fetched: &BTreeSet<Day>, day: Day) -> DayRange {
    let reach = |step: i64, most: i64| {
        (1..=most)
            .map(|days| day.plus(step * days))
            .take_while(|day| fetched.contains(day))
            .last()
            .unwrap_or(day)
    };
    DayRange { first: reach(-1, DAYS_BEFORE), last: reach(1, DAYS_AFTER) }
}

/// Writes the inputs of a metric partition into its footer.
pub(super) fn record_inputs(
    footer: &mut Footer,
    parameters: &Parameters,
    inputs: &Inputs,
    table: Table,
    day: Day,
) {
    let range = dependency_window(&inputs.fetched, day);
    let hashes: BTreeMap<String, &ContentHash> = inputs
        .days
        .range(range.first..=range.last)
        .map(|(day, input)| (day.to_string(), &input.content_hash))
        .collect();
    footer.set(entry::DEFINITIONS_VERSION, DEFINITIONS_VERSION);
    footer.set(entry::PARAMETERS, parameters.for_partition(table, day));
    footer.set(entry::INPUTS, serde_json::json!(hashes));
    if let Some(input) =
        inputs.days.get(&day).filter(|input| table.names_customers() && input.openids != "keep")
    {
        footer.set(entry::PRIVACY, format!("openid={}", input.openids));
    }
}

/// Returns why a metric partition is out of date, or nothing if it is up to date. `parameters` are
/// the parameters that it should have been computed with.
pub(super) fn out_of_date(
    footer: &Footer,
    parameters: &Parameters,
    inputs: &Inputs,
    table: Table,
    day: Day,
) -> BTreeSet<OutOfDate> {
    let mut expected = Footer::default();
    record_inputs(&mut expected, parameters, inputs, table, day);
    expected.set(entry::SCHEMA_VERSION, table.schema_version());
    let differs = |key: &str| expected.get(key).is_some_and(|value| footer.get(key) != Some(value));
    let mut reasons = BTreeSet::new();
    if differs(entry::PARAMETERS) {
        let changes = other_rules(footer, parameters, table, day);
        match changes.is_empty() {
            true => drop(reasons.insert(OutOfDate::Unreadable)),
            false => reasons.extend(changes.into_iter().map(OutOfDate::Rule)),
        }
    }
    if !inputs.are_those_of(footer, day) {
        reasons.insert(OutOfDate::Messages);
    }
    if differs(entry::DEFINITIONS_VERSION) || differs(entry::SCHEMA_VERSION) {
        reasons.insert(OutOfDate::Definitions);
    }
    // Days without messages have the same content with every treatment of openids.
    let has_other_openids =
        || inputs.days.get(&day).is_some_and(|input| input.openids != footer.openids());
    if differs(entry::PRIVACY) || table.names_customers() && has_other_openids() {
        reasons.insert(OutOfDate::Openids);
    }
    reasons
}

/// State of a day's metric partitions, compared with the current inputs.
#[derive(Debug, Default)]
pub(super) struct DayState {
    /// What was in the place of each partition.
    pub(super) seen: BTreeMap<Table, Seen>,
    /// Tables whose partition is missing, damaged or out of date.
    pub(super) to_rebuild: Vec<Table>,
    /// Why existing partitions are out of date.
    pub(super) because: BTreeSet<OutOfDate>,
    /// Where the defaults differ from the rules that partitions record. Empty if a settings file
    /// was found.
    pub(super) other_rules: BTreeSet<RuleChange>,
    /// Whether some partitions are frozen: out of date, with some of their messages gone. Then
    /// nothing of the day is computed: from the messages that are left, it would get other numbers
    /// than the frozen partitions have.
    pub(super) is_frozen: bool,
    /// Whether partitions of a frozen day are missing or damaged.
    pub(super) is_lost: bool,
    /// Frozen partitions that an older version of kefu wrote.
    pub(super) older: Vec<Table>,
}

/// Whether an older version of kefu wrote a partition. Readers may refuse it together with current
/// partitions.
pub(super) fn is_older(footer: &Footer, table: Table) -> bool {
    let number = |version: &str| version.parse::<u32>().ok();
    let written = footer.get(entry::SCHEMA_VERSION).and_then(number);
    written.is_some() && written < number(table.schema_version())
}

impl DayState {
    /// Whether existing partitions are out of date, so that they would mislead a reader.
    pub(super) fn is_outdated(&self) -> bool {
        !self.because.is_empty()
    }
}

pub(super) fn state_of(job: &MetricsJob, inputs: &Inputs, day: Day) -> Result<DayState, LakeError> {
    let mut state = DayState::default();
    let (mut footers, mut unreadable) = (BTreeMap::new(), Vec::new());
    for table in Table::METRICS {
        let (seen, footer) = job.lake.see_footer(&job.account.partition(table, day))?;
        let is_there = seen.is_there();
        state.seen.insert(table, seen);
        if !is_there {
            // Partitions that retention deleted are not computed again.
            if !inputs.pruned.includes(table, day) {
                unreadable.push(table);
            }
            continue;
        }
        match footer {
            Ok(footer) => footers.extend(footer.map(|footer| (table, footer))),
            Err(LakeError::Damaged { .. }) => {
                unreadable.push(table);
                state.because.insert(OutOfDate::Unreadable);
            }
            Err(error) => return Err(error),
        }
    }
    state.to_rebuild.clone_from(&unreadable);
    let footers: BTreeMap<Table, &Footer> =
        footers.iter().map(|(table, footer)| (*table, footer)).collect();
    let parameters = expected(&job.rules, &footers, day);
    for (table, footer) in footers {
        if let Rules::Defaults(defaults) = &job.rules {
            state.other_rules.extend(other_rules(footer, defaults, table, day));
        }
        let reasons = out_of_date(footer, &parameters, inputs, table, day);
        if reasons.is_empty() {
            continue;
        }
        if inputs.lack_some_of(footer) {
            state.is_frozen = true;
            state.older.extend(Some(table).filter(|_| is_older(footer, table)));
        } else {
            state.to_rebuild.push(table);
            state.because.extend(reasons);
        }
    }
    if state.is_frozen {
        state.is_lost = !unreadable.is_empty();
        state.to_rebuild.clear();
        state.because.clear();
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn versions_of_schemas_are_numbers() {
        let is_older = |version: &str, table: Table| {
            let mut footer = Footer::default();
            footer.set(entry::SCHEMA_VERSION, version);
            is_older(&footer, table)
        };
        assert!(Table::ALL.into_iter().all(|table| !is_older("10", table)));
        assert!(Table::ALL.into_iter().any(|table| is_older("1", table)));
        assert!(Table::ALL.into_iter().all(|table| !is_older(table.schema_version(), table)));
    }

    #[test]
    fn a_missing_day_ends_the_dependency_window_on_its_side() {
        let fetched: BTreeSet<Day> =
            ["2024-05-10", "2024-05-12", "2024-05-13", "2024-05-14", "2024-05-16"].map(day).into();
        let window = dependency_window(&fetched, day("2024-05-13"));
        assert_eq!(window, DayRange { first: day("2024-05-12"), last: day("2024-05-14") });
    }
}
