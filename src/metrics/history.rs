//! The input of the stage: the messages of an unbroken run of days as one polars frame.
//!
//! Openids and workers become numbers here, once, in the order of their names: sorting, grouping and comparing numbers is what makes the
//! stage quick, and sorting by the number is sorting by the name. Texts are read only where a rule for automatic replies asks for them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use hashbrown::HashTable;
use polars::prelude::{Column, DataFrame, IntoLazy, col, lit};

use super::{AutoReply, MetricsError, Parameters, bridge};
use crate::calendar::{Day, DayRange, Zone};
use crate::lake::opercode;

/// The columns of `messages` that the stage needs.
pub fn columns(parameters: &Parameters) -> Vec<&'static str> {
    let mut columns = vec!["openid", "worker", "opercode", "sent_at"];
    if parameters.auto_reply.iter().any(AutoReply::needs_text) {
        columns.push("text");
    }
    columns
}

/// The messages of an unbroken run of days, ready for the stage.
#[derive(Debug)]
pub struct History {
    frame: DataFrame,
    customers: StringArray,
    workers: StringArray,
}

impl History {
    /// One row per message with code 2002 or 2003, in order of (`sent_at`, `seq`): `customer` u32 and `worker` u32, indexes into
    /// [`customers`](Self::customers) and [`workers`](Self::workers); `inbound` bool; `automatic` bool; `sent_at` i64, unix seconds; `day` i32, the
    /// local day; `hour` i32, the local hour.
    pub fn frame(&self) -> DataFrame {
        self.frame.clone()
    }

    /// Only the messages of these days.
    pub(super) fn restricted(&self, days: DayRange) -> Result<Self, MetricsError> {
        let is_within = col("day").gt_eq(lit(days.first.number())).and(col("day").lt_eq(lit(days.last.number())));
        let frame = self.frame.clone().lazy().filter(is_within).collect()?;
        Ok(Self { frame, customers: self.customers.clone(), workers: self.workers.clone() })
    }

    /// Openids in ascending order.
    pub fn customers(&self) -> &StringArray {
        &self.customers
    }

    /// Workers in ascending order.
    pub fn workers(&self) -> &StringArray {
        &self.workers
    }
}

/// Takes in partitions of `messages`, day after day.
#[derive(Debug)]
pub struct HistoryBuilder<'a> {
    zone: &'a Zone,
    auto_reply: &'a [AutoReply],
    customers: Names,
    workers: Names,
    customer: Vec<u32>,
    worker: Vec<u32>,
    inbound: Vec<bool>,
    automatic: Vec<bool>,
    sent_at: Vec<i64>,
    day: Vec<i32>,
    hour: Vec<i32>,
}

impl<'a> HistoryBuilder<'a> {
    pub fn new(zone: &'a Zone, parameters: &'a Parameters) -> Self {
        Self {
            zone,
            auto_reply: &parameters.auto_reply,
            customers: Names::default(),
            workers: Names::default(),
            customer: Vec::new(),
            worker: Vec::new(),
            inbound: Vec::new(),
            automatic: Vec::new(),
            sent_at: Vec::new(),
            day: Vec::new(),
            hour: Vec::new(),
        }
    }

