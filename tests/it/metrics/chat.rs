//! Conversations in the notation of the definitions. `I>A 10:00:00` is a message to worker A, `A>
//! 10:00:40` a message from A.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use kefu::calendar::{Day, DayRange, Zone};
use kefu::lake::{Table, opercode};
use kefu::metrics::{
    self, AutoReply, BusinessHours, HistoryBuilder, MetricsError, Parameters, Partitions, Target,
};
use kefu::model::cancel::Cancel;
use kefu::pipeline;

/// A message with the columns of the table. `sent_at` is in unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    pub sent_at: i64,
    pub seq: usize,
    pub customer: String,
    pub worker: String,
    pub opercode: i32,
    pub text: String,
}

/// Conversations, and the days that were fetched.
#[derive(Clone)]
pub struct Chat {
    pub zone: Zone,
    pub messages: Vec<Message>,
    pub fetched: BTreeSet<Day>,
    pub parameters: Parameters,
}

/// A value of a row, or null.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Text(String),
    Whole(i64),
    Real(f64),
    Flag(bool),
}

pub type Row = BTreeMap<String, Value>;

/// Prints a chat in the notation of `Chat::of`, so that proptest shows a failing history as a
/// script.
impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{}, fetched {:?}, {:?}",
            self.zone.name(),
            self.runs().iter().map(ToString::to_string).collect::<Vec<_>>(),
            self.parameters
        )?;
        for message in &self.messages {
            let Message { customer, worker, text, .. } = message;
            let who = match message.opercode {
                opercode::WORKER_RECEIVED => format!("I>{worker}"),
                opercode::WORKER_SENT if text.is_empty() => format!("{worker}>"),
                opercode::WORKER_SENT => format!("{worker}>\"{text}\""),
                other => format!("{other}>{worker}"),
            };
            let at = time::OffsetDateTime::from_unix_timestamp(message.sent_at).unwrap();
            writeln!(
                f,
                "{customer}: {who} {}T{}Z",
                at.date(),
                at.time().to_string().trim_end_matches(".0")
            )?;
        }
        Ok(())
    }
}

pub fn day(text: &str) -> Day {
    text.parse().unwrap()
}

impl Chat {
    /// Parses messages that are separated by `;` or a line break.
    ///
    /// A message is `[CUSTOMER:] I>A [MM-DD] HH:MM:SS[, …]`, `A> …`, `A>"text" …`, or `1004>A …`
    /// for another code. A time can also be an instant, as in `2024-11-03T05:50Z`. The default day
    /// is 2024-05-13. Messages of the same time are in the order of the script.
    pub fn of(script: &str) -> Self {
        Self::in_zone("Asia/Shanghai", script)
    }

    pub fn in_zone(zone: &str, script: &str) -> Self {
        let zone = Zone::named(zone).unwrap();
        let mut messages = Vec::new();
        for line in script.split([';', '\n']).map(str::trim).filter(|line| !line.is_empty()) {
            let (customer, line) = line.split_once(": ").unwrap_or(("C1", line));
            let (who, times) = line.split_once(' ').unwrap();
            let (opercode, worker, text) = match who.split_once('>').unwrap() {
                ("I", worker) => (opercode::WORKER_RECEIVED, worker, ""),
                (worker, text) if text.is_empty() || text.starts_with('"') => {
                    (opercode::WORKER_SENT, worker, text.trim_matches('"'))
                }
                (code, worker) => (code.parse().unwrap(), worker, ""),
            };
            for time in times.split(", ") {
                let (customer, worker, text) =
                    (customer.to_owned(), worker.to_owned(), text.to_owned());
                messages.push(Message {
                    sent_at: instant(&zone, time),
                    seq: messages.len(),
                    customer,
                    worker,
                    opercode,
                    text,
                });
            }
        }
        messages.sort_by_key(|message| message.sent_at);
        let days: Vec<Day> = messages.iter().map(|message| zone.day_of(message.sent_at)).collect();
        let fetched = DayRange { first: days[0].plus(-3), last: days[days.len() - 1].plus(5) }
            .days()
            .collect();
        Self { parameters: Parameters::in_zone(zone.name()), zone, messages, fetched }
    }

