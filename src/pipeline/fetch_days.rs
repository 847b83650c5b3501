//! Fetches days and commits their `messages` and `rejects`. Decides how many days are fetched
//! concurrently, and when to stop.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::app::AppError;
use super::silence::Silence;
use super::staged_day::{EmptyDay, StagedDay, stage_pages};
use super::{FailedDay, Observer, OnShrink};
use crate::calendar::{Day, Zone};
use crate::failure::{BugError, Classified, ErrorKind, Failure};
use crate::fetch::{CallCounts, ContractError, FetchError, KeptIn, RetryBudget, Source};
use crate::lake::{Account, AppId, Lake, MessageCounts, Table};
use crate::model::cancel::Cancel;

/// Maximum number of pages that wait between the network and the disk. One more is being fetched
/// and one is being written, so a day needs the memory of three pages.
const PAGES_IN_FLIGHT: usize = 1;

/// After this number of days in a row that could not be fetched despite all retries, no other day
/// is tried.
const UNAVAILABLE_MAX: usize = 3;

/// The days of one account are fetched from this source into this lake.
#[derive(Clone, Debug)]
pub struct FetchJob {
    pub source: Arc<Source>,
    pub lake: Lake,
    pub account: Account,
    /// The app whose records are fetched. None with a token alone.
    pub app_id: Option<AppId>,
    pub zone: Zone,
    /// Maximum number of concurrent calls. They fetch several days, or parts of a large day.
    pub concurrency: usize,
    /// Days in the lake that are fetched again and replaced only if they have changed, because
    /// messages can come late.
    pub refreshed: BTreeSet<Day>,
    pub on_shrink: OnShrink,
    /// Checked between days and while calls are made. A day that is being committed is completed.
    pub cancel: Cancel,
}

impl FetchJob {
    /// The privacy entry of the footers. None if everything is kept.
    pub(super) fn privacy(&self) -> Option<String> {
        Some(self.source.privacy())
            .filter(|privacy| !privacy.keeps_everything())
            .map(ToString::to_string)
    }

    /// Records that the account has the records of this app. Call this only after WeChat has
    /// answered: a recorded wrong app id would make later runs refuse the right one.
    ///
    /// # Errors
    /// Fails when a concurrent run of another account has recorded the same app.
    fn record_app(&self) -> Result<(), Failure> {
        let Some(app) = &self.app_id else { return Ok(()) };
        if self.lake.has_recorded(app) {
            return Ok(());
        }
        if let Some(there) = self.lake.account_of_app_now(app)?
            && there != self.account
            && self.lake.has_account(&there)?
        {
            let (app, asked) = (app.clone(), self.account.clone());
            return Err(AppError::OtherAccount { app, there, asked }.into());
        }
        Ok(self.lake.record_app(app, &self.account)?)
    }
}

/// A day that was fetched and committed.
#[derive(Clone, Debug, Serialize)]
pub struct FetchedDay {
    pub date: Day,
    #[serde(flatten)]
    pub messages: MessageCounts,
    pub rejects: u64,
    /// Number of rejects whose time is outside the requested window.
    pub misplaced: u64,
    /// Records at exactly the end of a window. They belong to the next window.
    pub outside_window: u64,
    pub pages: u64,
    pub repaired_pages: u64,
    /// Records that could be read only after a repair.
    pub repaired_records: u64,
    #[serde(flatten)]
    pub calls: CallCounts,
    /// Only for a refreshed day that was in the lake before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refreshed: Option<Refreshed>,
}

/// The result of fetching a day again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Refreshed {
    /// Whether the day was replaced. An unchanged day is not written again.
    pub is_changed: bool,
    pub messages_before: u64,
}

/// A day that has fewer records than before, messages and rejects together, and was not replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ShrunkDay {
    pub date: Day,
    /// If the messages cannot be read, this number may be too low.
    pub records_before: u64,
    pub records_after: u64,
}

/// A day that was not committed.
#[derive(Debug)]
pub struct DayFailure {
    pub day: Day,
    pub failure: Failure,
}

