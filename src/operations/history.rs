//! The history of runs: one JSON file for each run and account below `_kefu/runs`.
//!
//! ```sql
//! SELECT started_at, outcome, duration_seconds, retries, rejects FROM read_json('data/lake/_kefu/runs/*.json') ORDER BY started_at DESC;
//! ```
//!
//! A file is written when the run begins, with the outcome `running`, and again when it ends. One that still says `running` while no run holds the
//! lake was killed.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::calendar::{Clock, Day};
use crate::failure::{Class, Failure};
use crate::lake::{Account, Lake, LakeError};
use crate::pipeline::{FetchReport, FetchedDay, MetricsReport};

/// A run, as DuckDB reads it. Every field is always there.
#[derive(Clone, Debug, Serialize)]
pub struct RunRecord {
    pub run: String,
    pub kefu: &'static str,
    pub command: &'static str,
    pub account: String,
    pub timezone: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// None while it runs, and for ever when it was killed.
    pub ended_at: Option<String>,
    pub duration_seconds: Option<f64>,
    /// `running`, `done`, `stopped`, or the class of what failed.
    pub outcome: String,
    pub exit_code: Option<u8>,
    pub error: Option<String>,
    pub days_fetched: u64,
    pub days_skipped: u64,
    pub days_failed: u64,
    pub days_given_up: u64,
    pub messages_received: u64,
    pub messages_sent: u64,
    pub messages_other: u64,
    pub rejects: u64,
    pub outside_window: u64,
    pub pages: u64,
    pub repaired_pages: u64,
    pub requests: u64,
    pub retries: u64,
    pub token_renewals: u64,
    pub days_computed: u64,
    pub days_fresh: u64,
    pub days: Vec<FetchedDay>,
    pub failures: Vec<FailedDay>,
}

/// A day that was not committed.
#[derive(Clone, Debug, Serialize)]
pub struct FailedDay {
    pub date: Day,
    pub class: Class,
    pub reason: String,
}

/// The record of a run that is under way.
#[derive(Clone, Debug)]
pub struct History {
    lake: Lake,
    clock: Clock,
    started: OffsetDateTime,
    /// None when the run has ended.
    record: Arc<Mutex<Option<RunRecord>>>,
}

impl History {
    /// Enters the run as running. The lake must be held.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn begin(command: &'static str, lake: &Lake, account: &Account, timezone: &str, clock: &Clock) -> Result<Self, LakeError> {
        let started = clock.now();
        let compact = format_description!("[year][month][day]T[hour][minute][second]Z");
        let record = RunRecord {
            run: format!("{}-{account}-{}", started.format(&compact).unwrap_or_default(), std::process::id()),
            kefu: env!("CARGO_PKG_VERSION"),
            command,
            account: account.to_string(),
            timezone: timezone.to_owned(),
            started_at: rfc3339(started),
            ended_at: None,
            duration_seconds: None,
            outcome: "running".to_owned(),
            exit_code: None,
            error: None,
            days_fetched: 0,
            days_skipped: 0,
            days_failed: 0,
            days_given_up: 0,
            messages_received: 0,
            messages_sent: 0,
            messages_other: 0,
            rejects: 0,
            outside_window: 0,
            pages: 0,
            repaired_pages: 0,
            requests: 0,
            retries: 0,
            token_renewals: 0,
            days_computed: 0,
            days_fresh: 0,
            days: Vec::new(),
            failures: Vec::new(),
        };
        enter(lake, &record)?;
        Ok(Self { lake: lake.clone(), clock: clock.clone(), started, record: Arc::new(Mutex::new(Some(record))) })
    }

    /// Takes note of what was fetched.
    pub fn fetched(&self, report: &FetchReport) {
        self.note(|record| {
            record.days_fetched = report.fetched.len() as u64;
            record.days_skipped = report.skipped.len() as u64;
            record.days_failed = report.failed.len() as u64;
            record.days_given_up = report.given_up.len() as u64;
            for day in &report.fetched {
                record.messages_received += day.messages.received;
                record.messages_sent += day.messages.sent;
                record.messages_other += day.messages.other;
                record.rejects += day.rejects;
                record.outside_window += day.outside_window;
                record.pages += day.pages;
                record.repaired_pages += day.repaired_pages;
                record.requests += day.calls.requests;
                record.retries += day.calls.retries;
                record.token_renewals += day.calls.token_renewals;
            }
            let failed = report.failed.iter();
            record.failures = failed
                .map(|failed| FailedDay { date: failed.day, class: failed.failure.class, reason: failed.failure.to_string() })
                .collect();
            record.days.clone_from(&report.fetched);
        });
    }

    /// Takes note of what was computed.
    pub fn computed(&self, report: &MetricsReport) {
        self.note(|record| {
            record.days_computed = report.computed.len() as u64;
            record.days_fresh = report.fresh as u64;
        });
    }

    /// Enters how the run ended, and gives the whole record. A second end changes nothing.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn end(&self, outcome: &Result<Option<Class>, Failure>) -> Result<Option<RunRecord>, LakeError> {
        let class = outcome.as_ref().map_or_else(|failure| Some(failure.class), |class| *class);
        let error = outcome.as_ref().err().map(ToString::to_string);
        self.end_with(class.map_or_else(|| "done".to_owned(), name), class.map_or(0, Class::exit_code), error)
    }

    /// Enters that the run was told to stop.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn stopped(&self, exit_code: u8) -> Result<Option<RunRecord>, LakeError> {
        self.end_with("stopped".to_owned(), exit_code, None)
    }

    fn end_with(&self, outcome: String, exit_code: u8, error: Option<String>) -> Result<Option<RunRecord>, LakeError> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut record) = record else { return Ok(None) };
        let ended = self.clock.now();
        record.ended_at = Some(rfc3339(ended));
        record.duration_seconds = Some((ended - self.started).as_seconds_f64());
        record.outcome = outcome;
        record.exit_code = Some(exit_code);
        record.error = error;
        enter(&self.lake, &record)?;
        Ok(Some(record))
    }

    fn note(&self, change: impl FnOnce(&mut RunRecord)) {
        if let Some(record) = self.record.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(record);
        }
    }
}

fn enter(lake: &Lake, record: &RunRecord) -> Result<(), LakeError> {
    lake.enter_run(&record.run, &serde_json::json!(record).to_string())
}

/// The name of a class, as in every other output.
fn name(class: Class) -> String {
    serde_json::json!(class).as_str().unwrap_or_default().to_owned()
}

fn rfc3339(instant: OffsetDateTime) -> String {
    instant.format(&Rfc3339).unwrap_or_default()
}