    /// Sets the rules in the format of `[metrics]` in `kefu.toml`. The two durations cannot be set.
    pub fn with_rules(mut self, toml: &str) -> Self {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Rules {
            auto_reply: Vec<AutoReply>,
            business_hours: Option<BusinessHours>,
        }
        let rules: Rules = toml::from_str(toml).unwrap();
        self.parameters.auto_reply = rules.auto_reply;
        self.parameters.business_hours = rules.business_hours;
        self
    }

    /// Sets the range of fetched days.
    pub fn fetched(self, first: &str, last: &str) -> Self {
        Self { fetched: DayRange { first: day(first), last: day(last) }.days().collect(), ..self }
    }

    /// Returns the messages of the fetched days, in order.
    pub fn known(&self) -> Vec<&Message> {
        self.messages
            .iter()
            .filter(|message| self.fetched.contains(&self.zone.day_of(message.sent_at)))
            .collect()
    }

    /// Returns the ranges of consecutive fetched days.
    pub fn runs(&self) -> Vec<DayRange> {
        let mut runs: Vec<DayRange> = Vec::new();
        for day in &self.fetched {
            match runs.last_mut() {
                Some(run) if run.last.plus(1) == *day => run.last = *day,
                _ => runs.push(DayRange { first: *day, last: *day }),
            }
        }
        runs
    }

    /// Computes the partitions of every fetched day, one range of consecutive days at a time.
    pub fn compute(&self) -> BTreeMap<Day, Partitions> {
        self.runs().into_iter().flat_map(|run| self.compute_from(run, run)).collect()
    }

    /// Computes the partitions of the `wanted` days from the messages of the days `read`.
    pub fn compute_from(&self, read: DayRange, wanted: DayRange) -> BTreeMap<Day, Partitions> {
        let history = HistoryBuilder::new(&self.zone, &self.parameters);
        for day in read.days() {
            let of_day: Vec<&Message> = self
                .messages
                .iter()
                .filter(|message| self.zone.day_of(message.sent_at) == day)
                .collect();
            history.add(day, 0, &batch(&of_day)).unwrap();
        }
        let wanted: Vec<Day> = wanted.days().collect();
        let targets = pipeline::targets(&self.zone, &self.fetched, &wanted);
        let cancel = Cancel::default();
        let history = history.finish(&cancel).unwrap();
        let mut computed = BTreeMap::new();
        let emit = |group: Vec<(Target, Partitions)>| -> Result<(), MetricsError> {
            computed.extend(group.into_iter().map(|(target, of_day)| (target.day, of_day)));
            Ok(())
        };
        let (zone, rules) = (&self.zone, &self.parameters);
        metrics::compute_in_groups(&history, "acme", zone, &targets, rules, &cancel, emit).unwrap();
        computed
    }

    /// Returns the rows of a table for every fetched day.
    pub fn rows(&self, table: Table) -> Vec<(Day, Row)> {
        self.compute()
            .into_iter()
            .flat_map(|(day, partitions)| {
                rows(&partitions[&table]).into_iter().map(move |row| (day, row))
            })
            .collect()
    }

    /// Returns all columns of each response pair, in order.
    pub fn pairs(&self) -> Vec<Row> {
        self.rows(Table::ResponsePairs).into_iter().map(|(_, row)| row).collect()
    }

    pub fn sessions(&self) -> Vec<Row> {
        self.rows(Table::Sessions).into_iter().map(|(_, row)| row).collect()
    }

    /// Returns the rows of a table on a day.
    pub fn rows_on(&self, table: Table, on: &str) -> Vec<Row> {
        self.rows(table)
            .into_iter()
            .filter(|(date, _)| *date == day(on))
            .map(|(_, row)| row)
            .collect()
    }

    /// Returns the row of a worker on a day. Panics if there is none.
    pub fn worker(&self, on: &str, worker: &str) -> Row {
        let rows = self.rows(Table::WorkerDaily);
        let of_worker = |row: &Row| row["worker"] == Value::Text(worker.into());
        rows.into_iter()
            .find(|(date, row)| *date == day(on) && of_worker(row))
            .unwrap_or_else(|| panic!("no row of {worker} on {on}"))
            .1
    }
}

