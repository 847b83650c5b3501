//! Stage one: a day → windows → pages → Arrow record batches.
//!
//! Decides what to ask for (`Plan`, [`Pager`]), what to do after a failed call (`retry`), and how
//! to read an answer ([`decode`]). Sees neither files nor Parquet: it sends pages into a channel,
//! and the receiver writes them.

mod clock;
mod decode;
mod odd_record;
mod pager;
mod plan;
mod probe;
mod regular;
mod repair;
mod retry;
mod window;
mod wire;
mod workers;

use std::collections::HashMap;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::error::ArrowError;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

pub use clock::AnsweredAt;
use decode::Outline;
pub use decode::{Page, Reject, decode};
pub use pager::{ContractError, KeptIn, PageFacts, Pager};
pub use probe::{Answer, Probe, Question, State as AnswerState};
pub use repair::repair;
pub use retry::{Attempts, RetryBudget, RetryPolicy, Step};
pub use window::windows;
pub use workers::WorkerList;

use clock::Skew;
use plan::Plan;

use crate::calendar::{Clock, Span, UnixSeconds};
use crate::failure::{BugError, Classified, ErrorKind};
use crate::model::privacy::Privacy;
use crate::model::redaction::Redaction;
use crate::wechat::{
    CallError, Client, Credential, DatedBody, Endpoint, PAGE_RECORDS_MAX, PageRequest, Renewed,
    Secret, Tokens,
};

/// Why fetching a span failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The span is not over by WeChat's clock, so more records may follow.
    #[error("the time span is not over by WeChat's clock")]
    NotOver(AnsweredAt),
    #[error("{0}")]
    Bug(#[from] BugError),
    /// The receiver of the pages has stopped. It reports why.
    #[error("the receiver of the pages has stopped")]
    Abandoned,
}

/// Seconds that WeChat's clock may be behind, so that a run just after midnight only has to be
/// repeated.
const NEARLY_OVER_SECONDS: i64 = 120;

fn is_nearly_over(answered: AnsweredAt) -> bool {
    answered.skew_seconds().is_none_or(|skew| skew <= NEARLY_OVER_SECONDS)
}

impl Classified for FetchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Call(error) => error.kind(),
            Self::Contract(error) => error.kind(),
            Self::NotOver(answered) if is_nearly_over(*answered) => ErrorKind::Unavailable,
            Self::NotOver(_) => ErrorKind::Settings,
            Self::Bug(_) | Self::Abandoned => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Call(error) => error.hint(),
            Self::Contract(error) => error.hint(),
            Self::NotOver(answered) if is_nearly_over(*answered) => {
                Some("run again in some minutes. Nothing of this day was committed".into())
            }
            Self::NotOver(_) => Some(
                "set this machine's clock (NTP), then run again. Nothing of this day was committed"
                    .into(),
            ),
            Self::Bug(error) => error.hint(),
            Self::Abandoned => None,
        }
    }
}

/// Counts of the calls that a fetch made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CallCounts {
    /// Calls of `getmsglist`, including failed calls.
    pub requests: u64,
    /// Repeated calls.
    pub retries: u64,
    /// Tokens fetched because WeChat refused the previous one.
    pub token_renewals: u64,
    /// Pages with fewer records than requested, although more records followed.
    pub capped_pages: u64,
}

impl AddAssign for CallCounts {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.retries += other.retries;
        self.token_renewals += other.token_renewals;
        self.capped_pages += other.capped_pages;
    }
}

/// Events while a span is fetched. Time slices do not overlap and together cover the span. The name
/// of a time slice is its first second.
#[derive(Debug)]
pub enum FetchEvent {
    /// Pages of a time slice will follow. Comes before the `Ended` event of the time slice directly
    /// before it in time.
    Begun {
        slice: UnixSeconds,
    },
    Page(FetchedPage),
    /// A time slice has no more pages.
    Ended {
        slice: UnixSeconds,
    },
}

/// A fetched page, with the msgid of its request.
#[derive(Debug)]
pub struct FetchedPage {
    pub slice: UnixSeconds,
    pub asked_msgid: i64,
    pub page: Page,
}