    /// Adds rows of a day, which follow those added before. `batch` has the [`columns`], names as dictionaries of int32 keys, text as strings.
    ///
    /// # Errors
    /// When the batch has other columns.
    pub fn append(&mut self, day: Day, batch: &RecordBatch) -> Result<(), MetricsError> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| MetricsError::Unexpected(format!("no column {name}")));
        let opercodes = column("opercode")?.as_primitive::<Int32Type>().values();
        let is_visible = |opercode: i32| matches!(opercode, opercode::WORKER_RECEIVED | opercode::WORKER_SENT);
        let rows: Vec<usize> = opercodes.iter().enumerate().filter(|(_, opercode)| is_visible(**opercode)).map(|(row, _)| row).collect();
        self.customers.encode(column("openid")?, &rows, &mut self.customer)?;
        self.workers.encode(column("worker")?, &rows, &mut self.worker)?;
        self.inbound.extend(rows.iter().filter_map(|row| opercodes.get(*row)).map(|opercode| *opercode == opercode::WORKER_RECEIVED));
        self.mark_automatic(batch.column_by_name("text"), &rows)?;

        let sent_at = column("sent_at")?.as_primitive::<TimestampMicrosecondType>().values();
        self.sent_at.extend(rows.iter().filter_map(|row| sent_at.get(*row)).map(|micros| micros.div_euclid(1_000_000)));
        let offsets = self.zone.offsets(self.zone.bounds(day));
        let hour = |sent_at: &i64| {
            let offset = offsets.iter().rev().find(|offset| offset.from <= *sent_at).or(offsets.first());
            let local = sent_at + offset.map_or(0, |offset| i64::from(offset.offset_seconds));
            (local.rem_euclid(86_400) / 3_600) as i32
        };
        self.hour.extend(self.sent_at.get(self.hour.len()..).unwrap_or_default().iter().map(hour));
        self.day.resize(self.sent_at.len(), day.number());
        Ok(())
    }

    /// Marks the OUTs among the rows just added that match a rule.
    fn mark_automatic(&mut self, text: Option<&ArrayRef>, rows: &[usize]) -> Result<(), MetricsError> {
        let first = self.automatic.len();
        self.automatic.resize(self.inbound.len(), false);
        if self.auto_reply.is_empty() {
            return Ok(());
        }
        let text = text
            .map(|text| text.as_string_opt::<i32>().ok_or_else(|| MetricsError::Unexpected(format!("texts as {}", text.data_type()))))
            .transpose()?;
        let added = self.automatic.iter_mut().zip(&self.inbound).zip(&self.worker).skip(first).zip(rows);
        for (((automatic, inbound), worker), row) in added {
            let text = text.filter(|text| text.is_valid(*row)).map(|text| text.value(*row));
            let worker = self.workers.name(*worker);
            *automatic = !inbound && self.auto_reply.iter().any(|rule| rule.matches(worker, text));
        }
        Ok(())
    }

    /// # Errors
    /// None that a user could cause.
    pub fn finish(self) -> Result<History, MetricsError> {
        let (customers, customer) = self.customers.in_order(self.customer);
        let (workers, worker) = self.workers.in_order(self.worker);
        let columns: [(&str, ArrayRef); 7] = [
            ("customer", Arc::new(UInt32Array::from(customer))),
            ("worker", Arc::new(UInt32Array::from(worker))),
            ("inbound", Arc::new(BooleanArray::from(self.inbound))),
            ("automatic", Arc::new(BooleanArray::from(self.automatic))),
            ("sent_at", Arc::new(Int64Array::from(self.sent_at))),
            ("day", Arc::new(Int32Array::from(self.day))),
            ("hour", Arc::new(Int32Array::from(self.hour))),
        ];
        let columns =
            columns.iter().map(|(name, array)| Ok(Column::from(bridge::to_series(name, array)?))).collect::<Result<_, MetricsError>>()?;
        Ok(History { frame: DataFrame::new_infer_height(columns)?, customers, workers })
    }
}

/// Distinct names, numbered in the order in which they came.
#[derive(Debug, Default)]
struct Names {
    names: Vec<Box<str>>,
    numbers: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
}

impl Names {
    /// Appends the number of each named row. Each distinct value of the batch is looked up once.
    fn encode(&mut self, column: &ArrayRef, rows: &[usize], numbers: &mut Vec<u32>) -> Result<(), MetricsError> {
        let dictionary =
            column.as_dictionary_opt::<Int32Type>().ok_or_else(|| MetricsError::Unexpected(format!("names as {}", column.data_type())))?;
        let values = dictionary.values().as_string::<i32>();
        let mut number_of_key: Vec<Option<u32>> = vec![None; values.len()];
        for row in rows {
            let key = dictionary.key(*row).ok_or_else(|| MetricsError::Unexpected("a null name".into()))?;
            let known = number_of_key.get_mut(key).ok_or_else(|| MetricsError::Unexpected("a key without a name".into()))?;
            numbers.push(match known {
                Some(number) => *number,
                None => *known.insert(self.number(values.value(key))),
            });
        }
        Ok(())
    }

    fn number(&mut self, name: &str) -> u32 {
        use std::hash::BuildHasher;
        let Self { names, numbers, hasher } = self;
        let name_of = |number: &u32| names.get(*number as usize).map_or("", AsRef::as_ref);
        let entry = numbers.entry(hasher.hash_one(name), |number| name_of(number) == name, |number| hasher.hash_one(name_of(number)));
        let number = *entry.or_insert_with(|| names.len() as u32).get();
        if number as usize == names.len() {
            names.push(name.into());
        }
        number
    }

    fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", AsRef::as_ref)
    }

    /// The names in ascending order, and the given numbers changed to match.
    fn in_order(self, mut numbers: Vec<u32>) -> (StringArray, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.names.len() as u32).collect();
        order.sort_unstable_by_key(|number| self.name(*number));
        let mut ranks = vec![0u32; order.len()];
        for (number, rank) in order.iter().zip(0u32..) {
            if let Some(slot) = ranks.get_mut(*number as usize) {
                *slot = rank;
            }
        }
        for number in &mut numbers {
            *number = ranks.get(*number as usize).copied().unwrap_or_default();
        }
        let names = order.iter().map(|number| self.name(*number));
        (StringArray::from_iter_values(names), numbers)
    }
}
