//! Input of the stage: the messages of an unbroken run of days, by customer.
//!
//! Openids and workers are numbered here once, in the order of their names. Numbers are faster to
//! compare, group and sort, and sorting by the number is sorting by the name.
//!
//! The partitions arrive in order of time. Each row is appended to the timeline of its customer, so
//! no other sorting is needed. Texts are read only when a rule for automatic replies needs them.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};

use super::names::{Names, dictionary};
use super::{AutoReply, MetricsError, Parameters, ROWS_QUICK};
use crate::calendar::{Day, DayRange, OffsetSpan, UnixSeconds, Zone};
use crate::model::cancel::{Cancel, Cancelled};
use crate::model::record::Direction;
use crate::threads;

/// The columns of `messages` that the stage needs.
pub fn columns(parameters: &Parameters) -> Vec<&'static str> {
    let mut columns = vec!["openid", "worker", "opercode", "sent_at"];
    if parameters.needs_texts() {
        columns.push("text");
    }
    columns
}

/// A visible message. It is kept small because a history contains millions of messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    sent_at: u32,
    /// `seq` of the message: its row in the day's partition.
    pub seq: u32,
    /// Index into [`History::workers`].
    pub worker: u32,
    /// The local day, counted from [`History::first_day`].
    pub day: u16,
    /// The local hour.
    pub hour: u8,
    /// True when the worker received the message (IN), false when the worker sent it (OUT).
    pub inbound: bool,
}

const _: () = assert!(size_of::<Message>() == 16);

impl Message {
    pub(super) fn sent_at(&self) -> UnixSeconds {
        self.sent_at.into()
    }
}

/// The messages of an unbroken run of days, ready for the stage.
#[derive(Debug)]
pub struct History {
    first_day: i32,
    customers: StringArray,
    workers: StringArray,
    /// The timelines of all customers, one after another, in the order of the customers. Each
    /// timeline is in order of (`sent_at`, `seq`).
    messages: Vec<Message>,
    /// Start of each customer's timeline in `messages`, and the end of the last one.
    bounds: Vec<usize>,
    /// Day (counted from the first) and worker of each automatic message.
    automatic: Vec<(u16, u32)>,
}

impl History {
    /// The number of the day from which [`Message::day`] counts.
    pub(super) fn first_day(&self) -> i32 {
        self.first_day
    }

    /// Openids in ascending order.
    pub(super) fn customers(&self) -> &StringArray {
        &self.customers
    }

    /// Workers in ascending order.
    pub(super) fn workers(&self) -> &StringArray {
        &self.workers
    }

    /// Day (counted from the first) and worker of each automatic message.
    pub(super) fn automatic(&self) -> &[(u16, u32)] {
        &self.automatic
    }

    /// The timeline of each customer of a range, in order.
    pub(super) fn timelines(
        &self,
        customers: Range<u32>,
    ) -> impl Iterator<Item = (u32, &[Message])> {
        let timeline = |customer: u32| {
            let (start, end) =
                (self.bounds.get(customer as usize)?, self.bounds.get(customer as usize + 1)?);
            Some((customer, self.messages.get(*start..*end)?))
        };
        customers.filter_map(timeline)
    }

    /// Whether one thread is enough for it.
    pub(super) fn is_small(&self) -> bool {
        self.bounds.last().is_none_or(|messages| *messages <= ROWS_QUICK)
    }

    /// Splits all customers into ranges with about the same number of messages.
    pub(super) fn ranges(&self, wanted: usize) -> Vec<Range<u32>> {
        let messages = self.bounds.last().copied().unwrap_or_default();
        let starts = (0..wanted).map(|part| {
            self.bounds.partition_point(|start| *start < messages * part / wanted) as u32
        });
        let mut starts: Vec<u32> = starts.chain([self.customers.len() as u32]).collect();
        starts.dedup();
        starts.windows(2).filter_map(|ends| Some(*ends.first()?..*ends.last()?)).collect()
    }

    /// Arranges the rows of all parts, each with its day, as [`messages`](Self::messages).
    fn timelines_of(
        &self,
        parts: &[(u16, Vec<Row>)],
        cancel: &Cancel,
    ) -> Result<Vec<Message>, Cancelled> {
        let nobody = Message { sent_at: 0, seq: 0, worker: 0, day: 0, hour: 0, inbound: false };
        let mut messages = vec![nobody; self.bounds.last().copied().unwrap_or_default()];
        // Each thread writes the messages of its own range of customers.
        let mut slices = Vec::new();
        let mut rest = messages.as_mut_slice();
        for range in self.ranges(rayon::current_num_threads()) {
            let bounds =
                self.bounds.get(range.start as usize..=range.end as usize).unwrap_or_default();
            let length = bounds.last().zip(bounds.first()).map_or(0, |(last, first)| last - first);
            let (slice, others) = rest.split_at_mut(length);
            slices.push((range, bounds, slice));
            rest = others;
        }
        let write = |(range, bounds, slice): (Range<u32>, &[usize], &mut [Message])| {
            let offset = bounds.first().copied().unwrap_or_default();
            let mut next: Vec<usize> = bounds.iter().map(|bound| bound - offset).collect();
            for (day, rows) in parts {
                cancel.check()?;
                for row in rows.iter().filter(|row| !row.automatic) {
                    if !range.contains(&row.customer) {
                        continue;
                    }
                    let place = next.get_mut((row.customer - range.start) as usize);
                    if let Some((place, message)) = place
                        .and_then(|place| slice.get_mut(*place).map(|message| (place, message)))
                    {
                        let Row { sent_at, seq, worker, hour, inbound, .. } = *row;
                        *message = Message { sent_at, seq, worker, day: *day, hour, inbound };
                        *place += 1;
                    }
                }
            }
            Ok(())
        };
        threads::map(slices, self.is_small(), write)?;
        Ok(messages)
    }

