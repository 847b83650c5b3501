//! A record: a message as the API returns it.

use std::sync::LazyLock;

use arrow::array::{Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::Table;
use super::column::typed;
use super::table::schema_of;

/// The direction of a message. Metrics use only messages that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The worker received a customer's message.
    In,
    /// The worker sent a message.
    Out,
}

/// The values of `opercode` that have a direction. Messages with other values are stored unchanged,
/// but no metric uses them.
pub const OPERCODES: [(i32, Direction); 2] =
    [(opercode::WORKER_SENT, Direction::Out), (opercode::WORKER_RECEIVED, Direction::In)];

pub mod opercode {
    /// The worker sent a message (OUT).
    pub const WORKER_SENT: i32 = 2002;
    /// The worker received a customer's message (IN).
    pub const WORKER_RECEIVED: i32 = 2003;
}

impl Direction {
    pub fn of(opercode: i32) -> Option<Self> {
        OPERCODES.iter().find(|(code, _)| *code == opercode).map(|(_, direction)| *direction)
    }

    pub fn opercodes(self) -> impl Iterator<Item = i32> {
        OPERCODES.into_iter().filter(move |(_, direction)| *direction == self).map(|(code, _)| code)
    }
}

/// The number of messages in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct MessageCounts {
    /// The worker received a customer's message.
    pub received: u64,
    /// The worker sent a message.
    pub sent: u64,
    /// Messages with any other `opercode`. They are stored, but no metric uses them.
    pub other: u64,
}

impl MessageCounts {
    /// Counts messages by their `opercode`.
    pub fn add(&mut self, opercodes: &Int32Array) {
        for opercode in opercodes.values() {
            match Direction::of(*opercode) {
                Some(Direction::In) => self.received += 1,
                Some(Direction::Out) => self.sent += 1,
                None => self.other += 1,
            }
        }
    }
}

/// The columns of `messages` whose values come unchanged from the API.
pub fn columns() -> Vec<&'static str> {
    Table::Messages.names(|column| column.is_recorded)
}

/// The schema of records: the columns of `messages` without those that the lake adds.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> =
        LazyLock::new(|| schema_of(Table::Messages.columns().filter(|column| column.is_recorded)));
    SCHEMA.clone()
}

/// The columns of a batch of records.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    pub openid: &'a StringArray,
    pub worker: &'a StringArray,
    pub opercode: &'a Int32Array,
    pub text: &'a StringArray,
    pub sent_at: &'a TimestampMicrosecondArray,
}

impl<'a> Records<'a> {
    /// Finds the columns of a batch of records.
    ///
    /// # Errors
    /// Fails when a column is missing or has another type.
    pub fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            openid: typed(batch, "openid")?,
            worker: typed(batch, "worker")?,
            opercode: typed(batch, "opercode")?,
            text: typed(batch, "text")?,
            sent_at: typed(batch, "sent_at")?,
        })
    }
}
