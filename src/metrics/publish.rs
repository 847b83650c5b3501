//! Converts the rows of one day to a record batch in its table's schema. Numbers become names and
//! instants again.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, SchemaRef};
use polars::prelude::{DataFrame, DataType as PolarsType};
use rayon::prelude::*;

use super::day_rows::{Outcome, Session, SessionOutcome, Turn};
use super::{History, MetricsError, ROWS_SIDE_BY_SIDE};
use crate::calendar::UnixSeconds;
use crate::model::Table;
use crate::model::cancel::Cancel;

/// Builds `response_pairs` from the turns of a day.
pub(super) fn response_pairs(
    turns: &[Turn],
    history: &History,
    account: &str,
    cancel: &Cancel,
) -> Result<RecordBatch, MetricsError> {
    let outcome = |turn: &Turn| match turn.outcome {
        Outcome::Answered => "answered",
        Outcome::Pending => "pending",
        Outcome::Unanswered => "unanswered",
    };
    let rows = Rows { rows: turns, history };
    let column = |field: &Arc<Field>| -> Result<ArrayRef, MetricsError> {
        cancel.check()?;
        match field.name().as_str() {
            "account" => rows.texts(|_| account),
            "openid" => rows.customers(|turn| turn.customer),
            "worker" => rows.workers(|turn| turn.worker),
            "first_worker" => rows.workers(|turn| turn.first_worker),
            "asked_at" => rows.instants(|turn| Some(turn.asked_at)),
            "last_asked_at" => {
                rows.instants(|turn| Some(turn.asked_at + i64::from(turn.asking_seconds)))
            }
            "replied_at" => rows.instants(|turn| {
                turn.response_seconds.map(|seconds| turn.asked_at + i64::from(seconds))
            }),
            "outcome" => rows.texts(outcome),
            "response_seconds" => rows.numbers(|turn| turn.response_seconds.map(i64::from)),
            "since_last_seconds" => rows.numbers(|turn| {
                turn.response_seconds
                    .map(|seconds| i64::from(seconds) - i64::from(turn.asking_seconds))
            }),
            "own_response_seconds" => rows.numbers(|turn| turn.own_response_seconds.map(i64::from)),
            "business_seconds" => rows.numbers(|turn| turn.business_seconds.map(i64::from)),
            "asked_in_hours" => rows.flags(|turn| turn.asked_in_hours),
            "customer_messages" => rows.numbers(|turn| Some(turn.customer_messages.into())),
            "is_first" => rows.flags(|turn| Some(turn.is_first)),
            "asked_seq" => rows.numbers(|turn| Some(turn.asked_seq.into())),
            other => Err(MetricsError::Unexpected(format!("no column {other} of response pairs"))),
        }
    };
    batch(turns.len(), &Table::ResponsePairs.schema(), column)
}

/// Builds `sessions` from the sessions that began on a day.
pub(super) fn sessions(
    sessions: &[Session],
    history: &History,
    account: &str,
    cancel: &Cancel,
) -> Result<RecordBatch, MetricsError> {
    let outcome = |session: &Session| match session.outcome {
        SessionOutcome::Completed => "completed",
        SessionOutcome::Missed => "missed",
        SessionOutcome::Dropped => "dropped",
        SessionOutcome::Open => "open",
        SessionOutcome::Outreach => "outreach",
    };
    let rows = Rows { rows: sessions, history };
    let column = |field: &Arc<Field>| -> Result<ArrayRef, MetricsError> {
        cancel.check()?;
        match field.name().as_str() {
            "account" => rows.texts(|_| account),
            "openid" => rows.customers(|session| session.customer),
            "started_at" => rows.instants(|session| Some(session.started_at)),
            "ended_at" => rows.instants(|session| Some(session.ended_at)),
            "initiated_by" => {
                rows.texts(|session| if session.by_customer { "customer" } else { "worker" })
            }
            "outcome" => rows.texts(outcome),
            "first_response_seconds" => {
                rows.numbers(|session| session.first_response_seconds.map(i64::from))
            }
            "customer_messages" => rows.numbers(|session| Some(session.customer_messages.into())),
            "worker_messages" => rows.numbers(|session| Some(session.worker_messages.into())),
            "turns" => rows.numbers(|session| Some(session.turns.into())),
            "started_seq" => rows.numbers(|session| Some(session.started_seq.into())),
            "answered" => rows.numbers(|session| Some(session.answered.into())),
            "workers" => rows.numbers(|session| Some(session.workers.into())),
            other => Err(MetricsError::Unexpected(format!("no column {other} of sessions"))),
        }
    };
    batch(sessions.len(), &Table::Sessions.schema(), column)
}

