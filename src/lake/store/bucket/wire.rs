//! What passes between kefu and the store, below the client: the clock of its answers, and the
//! answers that must not be tried again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use reqwest::StatusCode;

/// No answer had a date yet.
const UNKNOWN: i64 = i64::MIN;

/// Seconds that this machine's clock is ahead of the store's, by the last answer.
#[derive(Clone, Debug)]
pub(super) struct StoreClock(Arc<AtomicI64>);

impl Default for StoreClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(UNKNOWN)))
    }
}

impl StoreClock {
    pub(super) fn skew_seconds(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|skew| *skew != UNKNOWN)
    }

    fn set(&self, response: &HttpResponse) {
        let date = response.headers().get("date").and_then(|date| date.to_str().ok());
        let Some(there) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
            return;
        };
        let seconds = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
        };
        self.0.store(seconds(SystemTime::now()) - seconds(there), Ordering::Relaxed);
    }
}

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For one request, with its body and that of the answer.
    pub(super) whole: Duration,
    /// Between two reads of an answer. Before the first one, a body that is sent gets more.
    pub(super) silence: Duration,
    /// A connection that sends fewer bytes in a second counts as hung.
    pub(super) sent_per_second: u32,
}

impl Limits {
    /// Maximum time until the answer to a request with a body of this size begins.
    fn until_answer(&self, bytes: usize) -> Duration {
        let seconds = bytes as f64 / f64::from(self.sent_per_second);
        self.silence + Duration::from_secs_f64(seconds)
    }
}

/// Opens connections, and watches what comes back.
#[derive(Debug)]
pub(super) struct Watching {
    pub(super) clock: StoreClock,
    pub(super) limits: Limits,
}

impl HttpConnector for Watching {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let options = options.clone().with_timeout(self.limits.whole);
        let connector = ReqwestConnector::default();
        Ok(HttpClient::new(Watched {
            asking: connector.connect(&options.clone().with_read_timeout(self.limits.silence))?,
            sending: connector.connect(&options)?,
            clock: self.clock.clone(),
            limits: self.limits,
        }))
    }
}

#[derive(Debug)]
struct Watched {
    /// For requests without a body.
    asking: HttpClient,
    /// For requests with a body: the read timeout of the client would begin before that is sent.
    sending: HttpClient,
    clock: StoreClock,
    limits: Limits,
}

impl Watched {
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let bytes = request.body().content_length();
        if bytes == 0 {
            return self.asking.execute(request).await;
        }
        let answered =
            tokio::time::timeout(self.limits.until_answer(bytes), self.sending.execute(request));
        answered.await.unwrap_or_else(|late| Err(HttpError::new(HttpErrorKind::Timeout, late)))
    }
}

impl HttpService for Watched {
    fn call<'life0, 'async_trait>(
        &'life0 self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let mut response = self.execute(request).await?;
            self.clock.set(&response);
            // The client tries again after every 5xx. What a store does not have, it has at no
            // later time.
            if response.status() == StatusCode::NOT_IMPLEMENTED {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            }
            // S3 answers with 400 when the body of a request takes too long. The client does not
            // try again after a 400.
            if response.status() == StatusCode::BAD_REQUEST {
                let (mut parts, body) = response.into_parts();
                let body = body.bytes().await?;
                if String::from_utf8_lossy(&body).contains("<Code>RequestTimeout</Code>") {
                    parts.status = StatusCode::REQUEST_TIMEOUT;
                }
                response = HttpResponse::from_parts(parts, body.into());
            }
            Ok(response)
        })
    }
}
