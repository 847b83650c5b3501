//! One day on its way into the lake: pages → staging → `messages` and `rejects`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use tokio::sync::mpsc;

use super::{FetchJob, FetchedDay, Refreshed};
use crate::calendar::{Day, Span, UnixSeconds};
use crate::fetch::{CallCounts, ContractError, FetchEvent, FetchedPage, Reject};
use crate::lake::{ContentHash, LakeError, Spill, StagedMessages, StagedPartition, Table};

/// How many of a day's records may be unreadable: a few, or half of them up to a hundred, or one in a hundred. More mean that WeChat has
/// changed its format, and that a committed day would be silently short.
fn rejects_allowed(records: u64) -> u64 {
    3.max((records / 2).min(100)).max(records / 100)
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
    /// Whether it was walked with several cursors.
    is_split: bool,
    /// What is there.
    before: Option<Before>,
    /// Whether nothing is there, but metrics that were made of records.
    had_records: bool,
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
    fn of(job: &FetchJob, day: Day) -> Option<Self> {
        // One that cannot be read is replaced.
        let footer = job.lake.footer(Table::Messages, &job.account, day).ok()?;
        let count = |key: &str| footer.get(key).and_then(|count| count.parse().ok());
        Some(Self { rows: count("rows")?, rejects: count("rejects")?, content_hash: footer.content_hash() })
    }
}

/// Whether a day that is not there has metrics that were made of its records: it was pruned.
fn had_records(job: &FetchJob, day: Day) -> Result<bool, LakeError> {
    let is_there = |table: Table| job.lake.path(table, &job.account, day).is_file();
    if is_there(Table::Messages) || !is_there(Table::AccountDaily) {
        return Ok(false);
    }
    let nothing = ContentHash::of(&RecordBatch::new_empty(Table::Messages.schema()))?;
    // Metrics that cannot be read are computed anew in any case.
    let footer = job.lake.footer(Table::AccountDaily, &job.account, day).unwrap_or_default();
    Ok(footer.inputs().get(&day).is_some_and(|messages| *messages != nothing))
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
        messages: job.lake.stage_messages(&job.account, day, job.zone.name(), span)?.with_privacy(job.privacy()),
        rejected: None,
        rejects: 0,
        first_reason: None,
        outside_window: 0,
        misplaced: 0,
        pages: 0,
        repaired_pages: 0,
        is_split: false,
        before: Before::of(job, day),
        had_records: had_records(job, day)?,
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
                let is_first = stretches.keys().next() == Some(&stretch);
                match stretches.get_mut(&stretch).filter(|_| !is_first) {
                    None => {
                        staged.messages.append(&page.records)?;
                        staged.append_rejects(job, span, asked_msgid, &page.rejects)?;
                    }
                    Some(waiting) => {
                        match &mut waiting.records {
                            Some(spill) => spill.append(&page.records)?,
                            None => waiting.records = Some(job.lake.spill(&job.account, day, &page.records)?),
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
    /// Whether what came can be a day of this account, and not something that kefu no longer understands.
    pub(super) fn check(&self) -> Result<(), ContractError> {
        let counts = self.messages.counts();
        let kept = counts.received + counts.sent + counts.other;
        let records = kept + self.rejects;
        if self.rejects > rejects_allowed(records) {
            return Err(ContractError::TooManyRejects {
                rejects: self.rejects,
                records,
                reason: self.first_reason.clone().unwrap_or_default(),
            });
        }
        if kept == 0 && self.misplaced > 0 {
            return Err(ContractError::AllMisplaced { records: self.misplaced });
        }
        // WeChat keeps its records for a time that nobody documents. Whatever was asked for, a day with records is not replaced by nothing.
        if let Some(before) = self.before.as_ref().filter(|before| before.rows > 0 && records == 0) {
            return Err(ContractError::Vanished { records: before.rows });
        }
        if self.had_records && records == 0 {
            return Err(ContractError::VanishedSincePrune);
        }
        Ok(())
    }

    fn append_rejects(&mut self, job: &FetchJob, span: Span, asked_msgid: i64, rejects: &[Reject]) -> Result<(), LakeError> {
        if rejects.is_empty() {
            return Ok(());
        }
        let rows = rejects.len();
        self.rejects += rows as u64;
        self.first_reason = self.first_reason.take().or_else(|| rejects.first().map(|reject| reject.reason.clone()));
        let batch = RecordBatch::try_new(
            Table::Rejects.schema(),
            vec![
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(job.account.as_str(), rows))),
                Arc::new(Int64Array::from_value(asked_msgid, rows)),
                Arc::new(Int64Array::from_iter_values(rejects.iter().map(|reject| reject.position))),
                Arc::new(StringArray::from_iter_values(rejects.iter().map(|reject| &reject.reason))),
                Arc::new(StringArray::from_iter_values(rejects.iter().map(|reject| &reject.raw))),
            ],
        )?;
        let rejected = match &mut self.rejected {
            Some(rejected) => rejected,
            // Only days with rejects have a partition of them.
            None => {
                let mut staged = job.lake.stage(Table::Rejects, &job.account, self.day, job.zone.name(), span)?;
                job.privacy().iter().for_each(|privacy| staged.footer().set("privacy", privacy));
                self.rejected.insert(staged)
            }
        };
        rejected.append(batch)
    }

    /// Everything that a full disk can refuse comes first. Then the rejects, then the messages, whose file is what says that the day is there;
    /// and only then are older rejects taken away. Where both files change, a note says so meanwhile.
    pub(super) fn commit(self, job: &FetchJob, calls: CallCounts) -> Result<FetchedDay, LakeError> {
        let counts = self.messages.counts();
        let rejected = self.rejected.map(StagedPartition::finish).transpose()?;
        let messages = self.messages.finish(self.rejects)?;
        let refreshed = self.before.as_ref().filter(|_| self.is_refreshed).map(|before| Refreshed {
            is_changed: (before.content_hash.as_ref(), before.rejects) != (Some(messages.content_hash()), self.rejects),
            messages_before: before.rows,
        });
        let fetched = FetchedDay {
            date: self.day,
            messages: counts,
            rejects: self.rejects,
            outside_window: self.outside_window,
            pages: self.pages,
            repaired_pages: self.repaired_pages,
            calls,
            refreshed,
        };
        if let Some(Refreshed { is_changed: false, .. }) = refreshed {
            // Dropped, what is in staging vanishes.
            return Ok(fetched);
        }
        let is_there = |table: Table| job.lake.path(table, &job.account, self.day).is_file();
        let changes_both = rejected.is_some() || is_there(Table::Rejects) || job.lake.is_unfinished(&job.account, self.day);
        if changes_both {
            job.lake.begin_changing(&job.account, self.day)?;
        }
        match rejected {
            Some(rejected) => {
                rejected.commit()?;
                if let Err(error) = messages.commit() {
                    // Rejects of a day that is not there mislead nobody but a reader. The first error is the one to report.
                    if !is_there(Table::Messages) && job.lake.remove(Table::Rejects, &job.account, self.day).is_ok() {
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
        Ok(fetched)
    }
}
