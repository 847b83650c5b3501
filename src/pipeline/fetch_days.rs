//! Days → `messages` and `rejects`: which are fetched side by side, and when to stop.

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
use crate::fetch::{CallCounts, ContractError, FetchError, Holds, RetryBudget, Source};
use crate::lake::{Account, AppId, Lake, MessageCounts, Table};
use crate::model::cancel::Cancel;

/// Pages between the network and the disk. With one being fetched and one being written, a day costs the memory of three.
const PAGES_IN_FLIGHT: usize = 1;

/// So many days in a row that could not be reached through all their retries mean that the next one cannot either.
const UNAVAILABLE_MAX: usize = 3;

/// Where records come from and where they go.
#[derive(Clone, Debug)]
pub struct FetchJob {
    pub source: Arc<Source>,
    pub lake: Lake,
    pub account: Account,
    /// The app whose records are fetched, where it is known: with a token alone it is not.
    pub app_id: Option<AppId>,
    pub zone: Zone,
    /// Calls that are made side by side: of as many days, or of parts of a large one.
    pub concurrency: usize,
    /// Days that are there, and are replaced only if they have changed: messages can come late.
    pub refreshed: BTreeSet<Day>,
    pub on_shrink: OnShrink,
    /// Checked between days and while calls are made. A day that is being committed is completed.
    pub cancel: Cancel,
}

impl FetchJob {
    /// What the footers say about privacy: nothing where everything is kept.
    pub(super) fn privacy(&self) -> Option<String> {
        Some(self.source.privacy())
            .filter(|privacy| !privacy.keeps_everything())
            .map(ToString::to_string)
    }

    /// Records that the account has the records of this app. Only once WeChat has answered: a wrong
    /// app id that was recorded would keep the right one out. A run of another account with the same
    /// app may have begun at the same time.
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
    /// Of the rejects: records of another time than was asked for, outside the window.
    pub misplaced: u64,
    /// Records that the API gave at exactly the end of a window. The next window has them.
    pub outside_window: u64,
    pub pages: u64,
    pub repaired_pages: u64,
    /// Records that could be read only after a repair.
    pub repaired_records: u64,
    #[serde(flatten)]
    pub calls: CallCounts,
    /// Of a day that was there before and was to be refreshed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refreshed: Option<Refreshed>,
}

/// What a second look at a day found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Refreshed {
    /// Whether the day was replaced. One that is the same was left alone.
    pub is_changed: bool,
    pub messages_before: u64,
}

/// A day that came back with fewer records, rows and rejects together, and was left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ShrunkDay {
    pub date: Day,
    /// Where the messages cannot be read, a number that may be too low.
    pub records_before: u64,
    pub records_after: u64,
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
    /// Days that were not tried, because the failure of another would have met them too.
    pub given_up: Vec<Day>,
    /// Days that were there before, and were left as they were.
    pub skipped: Vec<Day>,
    /// Days that were left away, because they were pruned.
    pub pruned: Vec<Day>,
    /// Of those that failed or were not tried: the days that are in the lake, as they were before.
    pub unchanged: Vec<Day>,
    /// In order of the days.
    pub shrunk: Vec<ShrunkDay>,
    /// Empty days that were not committed, because the account has no earlier day. In order.
    pub left_out: Vec<Day>,
    /// With days that were left out: the account's first day in the lake, if it has any.
    pub first_day: Option<Day>,
    /// Seconds that this machine's clock is ahead of WeChat's (behind, when negative). None while
    /// no answer had a `Date`.
    pub clock_skew_seconds: Option<i64>,
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

    /// The error kind of the run: that of a failure that ended it, else [`ErrorKind::Partial`] when
    /// some days are there and some are not, unless those only have fewer records.
    pub fn kind(&self) -> Option<ErrorKind> {
        let worst = self.worst()?;
        let is_something_there =
            !self.fetched.is_empty() || !self.skipped.is_empty() || !self.shrunk.is_empty();
        let is_partial = is_something_there && !worst.ends_the_run() && !self.only_shrunk();
        Some(if is_partial { ErrorKind::Partial } else { worst })
    }

    /// Whether WeChat gave the records of some day, or said that there are none.
    pub(super) fn has_answers(&self) -> bool {
        !self.fetched.is_empty() || !self.left_out.is_empty() || !self.shrunk.is_empty()
    }

    /// Whether days failed only because WeChat gives fewer records of them: then running again does
    /// not help.
    fn only_shrunk(&self) -> bool {
        let is_shrunk = |failed: &DayFailure| {
            let error = failed.failure.error_ref::<ContractError>();
            matches!(error, Some(ContractError::Shrunk { .. }))
        };
        self.failed.iter().all(is_shrunk)
    }
}

