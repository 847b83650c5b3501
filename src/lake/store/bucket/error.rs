//! Errors of a bucket: what failed, the object and the host, and the store's own code and
//! words. The client's texts are not shown, because they have URLs with queries and whole answers.

use object_store::Error;
use object_store::client::HttpError;

use crate::failure::{ErrorKind, causes};

/// A request to a bucket that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {place}: {reason}")]
pub struct BucketError {
    pub(super) kind: ErrorKind,
    /// What was to be done, like `write`.
    pub(super) what: &'static str,
    /// The bucket or the object, and the host.
    pub(super) place: String,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

impl BucketError {
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// What is known of an answer that was no success.
#[derive(Debug, Default)]
pub(super) struct Answer {
    status: Option<u16>,
    /// The store's own code, like `NoSuchBucket`.
    pub(super) code: Option<String>,
    message: Option<String>,
    /// The request may not have arrived, or its answer was lost.
    is_transport: bool,
    /// The innermost cause of that, like a refused connection.
    cause: Option<String>,
    is_redirect: bool,
    /// The failed request was for credentials.
    is_about_credentials: bool,
}

impl Answer {
    pub(super) fn of(error: &Error) -> Self {
        let mut answer = Self::default();
        for cause in causes(error) {
            answer.is_transport |= cause.downcast_ref::<HttpError>().is_some();
            let text = cause.to_string();
            // Errors of the client have the whole address in them.
            answer.cause = Some(text.clone()).filter(|text| !text.contains("://"));
            let between = |begin: &str, end: &str| {
                let found = text.split_once(begin)?.1.split_once(end)?.0;
                Some(found.to_owned()).filter(|found| !found.is_empty())
            };
            let status = || text.split_once("status code: ")?.1.get(..3)?.parse().ok();
            answer.status = answer.status.or_else(status);
            answer.code = answer.code.or_else(|| between("<Code>", "</Code>"));
            answer.message = answer.message.or_else(|| between("<Message>", "</Message>"));
            answer.is_redirect |= text.contains("Received redirect");
            // The services of machines and containers for credentials have link-local addresses.
            answer.is_about_credentials |= [
                "://169.254.",
                "/latest/api/token",
                "/latest/meta-data",
                "AssumeRoleWithWebIdentity",
            ]
            .iter()
            .any(|sign| text.contains(sign));
        }
        answer
    }

    /// Whether the range that was asked for is not in the object, because that is empty.
    pub(super) fn is_empty_object(&self) -> bool {
        self.status == Some(416) || self.code.as_deref() == Some("InvalidRange")
    }

    /// Whether the store does not have what was asked for.
    pub(super) fn is_not_implemented(&self) -> bool {
        let code = self.code.as_deref();
        matches!(self.status, Some(405 | 501))
            || matches!(code, Some("NotImplemented" | "InvalidArgument" | "InvalidRequest"))
    }

    /// Whether it is unknown what became of the request.
    pub(super) fn is_lost(&self) -> bool {
        self.is_transport || self.status.is_some_and(|status| status >= 500 && status != 501)
    }

