//! The WeChat customer-service API on a loopback port, for the demo, tests, benchmarks and trying kefu out.
//!
//! It keeps the rules of the real one as far as they are known (tokens, windows, cursor paging, error codes) and can be told to
//! misbehave ([`Fault`]). Its records are recorded ones ([`Recorded`]) or generated ones ([`Generated`]).

mod fault;
mod generator;
mod phrases;
mod records;
mod server;
mod tokens;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub use fault::Fault;
pub use generator::{Generated, GeneratorOptions};
pub use records::{Recorded, Records, RenderedPage};
pub use server::LoggedRequest;

use crate::calendar::Clock;
use crate::wechat::{Credential, Endpoint, Proof, Secret};
use server::Service;

/// How the simulator behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port on 127.0.0.1; 0 picks a free one.
    pub port: u16,
    /// Wait before each answer of `getmsglist`.
    pub latency: Duration,
    /// How long a token lives.
    pub token_lifetime: Duration,
    /// Whether a record at exactly `endtime` belongs to the window. WeChat does not say.
    pub end_inclusive: bool,
    /// Whether a record at exactly `starttime` is left out of the window.
    pub start_exclusive: bool,
    /// Whether a page begins with the record whose msgid it was asked for with.
    pub cursor_inclusive: bool,
    /// Most records on a page, even when more are asked for.
    pub page_cap: Option<usize>,
    /// How many hours later than asked for its windows are.
    pub shift_hours: i64,
    /// Whether each page is the first one again, with a msgid that advances.
    pub repeat_pages: bool,
    /// Calls of `getmsglist` per run of the simulator, before it answers 45009.
    pub daily_limit: u64,
    pub faults: Vec<Fault>,
    /// Pages that are kept once they were asked for, so that giving them again costs next to nothing: for benchmarks.
    pub pages_kept: usize,
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

/// The app id that the simulator knows. It knows nine more, which end in another digit, with the
/// same secret and the same records: for lakes of several accounts.
pub const APPID: &str = "wx5ec0de51mu1a70";

/// Its secret.
pub const SECRET: &str = "51mu1a70r-5ec2e7-d0-n07-5h0w-m3";

impl Simulator {
    /// Serves `records` from now on. Needs a running tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(records: impl Records, options: Options) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let address = listener.local_addr()?;
        let service = Arc::new(Service::new(Box::new(records), options));
        let task = tokio::spawn(server::serve(listener, service.clone()));
        Ok(Self { address, service, task })
    }

    /// For instance `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls so far, in the order in which they came.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.service.requests()
    }

    /// Every token that was given out.
    pub fn tokens(&self) -> Vec<String> {
        self.service.tokens()
    }

    /// The base URL in the form that the client takes.
    ///
    /// # Errors
    /// None: a loopback address is always allowed.
    pub fn client_url(&self) -> Result<Endpoint, String> {
        self.base_url().parse()
    }

    /// What the simulator accepts.
    pub fn credential() -> Credential {
        Proof::AppSecret { appid: APPID.to_owned(), secret: Secret::new(SECRET.to_owned()) }.into()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.task.abort();
    }
}
