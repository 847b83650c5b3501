//! Connects the stages: fetches days into the lake, and rebuilds their metrics.
//!
//! ```text
//! wechat ── fetch ──(pages)── lake: messages, rejects
//!                             lake: messages ── metrics ── lake: response_pairs, sessions, …
//! ```
//!
//! Also compares results with the lake: [`verify`] checks its files, and [`compare_days`] fetches
//! days again.
//!
//! Only this module uses both a stage and the lake.

mod app;
mod budget;
#[cfg(test)]
mod cancel_tests;
mod chunks;
mod compare;
mod day_before;
mod examined_day;
mod fetch_days;
mod finding;
mod inputs;
mod job;
mod mark;
mod metrics_job;
mod network;
mod observer;
mod plan;
mod rebuild;
mod redact;
mod report;
mod rules;
mod run;
mod selection;
mod silence;
mod staged_day;
mod status;
mod verify;
mod verify_metrics;
mod verify_privacy;
mod workers;

pub use app::{AppError, require_app};
pub use compare::{ComparedDay, Record, compare_days};
pub use fetch_days::{
    DayFailure, FetchJob, FetchReport, FetchedDay, Refreshed, ShrunkDay, fetch_days,
};
pub use finding::{Finding, Kind, Severity};
pub use inputs::dependents;
pub use job::{AccountJob, Api, Request};
pub use mark::Mark;
pub use metrics_job::{MetricsJob, targets};
pub use network::{Network, NetworkError};
pub use observer::Observer;
pub use rebuild::{MetricsReport, MetricsStopped, rebuild_metrics};
pub use redact::{PrivacyError, RedactReport, RedactedTable, finish_redaction, redact, redaction};
pub use report::{FailedDay, RunRecord, RunReport};
pub use rules::{
    ChangedRules, OlderDays, OutOfDate, RulesError, UnknownRules, reasons, require_rules,
};
pub use run::{record_failure, run_account};
pub use selection::{OnShrink, Selection, Wanted};
pub use status::{DayStatus, Freshness, status};
pub use verify::{Verification, VerifyJob, verify};
pub use workers::WorkersReport;
