//! Answers of the simulator, and what faults make of them.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER,
};
use serde_json::{Value, json};

use super::fault::FaultKind;
use super::records::RenderedPage;

/// The error that closes the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("reset")]
pub(super) struct Reset;

pub(super) type Answer = Response<SimulatedBody>;

pub(super) fn render(page: RenderedPage) -> Vec<u8> {
    let mut body = Vec::with_capacity(page.records.len() + 64);
    body.extend_from_slice(b"{\"recordlist\":[");
    body.extend_from_slice(&page.records);
    body.extend_from_slice(
        format!("],\"number\":{},\"msgid\":{}}}", page.number, page.msgid).as_bytes(),
    );
    body
}

/// Whether the client accepts gzip.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|encoding| encoding.trim() == "gzip")
}

/// # Errors
/// Never: it writes to memory.
pub(super) fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}

/// The answer with a page, which may be compressed.
pub(super) fn page(body: Bytes, is_gzip: bool) -> Answer {
    let mut answer = plain(200, "text/plain", body);
    if is_gzip {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

/// Returns the answer, or what the fault makes of it.
pub(super) fn misbehave(
    fault: Option<FaultKind>,
    answer: impl FnOnce() -> Answer,
) -> Result<Answer, Reset> {
    match fault {
        None | Some(FaultKind::StuckCursor | FaultKind::WrongNumber | FaultKind::ExpireToken) => {
            Ok(answer())
        }
        Some(FaultKind::Reset) => Err(Reset),
        Some(FaultKind::Cut) => Ok(answer().map(|body| SimulatedBody { is_cut: true, ..body })),
        Some(FaultKind::Html) => Ok(plain(
            200,
            "text/html",
            b"<html><body>Please log in to the network</body></html>".as_slice(),
        )),
        Some(FaultKind::ErrorCode(40164)) => {
            Ok(error(40164, "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist"))
        }
        Some(FaultKind::ErrorCode(code)) => Ok(error(code, "simulated")),
        Some(FaultKind::Status { status, retry_after }) => {
            let mut answer = plain(status, "text/html", b"<html></html>".as_slice());
            if let Some(wait) = retry_after {
                answer.headers_mut().insert(RETRY_AFTER, wait.as_secs().into());
            }
            Ok(answer)
        }
    }
}

pub(super) fn error(code: i64, message: &str) -> Answer {
    answer_json(
        &json!({ "errcode": code, "errmsg": format!("{message} rid: 66433a5f-1b2c3d4e-5f607182") }),
    )
}

pub(super) fn answer_json(value: &Value) -> Answer {
    plain(200, "text/plain", value.to_string().into_bytes())
}

pub(super) fn plain(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(SimulatedBody { full: Full::new(body.into()), is_cut: false });
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A body. If cut, it announces its full length, sends half and closes the connection.
#[derive(Debug)]
pub(super) struct SimulatedBody {
    full: Full<Bytes>,
    is_cut: bool,
}

impl Body for SimulatedBody {
    type Data = Bytes;
    type Error = Reset;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Reset>>> {
        let frame = match Pin::new(&mut self.full).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return Poll::Pending,
        };
        let data = frame.map(|frame: Result<Frame<Bytes>, Infallible>| {
            frame.unwrap_or_else(|never| match never {}).into_data().unwrap_or_default()
        });
        Poll::Ready(match data {
            Some(data) if self.is_cut => Some(Ok(Frame::data(data.slice(..data.len() / 2)))),
            None if self.is_cut => Some(Err(Reset)),
            data => data.map(|data| Ok(Frame::data(data))),
        })
    }

    fn is_end_stream(&self) -> bool {
        !self.is_cut && self.full.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.full.size_hint()
    }
}