/// Builds the columns of `schema` from the frame's columns with the same names. `account` is the
/// same in each row.
pub(super) fn statistics(
    frame: &DataFrame,
    schema: &SchemaRef,
    history: &History,
    account: &str,
) -> Result<RecordBatch, MetricsError> {
    let column = |field: &Arc<Field>| -> Result<ArrayRef, MetricsError> {
        let name = field.name().as_str();
        let values = |data_type: &PolarsType| {
            Ok::<_, MetricsError>(frame.column(name)?.as_materialized_series().cast(data_type)?)
        };
        Ok(match (name, field.data_type()) {
            ("account", _) => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                account,
                frame.height(),
            ))),
            ("worker", _) => take(
                history.workers(),
                &values(&PolarsType::UInt32)?.u32()?.iter().collect::<UInt32Array>(),
                None,
            )?,
            (_, DataType::Timestamp(..)) => {
                let seconds = values(&PolarsType::Int64)?;
                let micros =
                    seconds.i64()?.iter().map(|seconds| seconds.map(|seconds| seconds * MICROS));
                Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            (_, DataType::Int32) => {
                Arc::new(values(&PolarsType::Int32)?.i32()?.iter().collect::<Int32Array>())
            }
            (_, DataType::Int64) => {
                Arc::new(values(&PolarsType::Int64)?.i64()?.iter().collect::<Int64Array>())
            }
            (_, DataType::Float64) => {
                Arc::new(values(&PolarsType::Float64)?.f64()?.iter().collect::<Float64Array>())
            }
            (_, other) => {
                return Err(MetricsError::Unexpected(format!("a statistic {name} as {other}")));
            }
        })
    };
    batch(frame.height(), schema, column)
}

const MICROS: i64 = 1_000_000;

fn batch(
    rows: usize,
    schema: &SchemaRef,
    column: impl Fn(&Arc<Field>) -> Result<ArrayRef, MetricsError> + Send + Sync,
) -> Result<RecordBatch, MetricsError> {
    let columns = match rows {
        ROWS_SIDE_BY_SIDE.. => {
            schema.fields().par_iter().map(column).collect::<Result<Vec<_>, _>>()?
        }
        _ => schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?,
    };
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// Converts rows to columns.
struct Rows<'a, T> {
    rows: &'a [T],
    history: &'a History,
}

impl<T: Sync> Rows<'_, T> {
    fn texts<'b>(&self, value: impl Fn(&T) -> &'b str) -> Result<ArrayRef, MetricsError> {
        Ok(Arc::new(StringArray::from_iter_values(self.rows.iter().map(value))))
    }

    fn customers(&self, value: impl Fn(&T) -> u32) -> Result<ArrayRef, MetricsError> {
        Ok(take(
            self.history.customers(),
            &UInt32Array::from_iter_values(self.rows.iter().map(value)),
            None,
        )?)
    }

    fn workers(&self, value: impl Fn(&T) -> u32) -> Result<ArrayRef, MetricsError> {
        Ok(take(
            self.history.workers(),
            &UInt32Array::from_iter_values(self.rows.iter().map(value)),
            None,
        )?)
    }

    fn instants(
        &self,
        value: impl Fn(&T) -> Option<UnixSeconds>,
    ) -> Result<ArrayRef, MetricsError> {
        let micros = self.rows.iter().map(|row| value(row).map(|seconds| seconds * MICROS));
        Ok(Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC")))
    }

    fn numbers(&self, value: impl Fn(&T) -> Option<i64>) -> Result<ArrayRef, MetricsError> {
        Ok(Arc::new(self.rows.iter().map(value).collect::<Int64Array>()))
    }

    fn flags(&self, value: impl Fn(&T) -> Option<bool>) -> Result<ArrayRef, MetricsError> {
        Ok(Arc::new(self.rows.iter().map(value).collect::<BooleanArray>()))
    }
}
