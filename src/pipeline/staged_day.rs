//! One day on its way into the lake: pages → staging → `messages` and `rejects`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use tokio::sync::mpsc;

use super::{FetchJob, FetchedDay, Refreshed, ShrunkDay};
use crate::calendar::{Day, Span, UnixSeconds};
use crate::fetch::{CallCounts, ContractError, FetchEvent, FetchedPage, Reject};
use crate::lake::{
    ContentHash, FinishedPartition, Footer, LakeError, Spill, StagedMessages, StagedPartition,
    Table,
};
use crate::metrics::{DAYS_AFTER, DAYS_BEFORE};

/// How many of a day's records may be unreadable: a few, or half of them up to a hundred, or one in a hundred. More mean that WeChat has
/// changed its format, and that a committed day would be silently short.
fn rejects_allowed(records: u64) -> u64 {
    3.max((records / 2).min(100)).max(records / 100)
}

/// How many of them may lie outside the window that was asked for. More mean that the windows are
/// not the ones asked for, and that records inside them are missing.
fn misplaced_allowed(records: u64) -> u64 {
    3.max(records / 100)
}

/// A day in staging.
pub(super) struct StagedDay {
    day: Day,
    messages: StagedMessages,
    rejected: Option<StagedPartition>,
    rejects: u64,
    first_reason: Option<String>,
    outside_window: u64,
    misplaced: u64,
    pages: u64,
    repaired_pages: u64,
    repaired_records: u64,
    /// Whether it was walked with several cursors.
    is_split: bool,
    /// What is there.
    before: Option<Before>,
    /// Whether it is replaced only if it has changed.
    is_refreshed: bool,
}

/// What the footer of the messages says of a day that is there.
struct Before {
    rows: u64,
    rejects: u64,
    content_hash: Option<ContentHash>,
    footer: Footer,
}

impl Before {
    /// None where nothing is there, or where it cannot be read.
    fn of(job: &FetchJob, day: Day) -> Result<Option<Self>, LakeError> {
        let Some(footer) = footer(job, Table::Messages, day)? else { return Ok(None) };
        let count = |key: &str| footer.get(key).and_then(|count| count.parse().ok());
        let counts = count("rows").zip(count("rejects"));
        Ok(counts.map(|(rows, rejects)| Self {
            rows,
            rejects,
            content_hash: footer.content_hash(),
            footer,
        }))
    }
}

/// The footer of a file that is there and can be read.
fn footer(job: &FetchJob, table: Table, day: Day) -> Result<Option<Footer>, LakeError> {
    match job
        .lake
        .path(&job.account.partition(table, day))
        .is_file()
        .then(|| job.lake.footer(&job.account.partition(table, day)))
        .transpose()
    {
        Err(LakeError::Damaged { .. }) => Ok(None),
        footer => footer,
    }
}

/// How many records the lake has of a day, rows and rejects together.
///
/// The footer of the messages says it. Where that file is damaged or gone, the rest of the lake
/// gives a number that may be too low:
///
/// - the rows of the rejects (1 where their file is damaged) and the messages that `account_daily`
///   counts;
/// - at least 1 where metrics of any day were made of messages of this one;
/// - at least 1 where no metrics show it, and the file of the messages is damaged or the day was
///   deleted by retention: it may have had records.
fn records_before(job: &FetchJob, day: Day) -> Result<u64, LakeError> {
    if let Some(before) = Before::of(job, day)? {
        return Ok(before.rows + before.rejects);
    }
    let is_there = |table: Table| job.lake.has(&job.account.partition(table, day));
    let rejects = match footer(job, Table::Rejects, day)? {
        Some(footer) => footer.get("rows").and_then(|rows| rows.parse().ok()).unwrap_or(1),
        None => u64::from(is_there(Table::Rejects)),
    };
    let at_least = match had_messages(job, day)? {
        Some(had_messages) => u64::from(had_messages),
        None if is_there(Table::Messages) => 1,
        None if !job.lake.pruned(&job.account)?.includes(Table::Messages, day) => 0,
        // What was deleted by retention says nothing about an account that came later.
        None => {
            let first_day = job.lake.first_day(&job.account)?;
            u64::from(first_day.is_some_and(|first| first <= day))
        }
    };
    Ok((rejects + counted_by_metrics(job, day)?).max(at_least))
}

