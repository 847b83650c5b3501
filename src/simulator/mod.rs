//! Simulates the WeChat customer-service API on a loopback port, for the demo, tests, benchmarks
//! and trials.
//!
//! It follows the known rules of the real API (tokens, windows, cursor paging, error codes). Faults
//! can be injected ([`Fault`]). Its records are recorded ([`Recorded`]) or generated
//! ([`Generated`]).

mod accounts;
mod answer;
mod fault;
mod generator;
mod phrases;
mod query;
mod records;
mod server;
mod tokens;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use accounts::appid_of;
pub use fault::Fault;
pub use generator::{Generated, GeneratorOptions};
pub use records::{Recorded, Records, RenderedPage, SimulatedWorker};
pub use server::LoggedRequest;

use crate::calendar::Clock;
use crate::wechat::{Credential, Endpoint, Proof, Secret};
use accounts::Accounts;
use server::Service;

/// Options of the simulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port on 127.0.0.1. 0 selects a free port.
    pub port: u16,
    /// Delay before each answer of `getmsglist`.
    pub latency: Duration,
    /// Lifetime of a token.
    pub token_lifetime: Duration,
    /// Whether a record at exactly `endtime` belongs to the window. WeChat does not document this.
    pub end_inclusive: bool,
    /// Whether a record at exactly `starttime` is excluded from the window.
    pub start_exclusive: bool,
    /// Whether a page begins with the record whose msgid was sent.
    pub cursor_inclusive: bool,
    /// Maximum number of records on a page, even if more are requested.
    pub page_cap: Option<usize>,
    /// Hours by which windows are later than requested.
    pub shift_hours: i64,
    /// Whether each page repeats the first one, with an increasing msgid.
    pub repeat_pages: bool,
    /// Number of `getmsglist` calls of an account per run of the simulator. Further calls return
    /// 45009.
    pub daily_limit: u64,
    pub faults: Vec<Fault>,
    /// Maximum number of cached pages. A repeated request for a cached page costs almost nothing,
    /// which benchmarks need.
    pub pages_kept: usize,
    /// Whether pages are compressed with gzip, for clients that accept it.
    pub gzip: bool,
    /// Answers no `getmsglist` call until this many accounts have calls under way at once. From
    /// then on, calls are answered as they come.
    pub hold_until: usize,
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            latency: Duration::ZERO,
            token_lifetime: Duration::from_secs(7_200),
            end_inclusive: false,
            start_exclusive: false,
            cursor_inclusive: false,
            page_cap: None,
            shift_hours: 0,
            repeat_pages: false,
            daily_limit: 5_000_000,
            faults: Vec::new(),
            pages_kept: 0,
            gzip: false,
            hold_until: 0,
            clock: Clock::System,
        }
    }
}

/// A running simulator. It stops when dropped.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    service: Arc<Service>,
    task: tokio::task::JoinHandle<()>,
}

/// The app id that the simulator accepts. It also accepts nine others, which differ in the last
/// digit and have the same secret and records. They are for lakes of several accounts.
pub const APPID: &str = "wx5ec0de51mu1a70";

/// The secret of [`APPID`].
pub const SECRET: &str = "51mu1a70r-5ec2e7-d0-n07-5h0w-m3";

impl Simulator {
    /// Starts serving `records`. Needs a running tokio runtime.
    ///
    /// # Errors
    /// When the port is not available.
    pub async fn start(records: impl Records, options: Options) -> std::io::Result<Self> {
        Self::serve(Accounts::One(Arc::new(records)), options).await
    }

    /// Starts serving accounts from 1 to `count`, each with its own app id ([`appid_of`]) and
    /// records. `create` is called with the number of an account when its records are needed, and
    /// again when they were dropped meanwhile. All accounts have the secret [`SECRET`].
    ///
    /// # Errors
    /// When the port is not available.
    pub async fn start_many<R: Records>(
        count: u32,
        create: impl Fn(u32) -> R + Send + Sync + 'static,
        options: Options,
    ) -> std::io::Result<Self> {
        let create = move |account| Arc::new(create(account)) as Arc<dyn Records>;
        Self::serve(Accounts::many(count, Box::new(create)), options).await
    }

    async fn serve(accounts: Accounts, options: Options) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service::new(accounts, options));
        let task = tokio::spawn(server::serve(listener, service.clone()));
        Ok(Self { address, service, task })
    }

    /// For instance `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls so far, in order of arrival.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.service.requests()
    }

    /// All tokens issued so far.
    pub fn tokens(&self) -> Vec<String> {
        self.service.tokens()
    }

    /// The base URL, as the client takes it.
    ///
    /// # Errors
    /// Never: a loopback address is always allowed.
    pub fn client_url(&self) -> Result<Endpoint, String> {
        self.base_url().parse()
    }

    /// The credential that the simulator accepts.
    pub fn credential() -> Credential {
        Proof::AppSecret { appid: APPID.to_owned(), secret: Secret::new(SECRET.to_owned()) }.into()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.task.abort();
    }
}
