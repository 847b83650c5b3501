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
    /// The same of a request to STS, which gives credentials for a web identity.
    is_of_sts: bool,
    /// The file with the token for credentials that cannot be read, and why.
    unread_token: Option<String>,
    /// The request was a HEAD, whose answer has no body with a reason.
    is_head: bool,
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
            // The client hides the address of a request with the token, and of no other.
            answer.is_of_sts |= text.contains("Error performing POST REDACTED ");
            answer.is_head |= text.contains("Error performing HEAD ");
            let token = || text.split_once("Failed to read ")?.1.split_once("token file ");
            answer.unread_token = answer.unread_token.or_else(|| Some(token()?.1.to_owned()));
        }
        let is_of_sts = answer.is_of_sts && !answer.is_lost();
        answer.is_about_credentials |= is_of_sts || answer.unread_token.is_some();
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
            (None, Some(400)) if self.is_head => ErrorKind::Refused,
            (Some("RequestTimeout" | "NoSuchUpload"), _) => ErrorKind::Unavailable,
            (_, Some(408 | 429 | 500..)) => ErrorKind::Unavailable,
            // Another writer of the same object is at work.
            (_, Some(409 | 412)) => ErrorKind::Occupied,
            _ if self.is_redirect => ErrorKind::Settings,
            _ if self.is_transport => ErrorKind::Unavailable,
            _ => ErrorKind::Lake,
        }
    }

    fn reason(&self) -> String {
        if let Some(file) = &self.unread_token {
            return format!("the file with the token for credentials cannot be read: {file}");
        }
        if self.is_about_credentials {
            let none = "no credentials were found, or they could not be renewed";
            let said = [&self.code, &self.message].map(|said| said.iter().map(String::as_str));
            return [none]
                .into_iter()
                .chain(said.into_iter().flatten())
                .collect::<Vec<_>>()
                .join(": ");
        }
        if self.is_redirect {
            return "the store sends the request to another region".to_owned();
        }
        match (&self.code, &self.message, self.status) {
            (Some(code), Some(message), _) => format!("{code}: {message}"),
            (Some(code), None, _) => code.clone(),
            (None, _, Some(400)) if self.is_head => {
                "the store refuses the request (400) and gives no reason: the credentials may have \
                 expired"
                    .to_owned()
            }
            (None, _, Some(405 | 501)) => "the store does not support this request".to_owned(),
            (None, _, Some(status)) => format!("the store answers with status {status}"),
            (None, _, None) if self.is_transport => {
                let who = if self.is_of_sts { "STS" } else { "the store" };
                let cause = self.cause.as_ref().map(|cause| format!(": {cause}"));
                format!("{who} cannot be reached, or does not answer{}", cause.unwrap_or_default())
            }
            (None, _, None) => "the store's answer makes no sense".to_owned(),
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match (self.code.as_deref(), self.kind()) {
            _ if self.is_of_sts && self.is_about_credentials || self.unread_token.is_some() => {
                "check the role and the token of this machine or container: AWS_ROLE_ARN and \
                 AWS_WEB_IDENTITY_TOKEN_FILE"
            }
            _ if self.is_about_credentials => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this \
                 machine or container a role"
            }
            (Some("RequestTimeTooSkewed"), _) => "set this machine's clock (NTP), then run again",
            (Some("ExpiredToken" | "TokenRefreshRequired"), _) => {
                "renew AWS_SESSION_TOKEN with its two keys, then run again"
            }
            (None, ErrorKind::Refused) if self.is_head && self.status == Some(400) => {
                "renew the credentials, and check the region under [lake_options]. Then run again"
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

/// The name that is not valid.
fn name_in(error: &object_store::path::Error) -> String {
    use object_store::path::Error::{BadSegment, EmptySegment};
    match error {
        EmptySegment { path } | BadSegment { path, .. } => path.clone(),
        other => other.to_string(),
    }
}

/// The error for a request that failed.
pub(super) fn failed(what: &'static str, place: String, error: &Error) -> BucketError {
    let answer = Answer::of(error);
    let (kind, hint) = (answer.kind(), answer.hint());
    match error {
        Error::InvalidPath { source } => BucketError {
            kind: ErrorKind::Lake,
            what,
            place,
            reason: format!("the object {:?} has a name that kefu cannot read", name_in(source)),
            hint: Some(
                "move or delete that object with another program, then run again. kefu writes no \
                 such name"
                    .to_owned(),
            ),
        },
        // Every bucket can be listed and written.
        Error::NotFound { .. } if kind == ErrorKind::Lake && what != "read" => BucketError {
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

    /// The texts are those of object_store 0.14.2.
    #[test]
    fn credentials_that_cannot_be_renewed_are_refused_and_a_busy_service_for_them_is_not() {
        let sts = |status: &str, code: &str| {
            failed_with(&format!(
                "Error performing POST REDACTED in 12.3ms - Server returned non-2xx status code: \
                 {status}: <ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>\
                 <Message>it says</Message></Error></ErrorResponse>"
            ))
        };
        for code in ["InvalidIdentityToken", "ExpiredTokenException", "AccessDenied"] {
            let error = sts("400 Bad Request", code);
            assert_eq!(error.kind, ErrorKind::Refused, "{code}");
            assert!(error.reason.ends_with(&format!(": {code}: it says")), "{error}");
            assert!(error.hint.unwrap().contains("AWS_WEB_IDENTITY_TOKEN_FILE"));
        }
        assert_eq!(sts("503 Service Unavailable", "x").kind, ErrorKind::Unavailable);
        for (file, kind) in [("token", "Failed to read "), ("EKS token", "Failed to read EKS ")] {
            let text = format!("{kind}token file '/run/t': No such file or directory (os error 2)");
            let error = failed_with(&text);
            assert_eq!(error.kind, ErrorKind::Refused, "{file}");
            assert!(error.reason.contains("'/run/t': No such file"), "{error}");
        }
        let timeout = "Error performing PUT http://h/b/k in 1s, after 7 retries, max_retries: 7, \
             retry_timeout: 600s  - Server returned non-2xx status code: 408 Request Timeout: \
             <Error><Code>RequestTimeout</Code></Error>";
        assert_eq!(failed_with(timeout).kind, ErrorKind::Unavailable);
        let head = "Error performing HEAD http://h/b/k in 1ms - Server returned non-2xx status \
             code: 400 Bad Request: ";
        assert_eq!(failed_with(head).kind, ErrorKind::Refused);
    }
}
