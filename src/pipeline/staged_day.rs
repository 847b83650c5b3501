//! One day on its way into the lake: pages → staging → `messages` and `rejects`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use tokio::sync::mpsc;

use super::{FetchJob, FetchedDay, Refreshed};
use crate::calendar::{Day, Span, UnixSeconds};
use crate::failure::Failure;
use crate::fetch::{CallCounts, ContractError, FetchEvent, FetchedPage, Reject};
use crate::lake::{ContentHash, Footer, LakeError, Spill, StagedMessages, StagedPartition, Table};
use crate::metrics::{DAYS_AFTER, DAYS_BEFORE};
use crate::signals::{self, Indivisible};

/// How many of a day's records may be unreadable: a few, or half of them up to a hundred, or one in a hundred. More mean that WeChat has
/// changed its format, and that a committed day would be silently short.
fn rejects_allowed(records: u64) -> u64 {
    3.max((records / 2).min(100)).max(records / 100)
}

/// How many of them may lie outside the window that was asked for. More mean that the windows are not the ones asked for, and that records inside
/// them are missing.
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
    /// Whether a run was killed while it changed what is there.
    is_unfinished: bool,
    /// Whether it is replaced only if it has changed.
    is_refreshed: bool,
}

/// What the footer says of a day that is there.
struct Before {
    rows: u64,
    rejects: u64,
    content_hash: Option<ContentHash>,
}

impl Before {
    /// None where nothing is there, or where it cannot be read: then it is replaced.
    fn of(job: &FetchJob, day: Day) -> Result<Option<Self>, LakeError> {
        let Some(footer) = footer(job, Table::Messages, day)? else { return Ok(None) };
        let count = |key: &str| footer.get(key).and_then(|count| count.parse().ok());
        let counts = count("rows").zip(count("rejects"));
        Ok(counts.map(|(rows, rejects)| Self {
            rows,
            rejects,
            content_hash: footer.content_hash(),
        }))
    }
}

/// The footer of a file that is there and can be read.
fn footer(job: &FetchJob, table: Table, day: Day) -> Result<Option<Footer>, LakeError> {
    match job
        .lake
        .path(table, &job.account, day)
        .is_file()
        .then(|| job.lake.footer(table, &job.account, day))
        .transpose()
    {
        Err(LakeError::Damaged { .. }) => Ok(None),
        footer => footer,
    }
}

