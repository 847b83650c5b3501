//! Reads the facts of an account's day from the lake's tables.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, Int64Array};

use super::columns::Columns;
use crate::calendar::{Day, UnixSeconds};
use crate::failure::Failure;
use crate::lake::{Account, Footer, Lake, Table};
use crate::metrics::Parameters;
use crate::model::record::Direction;

/// The counts of a day, as `account_daily` records them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub messages_received: i64,
    pub messages_sent: i64,
    pub answered: i64,
    pub pending: i64,
    pub unanswered_first: i64,
    pub unanswered_later: i64,
    pub answered_within: i64,
    pub sessions_completed: i64,
    pub sessions_missed: i64,
    pub sessions_dropped: i64,
    pub sessions_open: i64,
    pub sessions_outreach: i64,
}

/// A row of `worker_daily`.
#[derive(Clone, Debug)]
pub(super) struct WorkerDay {
    pub worker: Arc<str>,
    pub messages_received: i64,
    pub messages_sent: i64,
    pub answered: i64,
    pub pending: i64,
    pub unanswered_first: i64,
    pub unanswered_later: i64,
    pub answered_within: i64,
    pub takeovers: i64,
    pub handed_off: i64,
    pub max_concurrent: i64,
}

/// The wait of an answered turn.
#[derive(Clone, Debug)]
pub(super) struct Wait {
    pub worker: Arc<str>,
    pub response_seconds: i64,
    pub own_response_seconds: Option<i64>,
    pub is_first: bool,
}

/// A turn without an answer.
#[derive(Clone, Debug)]
pub(super) struct Unanswered {
    pub openid: Arc<str>,
    pub worker: Arc<str>,
    pub asked_at: UnixSeconds,
    pub last_asked_at: UnixSeconds,
    pub customer_messages: i64,
    pub is_first: bool,
}

/// The turns of a day that are not pending.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    pub waits: Vec<Wait>,
    pub unanswered: Vec<Unanswered>,
}

/// A customer and a worker who wrote to each other on a day. A pair may occur several times.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub customer: Arc<str>,
    pub worker: Arc<str>,
    /// Whether the worker received a message from the customer.
    pub was_received: bool,
    /// Whether the worker sent the customer a message that was not automatic.
    pub was_sent: bool,
}

/// A message that a customer wrote.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub openid: Arc<str>,
    pub sent_at: UnixSeconds,
    /// None if WeChat gave no text, or the text was dropped.
    pub text: Option<String>,
}

/// The facts of an account's day that has metrics.
#[derive(Debug)]
pub(super) struct DayFacts {
    pub day: Day,
    /// Whether later days can no longer change its metrics.
    pub is_final: bool,
    pub counts: Counts,
    pub workers: Vec<WorkerDay>,
    /// Messages received in each hour.
    pub hours: [i64; 24],
    /// None when the response pairs were deleted.
    pub turns: Option<Turns>,
    /// None when the messages are missing or cannot be read.
    pub visits: Option<Vec<Visit>>,
}

/// Whether the footer of a metric partition says that later days can no longer change it.
pub(super) fn is_final(footer: &Footer) -> bool {
    footer.get("final") == Some("true")
}

/// Reads facts from a lake, for one service level.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub lake: &'a Lake,
    pub service_level_seconds: i64,
}

