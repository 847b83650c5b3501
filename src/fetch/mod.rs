//! Stage one: a day → windows → pages → Arrow record batches.
//!
//! It decides what to ask for ([`Pager`]), what to do when a call fails ([`retry`]) and how to read what comes ([`decode`]). It
//! sees neither files nor Parquet: its pages go into a channel, and whoever holds the other end writes them.

mod decode;
mod pager;
mod repair;
mod retry;
mod window;

use std::time::Duration;

use tokio::sync::mpsc;

pub use decode::{Page, Reject, decode};
pub use pager::{ContractError, PageFacts, Pager};
pub use repair::repair;
pub use retry::{Attempts, RetryPolicy, Step};
pub use window::windows;

use crate::calendar::{Clock, Span};
use crate::failure::{Class, Classified};
use crate::wechat::{BaseUrl, CallError, Client, Credential, PAGE_RECORDS_MAX, PageRequest, Renewed, Secret, Tokens};

/// Why a span could not be fetched whole.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// Whoever takes the pages has stopped taking them, and knows why.
    #[error("the pages are no longer taken")]
    Abandoned,
}

impl Classified for FetchError {
    fn class(&self) -> Class {
        match self {
            Self::Call(error) => error.class(),
            Self::Contract(error) => error.class(),
            Self::Abandoned => Class::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Call(error) => error.hint(),
            Self::Contract(error) => error.hint(),
            Self::Abandoned => None,
        }
    }
}

/// What fetching cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CallCounts {
    /// Calls of `getmsglist`, failed ones included.
    pub requests: u64,
    /// Calls that were repeated.
    pub retries: u64,
    /// Tokens that were fetched because WeChat refused the one before.
    pub token_renewals: u64,
}

/// A page on its way, with the cursor that it was asked with.
#[derive(Debug)]
pub struct FetchedPage {
    pub asked_msgid: i64,
    pub page: Page,
}

/// Fetches the records of one account.
#[derive(Debug)]
pub struct Source {
    client: Client,
    tokens: Tokens,
    clock: Clock,
    policy: RetryPolicy,
    page_records: usize,
}

impl Source {
    /// Gets ready; makes no call yet.
    ///
    /// # Errors
    /// When the machine offers no certificates to trust.
    pub fn connect(base: &BaseUrl, credential: Credential, clock: Clock) -> Result<Self, CallError> {
        let client = Client::new(base)?;
        let tokens = Tokens::new(credential, client.clone());
        Ok(Self { client, tokens, clock, policy: RetryPolicy::default(), page_records: PAGE_RECORDS_MAX })
    }

    /// Asks for smaller pages, at most [`PAGE_RECORDS_MAX`].
    #[must_use]
    pub fn with_page_records(self, page_records: usize) -> Self {
        Self { page_records: page_records.clamp(1, PAGE_RECORDS_MAX), ..self }
    }

    /// Sends every record of a span, page by page in the API's order, into `pages`.
    ///
    /// # Errors
    /// [`FetchError`]; what was sent until then is not the whole span.
    pub async fn fetch(&self, span: Span, pages: mpsc::Sender<FetchedPage>) -> Result<CallCounts, FetchError> {
        let mut counts = CallCounts::default();
        for window in windows(span) {
            let mut pager = Pager::new(window, self.page_records);
            while let Some(request) = pager.next_request() {
                let page = self.page(&request, window, &mut counts).await?;
                pager.accept(page.facts)?;
                pages.send(FetchedPage { asked_msgid: request.msgid, page }).await.map_err(|_| FetchError::Abandoned)?;
            }
        }
        Ok(counts)
    }

    /// One page, however many calls it takes.
    async fn page(&self, request: &PageRequest, window: Span, counts: &mut CallCounts) -> Result<Page, CallError> {
        let mut attempts = Attempts::new(self.policy);
        loop {
            let (token, error) = match self.tokens.current().await {
                Err(error) => (None, error),
                Ok(token) => {
                    counts.requests += 1;
                    match self.call(&token, request, window).await {
                        Ok(page) => return Ok(page),
                        Err(error) => (Some(token), error),
                    }
                }
            };
            let refused = match (self.next_step(&mut attempts, &error), token) {
                (Step::Wait(wait), _) => {
                    self.wait(wait, &error, counts).await;
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
                Ok(Renewed::NotOurs) => return Err(error.on_given_token()),
                Err(error) => match self.next_step(&mut attempts, &error) {
                    Step::Wait(wait) => self.wait(wait, &error, counts).await,
                    _ => return Err(error),
                },
            }
        }
    }

    async fn call(&self, token: &Secret, request: &PageRequest, window: Span) -> Result<Page, CallError> {
        let body = self.client.message_page(token, request).await?;
        // Decoding is work for a processor, not for the threads that wait for the network.
        let page = tokio::task::spawn_blocking(move || decode(&body, window)).await;
        page.unwrap_or_else(|_| Err(CallError::Unreadable("the decoder stopped".into()))).map_err(|error| error.hiding(token))
    }

    fn next_step(&self, attempts: &mut Attempts, error: &CallError) -> Step {
        attempts.after(error, rand::random(), self.clock.now().second())
    }

    async fn wait(&self, wait: Duration, error: &CallError, counts: &mut CallCounts) {
        counts.retries += 1;
        tracing::warn!(event = "call_retried", wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), reason = %error);
        self.clock.wait(wait).await;
    }
}
