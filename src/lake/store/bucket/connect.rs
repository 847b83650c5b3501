//! How a bucket is reached: its address, its credentials, and the client for it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::wire::{Limits, StoreClock, Watching};
use crate::secret::Secret;

/// An object of 64 MiB, which is put with one request, has 286 s. The signature of a request, which
/// is the same for all attempts, is valid for 15 minutes.
const LIMITS: Limits = Limits {
    whole: Duration::from_secs(300),
    silence: Duration::from_secs(30),
    sent_per_second: 256 << 10,
};

/// Where the name of the bucket is in the URL of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// In the path: `https://host/bucket/key`.
    Path,
    /// In the host: `https://bucket.host/key`.
    Virtual,
}

impl fmt::Display for Addressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Virtual => "virtual",
        })
    }
}

/// How requests are signed.
#[derive(Clone, Debug)]
pub enum BucketCredentials {
    /// Static keys, of the environment or of a profile.
    Keys { id: Secret, key: Secret, token: Option<Secret> },
    /// Web identity, or the role of a container or of the machine: the variables that describe it.
    Role(Vec<(&'static str, String)>),
}

/// A bucket, and how to reach it.
#[derive(Clone, Debug)]
pub struct BucketOptions {
    pub bucket: String,
    /// Folders before each key, without slashes at the ends. May be empty.
    pub prefix: String,
    /// The URL of the service, without the bucket. None for AWS.
    pub endpoint: Option<String>,
    pub addressing: Addressing,
    pub region: String,
    /// Whether a scheduler keeps runs of one account apart, so that a store without conditions is
    /// accepted.
    pub single_writer: bool,
    /// Local folder for files that are being written or read.
    pub scratch: PathBuf,
    pub credentials: BucketCredentials,
}

impl BucketOptions {
    /// The lake as users name it: `s3://bucket/prefix`.
    pub fn url(&self) -> String {
        match self.prefix.as_str() {
            "" => format!("s3://{}", self.bucket),
            prefix => format!("s3://{}/{prefix}", self.bucket),
        }
    }

    /// The host that requests go to.
    pub fn host(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => {
                let host = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, host)| host);
                host.split('/').next().unwrap_or_default().to_owned()
            }
            None => format!("s3.{}.{}", self.region, self.domain()),
        }
    }

    /// The domain of AWS. The regions in China have their own.
    fn domain(&self) -> &'static str {
        match self.region.starts_with("cn-north") {
            true => "amazonaws.com.cn",
            false => "amazonaws.com",
        }
    }

    /// The endpoint as the client wants it: with the bucket in the host for virtual addressing.
    fn endpoint_of_bucket(&self) -> Option<String> {
        let in_china =
            || self.region.starts_with("cn-north").then(|| format!("https://{}", self.host()));
        let endpoint = self.endpoint.clone().or_else(in_china)?;
        let endpoint = endpoint.trim_end_matches('/');
        Some(match (self.addressing, endpoint.split_once("://")) {
            (Addressing::Virtual, Some((scheme, host))) => {
                format!("{scheme}://{}.{host}", self.bucket)
            }
            _ => endpoint.to_owned(),
        })
    }

    /// The URL of the bucket.
    pub(super) fn address(&self) -> String {
        match (self.endpoint_of_bucket(), self.addressing) {
            (Some(endpoint), Addressing::Virtual) => endpoint,
            (Some(endpoint), Addressing::Path) => format!("{endpoint}/{}", self.bucket),
            (None, Addressing::Virtual) => format!("https://{}.{}", self.bucket, self.host()),
            (None, Addressing::Path) => format!("https://{}/{}", self.host(), self.bucket),
        }
    }

    /// The client. Makes no request.
    pub(super) fn connect(
        &self,
        clock: &StoreClock,
    ) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
        self.connect_within(LIMITS, clock)
    }

    /// The client, with these limits.
    pub(super) fn connect_within(
        &self,
        limits: Limits,
        clock: &StoreClock,
    ) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
        // Fails when it is already installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let retries = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(10),
                base: 3.0,
            },
            max_retries: 7,
            // A request that was hung is tried again.
            retry_timeout: limits.whole * 2,
        };
        let is_plain = self.endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
        let client = ClientOptions::new().with_allow_http(is_plain);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_virtual_hosted_style_request(self.addressing == Addressing::Virtual)
            // One request for each object: not every store has the request for many.
            .with_disable_bulk_delete(true)
            .with_client_options(client)
            .with_http_connector(Watching { clock: clock.clone(), limits })
            .with_retry(retries);
        if let Some(endpoint) = self.endpoint_of_bucket() {
            builder = builder.with_endpoint(endpoint);
        }
        match &self.credentials {
            BucketCredentials::Keys { id, key, token } => {
                builder =
                    builder.with_access_key_id(id.expose()).with_secret_access_key(key.expose());
                if let Some(token) = token {
                    builder = builder.with_token(token.expose());
                }
            }
            BucketCredentials::Role(variables) => {
                let sts = format!("https://sts.{}.{}", self.region, self.domain());
                builder = builder.with_config(AmazonS3ConfigKey::StsEndpoint, sts);
                for (name, value) in variables {
                    let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse()?;
                    builder = builder.with_config(key, value);
                }
            }
        }
        Ok(Arc::new(builder.build()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(endpoint: &str, addressing: Addressing) -> BucketOptions {
        BucketOptions {
            bucket: "records".into(),
            prefix: "lake/客服".into(),
            endpoint: Some(endpoint.into()),
            addressing,
            region: "cn-hangzhou".into(),
            single_writer: false,
            scratch: "/tmp".into(),
            credentials: BucketCredentials::Keys {
                id: Secret::new("AKIDEXAMPLE".into()),
                key: Secret::new("hunter2hunter2".into()),
                token: None,
            },
        }
    }

    #[test]
    fn the_regions_of_aws_in_china_have_their_own_domain() {
        let of = |region: &str, addressing| {
            let region = region.to_owned();
            BucketOptions { region, endpoint: None, ..options("", addressing) }
        };
        let china = of("cn-northwest-1", Addressing::Virtual);
        let host = "s3.cn-northwest-1.amazonaws.com.cn";
        assert_eq!(china.endpoint_of_bucket().unwrap(), format!("https://records.{host}"));
        assert_eq!(
            (china.host(), china.address()),
            (host.into(), format!("https://records.{host}"))
        );
        assert_eq!(of("cn-north-1", Addressing::Path).domain(), "amazonaws.com.cn");
        let frankfurt = of("eu-central-1", Addressing::Virtual);
        assert_eq!(frankfurt.endpoint_of_bucket(), None);
        assert_eq!(frankfurt.host(), "s3.eu-central-1.amazonaws.com");
    }

    #[test]
    fn virtual_addressing_puts_the_bucket_into_the_host() {
        let oss = "https://oss-cn-hangzhou.aliyuncs.com/";
        let of = |addressing| options(oss, addressing).endpoint_of_bucket().unwrap();
        assert_eq!(of(Addressing::Virtual), "https://records.oss-cn-hangzhou.aliyuncs.com");
        assert_eq!(of(Addressing::Path), "https://oss-cn-hangzhou.aliyuncs.com");
        let options = options(oss, Addressing::Virtual);
        assert_eq!(options.address(), "https://records.oss-cn-hangzhou.aliyuncs.com");
        assert_eq!(options.host(), "oss-cn-hangzhou.aliyuncs.com");
        assert_eq!(options.url(), "s3://records/lake/客服");
        assert!(options.connect(&StoreClock::default()).is_ok());
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("AKIDEXAMPLE"), "{shown}");
    }
}