fn not_records(error: arrow::error::ArrowError) -> FetchError {
    BugError(format!("a page was not decoded into records: {error}")).into()
}

async fn send(events: &mpsc::Sender<FetchEvent>, event: FetchEvent) -> Result<(), FetchError> {
    events.send(event).await.map_err(|_| FetchError::Abandoned)
}

/// Fetches the records of one account.
#[derive(Debug)]
pub struct Source {
    client: Client,
    tokens: Tokens,
    clock: Clock,
    policy: RetryPolicy,
    /// Shared by all calls of the account in a run.
    retry_budget: RetryBudget,
    page_records: usize,
    proves_ends: bool,
    redaction: Redaction,
    skew: Skew,
    /// All calls so far, also those of days that failed.
    calls: Mutex<CallCounts>,
    /// Record counts of pages that were not full, each with the first time slice that had such a
    /// page.
    short_pages: Mutex<HashMap<usize, UnixSeconds>>,
}

/// Equal short pages with fewer records than this do not suggest a cap: quiet days often have equal
/// counts.
const ALIKE_RECORDS_MIN: usize = 10;

impl Source {
    /// Creates the source. Makes no call yet.
    ///
    /// # Errors
    /// When the machine has no trusted certificates.
    pub fn connect(
        endpoint: &Endpoint,
        credential: Credential,
        clock: Clock,
    ) -> Result<Self, CallError> {
        Ok(Self::new(Client::new(endpoint)?, credential, clock))
    }

    /// Creates the source with a client that other accounts may share. Makes no call yet.
    pub fn new(client: Client, credential: Credential, clock: Clock) -> Self {
        let tokens = Tokens::new(credential, client.clone());
        let policy = RetryPolicy::default();
        let retry_budget = RetryBudget::of_run(policy.run_wait_max);
        Self {
            client,
            tokens,
            clock,
            policy,
            retry_budget,
            page_records: PAGE_RECORDS_MAX,
            proves_ends: false,
            redaction: Redaction::default(),
            skew: Skew::default(),
            calls: Mutex::default(),
            short_pages: Mutex::default(),
        }
    }

    /// Requests smaller pages, at most [`PAGE_RECORDS_MAX`] records each.
    #[must_use]
    pub fn with_page_records(self, page_records: usize) -> Self {
        Self { page_records: page_records.clamp(1, PAGE_RECORDS_MAX), ..self }
    }

    /// Makes one more call after the last page of each window. Records in that answer are an error.
    #[must_use]
    pub fn with_proved_ends(self) -> Self {
        Self { proves_ends: true, ..self }
    }

    /// Redacts every page before it is sent on.
    #[must_use]
    pub fn with_redaction(self, redaction: Redaction) -> Self {
        Self { redaction, ..self }
    }

    /// How the personal data of every record is treated.
    pub fn privacy(&self) -> &Privacy {
        &self.redaction.privacy
    }

    /// Seconds by which this machine's clock is ahead of WeChat's (negative: behind). The largest
    /// difference so far. None while no answer had a `Date`.
    pub fn clock_skew_seconds(&self) -> Option<i64> {
        self.skew.seconds()
    }