/// The outcome of each day.
#[derive(Debug, Default)]
pub struct FetchReport {
    /// In order of the days.
    pub fetched: Vec<FetchedDay>,
    /// In order of the days.
    pub failed: Vec<DayFailure>,
    /// Days that were not attempted, because another day failed for a reason that concerns all
    /// days.
    pub given_up: Vec<Day>,
    /// Days that were in the lake and were not fetched again.
    pub skipped: Vec<Day>,
    /// Days that were not fetched, because retention deleted them.
    pub pruned: Vec<Day>,
    /// Failed or not attempted days that are unchanged in the lake.
    pub unchanged: Vec<Day>,
    /// In order of the days.
    pub shrunk: Vec<ShrunkDay>,
    /// Empty days that were not committed, because the account has no earlier day. In order.
    pub left_out: Vec<Day>,
    /// The account's first day in the lake. Set only if days were left out.
    pub first_day: Option<Day>,
    /// Seconds by which this machine's clock is ahead of WeChat's (negative: behind). None if no
    /// answer had a `Date`.
    pub clock_skew_seconds: Option<i64>,
    /// All calls, also those of days that were not committed.
    pub calls: CallCounts,
}

impl Serialize for FetchReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let failed: Vec<FailedDay> = self.failed.iter().map(FailedDay::from).collect();
        let mut report = serializer.serialize_struct("FetchReport", 10)?;
        report.serialize_field("fetched", &self.fetched)?;
        report.serialize_field("skipped", &self.skipped)?;
        report.serialize_field("pruned", &self.pruned)?;
        report.serialize_field("failed", &failed)?;
        report.serialize_field("given_up", &self.given_up)?;
        report.serialize_field("unchanged", &self.unchanged)?;
        report.serialize_field("shrunk", &self.shrunk)?;
        report.serialize_field("left_out", &self.left_out)?;
        report.serialize_field("clock_skew_seconds", &self.clock_skew_seconds)?;
        report.serialize_field("worst", &self.worst())?;
        report.end()
    }
}

impl FetchReport {
    /// The error kind of the worst failure.
    pub fn worst(&self) -> Option<ErrorKind> {
        self.failed.iter().map(|failed| failed.failure.kind).max_by_key(|kind| kind.severity())
    }

    /// The error kind of the run. It is [`ErrorKind::Partial`] if some days are in the lake and
    /// others failed. It is the worst kind if no day is in the lake, a failure ended the run, or
    /// days failed only because they have fewer records.
    pub fn kind(&self) -> Option<ErrorKind> {
        let worst = self.worst()?;
        let is_something_there =
            !self.fetched.is_empty() || !self.skipped.is_empty() || !self.shrunk.is_empty();
        let is_partial = is_something_there && !worst.ends_the_run() && !self.only_shrunk();
        Some(if is_partial { ErrorKind::Partial } else { worst })
    }

    /// Whether WeChat returned the records of some day, or that there are none.
    pub(super) fn has_answers(&self) -> bool {
        !self.fetched.is_empty() || !self.left_out.is_empty() || !self.shrunk.is_empty()
    }

    /// Whether days failed only because WeChat returns fewer records of them. Running again does
    /// not help then.
    fn only_shrunk(&self) -> bool {
        let is_shrunk = |failed: &DayFailure| {
            let error = failed.failure.error_ref::<ContractError>();
            matches!(error, Some(ContractError::Shrunk { .. }))
        };
        self.failed.iter().all(is_shrunk)
    }
}

