//! Days → `messages` and `rejects`.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::calendar::{Day, Span, Zone};
use crate::failure::{BugError, Class, Failure};
use crate::fetch::{CallCounts, ContractError, FetchError, FetchedPage, Source};
use crate::lake::{Account, Lake, LakeError, MessageCounts, StagedMessages, StagedPartition, Table};
use crate::telemetry::Progress;

/// Pages between the network and the disk. With one being fetched and one being written, a day costs the memory of four.
const PAGES_IN_FLIGHT: usize = 2;

/// So many rejects a day may have whatever its size, and then one in [`RECORDS_PER_REJECT`]. More mean that WeChat has changed
/// its format, and that a committed day would be silently short.
const REJECTS_ALLOWED: u64 = 100;
const RECORDS_PER_REJECT: u64 = 100;

/// Where records come from and where they go.
#[derive(Clone, Debug)]
pub struct FetchJob {
    pub source: Arc<Source>,
    pub lake: Lake,
    pub account: Account,
    pub zone: Zone,
    /// Days that are fetched side by side.
    pub concurrency: usize,
}

/// A day that was fetched and committed.
#[derive(Clone, Debug, Serialize)]
pub struct FetchedDay {
    pub date: Day,
    #[serde(flatten)]
    pub messages: MessageCounts,
    pub rejects: u64,
    /// Records that the API gave although their time is not in the window they were asked for.
    pub outside_window: u64,
    pub pages: u64,
    pub repaired_pages: u64,
    #[serde(flatten)]
    pub calls: CallCounts,
}

/// A day that was not committed.
#[derive(Debug)]
pub struct DayFailure {
    pub day: Day,
    pub failure: Failure,
}

/// What became of the days.
#[derive(Debug, Default)]
pub struct FetchReport {
    /// In order of the days.
    pub fetched: Vec<FetchedDay>,
    /// In order of the days.
    pub failed: Vec<DayFailure>,
    /// Days that were not tried, or not to the end, because a failure would have met them too.
    pub given_up: Vec<Day>,
}

impl FetchReport {
    /// The class of the run: that of a failure that ended it, else [`Class::Partial`] when some days are there and some are not.
    pub fn class(&self) -> Option<Class> {
        let ending = self.failed.iter().map(|failed| failed.failure.class).find(|class| class.ends_the_run());
        let first = self.failed.first().map(|failed| failed.failure.class);
        match (ending, first) {
            (Some(class), _) => Some(class),
            (None, Some(_)) if !self.fetched.is_empty() => Some(Class::Partial),
            (None, first) => first,
        }
    }
}

/// Fetches the days, some side by side. A day that fails does not keep the others from being committed, unless they
/// would fail alike.
pub async fn fetch_days(job: &FetchJob, days: &[Day], progress: &Progress) -> FetchReport {
    let mut report = FetchReport::default();
    let mut waiting = days.iter().copied();
    let mut running = JoinSet::new();
    let mut is_over = false;
    loop {
        while !is_over && running.len() < job.concurrency {
            let Some(day) = waiting.next() else { break };
            let job = job.clone();
            running.spawn(async move { (day, fetch_day(&job, day).await) });
        }
        match running.join_next().await {
            None => break,
            Some(Ok((day, outcome))) => match outcome {
                Ok(fetched) => {
                    progress.advance(&format!("{day}"));
                    tracing::info!(
                        event = "day_fetched",
                        date = %day,
                        received = fetched.messages.received,
                        sent = fetched.messages.sent,
                        other = fetched.messages.other,
                        rejects = fetched.rejects,
                        requests = fetched.calls.requests,
                    );
                    report.fetched.push(fetched);
                }
                Err(failure) => {
                    if failure.class.ends_the_run() {
                        is_over = true;
                        running.abort_all();
                    }
                    report.failed.push(DayFailure { day, failure });
                }
            },
            // Stopped by `abort_all`; it is found below, among the days without an outcome.
            Some(Err(error)) if error.is_cancelled() => {}
            Some(Err(error)) => {
                is_over = true;
                running.abort_all();
                let failure = BugError(format!("fetching a day stopped: {error}")).into();
                report.failed.push(DayFailure { day: days.first().copied().unwrap_or_else(|| job.zone.day_of(0)), failure });
            }
        }
    }
    report.fetched.sort_by_key(|fetched| fetched.date);
    report.failed.sort_by_key(|failed| failed.day);
    let has_outcome =
        |day: &Day| report.fetched.iter().any(|fetched| fetched.date == *day) || report.failed.iter().any(|failed| failed.day == *day);
    report.given_up = days.iter().copied().filter(|day| !has_outcome(day)).collect();
    report
}

