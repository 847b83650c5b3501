//! What a run did, once. The result on stdout, the history of runs, the log and the figures for
//! Prometheus are views of it.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::{
    AccountJob, DayFailure, FetchReport, FetchedDay, MetricsReport, RedactReport, RedactedTable,
    ShrunkDay, WorkersReport,
};
use crate::calendar::Clock;
use crate::failure::{ErrorKind, Failure};

/// What a run did for one account. Its JSON is the result that `--output json` shows.
#[derive(Debug, Serialize)]
pub struct RunReport {
    pub command: &'static str,
    /// Empty for a run that failed before its account was known.
    pub account: String,
    pub timezone: String,
    pub lake: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fetch: Option<FetchReport>,
    /// None where no day was fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workers: Option<WorkersReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsReport>,
    /// Whether metrics were to be computed and were not, because the lake cannot be written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub metrics_put_off: bool,
    /// What `redact` or `forget` has removed. The command shows it in a form of its own.
    #[serde(skip)]
    pub redaction: Option<RedactReport>,
    /// Whether nothing keeps another run of the account from replacing its days: the store of the
    /// lake does not check conditions, and `single_writer` is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unprotected: bool,
    /// What stopped the run, or prevented its start. Days that failed are in `fetch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(skip)]
    pub started_at: OffsetDateTime,
    /// None while it runs.
    #[serde(skip)]
    pub ended_at: Option<OffsetDateTime>,
}

impl RunReport {
    pub(super) fn begin(job: &AccountJob, command: &'static str) -> Self {
        Self {
            account: job.account.to_string(),
            timezone: job.zone.name().to_owned(),
            lake: job.lake.root().display().to_string(),
            ..Self::new(command, &job.clock)
        }
    }

    fn new(command: &'static str, clock: &Clock) -> Self {
        Self {
            command,
            account: String::new(),
            timezone: String::new(),
            lake: String::new(),
            fetch: None,
            workers: None,
            metrics: None,
            metrics_put_off: false,
            redaction: None,
            unprotected: false,
            failure: None,
            started_at: clock.now(),
            ended_at: None,
        }
    }

    /// The record of a run that could not begin. `account` is empty when the failure concerns no
    /// single account.
    pub fn not_begun(
        command: &'static str,
        account: &str,
        failure: &Failure,
        clock: &Clock,
    ) -> RunRecord {
        let report = Self { account: account.to_owned(), ..Self::new(command, clock) };
        let ended_at = Some(report.started_at);
        RunRecord {
            outcome: failure.kind.name(),
            exit_code: Some(failure.kind.exit_code()),
            error: Some(failure.to_string()),
            ..Self { ended_at, ..report }.record()
        }
    }

    pub(super) fn end(&mut self, clock: &Clock, outcome: Result<(), Failure>) {
        self.ended_at = Some(clock.now());
        self.failure = outcome.err();
    }

    /// The error kind of the worst that went wrong. None when all succeeded.
    pub fn kind(&self) -> Option<ErrorKind> {
        let failed = self.failure.as_ref().map(|failure| failure.kind);
        let fetch = self.fetch.as_ref().and_then(FetchReport::kind);
        failed.into_iter().chain(fetch).max_by_key(|kind| kind.severity())
    }

    /// The run as the history has it.
    pub fn record(&self) -> RunRecord {
        let nothing = FetchReport::default();
        let fetch = self.fetch.as_ref().unwrap_or(&nothing);
        let sum = |count: fn(&FetchedDay) -> u64| fetch.fetched.iter().map(count).sum::<u64>();
        let metrics = self.metrics.as_ref();
        let removed = |count: fn(&RedactedTable) -> u64| {
            let tables = self.redaction.iter().flat_map(|redaction| &redaction.tables);
            tables.map(count).sum::<u64>()
        };
        let seconds = |ended: OffsetDateTime| (ended - self.started_at).as_seconds_f64();
        let kind = self.kind();
        let exit_code = self.ended_at.map(|_| kind.map_or(0, ErrorKind::exit_code));
        let outcome = match self.ended_at {
            None => "running",
            Some(_) => kind.map_or("done", ErrorKind::name),
        };
        RunRecord {
            run: self.id(),
            kefu: env!("CARGO_PKG_VERSION"),
            command: self.command,
            account: self.account.clone(),
            timezone: self.timezone.clone(),
            started_at: rfc3339(self.started_at),
            ended_at: self.ended_at.map(rfc3339),
            duration_seconds: self.ended_at.map(seconds),
            outcome,
            exit_code,
            error: self.failure.as_ref().map(ToString::to_string),
            days_fetched: fetch.fetched.len() as u64,
            days_skipped: fetch.skipped.len() as u64,
            days_failed: fetch.failed.len() as u64,
            days_given_up: fetch.given_up.len() as u64,
            days_pruned: fetch.pruned.len() as u64,
            days_shrunk: fetch.shrunk.len() as u64,
            days_left_out: fetch.left_out.len() as u64,
            clock_skew_seconds: fetch.clock_skew_seconds,
            messages_received: sum(|day| day.messages.received),
            messages_sent: sum(|day| day.messages.sent),
            messages_other: sum(|day| day.messages.other),
            rejects: sum(|day| day.rejects),
            misplaced: sum(|day| day.misplaced),
            outside_window: sum(|day| day.outside_window),
            pages: sum(|day| day.pages),
            repaired_pages: sum(|day| day.repaired_pages),
            repaired_records: sum(|day| day.repaired_records),
            requests: fetch.calls.requests,
            retries: fetch.calls.retries,
            token_renewals: fetch.calls.token_renewals,
            capped_pages: sum(|day| day.calls.capped_pages),
            days_computed: metrics.map_or(0, |metrics| metrics.computed.len() as u64),
            days_fresh: metrics.map_or(0, |metrics| metrics.fresh as u64),
            days_frozen: metrics.map_or(0, |metrics| metrics.frozen.len() as u64),
            files_redacted: removed(|table| table.files),
            texts_removed: removed(|table| table.texts),
            openids_replaced: removed(|table| table.openids),
            days: fetch.fetched.clone(),
            shrunk: fetch.shrunk.clone(),
            failures: fetch.failed.iter().map(FailedDay::from).collect(),
        }
    }