/// Fetches the days, several concurrently. A failed day does not stop the others, unless the reason
/// concerns them too.
pub async fn fetch_days(job: &FetchJob, days: &[Day], observer: &dyn Observer) -> FetchReport {
    let mut report = FetchReport::default();
    let connections = Arc::new(Semaphore::new(job.concurrency));
    let mut waiting = days.iter().copied().peekable();
    let mut running = JoinSet::new();
    let mut day_of_task = HashMap::new();
    let mut is_over = false;
    let mut unavailable_in_a_row = 0;
    let mut silence = Silence::default();
    loop {
        while running.len() < job.concurrency {
            let (job, connections) = (job.clone(), connections.clone());
            let (task, day) = if let Some(empty) = silence.release() {
                let day = empty.day;
                let commit = move || {
                    job.record_app()?;
                    Ok(DayOutcome::Committed(empty.commit(&job)?))
                };
                (running.spawn_blocking(commit), day)
            } else if let Some(day) = waiting.next_if(|_| !is_over) {
                (running.spawn(async move { fetch_day(&job, &connections, day).await }), day)
            } else {
                break;
            };
            day_of_task.insert(task.id(), day);
        }
        let Some(outcome) = running.join_next_with_id().await else { break };
        let (task, outcome) = match outcome {
            Ok((task, outcome)) => (task, outcome),
            Err(error) => (error.id(), Err(BugError(format!("fetching stopped: {error}")).into())),
        };
        let Some(day) = day_of_task.remove(&task) else { continue };
        let is_unavailable =
            matches!(&outcome, Err(failure) if failure.kind == ErrorKind::Unavailable);
        unavailable_in_a_row = if is_unavailable { unavailable_in_a_row + 1 } else { 0 };
        match outcome {
            Ok(DayOutcome::Committed(fetched)) => {
                silence.day_committed(day);
                observer.day_fetched(&fetched);
                report.fetched.push(fetched);
            }
            Ok(DayOutcome::Empty(empty, first_day)) => silence.hold(empty, first_day),
            Ok(DayOutcome::Shrunk(shrunk)) => {
                observer.day_shrunk(&shrunk);
                report.shrunk.push(shrunk);
            }
            // The day is unchanged.
            Err(Failure { kind: ErrorKind::Stopped(_), .. }) => {
                is_over = true;
                report.given_up.push(day);
            }
            Err(failure) => {
                // Days that have begun continue until they commit or fail.
                is_over |= failure.kind.ends_the_run();
                is_over |= unavailable_in_a_row >= UNAVAILABLE_MAX.max(job.concurrency);
                let failed = DayFailure { day, failure };
                observer.day_failed(&failed);
                report.failed.push(failed);
            }
        }
    }
    report.given_up.extend(waiting);
    report.given_up.sort_unstable();
    (report.left_out, report.first_day) = silence.finish();
    report.left_out.iter().for_each(|day| observer.day_left_out(*day));
    report.clock_skew_seconds = job.source.clock_skew_seconds();
    report.calls = job.source.calls();
    report.shrunk.sort_by_key(|shrunk| shrunk.date);
    report.fetched.sort_by_key(|fetched| fetched.date);
    report.failed.sort_by_key(|failed| failed.day);
    report
}

/// The outcome of a fetched day.
enum DayOutcome {
    Committed(FetchedDay),
    /// It has no records, and the lake has no earlier day of the account. Also contains the
    /// account's first day.
    Empty(EmptyDay, Option<Day>),
    /// It has fewer records than before and was not replaced.
    Shrunk(ShrunkDay),
}

/// Fetches one day and commits it. An error leaves the lake unchanged.
async fn fetch_day(
    job: &FetchJob,
    connections: &Arc<Semaphore>,
    day: Day,
) -> Result<DayOutcome, Failure> {
    let retry_budget = job.source.retry_budget(job.account.as_str(), day);
    let mut calls = CallCounts::default();
    let staged = match stage_day(job, connections, &retry_budget, day, &mut calls).await? {
        Some(staged) => staged,
        None => {
            // Its one cursor takes one of the account's connections.
            let _connection = job
                .cancel
                .or(connections.acquire())
                .await?
                .map_err(|error| BugError(error.to_string()))?;
            let alone = Arc::new(Semaphore::new(1));
            let staged = stage_day(job, &alone, &retry_budget, day, &mut calls).await?;
            staged.ok_or_else(|| BugError("a day with one cursor is not split".into()))?
        }
    };
    let job = job.clone();
    let commit = tokio::task::spawn_blocking(move || commit_day(&job, staged, calls));
    commit.await.map_err(|error| BugError(format!("committing a day stopped: {error}")))?
}

