//! What passes between kefu and the store, below the client: the clock of its answers, and the
//! answers that must not be tried again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
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

/// Opens connections, and watches what comes back.
#[derive(Debug)]
pub(super) struct Watching(pub(super) StoreClock);

impl HttpConnector for Watching {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Watched { client, clock: self.0.clone() }))
    }
}

#[derive(Debug)]
struct Watched {
    client: HttpClient,
    clock: StoreClock,
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
            let mut response = self.client.execute(request).await?;
            self.clock.set(&response);
            // The client tries again after every 5xx. What a store does not have, it has at no
            // later time.
            if response.status() == StatusCode::NOT_IMPLEMENTED {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            }
            Ok(response)
        })
    }
}
