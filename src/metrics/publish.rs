//! A polars frame of one day → a record batch in its table's schema: numbers become names and instants again.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use polars::prelude::DataFrame;

use super::{History, MetricsError, bridge};

/// The columns of `schema`, taken from the columns of the same names; `account` is the same in each row.
pub(super) fn publish(frame: &DataFrame, schema: &SchemaRef, history: &History, account: &str) -> Result<RecordBatch, MetricsError> {
    let column = |field: &Arc<Field>| -> Result<ArrayRef, MetricsError> {
        let name = field.name().as_str();
        if name == "account" {
            return Ok(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(account, frame.height()))));
        }
        let column = bridge::to_array(frame.column(name)?)?;
        match (name, field.data_type()) {
            ("openid", _) => Ok(take(history.customers(), &column, None)?),
            ("worker" | "first_worker", _) => Ok(take(history.workers(), &column, None)?),
            (_, DataType::Timestamp(..)) => {
                let micros: TimestampMicrosecondArray = column.as_primitive::<Int64Type>().unary(|seconds| seconds * 1_000_000);
                Ok(Arc::new(micros.with_timezone("UTC")))
            }
            (_, data_type) => Ok(cast(&column, data_type)?),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}
