//! The HTTP server of the simulator.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{DATE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::accounts::{ALONE, Accounts, Book, Counted, UnderWay};
use super::answer::{
    self, Answer, Reset, accepts_gzip, answer_json, error, gzip, misbehave, plain, render,
};
use super::fault::{Affected, FaultKind};
use super::generator::BEIJING_SECONDS;
use super::query::{TokenRequest, parameter};
use super::records::{RenderedPage, SimulatedWorker};
use super::tokens::{Refusal, TokenBook};
use super::{Options, SECRET};
use crate::calendar::Day;
use crate::wechat::{FIRST_MSGID, PAGE_RECORDS_MAX, PageRequest, WINDOW_SECONDS_MAX};

/// A received call.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedRequest {
    /// Last part of the path, for instance `getmsglist`.
    pub call: String,
    pub body: Value,
    /// The number of the account, counted from 1. 0 without numbered accounts.
    pub account: u32,
    /// For `getmsglist`: the number of accounts with calls under way when it arrived, with its own.
    pub side_by_side: usize,
    /// For `getmsglist`: whether a page is compressed with gzip.
    pub is_gzip: bool,
}

/// Maximum number of logged calls.
const LOG_MAX: usize = 100_000;

/// A page that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Asked {
    account: u32,
    /// Start, end, msgid and number of the request.
    request: [i64; 4],
    is_gzip: bool,
}