    /// All calls of `getmsglist` so far.
    pub fn calls(&self) -> CallCounts {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The retry budget of one account's day. The log names both.
    pub fn retry_budget(&self, account: &str, day: impl ToString) -> Arc<RetryBudget> {
        Arc::new(RetryBudget::of_day(self.policy.span_wait_max, account, day))
    }

    /// Sends every record of a span into `events`. The pages of a time slice come in the API's
    /// order. Each window that the API allows is one time slice. While there are spare
    /// `connections`, time slices are split.
    ///
    /// # Errors
    /// [`FetchError`]. The pages sent until then do not cover the whole span.
    /// [`FetchError::NotOver`] when WeChat's clock was before the end of the span as it answered.
    /// Such a page holds only the records that WeChat had at that time.
    ///
    /// Adds the calls to `counts`, also when it fails.
    pub async fn fetch(
        self: &Arc<Self>,
        span: Span,
        connections: &Arc<Semaphore>,
        retry_budget: &Arc<RetryBudget>,
        events: mpsc::Sender<FetchEvent>,
        counts: &mut CallCounts,
    ) -> Result<(), FetchError> {
        let retries_before = counts.retries;
        let mut plan = Plan::new(span, self.page_records, self.proves_ends);
        let mut on_their_way = JoinSet::new();
        // The outline of the latest page of each time slice, to detect a repeated page.
        let mut latest: HashMap<UnixSeconds, Outline> = HashMap::new();
        for window in plan.windows() {
            send(&events, FetchEvent::Begun { slice: window.start }).await?;
        }
        loop {
            while plan.is_waiting() {
                // Without a call in flight, wait for a connection. Otherwise take one only if it is
                // free.
                let connection = match on_their_way.is_empty() {
                    true => connections.clone().acquire_owned().await.ok(),
                    false => connections.clone().try_acquire_owned().ok(),
                };
                let Some(connection) = connection else { break };
                let Some((id, window, request)) = plan.next_request() else { break };
                let (source, retry_budget) = (self.clone(), retry_budget.clone());
                on_their_way.spawn(async move {
                    let mut counts = CallCounts::default();
                    let page = source.page(&request, window, &retry_budget, &mut counts).await;
                    drop(connection);
                    (id, window.start, request.msgid, page, counts)
                });
            }
            let Some(arrived) = on_their_way.join_next().await else { break };
            let (id, slice, asked_msgid, page, calls) =
                arrived.map_err(|error| BugError(format!("a call stopped: {error}")))?;
            *counts += calls;
            *self.calls.lock().unwrap_or_else(PoisonError::into_inner) += calls;
            let (page, answered) = page?;
            if answered.wechat.is_some_and(|wechat| wechat < span.end) {
                return Err(FetchError::NotOver(answered));
            }
            if page.facts.records > 0 {
                let outline = page.outline().map_err(not_records)?;
                if latest.get(&slice) == Some(&outline) {
                    return Err(ContractError::RepeatedPage { records: page.facts.records }.into());
                }
                latest.insert(slice, outline);
            }
            let covered = page.covered().map_err(not_records)?;
            let latest_second = covered.map(|span| span.end - 1);
            let is_doubtful = self.is_like_another(slice, page.facts.records);
            let is_complete = plan.accept(id, page.facts, latest_second, is_doubtful)?;
            counts.capped_pages += u64::from(plan.is_capped(id));
            send(&events, FetchEvent::Page(FetchedPage { slice, asked_msgid, page })).await?;
            if is_complete {
                latest.remove(&slice);
                send(&events, FetchEvent::Ended { slice }).await?;
                continue;
            }
            // A retry suggests that calls come too fast. More concurrent calls would not help.
            let others = if counts.retries == retries_before {
                connections.available_permits().saturating_sub(1)
            } else {
                0
            };
            for window in plan.split(id, covered.map_or(0, Span::seconds), others) {
                send(&events, FetchEvent::Begun { slice: window.start }).await?;
            }
        }
        if !plan.is_complete() {
            return Err(BugError("the calls ended before the time span was complete".into()).into());
        }
        Ok(())
    }

    /// Records a page that is not full. Returns whether another time slice had a page with exactly
    /// as many records, which suggests that the page size is capped.
    fn is_like_another(&self, slice: UnixSeconds, records: usize) -> bool {
        if !(ALIKE_RECORDS_MIN..self.page_records).contains(&records) {
            return false;
        }
        let mut short_pages = self.short_pages.lock().unwrap_or_else(PoisonError::into_inner);
        *short_pages.entry(records).or_insert(slice) != slice
    }

    /// Fetches one page, with as many calls as it takes. Returns the page and the time of its
    /// answer.
    async fn page(
        &self,
        request: &PageRequest,
        window: Span,
        retry_budget: &RetryBudget,
        counts: &mut CallCounts,
    ) -> Result<(Page, AnsweredAt), CallError> {
        let call = |token: Arc<Secret>| async move { self.call(&token, request, window).await };
        self.repeat(retry_budget, counts, call).await
    }

    /// Makes a call with the current token, and repeats it as the policy for retries says.
    async fn repeat<T, F: Future<Output = Result<T, CallError>>>(
        &self,
        retry_budget: &RetryBudget,
        counts: &mut CallCounts,
        call: impl Fn(Arc<Secret>) -> F,
    ) -> Result<T, CallError> {
        let mut attempts = Attempts::new(self.policy);
        loop {
            let (token, error) = match self.tokens.current().await {
                Err(error) => (None, error),
                Ok(token) => {
                    counts.requests += 1;
                    match call(token.clone()).await {
                        Ok(answer) => return Ok(answer),
                        Err(error) => (Some(token), error),
                    }
                }
            };
            let refused = match (self.next_step(&mut attempts, &error), token) {
                (Step::Wait(wait), _) => {
                    self.wait(wait, &attempts, error, retry_budget, counts).await?;
                    continue;
                }
                (Step::Renew(renewal), Some(token)) => (token, renewal),
                _ => return Err(error),
            };
            match self.tokens.renew(&refused.0, refused.1).await {
                Ok(Renewed::Fetched) => {
                    counts.token_renewals += 1;
                    counts.retries += 1;
                }
                Ok(Renewed::ByAnotherCall) => counts.retries += 1,
                Ok(Renewed::NotAgain) => return Err(error),
                Ok(Renewed::NotOurs) => return Err(error.on_given_token(self.tokens.places())),
                Err(error) => match self.next_step(&mut attempts, &error) {
                    Step::Wait(wait) => {
                        self.wait(wait, &attempts, error, retry_budget, counts).await?;
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    async fn call(
        &self,
        token: &Secret,
        request: &PageRequest,
        window: Span,
    ) -> Result<(Page, AnsweredAt), CallError> {
        let now = || self.clock.now().unix_timestamp();
        let start = now();
        let DatedBody { body, date } = self.client.message_page(token, request).await?;
        let here = Span { start, end: now() };
        let answered = AnsweredAt {
            here,
            wechat: date.map(|date| OffsetDateTime::from(date).unix_timestamp()),
        };
        // Decoding takes some milliseconds. It runs here, while the page is in the CPU cache:
        // moving it to another thread would cost more.
        let page = decode(&body, window)
            .map_err(|error| error.hiding(token).from_peer(self.client.peer()))?;
        let page = self.redacted(page);
        let page = page.map_err(|error| CallError::Unreadable(error.to_string()))?;
        self.skew.note(answered);
        Ok((page, answered))
    }

    /// The page without the personal data that must not be kept, before any of it reaches the disk.
    fn redacted(&self, page: Page) -> Result<Page, ArrowError> {
        if self.redaction.keeps_everything() {
            return Ok(page);
        }
        let records = self.redaction.apply(&page.records, false)?.rows;
        let rejects = page
            .rejects
            .into_iter()
            .map(|reject| Reject { raw: self.redaction.raw(&reject.raw).into_owned(), ..reject });
        Ok(Page { records, rejects: rejects.collect(), ..page })
    }

    fn next_step(&self, attempts: &mut Attempts, error: &CallError) -> Step {
        attempts.after(error, rand::random(), self.clock.now().second())
    }

    /// Waits before the call is repeated. Returns the error when the wait exceeds the retry budget
    /// of the span or of the run.
    async fn wait(
        &self,
        wait: Duration,
        attempts: &Attempts,
        error: CallError,
        retry_budget: &RetryBudget,
        counts: &mut CallCounts,
    ) -> Result<(), CallError> {
        let (account, date) = retry_budget.concerned();
        let host = &self.client.peer().host;
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let now = self.clock.now();
        if !(retry_budget.allows(wait, now) && self.retry_budget.allows(wait, now)) {
            tracing::warn!(event = "patience_ended", account, date, host, wait_ms, reason = %error);
            return Err(error);
        }
        counts.retries += 1;
        let (attempt, attempts) = attempts.next(&error);
        tracing::warn!(event = "call_retried", account, date, host, attempt, attempts, wait_ms, reason = %error);
        self.clock.wait(wait).await;
        Ok(())
    }
}