/// Parses `10:00:00`, `05-14 10:00:00` or `2024-11-03T05:50Z` into unix seconds.
fn instant(zone: &Zone, text: &str) -> i64 {
    let seconds = |text: &str| {
        text.split(':')
            .map(|part| part.parse::<i64>().unwrap())
            .chain([0])
            .take(3)
            .fold(0, |total, part| total * 60 + part)
    };
    if let Some((date, time)) = text.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        return i64::from(day(date).number()) * 86_400 + seconds(time);
    }
    let (date, time) = text.split_once(' ').unwrap_or(("05-13", text));
    zone.bounds(day(&format!("2024-{date}"))).start + seconds(time)
}

fn dictionary(values: impl Iterator<Item = String>) -> ArrayRef {
    let values: Vec<String> = values.collect();
    Arc::new(values.iter().map(String::as_str).collect::<DictionaryArray<Int32Type>>())
}

fn batch(messages: &[&Message]) -> RecordBatch {
    let micros = messages.iter().map(|message| message.sent_at * 1_000_000);
    RecordBatch::try_from_iter([
        ("openid", dictionary(messages.iter().map(|message| message.customer.clone()))),
        ("worker", dictionary(messages.iter().map(|message| message.worker.clone()))),
        (
            "opercode",
            Arc::new(Int32Array::from_iter_values(messages.iter().map(|message| message.opercode))),
        ),
        (
            "sent_at",
            Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC")),
        ),
        (
            "text",
            Arc::new(StringArray::from_iter_values(messages.iter().map(|message| &message.text))),
        ),
    ])
    .unwrap()
}

/// Returns every row of a batch, with instants as unix seconds.
pub fn rows(batch: &RecordBatch) -> Vec<Row> {
    let schema = batch.schema();
    (0..batch.num_rows())
        .map(|row| {
            schema
                .fields()
                .iter()
                .zip(batch.columns())
                .map(|(field, column)| (field.name().clone(), value(column, row)))
                .collect()
        })
        .collect()
}

fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Utf8 => Value::Text(
            column.as_any().downcast_ref::<StringArray>().unwrap().value(row).to_owned(),
        ),
        DataType::Boolean => Value::Flag(column.as_boolean().value(row)),
        DataType::Float64 => Value::Real(column.as_primitive::<Float64Type>().value(row)),
        DataType::Int32 => Value::Whole(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Timestamp(..) => {
            Value::Whole(column.as_primitive::<TimestampMicrosecondType>().value(row) / 1_000_000)
        }
        _ => Value::Whole(column.as_primitive::<Int64Type>().value(row)),
    }
}

/// Asserts the values of columns in a row:
/// `expect(&row, "response_seconds=40 own_response_seconds=null is_first=true")`.
#[track_caller]
pub fn expect(row: &Row, columns: &str) {
    for column in columns.split_whitespace() {
        let (name, expected) = column.split_once('=').unwrap();
        let actual = match &row[name] {
            Value::Null => "null".to_owned(),
            Value::Text(text) => text.clone(),
            Value::Whole(whole) => whole.to_string(),
            Value::Real(real) => {
                format!("{:.10}", real).trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            Value::Flag(flag) => flag.to_string(),
        };
        assert_eq!(actual, expected, "{name} of {row:#?}");
    }
}

/// Asserts the pairs, one line of columns for each.
#[track_caller]
pub fn expect_pairs(chat: &Chat, lines: &[&str]) {
    expect_rows(&chat.pairs(), lines);
}

/// Asserts the sessions, one line of columns for each.
#[track_caller]
pub fn expect_sessions(chat: &Chat, lines: &[&str]) {
    expect_rows(&chat.sessions(), lines);
}

#[track_caller]
pub fn expect_rows(rows: &[Row], lines: &[&str]) {
    assert_eq!(rows.len(), lines.len(), "{rows:#?}");
    for (row, line) in rows.iter().zip(lines) {
        expect(row, line);
    }
}