pub(super) struct Service {
    accounts: Arc<Accounts>,
    options: Options,
    book: Book,
    under_way: UnderWay,
    /// Whether enough accounts have had calls under way at once ([`Options::hold_until`]).
    is_released: watch::Sender<bool>,
    log: Mutex<Vec<LoggedRequest>>,
    /// Cached pages without a fault.
    kept: Mutex<HashMap<Asked, Bytes>>,
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

impl Service {
    pub(super) fn new(accounts: Accounts, options: Options) -> Self {
        Self {
            accounts: Arc::new(accounts),
            book: Book::default(),
            under_way: UnderWay::default(),
            is_released: watch::Sender::new(options.hold_until == 0),
            options,
            log: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    pub(super) fn requests(&self) -> Vec<LoggedRequest> {
        locked(&self.log).clone()
    }

    pub(super) fn tokens(&self) -> Vec<String> {
        self.book.issued()
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
        let is_gzip = self.options.gzip && accepts_gzip(request.headers());
        let body = Limited::new(request.into_body(), 1 << 20)
            .collect()
            .await
            .map_err(|_| Reset)?
            .to_bytes();
        let account =
            parameter(&query, "access_token").and_then(|token| TokenBook::account_of(&token));
        let account = account.unwrap_or(ALONE);
        let is_page = path.ends_with("/getmsglist");
        let (side_by_side, _call) = match is_page.then(|| self.under_way.begin(account)) {
            Some((accounts, call)) => (accounts, Some(call)),
            None => (0, None),
        };
        self.log(&path, &body, account, side_by_side, is_page && is_gzip);
        if is_page {
            self.hold(side_by_side).await;
        }
        match (method, path.as_str()) {
            (Method::POST, "/cgi-bin/stable_token") => {
                self.token_call(&body, |body| serde_json::from_slice(body).ok())
            }
            (Method::GET, "/cgi-bin/token") => {
                self.token_call(&body, |_| Some(TokenRequest::from_query(&query)))
            }
            (Method::POST, "/customservice/msgrecord/getmsglist") => {
                self.page_call(account, &query, &body, is_gzip).await
            }
            (Method::GET, "/cgi-bin/customservice/getkflist") => {
                self.worker_list_call(account, &query)
            }
            (Method::POST, "/cgi-bin/openapi/quota/get") => {
                self.with_token(&query, || self.quota(account))
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

    fn log(&self, path: &str, body: &[u8], account: u32, side_by_side: usize, is_gzip: bool) {
        let mut log = locked(&self.log);
        if log.len() < LOG_MAX {
            let call = path.rsplit('/').next().unwrap_or_default().to_owned();
            log.push(LoggedRequest {
                call,
                body: serde_json::from_slice(body).unwrap_or_default(),
                account,
                side_by_side,
                is_gzip,
            });
        }
    }

    /// Waits until enough accounts have calls under way at once.
    async fn hold(&self, side_by_side: usize) {
        if side_by_side >= self.options.hold_until {
            self.is_released.send_replace(true);
        }
        // The sender exists as long as `self` does, so there is always an answer.
        let _ = self.is_released.subscribe().wait_for(|is_released| *is_released).await;
    }

    fn fault(&self, account: u32, affected: Affected, call: u64) -> Option<FaultKind> {
        self.options
            .faults
            .iter()
            .find(|fault| fault.meets(account, affected, call))
            .map(|fault| fault.kind.clone())
    }

    fn token_call(
        &self,
        body: &[u8],
        read: impl FnOnce(&[u8]) -> Option<TokenRequest>,
    ) -> Result<Answer, Reset> {
        let Some(request) = read(body) else { return Ok(error(47001, "data format error")) };
        let known = self.accounts.of_appid(&request.appid);
        let account = known.unwrap_or(ALONE);
        let count = |counted: &mut Counted| {
            counted.token_calls += 1;
            counted.token_calls
        };
        let call = self.book.with(account, count);
        let token = || {
            if known.is_none() {
                return error(40013, "invalid appid");
            }
            if request.secret != SECRET {
                return error(40125, "invalid appsecret, view more at https://mp.weixin.qq.com");
            }
            let now = self.options.clock.now();
            let lifetime = self.options.token_lifetime;
            let (token, expires_in) =
                self.book.with(account, |Counted { tokens, .. }| match request.is_stable {
                    true => tokens.stable(now, lifetime, request.force_refresh),
                    false => tokens.replace(now, lifetime),
                });
            answer_json(&json!({ "access_token": token, "expires_in": expires_in }))
        };
        misbehave(self.fault(account, Affected::Token, call), token)
    }

    async fn page_call(
        &self,
        account: u32,
        query: &str,
        body: &[u8],
        is_gzip: bool,
    ) -> Result<Answer, Reset> {
        let count = |counted: &mut Counted| {
            counted.page_calls += 1;
            counted.page_calls
        };
        let call = self.book.with(account, count);
        let fault = self.fault(account, Affected::Pages, call);
        if !self.options.latency.is_zero() {
            tokio::time::sleep(self.options.latency).await;
        }
        if fault == Some(FaultKind::ExpireToken) {
            self.book.with(account, |counted| counted.tokens.expire());
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
        let PageRequest { starttime, endtime, msgid, number } = request;
        let asked = Asked { account, request: [starttime, endtime, msgid, number as i64], is_gzip };
        let kept = locked(&self.kept).get(&asked).cloned();
        if let Some(page) = kept.filter(|_| fault.is_none()) {
            return Ok(answer::page(page, is_gzip));
        }
        let accounts = self.accounts.clone();
        let shift = self.options.shift_hours * 3_600;
        let start = request.starttime + shift + i64::from(self.options.start_exclusive);
        let end = request.endtime + shift + i64::from(self.options.end_inclusive);
        let after = match self.options.repeat_pages {
            true => FIRST_MSGID,
            false => request.msgid - i64::from(self.options.cursor_inclusive),
        };
        let limit = self.options.page_cap.map_or(request.number, |cap| cap.min(request.number));
        let page = tokio::task::spawn_blocking(move || {
            accounts.records(account).page(start, end, after, limit)
        })
        .await;
        let mut page = page.map_err(|_| Reset)?;
        if self.options.repeat_pages && page.number > 0 {
            page.msgid = page.msgid.max(request.msgid) + 1;
        }
        match fault {
            Some(FaultKind::StuckCursor) => page.msgid = request.msgid,
            Some(FaultKind::WrongNumber) => page.number += 1,
            _ => {}
        }
        let page = page_body(page, is_gzip).await?;
        if fault.is_none() {
            let mut kept = locked(&self.kept);
            if kept.len() < self.options.pages_kept {
                kept.insert(asked, page.clone());
            }
        }
        misbehave(fault, || answer::page(page, is_gzip))
    }

    fn with_token(&self, query: &str, answer: impl FnOnce() -> Value) -> Result<Answer, Reset> {
        Ok(self.refuse_token(query).unwrap_or_else(|| answer_json(&answer())))
    }

    /// The error for a call with an invalid token. None if the token is valid.
    fn refuse_token(&self, query: &str) -> Option<Answer> {
        let Some(token) = parameter(query, "access_token") else {
            return Some(error(41001, "access_token missing"));
        };
        let account = TokenBook::account_of(&token).unwrap_or(ALONE);
        let now = self.options.clock.now();
        match self.book.with(account, |counted| counted.tokens.check(&token, now)) {
            Ok(()) => None,
            Err(Refusal::Unknown) => {
                Some(error(40001, "invalid credential, access_token is invalid or not latest"))
            }
            Err(Refusal::Expired) => Some(error(42001, "access_token expired")),
        }
    }

    fn worker_list_call(&self, account: u32, query: &str) -> Result<Answer, Reset> {
        let count = |counted: &mut Counted| {
            counted.list_calls += 1;
            counted.list_calls
        };
        let call = self.book.with(account, count);
        let fault = self.fault(account, Affected::Workers, call);
        if fault == Some(FaultKind::ExpireToken) {
            self.book.with(account, |counted| counted.tokens.expire());
        }
        match self.refuse_token(query) {
            Some(refused) => Ok(refused),
            None => misbehave(fault, || answer_json(&self.worker_list(account))),
        }
    }

    fn worker_list(&self, account: u32) -> Value {
        let worker = |(SimulatedWorker { account, nick }, number): (SimulatedWorker, u32)| json!({ "kf_account": account, "kf_nick": nick, "kf_id": number, "kf_headimgurl": "" });
        let beijing = self.options.clock.now().unix_timestamp() + BEIJING_SECONDS;
        let day = i32::try_from(beijing.div_euclid(86_400)).ok().and_then(Day::from_number);
        let records = self.accounts.records(account);
        let workers = day.map(|day| records.workers(day)).unwrap_or_default();
        json!({ "kf_list": workers.into_iter().zip(1001..).map(worker).collect::<Vec<_>>() })
    }

    fn quota(&self, account: u32) -> Value {
        let used = self.book.with(account, |counted| counted.page_calls);
        let limit = self.options.daily_limit;
        json!({
            "errcode": 0,
            "errmsg": "ok",
            "quota": { "daily_limit": limit, "used": used, "remain": limit.saturating_sub(used) },
            "rate_limit": { "call_count": 5000, "refresh_second": 60 },
        })
    }
}

/// The body of an answer with a page.
async fn page_body(page: RenderedPage, is_gzip: bool) -> Result<Bytes, Reset> {
    if !is_gzip {
        return Ok(render(page).into());
    }
    let packed = tokio::task::spawn_blocking(move || gzip(&render(page))).await;
    packed.ok().and_then(Result::ok).map(Bytes::from).ok_or(Reset)
}

/// Ignores a poisoned lock. After a panic the simulator is not usable, but a test still shows its
/// message.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
