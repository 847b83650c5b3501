//! What the lake has of a day before a fetch replaces it.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;

use super::FetchJob;
use crate::calendar::Day;
use crate::lake::{ContentHash, Footer, LakeError, Table, entry};
use crate::metrics::{DAYS_AFTER, DAYS_BEFORE};

/// The day in the lake, according to the footer of its messages.
pub(super) struct Before {
    pub(super) rows: u64,
    pub(super) rejects: u64,
    pub(super) content_hash: Option<ContentHash>,
    pub(super) footer: Footer,
}

impl Before {
    /// Returns `None` when the file is missing or cannot be read.
    pub(super) fn of(job: &FetchJob, day: Day) -> Result<Option<Self>, LakeError> {
        let Some(footer) = footer(job, Table::Messages, day)? else { return Ok(None) };
        let count = |key: &str| footer.get(key).and_then(|count| count.parse().ok());
        let counts = count(entry::ROWS).zip(count(entry::REJECTS));
        Ok(counts.map(|(rows, rejects)| Self {
            rows,
            rejects,
            content_hash: footer.content_hash(),
            footer,
        }))
    }
}

/// Reads the footer of a file. Returns `None` when the file is missing or damaged.
fn footer(job: &FetchJob, table: Table, day: Day) -> Result<Option<Footer>, LakeError> {
    match job.lake.see_footer(&job.account.partition(table, day))?.1 {
        Err(LakeError::Damaged { .. }) => Ok(None),
        footer => footer,
    }
}

/// Returns the number of records that the lake has of a day, rows and rejects together. `before` is
/// the day in the lake.
///
/// The number comes from the footer of the messages. If that file is damaged or missing, the number
/// is estimated from the rest of the lake and may be too low:
///
/// - The rows of the rejects (1 if their file is damaged) plus the messages that `account_daily`
///   counts.
/// - At least 1 if metrics of any day were computed from messages of this day.
/// - At least 1 if no metrics depend on the day, and the file of the messages is damaged or
///   retention deleted the day. The day may have had records.
pub(super) fn records_before(
    job: &FetchJob,
    day: Day,
    before: Option<&Before>,
) -> Result<u64, LakeError> {
    if let Some(before) = before {
        return Ok(before.rows + before.rejects);
    }
    let is_there = |table: Table| job.lake.has(&job.account.partition(table, day));
    let rejects = match footer(job, Table::Rejects, day)? {
        Some(footer) => footer.get(entry::ROWS).and_then(|rows| rows.parse().ok()).unwrap_or(1),
        None => u64::from(is_there(Table::Rejects)?),
    };
    let at_least = match had_messages(job, day)? {
        Some(had_messages) => u64::from(had_messages),
        None if is_there(Table::Messages)? => 1,
        None if !job.lake.pruned(&job.account)?.includes(Table::Messages, day) => 0,
        // The retention mark also covers days before the account's first day. Those had no records.
        None => {
            let first_day = job.lake.first_day(&job.account)?;
            u64::from(first_day.is_some_and(|first| first <= day))
        }
    };
    Ok((rejects + counted_by_metrics(job, day)?).max(at_least))
}

/// Returns the messages that the day's `account_daily` counts, received and sent. Returns 0 when
/// the partition is missing or damaged.
fn counted_by_metrics(job: &FetchJob, day: Day) -> Result<u64, LakeError> {
    const COUNTS: [&str; 2] = ["messages_received", "messages_sent"];
    if !job.lake.has(&job.account.partition(Table::AccountDaily, day))? {
        return Ok(0);
    }
    let counted = || -> Result<i64, LakeError> {
        let mut counted = 0;
        for batch in job.lake.read(&job.account.partition(Table::AccountDaily, day), &COUNTS)? {
            let batch = batch?;
            let counts = batch.columns().iter().filter_map(|column| column.as_primitive_opt());
            counted += counts.filter_map(arrow::compute::sum::<Int64Type>).sum::<i64>();
        }
        Ok(counted)
    };
    match counted() {
        Err(LakeError::Damaged { .. }) => Ok(0),
        counted => Ok(u64::try_from(counted?).unwrap_or_default()),
    }
}

/// Whether a day had messages when metrics that depend on it were computed. `None` when no metrics
/// depend on it.
fn had_messages(job: &FetchJob, day: Day) -> Result<Option<bool>, LakeError> {
    let nothing = ContentHash::of(&RecordBatch::new_empty(Table::Messages.schema()))?;
    let mut had_messages = None;
    let around = Table::METRICS
        .into_iter()
        .flat_map(|table| (-DAYS_AFTER..=DAYS_BEFORE).map(move |step| (table, day.plus(step))));
    let keys = around.clone().map(|(table, day)| job.account.partition(table, day));
    job.lake.look_ahead(keys)?;
    for (table, dependent) in around {
        let made_of =
            footer(job, table, dependent)?.and_then(|footer| footer.inputs().remove(&day));
        had_messages = had_messages.max(made_of.map(|messages| messages != nothing));
    }
    Ok(had_messages)
}
