//! Asks the store without credentials, to find a bucket that is open to anybody.

use std::time::Duration;

use reqwest::{Client, Url};

use super::super::Key;
use super::Bucket;

/// Maximum time for one of these requests. They are only a precaution.
const LIMIT: Duration = Duration::from_secs(5);

impl Bucket {
    /// What anybody can do with the bucket: list it, or read this object. None also when the store
    /// does not answer.
    pub(super) fn find_open(&self, object: Option<&Key>) -> Option<&'static str> {
        let bucket = Url::parse(self.address.as_ref()?).ok()?;
        let mut listing = bucket.clone();
        listing.query_pairs_mut().append_pair("list-type", "2").append_pair("max-keys", "1");
        let object = object.and_then(|key| {
            let (mut url, path) = (bucket, self.path(key).ok()?);
            let parts = path.as_ref().split('/');
            url.path_segments_mut().ok()?.pop_if_empty().extend(parts);
            Some(url)
        });
        let asked = async move {
            let client = Client::builder().timeout(LIMIT).build().ok()?;
            let is_open = async |request: reqwest::RequestBuilder| {
                request.send().await.is_ok_and(|answer| answer.status().is_success())
            };
            if is_open(client.get(listing)).await {
                return Some("list it");
            }
            is_open(client.head(object?)).await.then_some("read its objects")
        };
        self.run(asked).ok().flatten()
    }
}
