//! kefu pulls the customer-service (客服) chat records of a WeChat Official Account and turns them into Parquet.
//!
//! ```text
//!            wechat            fetch                lake                metrics               lake
//!  WeChat ── calls ── pages of records ── messages/date=…  ── one pass over ── response_pairs/date=…
//!            tokens   windows, cursors,   rejects/date=…      each customer,    worker_daily/date=…
//!            codes    retries, decoding                       then polars
//! ```
//!
//! Dependencies point down only: [`commands`] → [`report`] → [`pipeline`] → [`fetch`], [`metrics`], [`lake`] → [`calendar`], [`failure`]. `fetch` never
//! sees Parquet, `lake` never sees HTTP, `metrics` sees neither.
//!
//! [`report`] makes a page of what is in the lake.
//!
//! The command line is the product; the library is for embedding the stages and for tests.

pub mod calendar;
pub mod cli;
pub mod commands;
pub mod failure;
pub mod fetch;
pub mod lake;
pub mod metrics;
pub mod operations;
pub mod pipeline;
pub mod report;
pub mod settings;
pub mod signals;
pub mod simulator;
pub mod telemetry;
pub mod threads;
pub mod wechat;
