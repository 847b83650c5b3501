//! The history of runs: one JSON file for each run, in `_kefu/accounts/<account>/runs`.
//!
//! ```sql
//! SELECT started_at, outcome, duration_seconds, retries, rejects FROM read_json('data/lake/_kefu/accounts/*/runs/*.json') ORDER BY started_at DESC;
//! ```
//!
//! A file is written when the run begins, with the outcome `running`, and again when it ends. A
//! file with `running` belongs to a killed run, unless a run still has the account locked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::calendar::{Clock, Day};
use crate::failure::{Class, Failure};
use crate::lake::{Account, Lake, LakeError};
use crate::pipeline::{DayFailure, FetchedDay, MetricsReport, ShrunkDay};

/// A run record, as DuckDB reads it. Every field is always present.
#[derive(Clone, Debug, Serialize)]
pub struct RunRecord {
    pub run: String,
    pub kefu: &'static str,
    pub command: &'static str,
    pub account: String,
    pub timezone: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// None while the run is in progress. Stays None if the run is killed.
    pub ended_at: Option<String>,
    pub duration_seconds: Option<f64>,
    /// `running`, `done`, `stopped`, or the error kind.
    pub outcome: String,
    pub exit_code: Option<u8>,
    pub error: Option<String>,
    pub days_fetched: u64,
    pub days_skipped: u64,
    pub days_failed: u64,
    pub days_given_up: u64,
    /// Days not fetched, because they were pruned.
    pub days_pruned: u64,
    /// Days that WeChat returned with fewer records than the lake has. They were left unchanged.
    pub days_shrunk: u64,
    /// Empty days before the account's first record. They were not committed.
    pub days_left_out: u64,
    /// Seconds by which this machine's clock is ahead of WeChat's (negative: behind).
    pub clock_skew_seconds: Option<i64>,
    pub messages_received: u64,
    pub messages_sent: u64,
    pub messages_other: u64,
    pub rejects: u64,
    /// Rejects with a time outside the requested window.
    pub misplaced: u64,
    pub outside_window: u64,
    pub pages: u64,
    pub repaired_pages: u64,
    /// Records that needed a repair to be read.
    pub repaired_records: u64,
    pub requests: u64,
    pub retries: u64,
    pub token_renewals: u64,
    /// Pages with fewer records than requested, although more records followed.
    pub capped_pages: u64,
    pub days_computed: u64,
    pub days_fresh: u64,
    /// Days with metrics that stay as they are, because messages that they were made of are gone.
    pub days_frozen: u64,
    pub days: Vec<FetchedDay>,
    pub shrunk: Vec<ShrunkDay>,
    pub failures: Vec<FailedDay>,
}

/// A day that was not committed.
#[derive(Clone, Debug, Serialize)]
pub struct FailedDay {
    pub date: Day,
    pub class: Class,
    pub reason: String,
}

/// The record of a run in progress.
#[derive(Clone, Debug)]
pub struct History {
    lake: Lake,
    account: Account,
    clock: Clock,
    started: OffsetDateTime,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    record: RunRecord,
    /// Whether the record has been written to the history.
    is_entered: bool,
}