/// Whether a day of which no message comes, and of whose messages nothing can be read, may be committed as one without messages.
fn may_be_empty(job: &FetchJob, day: Day, has_rejects: bool) -> Result<(), Failure> {
    let is_there = |table: Table| job.lake.path(table, &job.account, day).is_file();
    let is_pruned = || Ok::<_, LakeError>(job.lake.pruned()?.includes(Table::Messages, day));
    match had_messages(job, day)? {
        Some(true) => Err(ContractError::VanishedWithMetrics.into()),
        // What a run that was killed has left of the rejects is replaced by rejects, and not by nothing.
        _ if has_rejects => Ok(()),
        _ if is_there(Table::Rejects) => Err(ContractError::VanishedDamaged.into()),
        Some(false) => Ok(()),
        None if is_there(Table::Messages) => Err(ContractError::VanishedDamaged.into()),
        None if is_pruned()? => Err(ContractError::VanishedPruned.into()),
        None => Ok(()),
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

/// What has come of a stretch of the day before it was its turn.
#[derive(Default)]
struct Waiting {
    records: Option<Spill>,
    is_ended: bool,
}

/// Writes pages to staging until there are no more. The earliest stretch that has not ended goes straight into the partition; what comes of later
/// ones waits on the disk. None as soon as a day that is split has a reject.
pub(super) fn stage_pages(
    job: &FetchJob,
    day: Day,
    span: Span,
    mut events: mpsc::Receiver<FetchEvent>,
) -> Result<Option<StagedDay>, LakeError> {
    let mut staged = StagedDay {
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
        is_unfinished: job.lake.is_unfinished(&job.account, day),
        is_refreshed: job.refreshed.contains(&day),
    };
    let mut stretches: BTreeMap<UnixSeconds, Waiting> = BTreeMap::new();
    while let Some(event) = events.blocking_recv() {
        match event {
            FetchEvent::Begun { stretch } => {
                staged.is_split |= staged.pages > 0;
                stretches.insert(stretch, Waiting::default());
            }
            FetchEvent::Page(FetchedPage { stretch, asked_msgid, page }) => {
                staged.outside_window += page.outside_window;
                staged.misplaced += page.misplaced;
                staged.pages += 1;
                staged.repaired_pages += u64::from(page.is_repaired);
                staged.repaired_records += page.repaired_records;
                let is_first = stretches.keys().next() == Some(&stretch);
                match stretches.get_mut(&stretch).filter(|_| !is_first) {
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
            FetchEvent::Ended { stretch } => {
                if let Some(waiting) = stretches.get_mut(&stretch) {
                    waiting.is_ended = true;
                }
                while stretches.first_entry().is_some_and(|first| first.get().is_ended) {
                    stretches.pop_first();
                    // Now it is the next one's turn.
                    if let Some(mut next) = stretches.first_entry()
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

impl StagedDay {
    /// Whether what came can be a day of this account, and not something that kefu no longer understands, or nothing in the place of something.
    pub(super) fn check(&self, job: &FetchJob) -> Result<(), Failure> {
        let counts = self.messages.counts();
        let kept = counts.received + counts.sent + counts.other;
        let records = kept + self.rejects;
        let misplaced = self.misplaced;
        if kept == 0 && misplaced > 0 || misplaced > misplaced_allowed(records) {
            return Err(ContractError::Misplaced { misplaced, records }.into());
        }
        if self.rejects > rejects_allowed(records) {
            let reason = self.first_reason.clone().unwrap_or_default();
            return Err(
                ContractError::TooManyRejects { rejects: self.rejects, records, reason }.into()
            );
        }
        // WeChat keeps its records for a time that nobody documents. Whatever was asked for, a day with records is not replaced by nothing, and one
        // with messages not by a few records that cannot be read.
        let vanishes =
            |before: &&Before| before.rows > 0 && kept == 0 || before.rejects > 0 && records == 0;
        match self.before.as_ref().filter(vanishes).map(|before| before.rows + before.rejects) {
            Some(records) if self.is_unfinished => {
                Err(ContractError::VanishedUnfinished { records }.into())
            }
            Some(records) => Err(ContractError::Vanished { records }.into()),
            None if self.before.is_none() && kept == 0 => {
                may_be_empty(job, self.day, self.rejects > 0)
            }
            None => Ok(()),
        }
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
                    Table::Rejects,
                    &job.account,
                    self.day,
                    job.zone.name(),
                    span,
                )?;
                job.privacy().iter().for_each(|privacy| staged.footer().set("privacy", privacy));
                self.rejected.insert(staged)
            }
        };
        rejected.append(batch)
    }

    /// Everything that a full disk can refuse comes first. Then the rejects, then the messages, whose file is what says that the day is there;
    /// and only then are older rejects taken away. Where both files change, a note says so meanwhile. Until what comes with the day is dropped, a process
    /// that is told to leave waits, so that the day is taken note of.
    pub(super) fn commit(
        self,
        job: &FetchJob,
        calls: CallCounts,
    ) -> Result<(FetchedDay, Indivisible), LakeError> {
        let counts = self.messages.counts();
        let rejected = self.rejected.map(StagedPartition::finish).transpose()?;
        let messages = self.messages.finish(self.rejects)?;
        let refreshed =
            self.before.as_ref().filter(|_| self.is_refreshed).map(|before| Refreshed {
                is_changed: (before.content_hash.as_ref(), before.rejects)
                    != (Some(messages.content_hash()), self.rejects),
                messages_before: before.rows,
            });
        let fetched = FetchedDay {
            date: self.day,
            messages: counts,
            rejects: self.rejects,
            outside_window: self.outside_window,
            pages: self.pages,
            repaired_pages: self.repaired_pages,
            repaired_records: self.repaired_records,
            calls,
            refreshed,
        };
        let indivisible = signals::indivisible();
        if let Some(Refreshed { is_changed: false, .. }) = refreshed {
            // Dropped, what is in staging vanishes.
            return Ok((fetched, indivisible));
        }
        let is_there = |table: Table| job.lake.path(table, &job.account, self.day).is_file();
        let changes_both = rejected.is_some() || is_there(Table::Rejects) || self.is_unfinished;
        if changes_both {
            job.lake.begin_changing(&job.account, self.day)?;
        }
        match rejected {
            Some(rejected) => {
                rejected.commit()?;
                if let Err(error) = messages.commit() {
                    // Rejects of a day that is not there mislead nobody but a reader. The first error is the one to report.
                    if !is_there(Table::Messages)
                        && job.lake.remove(Table::Rejects, &job.account, self.day).is_ok()
                    {
                        let _ = job.lake.end_changing(&job.account, self.day);
                    }
                    return Err(error);
                }
            }
            None => {
                messages.commit()?;
                job.lake.remove(Table::Rejects, &job.account, self.day)?;
            }
        }
        if changes_both {
            job.lake.end_changing(&job.account, self.day)?;
        }
        Ok((fetched, indivisible))
    }
}
