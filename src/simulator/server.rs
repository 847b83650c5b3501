//! The HTTP server of the simulator.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, DATE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::fault::FaultKind;
use super::records::{Records, RenderedPage};
use super::tokens::{Refusal, TokenBook};
use super::{APPID, Options, SECRET};
use crate::wechat::{FIRST_MSGID, PAGE_RECORDS_MAX, PageRequest, WINDOW_SECONDS_MAX};

/// A received call.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedRequest {
    /// Last part of the path, for instance `getmsglist`.
    pub call: String,
    pub body: Value,
}

/// Maximum number of logged calls.
const LOG_MAX: usize = 100_000;

pub(super) struct Service {
    records: Arc<Box<dyn Records>>,
    options: Options,
    tokens: Mutex<TokenBook>,
    log: Mutex<Vec<LoggedRequest>>,
    page_calls: AtomicU64,
    token_calls: AtomicU64,
    /// Cached pages without a fault, by start, end, msgid and number of their request.
    kept: Mutex<HashMap<[i64; 4], Bytes>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Accepts connections until the task is aborted, which also closes the connections.
pub(super) async fn serve(listener: TcpListener, service: Arc<Service>) {
    let mut connections = tokio::task::JoinSet::new();
    // An error of `accept` does not stop the server. It concerns one connection, for instance after
    // a reset, or with too many open files.
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| {
                let service = service.clone();
                async move { service.answer(request).await }
            });
            // A broken connection affects only its client.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The error that closes the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("reset")]
pub(super) struct Reset;

type Answer = Response<SimulatedBody>;

impl Service {
    pub(super) fn new(records: Box<dyn Records>, options: Options) -> Self {
        Self {
            records: Arc::new(records),
            options,
            tokens: Mutex::default(),
            log: Mutex::default(),
            page_calls: AtomicU64::new(0),
            token_calls: AtomicU64::new(0),
            kept: Mutex::default(),
        }
    }

    pub(super) fn requests(&self) -> Vec<LoggedRequest> {
        locked(&self.log).clone()
    }

    pub(super) fn tokens(&self) -> Vec<String> {
        locked(&self.tokens).issued()
    }

    /// The answer with a `Date` from the simulator's own clock.
    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Reset> {
        let mut answer = self.undated_answer(request).await?;
        let date = httpdate::fmt_http_date(self.options.clock.now().into());
        if let Ok(date) = HeaderValue::try_from(date) {
            answer.headers_mut().insert(DATE, date);
        }
        Ok(answer)
    }

    async fn undated_answer(&self, request: Request<Incoming>) -> Result<Answer, Reset> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let body = Limited::new(request.into_body(), 1 << 20)
            .collect()
            .await
            .map_err(|_| Reset)?
            .to_bytes();
        self.log(&path, &body);
        match (method, path.as_str()) {
            (Method::POST, "/cgi-bin/stable_token") => {
                self.token_call(&body, |body| serde_json::from_slice(body).ok())
            }
            (Method::GET, "/cgi-bin/token") => {
                self.token_call(&body, |_| Some(TokenRequest::from_query(&query)))
            }
            (Method::POST, "/customservice/msgrecord/getmsglist") => {
                self.page_call(&query, &body).await
            }
            (Method::GET, "/cgi-bin/customservice/getkflist") => {
                self.with_token(&query, || self.worker_list())
            }
            (Method::POST, "/cgi-bin/openapi/quota/get") => {
                self.with_token(&query, || self.quota())
            }
            (
                _,
                "/cgi-bin/stable_token"
                | "/customservice/msgrecord/getmsglist"
                | "/cgi-bin/openapi/quota/get",
            ) => Ok(error(43002, "require POST method")),
            _ => Ok(plain(404, "text/html", b"<html><body>404 Not Found</body></html>".as_slice())),
        }
    }

    fn log(&self, path: &str, body: &[u8]) {
        let mut log = locked(&self.log);
        if log.len() < LOG_MAX {
            let call = path.rsplit('/').next().unwrap_or_default().to_owned();
            log.push(LoggedRequest {
                call,
                body: serde_json::from_slice(body).unwrap_or_default(),
            });
        }
    }

    fn fault(&self, on_token: bool, call: u64) -> Option<FaultKind> {
        self.options
            .faults
            .iter()
            .find(|fault| fault.meets(on_token, call))
            .map(|fault| fault.kind.clone())
    }

    fn token_call(
        &self,
        body: &[u8],
        read: impl FnOnce(&[u8]) -> Option<TokenRequest>,
    ) -> Result<Answer, Reset> {
        let call = self.token_calls.fetch_add(1, Ordering::SeqCst) + 1;
        let Some(request) = read(body) else { return Ok(error(47001, "data format error")) };
        let token = || {
            if !is_known(&request.appid) {
                return error(40013, "invalid appid");
            }
            if request.secret != SECRET {
                return error(40125, "invalid appsecret, view more at https://mp.weixin.qq.com");
            }
            let now = self.options.clock.now();
            let mut tokens = locked(&self.tokens);
            let (token, expires_in) = match request.is_stable {
                true => tokens.stable(now, self.options.token_lifetime, request.force_refresh),
                false => tokens.replace(now, self.options.token_lifetime),
            };
            answer_json(&json!({ "access_token": token, "expires_in": expires_in }))
        };
        misbehave(self.fault(true, call), token)
    }