    /// Names the run: its start, account, command and process.
    fn id(&self) -> String {
        let compact = format_description!("[year][month][day]T[hour][minute][second]Z");
        let started = self.started_at.format(&compact).unwrap_or_default();
        format!("{started}-{}-{}-{}", self.account, self.command, std::process::id())
    }
}

/// A run in the history, one JSON file in `_kefu/accounts/<account>/runs`, as DuckDB reads it.
/// Every field is always there.
///
/// ```sql
/// SELECT started_at, outcome, duration_seconds, retries, rejects
/// FROM read_json('data/lake/_kefu/accounts/*/runs/*.json') ORDER BY started_at DESC;
/// ```
///
/// It is written when the run begins, with the outcome `running`, and again when the run ends. If
/// it says `running` and nothing has locked the account, the run was killed.
#[derive(Clone, Debug, Serialize)]
pub struct RunRecord {
    pub run: String,
    pub kefu: &'static str,
    pub command: &'static str,
    pub account: String,
    pub timezone: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// None while it runs, and for a killed run.
    pub ended_at: Option<String>,
    pub duration_seconds: Option<f64>,
    /// `running`, `done`, or the error kind of what failed, `stopped` after a signal.
    pub outcome: &'static str,
    pub exit_code: Option<u8>,
    pub error: Option<String>,
    pub days_fetched: u64,
    pub days_skipped: u64,
    pub days_failed: u64,
    /// Days that were not attempted, because another failure or a signal ended the run.
    pub days_given_up: u64,
    /// Days that were not fetched, because retention has deleted them.
    pub days_pruned: u64,
    /// Days that came back with fewer records than the lake has, and were not replaced.
    pub days_shrunk: u64,
    /// Empty days before the account's first record, which were not committed.
    pub days_left_out: u64,
    /// Seconds that this machine's clock is ahead of WeChat's (behind, when negative).
    pub clock_skew_seconds: Option<i64>,
    pub messages_received: u64,
    pub messages_sent: u64,
    pub messages_other: u64,
    pub rejects: u64,
    /// Rejects whose time is outside the window.
    pub misplaced: u64,
    pub outside_window: u64,
    pub pages: u64,
    pub repaired_pages: u64,
    /// Records that could be read only after a repair.
    pub repaired_records: u64,
    pub requests: u64,
    pub retries: u64,
    pub token_renewals: u64,
    /// Pages with fewer records than were asked for, although more followed.
    pub capped_pages: u64,
    pub days_computed: u64,
    pub days_fresh: u64,
    /// Days with metrics that stay as they are, because messages that they were made of are gone.
    pub days_frozen: u64,
    /// Files from which `redact` or `forget` has removed personal data.
    pub files_redacted: u64,
    pub texts_removed: u64,
    /// Rows whose openid was replaced, or whose raw record was withheld.
    pub openids_replaced: u64,
    pub days: Vec<FetchedDay>,
    pub shrunk: Vec<ShrunkDay>,
    pub failures: Vec<FailedDay>,
}

/// A day that was not committed, in results and in the history.
#[derive(Clone, Debug, Serialize)]
pub struct FailedDay {
    pub date: crate::calendar::Day,
    #[serde(rename = "class")]
    pub kind: ErrorKind,
    pub reason: String,
    pub hint: Option<String>,
}

impl From<&DayFailure> for FailedDay {
    fn from(failed: &DayFailure) -> Self {
        let failure = &failed.failure;
        Self {
            date: failed.day,
            kind: failure.kind,
            reason: failure.to_string(),
            hint: failure.hint.clone(),
        }
    }
}

/// To the microsecond, which is what DuckDB takes for a timestamp.
fn rfc3339(instant: OffsetDateTime) -> String {
    let instant = instant.replace_nanosecond(instant.microsecond() * 1_000).unwrap_or(instant);
    instant.format(&Rfc3339).unwrap_or_default()
}