/// The messages that the day's `account_daily` counts: received and sent. 0 where it is not there
/// or cannot be read.
fn counted_by_metrics(job: &FetchJob, day: Day) -> Result<u64, LakeError> {
    const COUNTS: [&str; 2] = ["messages_received", "messages_sent"];
    if !job.lake.has(&job.account.partition(Table::AccountDaily, day)) {
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

/// Whether a day had messages when metrics that look at it were made. None when no metrics tell.
fn had_messages(job: &FetchJob, day: Day) -> Result<Option<bool>, LakeError> {
    let nothing = ContentHash::of(&RecordBatch::new_empty(Table::Messages.schema()))?;
    let mut had_messages = None;
    for (table, step) in Table::METRICS
        .into_iter()
        .flat_map(|table| (-DAYS_AFTER..=DAYS_BEFORE).map(move |step| (table, step)))
    {
        let made_of =
            footer(job, table, day.plus(step))?.and_then(|footer| footer.inputs().remove(&day));
        had_messages = had_messages.max(made_of.map(|messages| messages != nothing));
    }
    Ok(had_messages)
}

/// What has come of a time slice of the day before it was its turn.
#[derive(Default)]
struct Waiting {
    records: Option<Spill>,
    is_ended: bool,
}

/// Writes pages to staging until there are no more. The earliest time slice that has not ended goes straight into the partition; what comes of later
/// ones waits on the disk. None as soon as a day that is split has a reject.
pub(super) fn stage_pages(
    job: &FetchJob,
    day: Day,
    mut events: mpsc::Receiver<FetchEvent>,
) -> Result<Option<StagedDay>, LakeError> {
    let span = job.zone.bounds(day);
    let mut staged = StagedDay::begin(job, day, span)?;
    let mut time_slices: BTreeMap<UnixSeconds, Waiting> = BTreeMap::new();
    while let Some(event) = events.blocking_recv() {
        match event {
            FetchEvent::Begun { slice } => {
                staged.is_split |= staged.pages > 0;
                time_slices.insert(slice, Waiting::default());
            }
            FetchEvent::Page(FetchedPage { slice, asked_msgid, page }) => {
                staged.outside_window += page.outside_window;
                staged.misplaced += page.misplaced;
                staged.pages += 1;
                staged.repaired_pages += u64::from(page.is_repaired);
                staged.repaired_records += page.repaired_records;
                let is_first = time_slices.keys().next() == Some(&slice);
                match time_slices.get_mut(&slice).filter(|_| !is_first) {
                    None => {
                        staged.messages.append(&page.records)?;
                        staged.append_rejects(job, span, asked_msgid, &page.rejects)?;
                    }
                    Some(waiting) => {
                        match &mut waiting.records {
                            Some(spill) => spill.append(&page.records)?,
                            None => {
                                waiting.records =
                                    Some(job.lake.spill(&job.account, day, &page.records)?)
                            }
                        }
                        // Days of 25 hours have two windows from the beginning.
                        staged.is_split |= !page.rejects.is_empty();
                        staged.rejects += page.rejects.len() as u64;
                    }
                }
            }
            FetchEvent::Ended { slice } => {
                if let Some(waiting) = time_slices.get_mut(&slice) {
                    waiting.is_ended = true;
                }
                while time_slices.first_entry().is_some_and(|first| first.get().is_ended) {
                    time_slices.pop_first();
                    // Now it is the next one's turn.
                    if let Some(mut next) = time_slices.first_entry()
                        && let Some(spill) = next.get_mut().records.take()
                    {
                        spill.replay(|records| staged.messages.append(records))?;
                    }
                }
            }
        }
        if staged.is_split && staged.rejects > 0 {
            return Ok(None);
        }
    }
    Ok(Some(staged))
}

/// A day without records: what stays of it until it is known whether it is committed.
#[derive(Debug)]
pub(super) struct EmptyDay {
    pub(super) day: Day,
    outside_window: u64,
    pages: u64,
    repaired_pages: u64,
    calls: CallCounts,
}

impl EmptyDay {
    pub(super) fn commit(self, job: &FetchJob) -> Result<FetchedDay, LakeError> {
        let Self { day, outside_window, pages, repaired_pages, calls } = self;
        let staged = StagedDay::begin(job, day, job.zone.bounds(day))?;
        StagedDay { outside_window, pages, repaired_pages, ..staged }.commit(job, calls)
    }
}

impl StagedDay {
    fn begin(job: &FetchJob, day: Day, span: Span) -> Result<Self, LakeError> {
        Ok(Self {
            day,
            messages: job
                .lake
                .stage_messages(&job.account, day, job.zone.name(), span)?
                .with_privacy(job.privacy())
                .with_app_id(job.app_id.clone()),
            rejected: None,
            rejects: 0,
            first_reason: None,
            outside_window: 0,
            misplaced: 0,
            pages: 0,
            repaired_pages: 0,
            repaired_records: 0,
            is_split: false,
            before: Before::of(job, day)?,
            is_refreshed: job.refreshed.contains(&day),
        })
    }

    /// Rejects a day in a form that kefu does not understand, or of which nothing can be read.
    pub(super) fn check(&self) -> Result<(), ContractError> {
        let records = self.records();
        let kept = records - self.rejects;
        let misplaced = self.misplaced;
        if kept == 0 && misplaced > 0 || misplaced > misplaced_allowed(records) {
            return Err(ContractError::Misplaced { misplaced, records });
        }
        if kept == 0 && self.rejects > 0 || self.rejects > rejects_allowed(records) {
            let reason = self.first_reason.clone().unwrap_or_default();
            return Err(ContractError::TooManyRejects { rejects: self.rejects, records, reason });
        }
        Ok(())
    }

    /// The numbers of records before and after, where the day has lost some: WeChat keeps its
    /// records for a time that nobody documents.
    ///
    /// # Errors
    /// When the lake cannot be read.
    pub(super) fn shrinkage(&self, job: &FetchJob) -> Result<Option<ShrunkDay>, LakeError> {
        let records_before = records_before(job, self.day)?;
        let records_after = self.records();
        let shrunk = ShrunkDay { date: self.day, records_before, records_after };
        Ok((records_after < records_before).then_some(shrunk))
    }

    /// The day as an empty one, if it is that, and if the lake has no file of its messages.
    pub(super) fn as_empty_day(&self, job: &FetchJob, calls: CallCounts) -> Option<EmptyDay> {
        let is_there = || job.lake.has(&job.account.partition(Table::Messages, self.day));
        let outside_window = self.outside_window;
        let (pages, repaired_pages) = (self.pages, self.repaired_pages);
        (self.records() == 0 && !is_there()).then_some(EmptyDay {
            day: self.day,
            outside_window,
            pages,
            repaired_pages,
            calls,
        })
    }

    /// Messages and rejects together.
    fn records(&self) -> u64 {
        let counts = self.messages.counts();
        counts.received + counts.sent + counts.other + self.rejects
    }

    fn append_rejects(
        &mut self,
        job: &FetchJob,
        span: Span,
        asked_msgid: i64,
        rejects: &[Reject],
    ) -> Result<(), LakeError> {
        if rejects.is_empty() {
            return Ok(());
        }
        let rows = rejects.len();
        self.rejects += rows as u64;
        self.first_reason = self
            .first_reason
            .take()
            .or_else(|| rejects.first().map(|reject| reject.reason.clone()));
        let batch = RecordBatch::try_new(
            Table::Rejects.schema(),
            vec![
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                    job.account.as_str(),
                    rows,
                ))),
                Arc::new(Int64Array::from_value(asked_msgid, rows)),
                Arc::new(Int64Array::from_iter_values(
                    rejects.iter().map(|reject| reject.position),
                )),
                Arc::new(StringArray::from_iter_values(
                    rejects.iter().map(|reject| &reject.reason),
                )),
                Arc::new(StringArray::from_iter_values(rejects.iter().map(|reject| &reject.raw))),
            ],
        )?;
        let rejected = match &mut self.rejected {
            Some(rejected) => rejected,
            // Only days with rejects have a partition of them.
            None => {
                let mut staged = job.lake.stage(
                    job.account.partition(Table::Rejects, self.day),
                    job.zone.name(),
                    span,
                )?;
                job.privacy().iter().for_each(|privacy| staged.footer().set("privacy", privacy));
                self.rejected.insert(staged)
            }
        };
        rejected.append(batch)
    }

    /// Writes everything first that a full disk can refuse. Then puts the rejects in place, then the
    /// messages: their file says that the day is there, and names its rejects. Removes older rejects
    /// last.
    pub(super) fn commit(self, job: &FetchJob, calls: CallCounts) -> Result<FetchedDay, LakeError> {
        let (counts, records) = (self.messages.counts(), self.records());
        let rejected = self.rejected.map(StagedPartition::finish).transpose()?;
        let rejects_hash = rejected.as_ref().map(FinishedPartition::content_hash);
        let messages = self.messages.finish(self.rejects, rejects_hash)?;
        let refreshed = self
            .before
            .as_ref()
            .filter(|before| self.is_refreshed || records < before.rows + before.rejects)
            .map(|before| Refreshed {
                is_changed: (before.content_hash.as_ref(), before.rejects)
                    != (Some(messages.content_hash()), self.rejects)
                    || before.footer.names_rejects(rejects_hash) == Some(false),
                messages_before: before.rows,
            });
        let fetched = FetchedDay {
            date: self.day,
            messages: counts,
            rejects: self.rejects,
            misplaced: self.misplaced,
            outside_window: self.outside_window,
            pages: self.pages,
            repaired_pages: self.repaired_pages,
            repaired_records: self.repaired_records,
            calls,
            refreshed,
        };
        if let Some(Refreshed { is_changed: false, .. }) = refreshed {
            // Dropped, what is in staging vanishes.
            return Ok(fetched);
        }
        match rejected {
            Some(rejected) => {
                rejected.commit()?;
                if let Err(error) = messages.commit() {
                    // Rejects of a day that is not there mislead nobody but a reader. The first error is the one to report.
                    if !job.lake.has(&job.account.partition(Table::Messages, self.day)) {
                        let _ = job.lake.remove(&job.account.partition(Table::Rejects, self.day));
                    }
                    return Err(error);
                }
            }
            None => {
                messages.commit()?;
                job.lake.remove(&job.account.partition(Table::Rejects, self.day))?;
            }
        }
        job.lake.remove_older_note(&job.account, self.day)?;
        Ok(fetched)
    }
}