impl RunRecord {
    fn new(command: &'static str, account: &str, timezone: &str, started: OffsetDateTime) -> Self {
        let compact = format_description!("[year][month][day]T[hour][minute][second]Z");
        Self {
            run: format!(
                "{}-{account}-{command}-{}",
                started.format(&compact).unwrap_or_default(),
                std::process::id()
            ),
            kefu: env!("CARGO_PKG_VERSION"),
            command,
            account: account.to_owned(),
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
            days_pruned: 0,
            days_shrunk: 0,
            days_left_out: 0,
            clock_skew_seconds: None,
            messages_received: 0,
            messages_sent: 0,
            messages_other: 0,
            rejects: 0,
            misplaced: 0,
            outside_window: 0,
            pages: 0,
            repaired_pages: 0,
            repaired_records: 0,
            requests: 0,
            retries: 0,
            token_renewals: 0,
            capped_pages: 0,
            days_computed: 0,
            days_fresh: 0,
            days_frozen: 0,
            days: Vec::new(),
            shrunk: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// A run that failed before it had an account. It is in no history, because it has no lake.
    pub fn failed(command: &'static str, failure: &Failure, clock: &Clock) -> Self {
        Self::new(command, "", "", clock.now()).ended(
            clock.now(),
            0.0,
            Some(failure.class),
            Some(failure),
        )
    }

    fn ended(
        self,
        at: OffsetDateTime,
        seconds: f64,
        class: Option<Class>,
        failure: Option<&Failure>,
    ) -> Self {
        Self {
            ended_at: Some(rfc3339(at)),
            duration_seconds: Some(seconds),
            outcome: class.map_or("done", Class::name).to_owned(),
            exit_code: Some(class.map_or(0, Class::exit_code)),
            error: failure.map(ToString::to_string),
            ..self
        }
    }
}

impl History {
    pub fn new(
        command: &'static str,
        lake: &Lake,
        account: &Account,
        timezone: &str,
        clock: &Clock,
    ) -> Self {
        let started = clock.now();
        let record = RunRecord::new(command, account.as_str(), timezone, started);
        Self {
            lake: lake.clone(),
            account: account.clone(),
            clock: clock.clone(),
            started,
            state: Arc::new(Mutex::new(State { record, is_entered: false })),
        }
    }

    /// Writes the run record with the outcome `running`. The account must be locked.
    ///
    /// # Errors
    /// When writing fails.
    pub fn enter(&self) -> Result<(), LakeError> {
        let mut state = self.state();
        self.write(&state.record)?;
        state.is_entered = true;
        Ok(())
    }

    /// Records the planned days before the first fetch: days to fetch, days already in the lake,
    /// and pruned days, which are not fetched.
    pub fn asked(&self, days: usize, skipped: usize, pruned: usize) {
        self.note(|record| {
            // A day counts as not attempted until it is fetched or fails.
            record.days_given_up = days as u64;
            record.days_skipped = skipped as u64;
            record.days_pruned = pruned as u64;
        });
    }

    /// Records a fetched day.
    pub fn day_fetched(&self, day: &FetchedDay) {
        self.note(|record| {
            record.days_given_up = record.days_given_up.saturating_sub(1);
            record.days_fetched += 1;
            record.messages_received += day.messages.received;
            record.messages_sent += day.messages.sent;
            record.messages_other += day.messages.other;
            record.rejects += day.rejects;
            record.misplaced += day.misplaced;
            record.outside_window += day.outside_window;
            record.pages += day.pages;
            record.repaired_pages += day.repaired_pages;
            record.repaired_records += day.repaired_records;
            record.requests += day.calls.requests;
            record.retries += day.calls.retries;
            record.token_renewals += day.calls.token_renewals;
            record.capped_pages += day.calls.capped_pages;
            record.days.push(day.clone());
        });
    }

    /// Records a day that was not committed.
    pub fn day_failed(&self, failed: &DayFailure) {
        let DayFailure { day, failure } = failed;
        self.note(|record| {
            record.days_given_up = record.days_given_up.saturating_sub(1);
            record.days_failed += 1;
            record.failures.push(FailedDay {
                date: *day,
                class: failure.class,
                reason: failure.to_string(),
            });
        });
    }

    /// Records a day that WeChat returned with fewer records. It was left unchanged.
    pub fn day_shrunk(&self, shrunk: &ShrunkDay) {
        self.note(|record| {
            record.days_given_up = record.days_given_up.saturating_sub(1);
            record.days_shrunk += 1;
            record.shrunk.push(*shrunk);
        });
    }

    /// Records an empty day that was not committed.
    pub fn day_left_out(&self) {
        self.note(|record| {
            record.days_given_up = record.days_given_up.saturating_sub(1);
            record.days_left_out += 1;
        });
    }

    /// Records by how many seconds this machine's clock is ahead of WeChat's.
    pub fn clock_skew(&self, seconds: Option<i64>) {
        self.note(|record| record.clock_skew_seconds = seconds);
    }

    /// Records a day with computed metrics.
    pub fn day_computed(&self) {
        self.note(|record| record.days_computed += 1);
    }

    /// Records the results of the metrics, except for computed days.
    pub fn computed(&self, report: &MetricsReport) {
        self.note(|record| {
            record.days_fresh = report.fresh as u64;
            record.days_frozen = report.frozen.len() as u64;
        });
    }

    /// Writes the end of the run and returns the whole record. `class` is the error kind; None
    /// means success. `failure` is the error that ended the run early, if there is one.
    pub fn end(&self, class: Option<Class>, failure: Option<&Failure>) -> RunRecord {
        self.end_with(self.state(), |record, at, seconds| record.ended(at, seconds, class, failure))
    }

    /// Writes that the run was asked to stop. None if it had already ended.
    pub fn stopped(&self, exit_code: u8) -> Option<RunRecord> {
        let stopped = |record: RunRecord, at, seconds| RunRecord {
            outcome: "stopped".to_owned(),
            exit_code: Some(exit_code),
            ..record.ended(at, seconds, None, None)
        };
        let state = self.state();
        let is_over = state.record.ended_at.is_some();
        (!is_over).then(|| self.end_with(state, stopped))
    }

    fn end_with(
        &self,
        mut state: MutexGuard<'_, State>,
        ended: impl FnOnce(RunRecord, OffsetDateTime, f64) -> RunRecord,
    ) -> RunRecord {
        let now = self.clock.now();
        state.record = ended(state.record.clone(), now, (now - self.started).as_seconds_f64());
        // Days were recorded in order of completion.
        state.record.days.sort_by_key(|day| day.date);
        state.record.shrunk.sort_by_key(|shrunk| shrunk.date);
        state.record.failures.sort_by_key(|failed| failed.date);
        if state.is_entered
            && let Err(error) = self.write(&state.record)
        {
            // The run itself is not affected. Its file still says `running`, like that of a killed
            // run.
            tracing::warn!(event = "history_not_written", reason = %error, "the history of runs cannot be written");
        }
        state.record.clone()
    }

    fn write(&self, record: &RunRecord) -> Result<(), LakeError> {
        let written = serde_json::json!(record).to_string();
        self.lake.enter_run(&self.account, &record.run, &written)
    }

    fn note(&self, change: impl FnOnce(&mut RunRecord)) {
        change(&mut self.state().record);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rfc3339(instant: OffsetDateTime) -> String {
    // DuckDB reads timestamps with microseconds.
    let instant = instant.replace_nanosecond(instant.microsecond() * 1_000).unwrap_or(instant);
    instant.format(&Rfc3339).unwrap_or_default()
}
