//! kefu pulls the customer-service (客服) chat records of a WeChat Official Account and turns them into Parquet.
//!
//! ```text
//!            wechat            fetch                lake                metrics               lake
//!  WeChat ── calls ── pages of records ── messages/date=…  ── one pass over ── response_pairs/date=…
//!            tokens   windows, cursors,   rejects/date=…      each customer,    worker_daily/date=…
//!            codes    retries, decoding                       then polars
//! ```
//!
//! Dependencies point down only: [`commands`] → [`report`] → [`pipeline`] → [`fetch`], [`metrics`], [`lake`] → [`model`], [`failure`]. `fetch` never
//! sees Parquet, `lake` never sees HTTP, `metrics` sees neither.
//!
//! [`report`] makes a page of what is in the lake.
//!
//! The command line is the product; the library is for embedding the stages and for tests. A day of generated records, fetched over HTTP from the
//! built-in simulator, committed, and computed:
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::sync::Arc;
//!
//! use kefu::calendar::{Clock, Zone};
//! use kefu::fetch::Source;
//! use kefu::lake::{Account, Lake, Table};
//! use kefu::metrics::Parameters;
//! use kefu::pipeline::{FetchJob, MetricsJob, OnShrink, fetch_days, rebuild_metrics};
//! use kefu::simulator::{Generated, GeneratorOptions, Options, Simulator};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let lake = Lake::at(folder.path());
//! let account = Account::new("flagship".into())?;
//! let zone = Zone::named("Asia/Shanghai")?;
//! let day = "2024-05-13".parse()?;
//!
//! // One process at a time works on an account; the lock is released when this is dropped.
//! let _lock = lake.lock(&account)?;
//! let report = tokio::runtime::Runtime::new()?.block_on(async {
//!     let records = Generated::new(GeneratorOptions { first_day: day, days: 1, messages_per_day: 200, seed: 1 });
//!     let simulator = Simulator::start(records, Options::default()).await?;
//!     // With a real account: `Endpoint::direct(BaseUrl::WECHAT.parse()?)` and `Credential::AppSecret { … }`.
//!     let source = Source::connect(&simulator.client_url()?, Simulator::credential(), Clock::System)?;
//!     let job = FetchJob {
//!         source: Arc::new(source),
//!         lake: lake.clone(),
//!         account: account.clone(),
//!         app_id: None,
//!         zone: zone.clone(),
//!         concurrency: 4,
//!         refreshed: BTreeSet::new(),
//!         on_shrink: OnShrink::Fail,
//!     };
//!     Ok::<_, Box<dyn std::error::Error>>(fetch_days(&job, &[day], &()).await)
//! })?;
//! assert!(report.failed.is_empty(), "each day is committed whole, or reported here");
//!
//! let rules = Parameters::in_zone(zone.name()).into();
//! let job = MetricsJob { lake: lake.clone(), account: account.clone(), zone, rules };
//! let metrics = rebuild_metrics(&job, None, &()).map_err(|stopped| stopped.failure.to_string())?;
//! assert_eq!(metrics.computed, [day]);
//! assert!(lake.path(&account.partition(Table::WorkerDaily, day)).is_file());
//! # Ok(())
//! # }
//! ```

pub mod cli;
pub mod commands;
pub mod core_dumps;
pub mod failure;
pub mod fetch;
pub mod lake;
pub mod metrics;
pub mod model;
pub mod operations;
pub mod pipeline;
mod plain_file;
pub mod printable;
pub mod process_group;
pub mod report;
pub mod secret;
pub mod settings;
pub mod signals;
pub mod simulator;
pub mod telemetry;
pub mod threads;
pub mod wechat;

pub use model::calendar;
