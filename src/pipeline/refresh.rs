//! `messages` → the metric partitions that are missing or out of date.
//!
//! A metric partition's footer says what it was made of: the content hash of each day of messages, the parameters, the version of the
//! definitions. It is fresh while all of that is still so; nothing else is remembered anywhere.
//!
//! One that was made of messages that have been pruned since could only be computed again from fewer of them, which would change its numbers for no
//! reason but that old messages were deleted. So it is kept as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::sync_channel;

use arrow::array::RecordBatch;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use serde::Serialize;

use super::Observer;
use crate::calendar::{Day, DayRange, Zone};
use crate::failure::{BugError, Failure};
use crate::lake::{Account, ContentHash, Footer, Lake, LakeError, Pruned, SCHEMA_VERSION, Table};
use crate::metrics::{self, DAYS_AFTER, DAYS_BEFORE, DEFINITIONS_VERSION, History, HistoryBuilder, Parameters, Part, Partitions, Target};

/// Messages that are in memory at once, unless a single day needs more.
const ROWS_AT_ONCE: usize = 12_000_000;

/// Threads that write. They wait for the disk most of the time, so there are more of them than cores.
const WRITERS: usize = 8;

/// What to compute, and from which lake.
#[derive(Clone, Debug)]
pub struct MetricsJob {
    pub lake: Lake,
    pub account: Account,
    pub zone: Zone,
    pub parameters: Parameters,
}

/// What became of the partitions.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MetricsReport {
    /// Days whose partitions were written, in order.
    pub computed: Vec<Day>,
    /// Days whose partitions were up to date.
    pub fresh: usize,
    /// Days with partitions that were left as they are, because messages that they were made of have been pruned.
    pub kept: Vec<Day>,
}

/// The fetched days of an account.
#[derive(Debug)]
pub(super) struct Inputs {
    /// Every day of which there is a file.
    pub(super) fetched: BTreeSet<Day>,
    /// Those whose file can be read.
    pub(super) days: BTreeMap<Day, Input>,
    /// And those whose file cannot.
    pub(super) damaged: BTreeMap<Day, LakeError>,
    pub(super) pruned: Pruned,
}

/// A fetched day.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) content_hash: ContentHash,
    pub(super) rows: usize,
    pub(super) rejects: u64,
}

/// Brings the metric partitions of the fetched days up to date: of all of them, or of those `among` the given.
///
/// # Errors
/// When a partition cannot be read or written. Those written until then stay, and a day whose messages cannot be read keeps only those days from
/// being computed that look at it.
pub fn refresh_metrics(job: &MetricsJob, among: Option<DayRange>, observer: &dyn Observer) -> Result<MetricsReport, Failure> {
    let mut inputs = read_inputs(job)?;
    let damaged = std::mem::take(&mut inputs.damaged);
    let looks_at_damage = |day: Day| damaged.keys().any(|damaged| view(&inputs.fetched, day).contains(*damaged));
    let is_wanted = |day: &Day| among.is_none_or(|range| range.contains(*day));
    let wanted: Vec<Day> = inputs.fetched.iter().copied().filter(is_wanted).collect();
    let readable: Vec<Day> = wanted.iter().copied().filter(|day| !looks_at_damage(*day)).collect();
    let states = readable.par_iter().map(|day| Ok((*day, state_of(job, &inputs, *day)?)));
    let states: BTreeMap<Day, DayState> = states.collect::<Result<_, LakeError>>()?;
    let named = |wanted: fn(&DayState) -> bool| states.iter().filter(|(_, state)| wanted(state)).map(|(day, _)| *day).collect();
    let stale: Vec<Day> = named(|state| !state.stale.is_empty());
    let kept: Vec<Day> = named(|state| state.stale.is_empty() && state.is_kept);
    observer.metrics_begun(stale.len());
    let writers = ThreadPoolBuilder::new()
        .num_threads(WRITERS)
        .build()
        .map_err(|error| BugError(format!("cannot start the threads that write: {error}")))?;
    for chunk in chunks(&inputs, &stale) {
        let days = DayRange { first: view(&inputs.fetched, chunk.first).first, last: view(&inputs.fetched, chunk.last).last };
        let history = read_history(job, days)?;
        let targets = targets(&job.zone, &inputs.fetched, &chunk.days);
        let write = |(target, mut partitions): (Target, Partitions)| {
            partitions.retain(|table, _| states.get(&target.day).is_some_and(|state| state.stale.contains(table)));
            write_partitions(job, &inputs, &target, partitions)?;
            observer.day_computed(target.day);
            Ok(())
        };
        // The days that are computed and those that are being written, side by side.
        std::thread::scope(|scope| -> Result<(), Failure> {
            let (sender, computed) = sync_channel::<Vec<(Target, Partitions)>>(0);
            let writing = scope.spawn(|| {
                let mut computed = computed.into_iter();
                computed.try_for_each(|group| writers.install(|| group.into_par_iter().map(write).collect::<Result<(), LakeError>>()))
            });
            // A writer that has failed takes no more; what it says comes first.
            let emit = |group| sender.send(group).map_err(|_| BugError("the writer of metrics is gone".into()).into());
            let computed = metrics::compute_in_groups(&history, job.account.as_str(), &job.zone, &targets, &job.parameters, emit);
            drop(sender);
            writing.join().map_err(|_| BugError("the writer of metrics panicked".into()))??;
            computed
        })?;
    }
    match damaged.into_values().next() {
        Some(error) if readable.len() < wanted.len() => Err(error.into()),
        _ => Ok(MetricsReport { fresh: readable.len() - stale.len() - kept.len(), computed: stale, kept }),
    }
}