    fn kind(&self) -> ErrorKind {
        if self.is_about_credentials {
            return ErrorKind::Refused;
        }
        match (self.code.as_deref(), self.status) {
            (
                Some(
                    "NoSuchBucket"
                    | "InvalidBucketName"
                    | "PermanentRedirect"
                    | "TemporaryRedirect"
                    | "AuthorizationHeaderMalformed"
                    | "IllegalLocationConstraintException",
                ),
                _,
            )
            | (_, Some(301 | 307 | 405 | 501)) => ErrorKind::Settings,
            (Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"), _)
            | (_, Some(401 | 403)) => ErrorKind::Refused,
            (_, Some(408 | 429 | 500..)) => ErrorKind::Unavailable,
            _ if self.is_redirect => ErrorKind::Settings,
            _ if self.is_transport => ErrorKind::Unavailable,
            _ => ErrorKind::Lake,
        }
    }

    fn reason(&self) -> String {
        if self.is_about_credentials {
            return "no credentials were found, or they could not be renewed".to_owned();
        }
        if self.is_redirect {
            return "the store sends the request to another region".to_owned();
        }
        match (&self.code, &self.message, self.status) {
            (Some(code), Some(message), _) => format!("{code}: {message}"),
            (Some(code), None, _) => code.clone(),
            (None, _, Some(405 | 501)) => "the store does not support this request".to_owned(),
            (None, _, Some(status)) => format!("the store answers with status {status}"),
            (None, _, None) if self.is_transport => match &self.cause {
                Some(cause) => format!("the store cannot be reached, or does not answer: {cause}"),
                None => "the store cannot be reached, or does not answer".to_owned(),
            },
            (None, _, None) => "the store's answer makes no sense".to_owned(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match (self.code.as_deref(), self.kind()) {
            _ if self.is_about_credentials => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this \
                 machine or container a role"
            }
            (Some("RequestTimeTooSkewed"), _) => "set this machine's clock (NTP), then run again",
            (Some("ExpiredToken" | "TokenRefreshRequired"), _) => {
                "renew AWS_SESSION_TOKEN with its two keys, then run again"
            }
            (_, ErrorKind::Refused) => {
                "check the access key, and that it may list, read, write and delete below this prefix"
            }
            (Some("NoSuchBucket" | "InvalidBucketName"), _) => {
                "create the bucket, or correct its name in --lake, KEFU_LAKE or kefu.toml. kefu \
                 creates no bucket"
            }
            (_, ErrorKind::Settings) => {
                "correct endpoint, addressing and region under [lake_options]. `kefu doctor` \
                 shows where they come from"
            }
            (_, ErrorKind::Unavailable) => {
                "check endpoint and network, then run again. What was committed stays"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// The error for a request that failed.
pub(super) fn failed(what: &'static str, place: String, error: &Error) -> BucketError {
    let answer = Answer::of(error);
    let (kind, hint) = (answer.kind(), answer.hint());
    match error {
        // Every bucket can be listed and written.
        Error::NotFound { .. } if kind != ErrorKind::Settings && what != "read" => BucketError {
            kind: ErrorKind::Settings,
            what,
            place,
            reason: "the endpoint is no S3-compatible store, or has a path too many".to_owned(),
            hint: Some(
                "correct endpoint and addressing under [lake_options]: an endpoint is only the \
                 address of the store, without the bucket"
                    .to_owned(),
            ),
        },
        Error::NotFound { .. } if answer.code.is_none() => {
            BucketError { kind, what, place, reason: "it does not exist".to_owned(), hint }
        }
        _ => BucketError { kind, what, place, reason: answer.reason(), hint },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_with(text: &str) -> BucketError {
        let source = text.to_owned().into();
        failed("read", "s3://b/k at host".into(), &Error::Generic { store: "S3", source })
    }

    #[test]
    fn each_answer_has_its_kind_and_shows_no_url_and_no_signature() {
        let said = |status: &str, code: &str| {
            format!(
                "Error performing GET http://host/b?prefix=q in 1ms - Server returned non-2xx status \
                 code: {status}: <Error><Code>{code}</Code><Message>it says</Message>\
                 <AWSAccessKeyId>AKID</AWSAccessKeyId></Error>"
            )
        };
        for (status, code, kind) in [
            ("403 Forbidden", "SignatureDoesNotMatch", ErrorKind::Refused),
            ("403 Forbidden", "RequestTimeTooSkewed", ErrorKind::Refused),
            ("400 Bad Request", "ExpiredToken", ErrorKind::Refused),
            ("404 Not Found", "NoSuchBucket", ErrorKind::Settings),
            ("400 Bad Request", "AuthorizationHeaderMalformed", ErrorKind::Settings),
            ("503 Slow Down", "SlowDown", ErrorKind::Unavailable),
            ("501 Not Implemented", "NotImplemented", ErrorKind::Settings),
            ("400 Bad Request", "EntityTooLarge", ErrorKind::Lake),
        ] {
            let error = failed_with(&said(status, code));
            assert_eq!(error.kind, kind, "{code}");
            assert_eq!(error.to_string(), format!("cannot read s3://b/k at host: {code}: it says"));
        }
        let error = failed_with("Error performing PUT http://169.254.169.254/latest/api/token");
        assert_eq!(error.kind, ErrorKind::Refused);
        let nothing =
            || Error::NotFound { path: "k".into(), source: said("404", "NoSuchKey").into() };
        assert_eq!(failed("write", "k at host".into(), &nothing()).kind, ErrorKind::Settings);
        assert_eq!(failed("read", "k at host".into(), &nothing()).kind, ErrorKind::Lake);
        let error = failed_with("Received redirect without LOCATION");
        assert_eq!(error.kind, ErrorKind::Settings);
    }
}