/// Fetches the days, some side by side. A day that fails does not keep the others from being committed, unless they
/// would fail alike.
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
        unavailable_in_a_row *= usize::from(outcome.is_err());
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
            // It is as it was before.
            Err(Failure { kind: ErrorKind::Stopped(_), .. }) => {
                is_over = true;
                report.given_up.push(day);
            }
            Err(failure) => {
                // The days under way go on: they commit, or fail by themselves within the bounds of their retries.
                is_over |= failure.kind.ends_the_run();
                unavailable_in_a_row += usize::from(failure.kind == ErrorKind::Unavailable);
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
    report.shrunk.sort_by_key(|shrunk| shrunk.date);
    report.fetched.sort_by_key(|fetched| fetched.date);
    report.failed.sort_by_key(|failed| failed.day);
    report
}

/// What became of a day that was fetched.
enum DayOutcome {
    Committed(FetchedDay),
    /// It has no records, and the lake has no earlier day of the account. With the account's first
    /// day.
    Empty(EmptyDay, Option<Day>),
    /// It was left as it is.
    Shrunk(ShrunkDay),
}

/// Fetches one day and commits it. After an error nothing has changed.
async fn fetch_day(
    job: &FetchJob,
    connections: &Arc<Semaphore>,
    day: Day,
) -> Result<DayOutcome, Failure> {
    let retry_budget = job.source.retry_budget(job.account.as_str(), day);
    let (staged, calls) = match stage_day(job, connections, &retry_budget, day).await? {
        (Some(staged), calls) => (staged, calls),
        (None, _) => {
            // With a cursor of its own, which counts as one of all calls that are made.
            let _connection = job
                .cancel
                .or(connections.acquire())
                .await?
                .map_err(|error| BugError(error.to_string()))?;
            let (staged, calls) =
                stage_day(job, &Arc::new(Semaphore::new(1)), &retry_budget, day).await?;
            (staged.ok_or_else(|| BugError("a day with one cursor is not split".into()))?, calls)
        }
    };
    let job = job.clone();
    let commit = tokio::task::spawn_blocking(move || commit_day(&job, staged, calls));
    commit.await.map_err(|error| BugError(format!("committing a day stopped: {error}")))?
}

/// Commits a day that can be a day of this account, has lost no records, and is not empty before
/// the account's first one.
fn commit_day(job: &FetchJob, staged: StagedDay, calls: CallCounts) -> Result<DayOutcome, Failure> {
    job.cancel.check()?;
    staged.check()?;
    if let Some(shrunk) = staged.shrinkage(job)? {
        let ShrunkDay { records_before: before, records_after: after, .. } = shrunk;
        match job.on_shrink {
            OnShrink::Fail => {
                let is_there =
                    job.lake.has(&job.account.partition(Table::Messages, shrunk.date))?;
                let holds = if is_there { Holds::Lake } else { Holds::Metrics };
                return Err(ContractError::Shrunk { before, after, holds }.into());
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
    here: String,
    wechat: String,
    zone: String,
    hint: Option<String>,
}

impl Classified for NotOver {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Settings
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// The error, with both clocks in local time where they disagree about the day.
pub(super) fn in_local_time(error: FetchError, zone: &Zone) -> Failure {
    match &error {
        FetchError::NotOver(answered) => Failure::from(NotOver {
            here: zone.written(answered.here.end),
            wechat: answered.wechat.map(|wechat| zone.written(wechat)).unwrap_or_default(),
            zone: zone.name().to_owned(),
            hint: error.hint(),
        }),
        _ => error.into(),
    }
}

/// None when the day must be walked with one cursor: a reject is known by its page and its position there, which are those of the day as a whole.
async fn stage_day(
    job: &FetchJob,
    connections: &Arc<Semaphore>,
    retry_budget: &Arc<RetryBudget>,
    day: Day,
) -> Result<(Option<StagedDay>, CallCounts), Failure> {
    let (sender, receiver) = mpsc::channel(PAGES_IN_FLIGHT);
    let writer = {
        let job = job.clone();
        tokio::spawn(async move { stage_pages(job, day, receiver).await })
    };
    let calls = job.source.fetch(job.zone.bounds(day), connections, retry_budget, sender);
    let calls = job.cancel.or(calls).await;
    let staged =
        writer.await.map_err(|error| BugError(format!("writing a day stopped: {error}")))?;
    match (calls?, staged) {
        // When the disk refuses a page, the fetch ends because of that: the disk's reason is the one to report.
        (Err(FetchError::Abandoned), Err(refused)) => Err(refused),
        (Err(FetchError::Abandoned), Ok(None)) => Ok((None, CallCounts::default())),
        (calls, staged) => {
            let calls = calls.map_err(|error| in_local_time(error, &job.zone));
            calls.and_then(|calls| Ok((staged?, calls)))
        }
    }
}