    /// A copy with only the messages of these days.
    pub(super) fn restricted(&self, days: DayRange) -> Self {
        let is_within = |day: u16| {
            (days.first.number()..=days.last.number()).contains(&(self.first_day + i32::from(day)))
        };
        let mut messages = Vec::new();
        let mut bounds = vec![0];
        for (_, timeline) in self.timelines(0..self.customers.len() as u32) {
            messages.extend(timeline.iter().filter(|message| is_within(message.day)));
            bounds.push(messages.len());
        }
        let automatic = self.automatic.iter().copied().filter(|(day, _)| is_within(*day)).collect();
        Self {
            first_day: self.first_day,
            customers: self.customers.clone(),
            workers: self.workers.clone(),
            messages,
            bounds,
            automatic,
        }
    }
}

/// Collects partitions of `messages`, in order of days.
#[derive(Debug)]
pub struct HistoryBuilder<'a> {
    zone: &'a Zone,
    auto_reply: &'a [AutoReply],
    first_day: Option<Day>,
    customers: Names,
    workers: Names,
    parts: Vec<NumberedPart>,
    /// Day of the last appended batch, and the number of rows appended for that day.
    appended: Option<(Day, usize)>,
}

/// The visible and automatic messages of a batch. Names are numbered within the batch.
#[derive(Debug)]
pub struct Part {
    day: Day,
    customers: StringArray,
    workers: StringArray,
    rows: Vec<Row>,
}

/// A part, with the number across all parts for each name of its batch.
#[derive(Debug)]
struct NumberedPart {
    day: Day,
    customers: Vec<u32>,
    workers: Vec<u32>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    sent_at: u32,
    seq: u32,
    customer: u32,
    worker: u32,
    hour: u8,
    inbound: bool,
    automatic: bool,
}

impl<'a> HistoryBuilder<'a> {
    pub fn new(zone: &'a Zone, parameters: &'a Parameters) -> Self {
        let auto_reply = &parameters.auto_reply;
        Self {
            zone,
            auto_reply,
            first_day: None,
            customers: Names::default(),
            workers: Names::default(),
            parts: Vec::new(),
            appended: None,
        }
    }

    /// Adds rows of a day, which follow the rows added before. `batch` has the [`columns`]: names
    /// as dictionaries with int32 keys, text as strings.
    ///
    /// # Errors
    /// Fails when the batch has other columns.
    pub fn append(&mut self, day: Day, batch: &RecordBatch) -> Result<(), MetricsError> {
        let first_row = match self.appended {
            Some((last, rows)) if last == day => rows,
            _ => 0,
        };
        let part = self.decode(day, first_row, batch)?;
        self.push(part);
        self.appended = Some((day, first_row + batch.num_rows()));
        Ok(())
    }