    async fn page_call(&self, query: &str, body: &[u8]) -> Result<Answer, Reset> {
        let call = self.page_calls.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = self.fault(false, call);
        if !self.options.latency.is_zero() {
            tokio::time::sleep(self.options.latency).await;
        }
        if fault == Some(FaultKind::ExpireToken) {
            locked(&self.tokens).expire();
        }
        if let Some(refused) = self.refuse_token(query) {
            return Ok(refused);
        }
        if call > self.options.daily_limit {
            return Ok(error(45009, "reach max api daily quota limit"));
        }
        let Ok(request) = serde_json::from_slice::<PageRequest>(body) else {
            return Ok(error(65416, "invalid parameter"));
        };
        if request.number == 0
            || request.number > PAGE_RECORDS_MAX
            || request.msgid < 1
            || request.endtime < request.starttime
        {
            return Ok(error(65416, "invalid parameter"));
        }
        if request.endtime - request.starttime > WINDOW_SECONDS_MAX {
            return Ok(error(65417, "invalid time range, the span is over 24 hours"));
        }
        let asked = [request.starttime, request.endtime, request.msgid, request.number as i64];
        let kept = locked(&self.kept).get(&asked).cloned();
        if let Some(page) = kept.filter(|_| fault.is_none()) {
            return Ok(plain(200, "text/plain", page));
        }
        let records = self.records.clone();
        let shift = self.options.shift_hours * 3_600;
        let start = request.starttime + shift + i64::from(self.options.start_exclusive);
        let end = request.endtime + shift + i64::from(self.options.end_inclusive);
        let after = match self.options.repeat_pages {
            true => FIRST_MSGID,
            false => request.msgid - i64::from(self.options.cursor_inclusive),
        };
        let limit = self.options.page_cap.map_or(request.number, |cap| cap.min(request.number));
        let page =
            tokio::task::spawn_blocking(move || records.page(start, end, after, limit)).await;
        let mut page = page.map_err(|_| Reset)?;
        if self.options.repeat_pages && page.number > 0 {
            page.msgid = page.msgid.max(request.msgid) + 1;
        }
        match fault {
            Some(FaultKind::StuckCursor) => page.msgid = request.msgid,
            Some(FaultKind::WrongNumber) => page.number += 1,
            _ => {}
        }
        let page = Bytes::from(render(page));
        if fault.is_none() {
            let mut kept = locked(&self.kept);
            if kept.len() < self.options.pages_kept {
                kept.insert(asked, page.clone());
            }
        }
        misbehave(fault, || plain(200, "text/plain", page))
    }

    fn with_token(&self, query: &str, answer: impl FnOnce() -> Value) -> Result<Answer, Reset> {
        Ok(self.refuse_token(query).unwrap_or_else(|| answer_json(&answer())))
    }

    /// The error for a call with an invalid token. None if the token is valid.
    fn refuse_token(&self, query: &str) -> Option<Answer> {
        let Some(token) = parameter(query, "access_token") else {
            return Some(error(41001, "access_token missing"));
        };
        match locked(&self.tokens).check(&token, self.options.clock.now()) {
            Ok(()) => None,
            Err(Refusal::Unknown) => {
                Some(error(40001, "invalid credential, access_token is invalid or not latest"))
            }
            Err(Refusal::Expired) => Some(error(42001, "access_token expired")),
        }
    }

    fn worker_list(&self) -> Value {
        let worker = |(account, number): (String, u32)| {
            let nick = account.split('@').next().unwrap_or_default().to_owned();
            json!({ "kf_account": account, "kf_nick": nick, "kf_id": number, "kf_headimgurl": "" })
        };
        json!({ "kf_list": self.records.workers().into_iter().zip(1001..).map(worker).collect::<Vec<_>>() })
    }

    fn quota(&self) -> Value {
        let used = self.page_calls.load(Ordering::SeqCst);
        let limit = self.options.daily_limit;
        json!({
            "errcode": 0,
            "errmsg": "ok",
            "quota": { "daily_limit": limit, "used": used, "remain": limit.saturating_sub(used) },
            "rate_limit": { "call_count": 5000, "refresh_second": 60 },
        })
    }
}

#[derive(Deserialize)]
struct TokenRequest {
    appid: String,
    secret: String,
    #[serde(default)]
    force_refresh: bool,
    #[serde(default = "yes")]
    is_stable: bool,
}

fn yes() -> bool {
    true
}

impl TokenRequest {
    fn from_query(query: &str) -> Self {
        let text = |name| parameter(query, name).unwrap_or_default();
        Self { appid: text("appid"), secret: text("secret"), force_refresh: true, is_stable: false }
    }
}

/// A parameter of a query. The simulator's own values contain no escapes.
fn parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
}

fn render(page: RenderedPage) -> Vec<u8> {
    let mut body = Vec::with_capacity(page.records.len() + 64);
    body.extend_from_slice(b"{\"recordlist\":[");
    body.extend_from_slice(&page.records);
    body.extend_from_slice(
        format!("],\"number\":{},\"msgid\":{}}}", page.number, page.msgid).as_bytes(),
    );
    body
}

/// Whether the account exists: [`APPID`], or one that differs from it only in the last digit.
fn is_known(appid: &str) -> bool {
    let without_digit =
        |appid: &str| appid.strip_suffix(|last: char| last.is_ascii_digit()).map(ToOwned::to_owned);
    without_digit(appid).is_some_and(|appid| without_digit(APPID) == Some(appid))
}

/// Returns the answer, or what the fault makes of it.
fn misbehave(fault: Option<FaultKind>, answer: impl FnOnce() -> Answer) -> Result<Answer, Reset> {
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

fn error(code: i64, message: &str) -> Answer {
    answer_json(
        &json!({ "errcode": code, "errmsg": format!("{message} rid: 66433a5f-1b2c3d4e-5f607182") }),
    )
}

fn answer_json(value: &Value) -> Answer {
    plain(200, "text/plain", value.to_string().into_bytes())
}

fn plain(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(SimulatedBody { full: Full::new(body.into()), is_cut: false });
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Ignores a poisoned lock. After a panic the simulator is not usable, but a test still shows its
/// message.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
