//! The history of runs: one JSON file for each run, in `_kefu/accounts/<account>/runs`.
//!
//! ```sql
//! SELECT started_at, outcome, duration_seconds, retries, rejects FROM read_json('data/lake/_kefu/accounts/*/runs/*.json') ORDER BY started_at DESC;
//! ```
//!
//! A file is written when the run begins, with the outcome `running`, and again when it ends. One that still says `running` while no run has the
//! account locked was killed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::calendar::{Clock, Day};
use crate::failure::{Class, Failure};
use crate::lake::{Account, Lake, LakeError};
use crate::pipeline::{DayFailure, FetchedDay, MetricsReport, ShrunkDay};

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
    /// Days that were left away because they were pruned.
    pub days_pruned: u64,
    /// Days that came back with fewer records than the lake has, and were left as they are.
    pub days_shrunk: u64,
    /// Empty days before the account's first record, which were not committed.
    pub days_left_out: u64,
    /// Seconds that this machine's clock is ahead of WeChat's (behind, when negative).
    pub clock_skew_seconds: Option<i64>,
    pub messages_received: u64,
    pub messages_sent: u64,
    pub messages_other: u64,
    pub rejects: u64,
    /// Of the rejects: records of another time than was asked for, outside the window.
    pub misplaced: u64,
    pub outside_window: u64,
    pub pages: u64,
    pub repaired_pages: u64,
    /// Records that could be read only after a repair.
    pub repaired_records: u64,
    pub requests: u64,
    pub retries: u64,
    pub token_renewals: u64,
    /// Pages that held fewer records than were asked for, although more followed.
    pub capped_pages: u64,
    pub days_computed: u64,
    pub days_fresh: u64,
    /// Days with metrics that were left as they are, because messages that they were made of have been pruned.
    pub days_kept: u64,
    /// Days, pruned ones too, with metrics that are kept although other messages that they were made of have been replaced since.
    pub days_superseded: u64,
    /// Of the days that were computed, those beside which messages have been pruned.
    pub days_beside_pruned: u64,
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

/// The record of a run that is under way.
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
    /// Whether the history has it.
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
            days_kept: 0,
            days_superseded: 0,
            days_beside_pruned: 0,
            days: Vec::new(),
            shrunk: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// A run that ended before it came to any account. It is in no history, because it has no lake.
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

    /// Enters the run as running. The account must be locked.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn enter(&self) -> Result<(), LakeError> {
        let mut state = self.state();
        self.write(&state.record)?;
        state.is_entered = true;
        Ok(())
    }

    /// Takes note of the days before any is fetched: how many there are to fetch, how many are there, and how many were pruned and stay away.
    pub fn asked(&self, days: usize, skipped: usize, pruned: usize) {
        self.note(|record| {
            // Until they are tried.
            record.days_given_up = days as u64;
            record.days_skipped = skipped as u64;
            record.days_pruned = pruned as u64;
        });
    }

    /// Takes note of a day that was fetched.
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

    /// Takes note of a day that was not committed.
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

    /// Takes note of a day that came back with fewer records, and was left as it is.
    pub fn day_shrunk(&self, shrunk: &ShrunkDay) {
        self.note(|record| {
            record.days_given_up = record.days_given_up.saturating_sub(1);
            record.days_shrunk += 1;
            record.shrunk.push(*shrunk);
        });
    }

    /// Takes note of an empty day that was not committed.
    pub fn day_left_out(&self) {
        self.note(|record| {
            record.days_given_up = record.days_given_up.saturating_sub(1);
            record.days_left_out += 1;
        });
    }

    /// Takes note of how far this machine's clock is ahead of WeChat's.
    pub fn clock_skew(&self, seconds: Option<i64>) {
        self.note(|record| record.clock_skew_seconds = seconds);
    }

    /// Takes note of a day whose metrics were computed.
    pub fn day_computed(&self) {
        self.note(|record| record.days_computed += 1);
    }

    /// Takes note of what became of the metrics, beside the days that were computed.
    pub fn computed(&self, report: &MetricsReport) {
        self.note(|record| {
            record.days_fresh = report.fresh as u64;
            record.days_kept = report.kept.len() as u64;
            record.days_superseded = report.superseded.len() as u64;
            record.days_beside_pruned = report.beside_pruned.len() as u64;
        });
    }

    /// Enters how the run ended: well, or with something that did not succeed, of this class, and with the failure that kept it from its end. Gives the
    /// whole record.
    pub fn end(&self, class: Option<Class>, failure: Option<&Failure>) -> RunRecord {
        self.end_with(self.state(), |record, at, seconds| record.ended(at, seconds, class, failure))
    }

    /// Enters that the run was told to stop. None when it had come to its end.
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
        // They came as they were done.
        state.record.days.sort_by_key(|day| day.date);
        state.record.shrunk.sort_by_key(|shrunk| shrunk.date);
        state.record.failures.sort_by_key(|failed| failed.date);
        if state.is_entered
            && let Err(error) = self.write(&state.record)
        {
            // The run is what it is. Its entry says `running`, as that of a run that was killed.
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
    // To the microsecond, which is what DuckDB takes for a timestamp.
    let instant = instant.replace_nanosecond(instant.microsecond() * 1_000).unwrap_or(instant);
    instant.format(&Rfc3339).unwrap_or_default()
}
