//! kefu pulls the customer-service (客服) chat records of a WeChat Official Account and turns them
//! into Parquet.
//!
//! ```text
//!           wechat            fetch               lake                metrics              lake
//! WeChat ── calls ── pages of records ── messages/date=… ── one pass over ── response_pairs/date=…
//!           tokens   windows, cursors,   rejects/date=…     each customer,   worker_daily/date=…
//!           codes    retries, decoding                      then polars
//! ```
//!
//! Dependencies point down only: [`commands`] → [`report`] → [`pipeline`] → [`fetch`], [`metrics`],
//! [`lake`] → [`model`], [`failure`]. `fetch` never sees Parquet, `lake` never sees the HTTP of
//! WeChat, `metrics` sees neither.
//!
//! [`report`] writes a page with the figures of the lake.
//!
//! The command line is the product. The library is for embedding the stages and for tests. This
//! example fetches a day of generated records over HTTP from the built-in simulator, commits them,
//! and computes their metrics:
//!
//! ```
//! use kefu::calendar::{Clock, DayRange, Zone};
//! use kefu::lake::{Account, Lake, Table};
//! use kefu::metrics::Parameters;
//! use kefu::model::cancel::Cancel;
//! use kefu::model::privacy::Privacy;
//! use kefu::pipeline::{AccountJob, Api, Network, Request, Wanted, run_account};
//! use kefu::simulator::{Generated, GeneratorOptions, Options, Simulator};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let day = "2024-05-13".parse()?;
//! let options = GeneratorOptions { first_day: day, days: 1, messages_per_day: 200, seed: 1 };
//! let records = Generated::new(options);
//! let runtime = tokio::runtime::Runtime::new()?;
//! let simulator = runtime.block_on(Simulator::start(records, Options::default()))?;
//!
//! let folder = tempfile::tempdir()?;
//! let zone = Zone::named("Asia/Shanghai")?;
//! let job = AccountJob {
//!     lake: Lake::at(folder.path()),
//!     account: Account::new("flagship".into())?,
//!     rules: Parameters::in_zone(zone.name()).into(),
//!     zone,
//!     privacy: Some(Privacy::default()),
//!     // With a real account: `Endpoint::direct(BaseUrl::WECHAT.parse()?)` and
//!     // `Proof::AppSecret { … }.into()`.
//!     api: Some(Api {
//!         network: Network::open(&simulator.client_url()?, 4)?,
//!         credential: Simulator::credential(),
//!         app_id: None,
//!         concurrency: 4,
//!     }),
//!     clock: Clock::System,
//! };
//! let wanted = Wanted {
//!     range: DayRange { first: day, last: day },
//!     is_named: true,
//!     force: false,
//!     refresh: 0,
//!     allow_shrink: false,
//!     last_over: day,
//! };
//! let report = run_account(&job, &Request::Run(wanted), &(), &Cancel::default());
//! assert!(report.kind().is_none(), "all went well: {report:?}");
//! assert_eq!(report.metrics.unwrap().computed, [day]);
//! assert!(job.lake.path(&job.account.partition(Table::WorkerDaily, day)).is_file());
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod commands;
pub mod failure;
pub mod fetch;
pub mod hint;
pub mod lake;
pub mod metrics;
pub mod model;
pub mod operations;
pub mod pipeline;
mod plain_file;
pub mod printable;
pub mod process_group;
pub mod process_limits;
pub mod report;
pub mod secret;
pub mod settings;
pub mod simulator;
pub mod telemetry;
mod terminal;
pub mod threads;
pub mod wechat;

pub use model::calendar;