/// Fetches one day and commits it, or leaves everything as it was.
async fn fetch_day(job: &FetchJob, day: Day) -> Result<FetchedDay, Failure> {
    let span = job.zone.bounds(day);
    let (sender, receiver) = mpsc::channel(PAGES_IN_FLIGHT);
    let writer = {
        let job = job.clone();
        tokio::task::spawn_blocking(move || stage_pages(&job, day, span, receiver))
    };
    let calls = job.source.fetch(span, sender).await;
    let staged = writer.await.map_err(|error| BugError(format!("writing a day stopped: {error}")))?;
    // When the disk refuses a page, the fetch ends because of that: the disk's reason is the one to report.
    let calls = match (calls, staged.as_ref().err()) {
        (Err(FetchError::Abandoned), Some(_)) => CallCounts::default(),
        (calls, _) => calls?,
    };
    let staged = staged?;
    let records = staged.records();
    if staged.rejects > REJECTS_ALLOWED.max(records / RECORDS_PER_REJECT) {
        return Err(FetchError::from(ContractError::TooManyRejects { rejects: staged.rejects, records }).into());
    }
    let job = job.clone();
    let commit = tokio::task::spawn_blocking(move || staged.commit(&job, calls));
    Ok(commit.await.map_err(|error| BugError(format!("committing a day stopped: {error}")))??)
}

/// A day in staging.
struct StagedDay {
    day: Day,
    messages: StagedMessages,
    rejected: Option<StagedPartition>,
    rejects: u64,
    outside_window: u64,
    pages: u64,
    repaired_pages: u64,
}

/// Writes pages to staging until there are no more.
fn stage_pages(job: &FetchJob, day: Day, span: Span, mut pages: mpsc::Receiver<FetchedPage>) -> Result<StagedDay, LakeError> {
    let mut staged = StagedDay {
        day,
        messages: job.lake.stage_messages(&job.account, day, job.zone.name(), span)?,
        rejected: None,
        rejects: 0,
        outside_window: 0,
        pages: 0,
        repaired_pages: 0,
    };
    while let Some(fetched) = pages.blocking_recv() {
        staged.messages.append(&fetched.page.records)?;
        staged.outside_window += fetched.page.outside_window;
        staged.pages += 1;
        staged.repaired_pages += u64::from(fetched.page.is_repaired);
        staged.append_rejects(job, span, &fetched)?;
    }
    Ok(staged)
}

impl StagedDay {
    fn records(&self) -> u64 {
        let counts = self.messages.counts();
        counts.received + counts.sent + counts.other + self.rejects
    }

    fn append_rejects(&mut self, job: &FetchJob, span: Span, fetched: &FetchedPage) -> Result<(), LakeError> {
        let rejects = &fetched.page.rejects;
        if rejects.is_empty() {
            return Ok(());
        }
        let rows = rejects.len();
        self.rejects += rows as u64;
        let batch = RecordBatch::try_new(
            Table::Rejects.schema(),
            vec![
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(job.account.as_str(), rows))),
                Arc::new(Int64Array::from_value(fetched.asked_msgid, rows)),
                Arc::new(Int64Array::from_iter_values(rejects.iter().map(|reject| reject.position))),
                Arc::new(StringArray::from_iter_values(rejects.iter().map(|reject| &reject.reason))),
                Arc::new(StringArray::from_iter_values(rejects.iter().map(|reject| &reject.raw))),
            ],
        )?;
        let rejected = match &mut self.rejected {
            Some(rejected) => rejected,
            // Only days with rejects have a partition of them.
            None => self.rejected.insert(job.lake.stage(Table::Rejects, &job.account, self.day, job.zone.name(), span)?),
        };
        rejected.append(batch)
    }

    /// The messages last: their file is what says that the day is there.
    fn commit(self, job: &FetchJob, calls: CallCounts) -> Result<FetchedDay, LakeError> {
        let messages = self.messages.counts();
        match self.rejected {
            Some(rejected) => {
                rejected.commit()?;
            }
            None => job.lake.remove(Table::Rejects, &job.account, self.day)?,
        }
        self.messages.commit(self.rejects)?;
        Ok(FetchedDay {
            date: self.day,
            messages,
            rejects: self.rejects,
            outside_window: self.outside_window,
            pages: self.pages,
            repaired_pages: self.repaired_pages,
            calls,
        })
    }
}
