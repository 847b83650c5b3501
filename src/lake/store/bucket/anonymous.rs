//! Asks the store without credentials, to find a bucket that anybody can read.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Url};

use super::super::{AnonymousAccess, Key};
use super::Bucket;

/// Maximum time for one of these requests. They are only a precaution.
const LIMIT: Duration = Duration::from_secs(5);

impl Bucket {
    /// What anybody can do with the bucket: list it, or read this object.
    pub(super) fn try_without_credentials(&self, object: Option<&Key>) -> AnonymousAccess {
        let bucket = self.address.as_ref().and_then(|address| Url::parse(address).ok());
        let listing = bucket.clone().map(|mut url| {
            url.query_pairs_mut().append_pair("list-type", "2").append_pair("max-keys", "1");
            url
        });
        let object = bucket.zip(object).and_then(|(mut url, key)| {
            let path = self.path(key).ok()?;
            url.path_segments_mut().ok()?.pop_if_empty().extend(path.as_ref().split('/'));
            Some(url)
        });
        let asked = self.run(async move {
            let client = Client::builder().timeout(LIMIT).build().ok()?;
            let listed = is_open(listing.map(|url| client.get(url))).await;
            Some((listed, is_open(object.map(|url| client.head(url))).await))
        });
        let (list, read) = asked.ok().flatten().unwrap_or_default();
        AnonymousAccess { list, read }
    }
}

/// Whether the store does what is asked. None when it neither does nor refuses it.
async fn is_open(request: Option<RequestBuilder>) -> Option<bool> {
    let status = request?.send().await.ok()?.status();
    match status.as_u16() {
        200..300 => Some(true),
        408 | 429 => None,
        400..500 => Some(false),
        _ => None,
    }
}
