//! Writes one day into the lake: pages → staging → `messages` and `rejects`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use tokio::sync::mpsc;

use super::day_before::{Before, records_before};
use super::{FetchJob, FetchedDay, Refreshed, ShrunkDay};
use crate::calendar::{Day, Span, UnixSeconds};
use crate::failure::{BugError, Failure};
use crate::fetch::{CallCounts, ContractError, FetchEvent, FetchedPage, Reject};
use crate::lake::{
    FinishedPartition, LakeError, Spill, StagedMessages, StagedPartition, Table, entry,
};

/// Maximum number of unreadable records of a day. It is 3, half of the records but at most 100, or
/// one record in a hundred, whichever is the largest. More unreadable records mean that WeChat has
/// changed its format. Committing the day would then silently lose records.
fn rejects_allowed(records: u64) -> u64 {
    3.max((records / 2).min(100)).max(records / 100)
}

/// Maximum number of records outside the requested window: 3, or one record in a hundred, whichever
/// is larger. More mean that the API answers with other windows than requested, so that records are
/// missing.
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
    /// Whether several cursors fetched the day.
    is_split: bool,
    /// The day that is in the lake.
    before: Option<Before>,
    /// Whether to replace the day in the lake only if it has changed.
    is_refreshed: bool,
}

/// A time slice of the day that waits for earlier slices to end.
#[derive(Default)]
struct Waiting {
    records: Option<Spill>,
    is_ended: bool,
}

/// Writes pages to staging until the fetch ends. Returns `None` as soon as a split day has a
/// reject.
///
/// Each page is written in a blocking thread, and none is kept while the next page is on its way.
/// So few threads serve many accounts.
pub(super) async fn stage_pages(
    job: FetchJob,
    day: Day,
    mut events: mpsc::Receiver<FetchEvent>,
) -> Result<Option<StagedDay>, Failure> {
    let span = job.zone.bounds(day);
    let job = Arc::new(job);
    let begun = job.clone();
    let begin = move || {
        let staged = StagedDay::begin(&begun, day, span)?;
        Ok(Staging { staged, span, time_slices: BTreeMap::new() })
    };
    let mut staging: Staging = aside(begin).await?;
    while let Some(event) = events.recv().await {
        let job = job.clone();
        let write = move || {
            staging.write(&job, event)?;
            Ok(staging)
        };
        staging = aside(write).await?;
        if staging.staged.is_split && staging.staged.rejects > 0 {
            return Ok(None);
        }
    }
    Ok(Some(staging.staged))
}

/// Runs work with the disk in a blocking thread.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LakeError> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| BugError(format!("writing a day stopped: {error}")))??)
}

/// A day that is being written to staging.
struct Staging {
    staged: StagedDay,
    span: Span,
    /// The time slices that have not ended.
    time_slices: BTreeMap<UnixSeconds, Waiting>,
}

impl Staging {
    /// Writes the records of the earliest open time slice straight into the partition. Spills the
    /// records of later slices to disk.
    fn write(&mut self, job: &FetchJob, event: FetchEvent) -> Result<(), LakeError> {
        let Self { staged, span, time_slices } = self;
        let (span, day) = (*span, staged.day);
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
                        // Days of 25 hours start with two windows, without an event that marks them
                        // as split.
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
                    // The next slice is now the earliest one, so its records go into the partition.
                    if let Some(mut next) = time_slices.first_entry()
                        && let Some(spill) = next.get_mut().records.take()
                    {
                        spill.replay(|records| staged.messages.append(records))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A day without records, kept until it is known whether to commit it.
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
        // It must not replace what another run has put there since.
        let messages = staged.messages.if_absent();
        let staged = StagedDay { messages, outside_window, pages, repaired_pages, ..staged };
        staged.commit(job, calls)
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

    /// Rejects a day with too many unreadable or misplaced records, or with only such records.
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

    /// Returns the numbers of records before and after if the day has lost records. WeChat deletes
    /// its records after a time that is not documented.
    ///
    /// # Errors
    /// Fails when the lake cannot be read.
    pub(super) fn shrinkage(&self, job: &FetchJob) -> Result<Option<ShrunkDay>, LakeError> {
        let records_before = records_before(job, self.day, self.before.as_ref())?;
        let records_after = self.records();
        let shrunk = ShrunkDay { date: self.day, records_before, records_after };
        Ok((records_after < records_before).then_some(shrunk))
    }

    /// Returns the day as an empty day if it has no records and the lake has no file of its
    /// messages.
    ///
    /// # Errors
    /// Fails when the lake cannot be read.
    pub(super) fn as_empty_day(
        &self,
        job: &FetchJob,
        calls: CallCounts,
    ) -> Result<Option<EmptyDay>, LakeError> {
        let is_there = || job.lake.has(&job.account.partition(Table::Messages, self.day));
        let outside_window = self.outside_window;
        let (pages, repaired_pages) = (self.pages, self.repaired_pages);
        Ok((self.records() == 0 && !is_there()?).then_some(EmptyDay {
            day: self.day,
            outside_window,
            pages,
            repaired_pages,
            calls,
        }))
    }

    /// Number of messages and rejects.
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
            // Only days with rejects have a partition of `rejects`.
            None => {
                let mut staged = job.lake.stage(
                    job.account.partition(Table::Rejects, self.day),
                    job.zone.name(),
                    span,
                )?;
                job.privacy()
                    .iter()
                    .for_each(|privacy| staged.footer().set(entry::PRIVACY, privacy));
                self.rejected.insert(staged)
            }
        };
        rejected.append(batch)
    }

    /// Commits the day. Writes all data to staging first, because that is what fails on a full
    /// disk. Then commits the rejects, then the messages, whose file marks the day as fetched and
    /// names its rejects. Removes older rejects last.
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
            // Dropping the staged files deletes them.
            return Ok(fetched);
        }
        // A customer who was forgotten meanwhile must not come back.
        job.lake.require_same_privacy(&job.account)?;
        match rejected {
            Some(rejected) => {
                rejected.commit()?;
                if let Err(error) = messages.commit() {
                    // Rejects without messages would mislead readers. Report the first error, not
                    // this one.
                    let there = job.lake.has(&job.account.partition(Table::Messages, self.day));
                    if matches!(there, Ok(false)) {
                        let _ = job.lake.remove(&job.account.partition(Table::Rejects, self.day));
                    }
                    return Err(error);
                }
            }
            None => {
                messages.commit()?;
                job.lake.remove_unnamed_rejects(&job.account, self.day)?;
            }
        }
        job.lake.remove_older_note(&job.account, self.day)?;
        Ok(fetched)
    }
}
