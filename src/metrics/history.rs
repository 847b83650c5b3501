//! Input of the stage: the messages of an unbroken run of days, by customer.
//!
//! Openids and workers are numbered here once, in the order of their names. Numbers are faster to
//! compare, group and sort, and sorting by the number is sorting by the name.
//!
//! The rows of a partition are in order of time. Each row is appended to the timeline of its
//! customer, so no other sorting is needed. Texts are read only when a rule for automatic replies
//! needs them.

use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};

use super::dealing::{Blocks, Dealt, Row, Timelines};
use super::names::{Hashed, Names, dictionary};
use super::{AutoReply, MetricsError, Parameters, ROWS_QUICK};
use crate::calendar::{Day, DayRange, OffsetSpan, UnixSeconds, Zone};
use crate::model::cancel::Cancel;
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
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Message {
    pub(super) sent_at: u32,
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
    /// The timelines of all customers, in the order of the customers.
    blocks: Vec<Timelines>,
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

    /// Whether one thread is enough for it.
    pub(super) fn is_small(&self) -> bool {
        self.blocks.iter().map(Timelines::len).sum::<usize>() <= ROWS_QUICK
    }

    /// Splits the blocks of customers into ranges with about the same number of messages.
    pub(super) fn ranges(&self, wanted: usize) -> Vec<&[Timelines]> {
        let messages = self.blocks.iter().map(Timelines::len).sum::<usize>();
        let (mut ranges, mut first, mut so_far) = (Vec::new(), 0, 0);
        for (block, timelines) in self.blocks.iter().enumerate() {
            so_far += timelines.len();
            if so_far * wanted >= messages * (ranges.len() + 1) {
                ranges.extend(self.blocks.get(first..=block));
                first = block + 1;
            }
        }
        ranges
    }

    /// A copy with only the messages of these days.
    pub(super) fn restricted(&self, days: DayRange) -> Self {
        let is_within = |day: u16| {
            (days.first.number()..=days.last.number()).contains(&(self.first_day + i32::from(day)))
        };
        let filtered = |block: &Timelines| block.filtered(|message| is_within(message.day));
        let automatic = self.automatic.iter().copied().filter(|(day, _)| is_within(*day)).collect();
        Self {
            first_day: self.first_day,
            customers: self.customers.clone(),
            workers: self.workers.clone(),
            blocks: self.blocks.iter().map(filtered).collect(),
            automatic,
        }
    }
}

/// Collects partitions of `messages`.
#[derive(Debug)]
pub struct HistoryBuilder<'a> {
    zone: &'a Zone,
    auto_reply: &'a [AutoReply],
    found: Mutex<Found>,
}

/// What was found in the batches so far.
#[derive(Debug, Default)]
struct Found {
    customers: Names,
    workers: Names,
    parts: Vec<Part>,
}

/// The visible and automatic messages of a batch. Names are numbered within the batch.
#[derive(Debug)]
struct Part {
    day: Day,
    first_row: usize,
    /// The number across all batches for each name of this one.
    customers: Vec<u32>,
    workers: Vec<u32>,
    rows: Vec<Row>,
}

impl<'a> HistoryBuilder<'a> {
    pub fn new(zone: &'a Zone, parameters: &'a Parameters) -> Self {
        let auto_reply = &parameters.auto_reply;
        Self { zone, auto_reply, found: Mutex::default() }
    }

    /// Adds rows of a day. Several threads may do this, in any order. `first_row` is the number of
    /// rows of the day before this batch. `batch` has the [`columns`]: names as dictionaries with
    /// int32 keys, text as strings. A message's `seq` is its row in the partition, so the column is
    /// not read.
    ///
    /// # Errors
    /// Fails when the batch has other columns, or an instant before 1970 or after 2106.
    pub fn add(&self, day: Day, first_row: usize, batch: &RecordBatch) -> Result<(), MetricsError> {
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
        let customers = Hashed::of(customers.values().as_string::<i32>());
        let workers = Hashed::of(workers.values().as_string::<i32>());
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let customers = found.customers.number_all(&customers);
        let workers = found.workers.number_all(&workers);
        found.parts.push(Part { day, first_row, customers, workers, rows });
        Ok(())
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

    /// Sorts the messages of all parts into the timelines of their customers.
    ///
    /// # Errors
    /// Fails when a day is more than 65,535 days after the first one, or after a signal.
    pub fn finish(self, cancel: &Cancel) -> Result<History, MetricsError> {
        let Found { customers, workers, mut parts } =
            self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        parts.sort_unstable_by_key(|part| (part.day, part.first_row));
        let first_day = parts.first().map_or(0, |part| part.day.number());
        let (customers, customer_ranks) = customers.in_order(cancel)?;
        let (workers, worker_ranks) = workers.in_order(cancel)?;
        let blocks = Blocks::of(customers.len());
        let deal = |part: Part| -> Result<Dealt, MetricsError> {
            cancel.check()?;
            let day = u16::try_from(part.day.number() - first_day).map_err(|_| {
                MetricsError::Unexpected(format!("{} and a day long before", part.day))
            })?;
            let ranks = |numbers: Vec<u32>, ranks: &[u32]| {
                numbers.into_iter().map(|number| at(ranks, number)).collect::<Vec<u32>>()
            };
            let customers = ranks(part.customers, &customer_ranks);
            let workers = ranks(part.workers, &worker_ranks);
            let mut rows = part.rows;
            for row in &mut rows {
                row.customer = at(&customers, row.customer);
                row.worker = at(&workers, row.worker);
            }
            Ok(blocks.deal(day, &rows))
        };
        let rows: usize = parts.iter().map(|part| part.rows.len()).sum();
        let parts = threads::map(parts, rows <= ROWS_QUICK, deal)?;
        cancel.check()?;
        let blocks = blocks.timelines(&parts);
        cancel.check()?;
        let automatic = parts.into_iter().flat_map(|part| part.automatic).collect();
        Ok(History { first_day, customers, workers, blocks, automatic })
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