pub(super) fn read_inputs(job: &MetricsJob) -> Result<Inputs, LakeError> {
    let fetched = job.lake.days(Table::Messages, &job.account)?;
    let read = |day: &Day| -> Result<Input, LakeError> {
        let footer = job.lake.footer(Table::Messages, &job.account, *day)?;
        let path = || job.lake.path(Table::Messages, &job.account, *day);
        let damaged = || LakeError::Damaged { path: path(), reason: "its footer lacks the counts".into() };
        let count = |key: &str| footer.get(key).and_then(|count| count.parse().ok()).ok_or_else(damaged);
        let (rows, rejects): (u64, u64) = (count("rows")?, count("rejects")?);
        Ok(Input { content_hash: footer.content_hash().ok_or_else(damaged)?, rows: rows as usize, rejects })
    };
    let mut inputs = Inputs { fetched, days: BTreeMap::new(), damaged: BTreeMap::new(), pruned: job.lake.pruned()? };
    for (day, input) in inputs.fetched.par_iter().map(|day| (*day, read(day))).collect::<Vec<_>>() {
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

    /// Whether a day's metric partition was made of messages that have been pruned since, while those of the day itself are as they were: had they
    /// been fetched again with others, or with other names for the customers, it would no longer be about them.
    pub(super) fn lack_some_of(&self, partition: &Footer, day: Day) -> bool {
        let made_of = partition.get("inputs").and_then(|inputs| serde_json::from_str::<BTreeMap<Day, ContentHash>>(inputs).ok());
        made_of.is_some_and(|made_of| {
            made_of.get(&day) == self.days.get(&day).map(|input| &input.content_hash) && made_of.into_keys().any(|day| self.was_pruned(day))
        })
    }
}

/// The days on which partition `day` depends: those of the unbroken run around it, from D−2 to D+3.
pub(super) fn view(fetched: &BTreeSet<Day>, day: Day) -> DayRange {
    let reach =
        |step: i64, most: i64| (1..=most).map(|days| day.plus(step * days)).take_while(|day| fetched.contains(day)).last().unwrap_or(day);
    DayRange { first: reach(-1, DAYS_BEFORE), last: reach(1, DAYS_AFTER) }
}

/// The given days as targets, with what is known about their horizons from the days that were fetched.
pub fn targets(zone: &Zone, fetched: &BTreeSet<Day>, days: &[Day]) -> Vec<Target> {
    let target = |day: &Day| {
        let last = view(fetched, *day).last;
        Target { day: *day, bounds: zone.bounds(*day), horizon: zone.bounds(last).end, is_final: last == day.plus(DAYS_AFTER) }
    };
    days.iter().map(target).collect()
}

/// What the footer of a metric partition says beside what every file's footer says.
fn record_inputs(footer: &mut Footer, job: &MetricsJob, inputs: &Inputs, table: Table, day: Day) {
    let range = view(&inputs.fetched, day);
    let hashes: BTreeMap<String, &ContentHash> =
        inputs.days.range(range.first..=range.last).map(|(day, input)| (day.to_string(), &input.content_hash)).collect();
    footer.set("definitions_version", DEFINITIONS_VERSION);
    footer.set("parameters", job.parameters.for_partition(table, day));
    footer.set("inputs", serde_json::json!(hashes));
}

/// What the footer of a metric partition says while it is fresh.
pub(super) fn expected_footer(job: &MetricsJob, inputs: &Inputs, table: Table, day: Day) -> Footer {
    let mut expected = Footer::default();
    record_inputs(&mut expected, job, inputs, table, day);
    expected.set("schema_version", SCHEMA_VERSION);
    expected
}

/// A day's metric partitions, compared with what there is to make them of.
#[derive(Debug, Default)]
pub(super) struct DayState {
    /// The tables whose partition is missing, damaged or made of something else than what is there.
    pub(super) stale: Vec<Table>,
    /// Whether some of those are there, so that they would mislead a reader.
    pub(super) is_outdated: bool,
    /// Whether there are others that would be stale, but are left as they are.
    pub(super) is_kept: bool,
}

pub(super) fn state_of(job: &MetricsJob, inputs: &Inputs, day: Day) -> Result<DayState, LakeError> {
    let mut state = DayState::default();
    for table in Table::METRICS {
        if !job.lake.path(table, &job.account, day).is_file() {
            // What was pruned itself stays away.
            if !inputs.pruned.includes(table, day) {
                state.stale.push(table);
            }
            continue;
        }
        match job.lake.footer(table, &job.account, day) {
            Ok(footer) if footer.includes(&expected_footer(job, inputs, table, day)) => {}
            Ok(footer) if inputs.lack_some_of(&footer, day) => state.is_kept = true,
            Ok(_) | Err(LakeError::Damaged { .. }) => {
                state.stale.push(table);
                state.is_outdated = true;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(state)
}

/// Days that are computed together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) first: Day,
    pub(super) last: Day,
    pub(super) days: Vec<Day>,
}

/// Groups wanted days, in order, so that a day is read once for several of them: within an unbroken run of fetched days, close together, and
/// with no more than [`ROWS_AT_ONCE`] messages in view.
pub(super) fn chunks(inputs: &Inputs, wanted: &[Day]) -> Vec<Chunk> {
    let rows = |first: Day, last: Day| -> usize {
        inputs.days.range(first.plus(-DAYS_BEFORE)..=last.plus(DAYS_AFTER)).map(|(_, input)| input.rows).sum()
    };
    let is_unbroken = |first: Day, last: Day| DayRange { first, last }.days().all(|day| inputs.fetched.contains(&day));
    let mut chunks: Vec<Chunk> = Vec::new();
    for day in wanted.iter().copied() {
        match chunks.last_mut() {
            Some(chunk)
                if day <= chunk.last.plus(DAYS_BEFORE + DAYS_AFTER)
                    && is_unbroken(chunk.last, day)
                    && rows(chunk.first, day) <= ROWS_AT_ONCE =>
            {
                chunk.last = day;
                chunk.days.push(day);
            }
            _ => chunks.push(Chunk { first: day, last: day, days: vec![day] }),
        }
    }
    chunks
}

/// The messages of the days, none of which is missing, as input of the metrics stage.
///
/// # Errors
/// When a partition cannot be read, or has no texts although a rule for automatic replies needs them.
pub fn read_history(job: &MetricsJob, days: DayRange) -> Result<History, Failure> {
    let days: Vec<Day> = days.days().collect();
    let columns = metrics::columns(&job.parameters);
    let mut history = HistoryBuilder::new(&job.zone, &job.parameters);
    let needs_texts = job.parameters.needs_texts();
    let read = |day: &Day| -> Result<Vec<Part>, Failure> {
        if needs_texts && !job.lake.footer(Table::Messages, &job.account, *day)?.has_texts() {
            return Err(LakeError::TextsDropped { day: *day }.into());
        }
        let batches = job.lake.read(Table::Messages, &job.account, *day, &columns)?;
        batches.map(|batch| Ok(history.decode(*day, &batch?)?)).collect()
    };
    for parts in days.par_iter().map(read).collect::<Result<Vec<_>, _>>()? {
        parts.into_iter().for_each(|part| history.push(part));
    }
    Ok(history.finish()?)
}

/// Writes partitions of a day.
fn write_partitions(job: &MetricsJob, inputs: &Inputs, target: &Target, partitions: Partitions) -> Result<(), LakeError> {
    let write = |(table, batch): (Table, RecordBatch)| -> Result<(), LakeError> {
        let mut staged = job.lake.stage(table, &job.account, target.day, job.zone.name(), target.bounds)?;
        record_inputs(staged.footer(), job, inputs, table, target.day);
        // For people who look at the file; both follow from the inputs.
        staged.footer().set("horizon", target.horizon);
        staged.footer().set("final", target.is_final);
        staged.append(batch)?;
        staged.finish()?.commit()?;
        Ok(())
    };
    // In a row: many days are written side by side, and a thread that waited for a table would begin another day within this one.
    partitions.into_iter().try_for_each(write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn a_missing_day_ends_the_view_on_its_side() {
        let fetched: BTreeSet<Day> = ["2024-05-10", "2024-05-12", "2024-05-13", "2024-05-14", "2024-05-16"].map(day).into();
        let view = view(&fetched, day("2024-05-13"));
        assert_eq!(view, DayRange { first: day("2024-05-12"), last: day("2024-05-14") });
    }

    #[test]
    fn chunks_never_reach_over_a_missing_day() {
        let input = |rows| Input { content_hash: ContentHash::from(""), rows, rejects: 0 };
        let days = ["2024-05-10", "2024-05-11", "2024-05-13", "2024-05-14"].map(day);
        let inputs = |rows| Inputs {
            days: days.map(|day| (day, input(rows))).into(),
            fetched: days.into(),
            damaged: BTreeMap::new(),
            pruned: Pruned::default(),
        };
        let chunked = chunks(&inputs(10), &days);
        assert_eq!(chunked.iter().map(|chunk| chunk.days.len()).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(chunks(&inputs(ROWS_AT_ONCE), &days).len(), 4);
    }
}
