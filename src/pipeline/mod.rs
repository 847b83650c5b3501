//! The glue between the stages: fetch a day, refresh a metric partition.
//!
//! ```text
//! wechat ── fetch ──(pages)── lake: messages, rejects
//!                             lake: messages ── metrics ── lake: response_pairs, sessions, worker_daily, …
//! ```
//!
//! Only this module knows both ends of either arrow.

mod fetch_days;
mod refresh;

pub use fetch_days::{DayFailure, FetchJob, FetchReport, FetchedDay, Refreshed, fetch_days};
pub use refresh::{DayStatus, Freshness, MetricsJob, MetricsReport, read_history, refresh_metrics, status, targets};
