//! Reads the facts of an account's day from the lake's tables.

use arrow::array::{Array, Int64Array};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::columns::Columns;
use super::facts::{
    Counts, DayFacts, Id, InHours, Said, Turns, Unanswered, Visit, Wait, WorkerDay,
};
use super::ids::{IdCounter, Ids};
use crate::calendar::{Day, UnixSeconds};
use crate::failure::Failure;
use crate::lake::{Account, Lake, Table, entry};
use crate::metrics::Parameters;
use crate::model::record::Direction;

/// Reads facts of one account from a lake, for one service level.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    lake: &'a Lake,
    account: &'a Account,
    within: String,
    customers: Ids<'a>,
    workers: Ids<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        lake: &'a Lake,
        account: &'a Account,
        service_level_seconds: i64,
        counter: &'a IdCounter,
    ) -> Self {
        let (customers, workers) = (Ids::new(counter), Ids::new(counter));
        let within = format!("answered_within_{service_level_seconds}s");
        Self { lake, account, within, customers, workers }
    }

    /// The facts of a day. None when its metrics are missing.
    pub(super) fn day(&self, day: Day, has_messages: bool) -> Result<Option<DayFacts>, Failure> {
        for table in [Table::AccountDaily, Table::WorkerDaily, Table::WorkerHourly] {
            if !self.has(table, day)? {
                return Ok(None);
            }
        }
        let footer = self.lake.footer(&self.account.partition(Table::AccountDaily, day))?;
        let parameters = footer
            .get(entry::PARAMETERS)
            .and_then(|text| Parameters::recorded(text, Table::AccountDaily, day))
            .unwrap_or_else(|| Parameters::in_zone(footer.zone()));
        let has_turns = self.has(Table::ResponsePairs, day)?;
        Ok(Some(DayFacts {
            day,
            is_final: footer.is_final(),
            has_business_hours: parameters.business_hours.is_some(),
            counts: self.counts(day)?,
            workers: self.workers(day)?,
            hours: self.hours(day)?,
            turns: has_turns.then(|| self.turns(day, &parameters)).transpose()?,
            visits: has_messages.then(|| self.visits(day, &parameters)).transpose()?,
        }))
    }

    fn has(&self, table: Table, day: Day) -> Result<bool, Failure> {
        Ok(self.lake.has(&self.account.partition(table, day))?)
    }

    fn counts(&self, day: Day) -> Result<Counts, Failure> {
        let within = self.within.as_str();
        let names = [
            "messages_received",
            "messages_sent",
            "answered",
            "pending",
            "unanswered_first",
            "unanswered_later",
            within,
            "sessions_completed",
            "sessions_missed",
            "sessions_dropped",
            "sessions_open",
            "sessions_outreach",
        ];
        let mut counts = Counts::default();
        for batch in self.lake.read(&self.account.partition(Table::AccountDaily, day), &names)? {
            let batch = batch?;
            let columns = Columns(&batch);
            counts = Counts {
                messages_received: columns.total("messages_received")?,
                messages_sent: columns.total("messages_sent")?,
                answered: columns.total("answered")?,
                pending: columns.total("pending")?,
                unanswered_first: columns.total("unanswered_first")?,
                unanswered_later: columns.total("unanswered_later")?,
                answered_within: columns.total(within)?,
                sessions_completed: columns.total("sessions_completed")?,
                sessions_missed: columns.total("sessions_missed")?,
                sessions_dropped: columns.total("sessions_dropped")?,
                sessions_open: columns.total("sessions_open")?,
                sessions_outreach: columns.total("sessions_outreach")?,
            };
        }
        Ok(counts)
    }

    fn workers(&self, day: Day) -> Result<Vec<WorkerDay>, Failure> {
        let within = self.within.as_str();
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
            within,
        ];
        let mut rows = Vec::new();
        for batch in self.lake.read(&self.account.partition(Table::WorkerDaily, day), &names)? {
            let batch = batch?;
            let columns = Columns(&batch);
            let workers = columns.names("worker")?;
            let ids = workers.ids(&self.workers);
            let whole = |name| columns.whole(name).map(Int64Array::values);
            let (received, sent) = (whole("messages_received")?, whole("messages_sent")?);
            let (answered, pending) = (whole("answered")?, whole("pending")?);
            let (first, later) = (whole("unanswered_first")?, whole("unanswered_later")?);
            let (in_time, most) = (whole(within)?, whole("max_concurrent")?);
            let (takeovers, handed_off) = (whole("takeovers")?, whole("handed_off")?);
            let number = |column: &[i64], row| column.get(row).copied().unwrap_or_default();
            rows.extend((0..batch.num_rows()).map(|row| WorkerDay {
                id: ids.of_row(row),
                worker: workers.name(row),
                messages_received: number(received, row),
                messages_sent: number(sent, row),
                answered: number(answered, row),
                pending: number(pending, row),
                unanswered_first: number(first, row),
                unanswered_later: number(later, row),
                answered_within: number(in_time, row),
                takeovers: number(takeovers, row),
                handed_off: number(handed_off, row),
                max_concurrent: number(most, row),
            }));
        }
        Ok(rows)
    }

    fn hours(&self, day: Day) -> Result<[i64; 24], Failure> {
        let mut hours = [0; 24];
        let key = self.account.partition(Table::WorkerHourly, day);
        for batch in self.lake.read(&key, &["hour", "messages_received"])? {
            let batch = batch?;
            let columns = Columns(&batch);
            let received = columns.whole("messages_received")?.values();
            for (hour, received) in columns.codes("hour")?.values().iter().zip(received) {
                let hour = usize::try_from(*hour).ok();
                if let Some(total) = hour.and_then(|hour| hours.get_mut(hour)) {
                    *total += received;
                }
            }
        }
        Ok(hours)
    }

    fn turns(&self, day: Day, parameters: &Parameters) -> Result<Turns, Failure> {
        let mut names = vec![
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
        let has_hours = parameters.business_hours.is_some();
        if has_hours {
            names.extend(["business_seconds", "asked_in_hours"]);
        }
        let mut turns = Turns::default();
        for batch in self.lake.read(&self.account.partition(Table::ResponsePairs, day), &names)? {
            let batch = batch?;
            let columns = Columns(&batch);
            let (openids, workers) = (columns.names("openid")?, columns.names("worker")?);
            let (customers, ids) = (openids.ids(&self.customers), workers.ids(&self.workers));
            let (asked_at, last_asked_at) =
                (columns.instants("asked_at")?, columns.instants("last_asked_at")?);
            let (response, own) =
                (columns.whole("response_seconds")?, columns.whole("own_response_seconds")?);
            let (outcomes, first) = (columns.texts("outcome")?, columns.flags("is_first")?);
            let customer_messages = columns.whole("customer_messages")?;
            let hours = match has_hours {
                true => {
                    Some((columns.whole("business_seconds")?, columns.flags("asked_in_hours")?))
                }
                false => None,
            };
            for row in 0..batch.num_rows() {
                let in_hours = hours.map(|(_, flags)| flags.is_valid(row) && flags.value(row));
                let is_first = first.value(row);
                let asked_at = asked_at.value(row).div_euclid(1_000_000);
                turns.asked.push((customers.of_row(row), asked_at));
                turns.in_hours.count(in_hours, is_first && outcomes.value(row) == "unanswered");
                match (outcomes.value(row), number(response, row)) {
                    ("answered", Some(response_seconds)) => turns.waits.push(Wait {
                        worker: ids.of_row(row),
                        is_first,
                        response_seconds,
                        own_response_seconds: number(own, row),
                        business_seconds: hours
                            .filter(|_| in_hours == Some(true))
                            .and_then(|(seconds, _)| number(seconds, row)),
                    }),
                    ("unanswered", _) => turns.unanswered.push(Unanswered {
                        customer: customers.of_row(row),
                        openid: openids.name(row),
                        worker: workers.name(row),
                        asked_at,
                        last_asked_at: last_asked_at.value(row).div_euclid(1_000_000),
                        reply_window: parameters.reply_window,
                        customer_messages: customer_messages.value(row),
                        is_first,
                    }),
                    _ => {}
                }
            }
        }
        Ok(turns)
    }

    /// The customer of each turn of a day, and when the turn began. Empty when there are no
    /// response pairs.
    pub(super) fn asked(&self, day: Day) -> Result<Vec<(Id, UnixSeconds)>, Failure> {
        if !self.has(Table::ResponsePairs, day)? {
            return Ok(Vec::new());
        }
        let mut asked = Vec::new();
        let key = self.account.partition(Table::ResponsePairs, day);
        for batch in self.lake.read(&key, &["openid", "asked_at"])? {
            let batch = batch?;
            let columns = Columns(&batch);
            let customers = columns.names("openid")?.ids(&self.customers);
            let instants = columns.instants("asked_at")?.values().iter();
            asked.extend(
                instants
                    .enumerate()
                    .map(|(row, micros)| (customers.of_row(row), micros.div_euclid(1_000_000))),
            );
        }
        Ok(asked)
    }

    /// Finds who wrote to whom. The rules that the day's metrics record decide which messages are
    /// automatic. Settings do not matter, so the same lake gives the same report.
    fn visits(&self, day: Day, parameters: &Parameters) -> Result<Vec<Visit>, Failure> {
        let has_rules = !parameters.auto_reply.is_empty();
        let mut names = vec!["openid", "worker", "opercode"];
        // Read texts only if a rule needs them.
        names.extend(parameters.needs_texts().then_some("text"));
        let mut visits = Vec::new();
        for batch in self.lake.read(&self.account.partition(Table::Messages, day), &names)? {
            let batch = batch?;
            let columns = Columns(&batch);
            let (openids, workers) = (columns.names("openid")?, columns.names("worker")?);
            let texts = parameters.needs_texts().then(|| columns.texts("text")).transpose()?;
            // Whether a worker received a message of a customer, and sent one.
            let mut seen: HashMap<(usize, usize), (bool, bool), FixedState> = HashMap::default();
            for (row, code) in columns.codes("opercode")?.values().iter().enumerate() {
                let pair = (openids.key(row), workers.key(row));
                let text =
                    || texts.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row));
                match Direction::of(*code) {
                    Some(Direction::In) => seen.entry(pair).or_default().0 = true,
                    Some(Direction::Out)
                        if has_rules && parameters.is_automatic(workers.named(pair.1), text()) => {}
                    Some(Direction::Out) => seen.entry(pair).or_default().1 = true,
                    None => {}
                }
            }
            let (customers, ids) = (openids.ids(&self.customers), workers.ids(&self.workers));
            visits.extend(seen.into_iter().map(|((openid, worker), (was_received, was_sent))| {
                Visit {
                    customer: customers.of_key(openid),
                    worker: ids.of_key(worker),
                    was_received,
                    was_sent,
                }
            }));
        }
        Ok(visits)
    }
}