impl Reader<'_> {
    /// The facts of a day. None when its metrics are missing.
    pub(super) fn day(
        &self,
        account: &Account,
        day: Day,
        has_messages: bool,
    ) -> Result<Option<DayFacts>, Failure> {
        let needed = [Table::AccountDaily, Table::WorkerDaily, Table::WorkerHourly];
        for table in needed {
            if !self.lake.has(&account.partition(table, day))? {
                return Ok(None);
            }
        }
        let footer = self.lake.footer(&account.partition(Table::AccountDaily, day))?;
        Ok(Some(DayFacts {
            day,
            is_final: is_final(&footer),
            counts: self.counts(account, day)?,
            workers: self.workers(account, day)?,
            hours: self.hours(account, day)?,
            turns: if self.lake.has(&account.partition(Table::ResponsePairs, day))? {
                Some(self.turns(account, day)?)
            } else {
                None
            },
            visits: if has_messages { Some(self.visits(account, day, &footer)?) } else { None },
        }))
    }

    fn within(&self) -> String {
        format!("answered_within_{}s", self.service_level_seconds)
    }

    fn counts(&self, account: &Account, day: Day) -> Result<Counts, Failure> {
        let within = self.within();
        let names = [
            "messages_received",
            "messages_sent",
            "answered",
            "pending",
            "unanswered_first",
            "unanswered_later",
            within.as_str(),
            "sessions_completed",
            "sessions_missed",
            "sessions_dropped",
            "sessions_open",
            "sessions_outreach",
        ];
        let mut counts = Counts::default();
        for batch in self.lake.read(&account.partition(Table::AccountDaily, day), &names)? {
            let batch = batch?;
            let columns = Columns(&batch);
            let total = |name: &str| Ok::<i64, Failure>(columns.whole(name)?.values().iter().sum());
            counts = Counts {
                messages_received: total("messages_received")?,
                messages_sent: total("messages_sent")?,
                answered: total("answered")?,
                pending: total("pending")?,
                unanswered_first: total("unanswered_first")?,
                unanswered_later: total("unanswered_later")?,
                answered_within: total(&within)?,
                sessions_completed: total("sessions_completed")?,
                sessions_missed: total("sessions_missed")?,
                sessions_dropped: total("sessions_dropped")?,
                sessions_open: total("sessions_open")?,
                sessions_outreach: total("sessions_outreach")?,
            };
        }
        Ok(counts)
    }

    fn workers(&self, account: &Account, day: Day) -> Result<Vec<WorkerDay>, Failure> {
        let within = self.within();
        let names = [
            "worker",
            "messages_received",
            "messages_sent",
            "max_concurrent",
            "answered",
            "pending",
            "unanswered_first",
            "unanswered_later",
            "takeovers",
            "handed_off",
            within.as_str(),
        ];
        let mut rows = Vec::new();
        for batch in self.lake.read(&account.partition(Table::WorkerDaily, day), &names)? {
            let batch = batch?;
            let columns = Columns(&batch);
            let workers = columns.names("worker")?;
            let numbers: HashMap<&str, &Int64Array> = names
                .iter()
                .skip(1)
                .map(|name| Ok((*name, columns.whole(name)?)))
                .collect::<Result<_, Failure>>()?;
            for row in 0..batch.num_rows() {
                let number = |name: &str| {
                    numbers
                        .get(name)
                        .and_then(|column| column.values().get(row))
                        .copied()
                        .unwrap_or_default()
                };
                rows.push(WorkerDay {
                    worker: workers.name(row),
                    messages_received: number("messages_received"),
                    messages_sent: number("messages_sent"),
                    answered: number("answered"),
                    pending: number("pending"),
                    unanswered_first: number("unanswered_first"),
                    unanswered_later: number("unanswered_later"),
                    answered_within: number(&within),
                    takeovers: number("takeovers"),
                    handed_off: number("handed_off"),
                    max_concurrent: number("max_concurrent"),
                });
            }
        }
        Ok(rows)
    }

    fn hours(&self, account: &Account, day: Day) -> Result<[i64; 24], Failure> {
        let mut hours = [0; 24];
        for batch in self
            .lake
            .read(&account.partition(Table::WorkerHourly, day), &["hour", "messages_received"])?
        {
            let batch = batch?;
            let columns = Columns(&batch);
            let rows = columns
                .codes("hour")?
                .values()
                .iter()
                .zip(columns.whole("messages_received")?.values());
            for (hour, received) in rows {
                if let Some(total) =
                    usize::try_from(*hour).ok().and_then(|hour| hours.get_mut(hour))
                {
                    *total += received;
                }
            }
        }
        Ok(hours)
    }

    fn turns(&self, account: &Account, day: Day) -> Result<Turns, Failure> {
        let names = [
            "openid",
            "worker",
            "asked_at",
            "last_asked_at",
            "outcome",
            "response_seconds",
            "own_response_seconds",
            "customer_messages",
            "is_first",
        ];
        let mut turns = Turns::default();
        for batch in self.lake.read(&account.partition(Table::ResponsePairs, day), &names)? {
            let batch = batch?;
            let columns = Columns(&batch);
            let (openids, workers) = (columns.names("openid")?, columns.names("worker")?);
            let (asked_at, last_asked_at) =
                (columns.instants("asked_at")?, columns.instants("last_asked_at")?);
            let (response, own) =
                (columns.whole("response_seconds")?, columns.whole("own_response_seconds")?);
            let (outcomes, first) = (columns.texts("outcome")?, columns.flags("is_first")?);
            let customer_messages = columns.whole("customer_messages")?;
            for row in 0..batch.num_rows() {
                match (outcomes.value(row), number(response, row)) {
                    ("answered", Some(response_seconds)) => turns.waits.push(Wait {
                        worker: workers.name(row),
                        response_seconds,
                        own_response_seconds: number(own, row),
                        is_first: first.value(row),
                    }),
                    ("unanswered", _) => turns.unanswered.push(Unanswered {
                        openid: openids.name(row),
                        worker: workers.name(row),
                        asked_at: asked_at.value(row).div_euclid(1_000_000),
                        last_asked_at: last_asked_at.value(row).div_euclid(1_000_000),
                        customer_messages: customer_messages.value(row),
                        is_first: first.value(row),
                    }),
                    _ => {}
                }
            }
        }
        Ok(turns)
    }

    /// Finds who wrote to whom. The rules that the day's metrics record decide which messages are
    /// automatic. Settings do not matter, so the same lake gives the same report.
    fn visits(&self, account: &Account, day: Day, metrics: &Footer) -> Result<Vec<Visit>, Failure> {
        let parameters = metrics
            .get("parameters")
            .and_then(|text| Parameters::recorded(text, Table::AccountDaily, day))
            .unwrap_or_else(|| Parameters::in_zone(metrics.zone()));
        let has_rules = !parameters.auto_reply.is_empty();
        let mut names = vec!["openid", "worker", "opercode"];
        // Read texts only if a rule needs them.
        names.extend(parameters.needs_texts().then_some("text"));
        let mut visits = Vec::new();
        for batch in self.lake.read(&account.partition(Table::Messages, day), &names)? {
            let batch = batch?;
            let columns = Columns(&batch);
            let (openids, workers) = (columns.names("openid")?, columns.names("worker")?);
            let texts = parameters.needs_texts().then(|| columns.texts("text")).transpose()?;
            let mut seen: HashMap<(i32, i32), (bool, bool)> = HashMap::new();
            for (row, code) in columns.codes("opercode")?.values().iter().enumerate() {
                let (Some(openid), Some(worker)) = (openids.key(row), workers.key(row)) else {
                    continue;
                };
                let text =
                    || texts.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row));
                match Direction::of(*code) {
                    Some(Direction::In) => seen.entry((openid, worker)).or_default().0 = true,
                    Some(Direction::Out)
                        if has_rules && parameters.is_automatic(&workers.name(row), text()) => {}
                    Some(Direction::Out) => seen.entry((openid, worker)).or_default().1 = true,
                    None => {}
                }
            }
            visits.extend(seen.into_iter().map(|((openid, worker), (was_received, was_sent))| {
                Visit {
                    customer: openids.named(openid),
                    worker: workers.named(worker),
                    was_received,
                    was_sent,
                }
            }));
        }
        Ok(visits)
    }

    /// The messages of a day from customers whose openid is `wanted`.
    pub(super) fn texts(
        &self,
        account: &Account,
        day: Day,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Said>, Failure> {
        let mut written = Vec::new();
        for batch in self.lake.read(
            &account.partition(Table::Messages, day),
            &["openid", "opercode", "text", "sent_at"],
        )? {
            let batch = batch?;
            let columns = Columns(&batch);
            let (openids, codes) = (columns.names("openid")?, columns.codes("opercode")?);
            let (texts, sent_at) = (columns.texts("text")?, columns.instants("sent_at")?);
            for row in 0..batch.num_rows() {
                let openid = openids.name(row);
                if Direction::of(codes.value(row)) == Some(Direction::In) && wanted(&openid) {
                    let text = texts.is_valid(row).then(|| texts.value(row).to_owned());
                    written.push(Said {
                        openid,
                        sent_at: sent_at.value(row).div_euclid(1_000_000),
                        text,
                    });
                }
            }
        }
        Ok(written)
    }
}

fn number(column: &Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}