/// Commits a day, unless it has too many rejects, has lost records, or is an empty day before the
/// account's first day.
fn commit_day(job: &FetchJob, staged: StagedDay, calls: CallCounts) -> Result<DayOutcome, Failure> {
    job.cancel.check()?;
    staged.check()?;
    if let Some(shrunk) = staged.shrinkage(job)? {
        let ShrunkDay { records_before: before, records_after: after, .. } = shrunk;
        match job.on_shrink {
            OnShrink::Fail => {
                let is_there =
                    job.lake.has(&job.account.partition(Table::Messages, shrunk.date))?;
                let kept_in = if is_there { KeptIn::Lake } else { KeptIn::Metrics };
                return Err(ContractError::Shrunk { before, after, kept_in }.into());
            }
            OnShrink::Keep => return Ok(DayOutcome::Shrunk(shrunk)),
            OnShrink::Replace => {}
        }
    }
    if let Some(empty) = staged.as_empty_day(job, calls)? {
        let first_day = job.lake.first_day(&job.account)?;
        if first_day.is_none_or(|first| first > empty.day) {
            return Ok(DayOutcome::Empty(empty, first_day));
        }
    }
    job.record_app()?;
    Ok(DayOutcome::Committed(staged.commit(job, calls)?))
}

/// A day that is not over by WeChat's clock.
#[derive(Debug, thiserror::Error)]
#[error(
    "the day is not over: this machine's clock says {here}, and WeChat's says {wechat} ({zone})"
)]
struct NotOver {
    kind: ErrorKind,
    here: String,
    wechat: String,
    zone: String,
    hint: Option<String>,
}

impl Classified for NotOver {
    fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// Converts an error. If the clocks disagree about the day, shows both in local time.
pub(super) fn in_local_time(error: FetchError, zone: &Zone) -> Failure {
    match &error {
        FetchError::NotOver(answered) => Failure::from(NotOver {
            kind: error.kind(),
            here: zone.written(answered.here.end),
            wechat: answered.wechat.map(|wechat| zone.written(wechat)).unwrap_or_default(),
            zone: zone.name().to_owned(),
            hint: error.hint(),
        }),
        _ => error.into(),
    }
}

/// Fetches one day into staging, and adds its calls to `calls`. Returns `None` if a split day has a
/// reject: such a day must be fetched with one cursor. A reject is identified by its page and its
/// position there, and only one cursor gives the same pages again.
async fn stage_day(
    job: &FetchJob,
    connections: &Arc<Semaphore>,
    retry_budget: &Arc<RetryBudget>,
    day: Day,
    calls: &mut CallCounts,
) -> Result<Option<StagedDay>, Failure> {
    let (sender, receiver) = mpsc::channel(PAGES_IN_FLIGHT);
    let writer = {
        let job = job.clone();
        tokio::spawn(async move { stage_pages(job, day, receiver).await })
    };
    let fetched = job.source.fetch(job.zone.bounds(day), connections, retry_budget, sender, calls);
    let fetched = job.cancel.or(fetched).await;
    let staged =
        writer.await.map_err(|error| BugError(format!("writing a day stopped: {error}")))?;
    match (fetched?, staged) {
        // The disk refused a page, which ended the fetch. Report the disk's error.
        (Err(FetchError::Abandoned), Err(refused)) => Err(refused),
        (Err(FetchError::Abandoned), Ok(None)) => Ok(None),
        // Other days would fill the disk as well, so the disk's error comes first.
        (Err(_), Err(refused)) if refused.kind == ErrorKind::Lake => Err(refused),
        (Err(error), _) => Err(in_local_time(error, &job.zone)),
        (Ok(()), staged) => staged,
    }
}