/// The messages of a day from customers whose openid is `wanted`.
pub(super) fn texts(
    lake: &Lake,
    account: &Account,
    day: Day,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Said>, Failure> {
    let mut written = Vec::new();
    let names = ["openid", "opercode", "text", "sent_at"];
    for batch in lake.read(&account.partition(Table::Messages, day), &names)? {
        let batch = batch?;
        let columns = Columns(&batch);
        let (openids, codes) = (columns.names("openid")?, columns.codes("opercode")?);
        let (texts, sent_at) = (columns.texts("text")?, columns.instants("sent_at")?);
        for row in 0..batch.num_rows() {
            let openid = openids.named(openids.key(row));
            if Direction::of(codes.value(row)) == Some(Direction::In) && wanted(openid) {
                written.push(Said {
                    openid: openid.into(),
                    sent_at: sent_at.value(row).div_euclid(1_000_000),
                    text: texts.is_valid(row).then(|| texts.value(row).to_owned()),
                });
            }
        }
    }
    Ok(written)
}

impl InHours {
    /// Counts a turn. `in_hours` is None without a schedule.
    fn count(&mut self, in_hours: Option<bool>, is_unanswered_first: bool) {
        match in_hours {
            Some(true) => {
                self.asked_in_hours += 1;
                self.unanswered_first += i64::from(is_unanswered_first);
            }
            Some(false) => self.asked_out_of_hours += 1,
            None => {}
        }
    }
}

fn number(column: &Int64Array, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.value(row))
}