    /// Decodes a batch for [`push`](Self::push). Batches can be decoded in parallel. `first_row` is
    /// the number of rows of the day before this batch. A message's `seq` is its row in the
    /// partition, so the column is not read.
    ///
    /// # Errors
    /// Fails when the batch has other columns than [`append`](Self::append) needs, or an instant
    /// before 1970 or after 2106.
    pub fn decode(
        &self,
        day: Day,
        first_row: usize,
        batch: &RecordBatch,
    ) -> Result<Part, MetricsError> {
        let unexpected = |what: &str| MetricsError::Unexpected(what.to_owned());
        u32::try_from(first_row + batch.num_rows())
            .map_err(|_| unexpected("more rows on one day than 32 bits count"))?;
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| MetricsError::Unexpected(format!("no column {name}")))
        };
        let opercodes = column("opercode")?.as_primitive::<Int32Type>().values();
        let sent_at = column("sent_at")?.as_primitive::<TimestampMicrosecondType>().values();
        let (customers, workers) = (dictionary(column("openid")?)?, dictionary(column("worker")?)?);
        let automatic = self.automatic(batch)?;
        let offsets = self.zone.offsets(self.zone.bounds(day));
        let rows = opercodes
            .iter()
            .zip(sent_at)
            .zip(customers.keys().values().iter().zip(workers.keys().values()))
            .enumerate();
        let rows = rows.filter_map(|(row, ((opercode, sent_at), (customer, worker)))| {
            let inbound = Direction::of(*opercode)? == Direction::In;
            let seconds = sent_at.div_euclid(1_000_000);
            let Ok(sent_at) = u32::try_from(seconds) else {
                return Some(Err(unexpected("an instant before 1970 or after 2106")));
            };
            Some(Ok(Row {
                sent_at,
                seq: (first_row + row) as u32,
                customer: *customer as u32,
                worker: *worker as u32,
                hour: hour(&offsets, seconds),
                inbound,
                automatic: !inbound && automatic.get(row).is_some_and(|automatic| *automatic),
            }))
        });
        let rows = rows.collect::<Result<_, _>>()?;
        let names = |names: &ArrayRef| names.as_string::<i32>().clone();
        Ok(Part {
            day,
            customers: names(customers.values()),
            workers: names(workers.values()),
            rows,
        })
    }

    /// Finds the rows that match a rule for automatic replies, with any opercode. Empty without
    /// rules.
    fn automatic(&self, batch: &RecordBatch) -> Result<Vec<bool>, MetricsError> {
        if self.auto_reply.is_empty() {
            return Ok(Vec::new());
        }
        let text = batch.column_by_name("text");
        let text = text
            .map(|text| {
                text.as_string_opt::<i32>().ok_or_else(|| {
                    MetricsError::Unexpected(format!("texts as {}", text.data_type()))
                })
            })
            .transpose()?;
        let workers = batch.column_by_name("worker").map(dictionary).transpose()?;
        let worker_of = |row: usize| {
            workers.and_then(|workers| {
                Some(workers.values().as_string::<i32>().value(workers.key(row)?))
            })
        };
        let is_automatic = |row: usize| {
            let text = text.filter(|text| text.is_valid(row)).map(|text| text.value(row));
            self.auto_reply
                .iter()
                .any(|rule| rule.matches(worker_of(row).unwrap_or_default(), text))
        };
        Ok((0..batch.num_rows()).map(is_automatic).collect())
    }

    /// Adds a part, which follows the parts added before.
    pub fn push(&mut self, part: Part) {
        let customers = self.customers.number_all(&part.customers);
        let workers = self.workers.number_all(&part.workers);
        self.first_day.get_or_insert(part.day);
        self.parts.push(NumberedPart { day: part.day, customers, workers, rows: part.rows });
    }

    /// Sorts the messages of all parts into the timelines of their customers.
    ///
    /// # Errors
    /// Fails when a day is more than 65,535 days after the first one, or after a signal.
    pub fn finish(self, cancel: &Cancel) -> Result<History, MetricsError> {
        let first_day = self.first_day.map_or(0, Day::number);
        let (customers, customer_ranks) = self.customers.in_order(cancel)?;
        let (workers, worker_ranks) = self.workers.in_order(cancel)?;
        let ranked = |part: NumberedPart| -> Result<(u16, Vec<Row>), MetricsError> {
            cancel.check()?;
            let day = u16::try_from(part.day.number() - first_day).map_err(|_| {
                MetricsError::Unexpected(format!("{} and a day long before", part.day))
            })?;
            let customers: Vec<u32> =
                part.customers.iter().map(|number| at(&customer_ranks, *number)).collect();
            let workers: Vec<u32> =
                part.workers.iter().map(|number| at(&worker_ranks, *number)).collect();
            let mut rows = part.rows;
            for row in &mut rows {
                row.customer = at(&customers, row.customer);
                row.worker = at(&workers, row.worker);
            }
            Ok((day, rows))
        };
        let rows: usize = self.parts.iter().map(|part| part.rows.len()).sum();
        let parts = threads::map(self.parts, rows <= ROWS_QUICK, ranked)?;
        // Count the messages of each customer to find where each timeline begins in `messages`.
        let mut automatic = Vec::new();
        let mut bounds = vec![0usize; customers.len() + 1];
        for (day, rows) in &parts {
            cancel.check()?;
            for row in rows {
                if row.automatic {
                    automatic.push((*day, row.worker));
                } else if let Some(count) = bounds.get_mut(row.customer as usize + 1) {
                    *count += 1;
                }
            }
        }
        let mut end = 0;
        for bound in &mut bounds {
            end += *bound;
            *bound = end;
        }

        let mut history =
            History { first_day, customers, workers, messages: Vec::new(), bounds, automatic };
        history.messages = history.timelines_of(&parts, cancel)?;
        Ok(history)
    }
}

/// Returns the number at an index. The index always exists.
fn at(numbers: &[u32], place: u32) -> u32 {
    numbers.get(place as usize).copied().unwrap_or_default()
}

/// The local hour of an instant, by the offsets of its day.
fn hour(offsets: &[OffsetSpan], instant: UnixSeconds) -> u8 {
    let offset = offsets.iter().rev().find(|offset| offset.from <= instant).or(offsets.first());
    let local = instant + offset.map_or(0, |offset| i64::from(offset.offset_seconds));
    (local.rem_euclid(86_400) / 3_600) as u8
}
