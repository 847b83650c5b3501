//! Checks what a file claims about the values of its row groups and pages. Readers skip rows that
//! the claims exclude, so a wrong claim makes rows disappear.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{max, max_boolean, max_string, min, min_boolean, min_string};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::basic::BoundaryOrder;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::{
    ByteArrayColumnIndex, ColumnIndexMetaData, PrimitiveColumnIndex,
};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::statistics::Statistics;

/// The claims of a file. They are compared with its rows while these are read.
#[derive(Debug)]
pub(super) struct Claims(Vec<ColumnClaims>);

#[derive(Debug)]
struct ColumnClaims {
    name: String,
    /// Claims about the row groups, in reverse order.
    groups: Vec<Claim>,
    /// Claims about the pages of the row groups, in reverse order.
    pages: Vec<Claim>,
    is_wrong: bool,
}

/// A claim about the values of consecutive rows.
#[derive(Debug, Default)]
struct Claim {
    /// Number of rows that have not been seen yet.
    rows: u64,
    least: Bound,
    greatest: Bound,
    nulls: Option<u64>,
    /// Whether the claim is that all values are null.
    is_null: bool,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Bound {
    value: Option<Value>,
    /// Whether the bound is one of the values. A bound that is not exact may be truncated, and lies
    /// beyond the values.
    is_exact: bool,
}

/// The extremes and nulls of the rows that have been seen.
#[derive(Debug, Default)]
struct Seen {
    least: Option<Value>,
    greatest: Option<Value>,
    nulls: u64,
}

#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Value {
    Flag(bool),
    Number(i64),
    Float(f64),
    /// Ordered by its bytes, like texts in Parquet.
    Text(Vec<u8>),
}

impl Claims {
    /// The claims of the footer, and of the page index if it was loaded.
    pub(super) fn of(metadata: &ParquetMetaData) -> Self {
        let columns = metadata.file_metadata().schema_descr().columns();
        let mut claims: Vec<ColumnClaims> = columns
            .iter()
            .map(|column| ColumnClaims {
                name: column.name().to_owned(),
                groups: Vec::new(),
                pages: Vec::new(),
                is_wrong: false,
            })
            .collect();
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let rows = u64::try_from(group.num_rows()).unwrap_or_default();
            let index = metadata.page_index_for_row_group(number);
            for (place, (claims, column)) in claims.iter_mut().zip(group.columns()).enumerate() {
                claims.groups.push(
                    column.statistics().map_or_else(Claim::default, Claim::of_group).about(rows),
                );
                let pages = index.column_index(place);
                let locations = index.page_locations(place);
                let Some((pages, locations)) = pages.zip(locations) else { continue };
                match of_pages(pages, locations, rows) {
                    Some(pages) => claims.pages.extend(pages),
                    None => claims.is_wrong = true,
                }
            }
        }
        for claims in &mut claims {
            claims.groups.reverse();
            claims.pages.reverse();
        }
        Self(claims)
    }

    /// Compares the next rows of the file with the claims.
    pub(super) fn see(&mut self, batch: &RecordBatch) {
        for (claims, column) in self.0.iter_mut().zip(batch.columns()) {
            claims.see(column);
        }
    }

    /// The names of columns with a wrong claim.
    pub(super) fn wrong_columns(self) -> Vec<String> {
        self.0.into_iter().filter(|column| column.is_wrong).map(|column| column.name).collect()
    }
}

impl ColumnClaims {
    fn see(&mut self, column: &dyn Array) {
        let mut from = 0;
        while from < column.len() {
            let left = (column.len() - from) as u64;
            // Stop at the next end of a page or a row group.
            let rows = [&self.groups, &self.pages]
                .into_iter()
                .filter_map(|claims| Some(claims.last()?.rows))
                .fold(left, u64::min)
                .max(1);
            let seen = Seen::of(column.slice(from, rows as usize).as_ref());
            for claims in [&mut self.groups, &mut self.pages] {
                let Some(claim) = claims.last_mut() else { continue };
                claim.seen.add(&seen);
                claim.rows = claim.rows.saturating_sub(rows);
                if claim.rows == 0 {
                    self.is_wrong |= !claim.is_true();
                    claims.pop();
                }
            }
            from += rows as usize;
        }
    }
}

impl Claim {
    fn of_group(statistics: &Statistics) -> Self {
        let (least, greatest) = match statistics {
            Statistics::Boolean(of) => {
                (of.min_opt().copied().map(Value::Flag), of.max_opt().copied().map(Value::Flag))
            }
            Statistics::Int32(of) => (of.min_opt().map(number), of.max_opt().map(number)),
            Statistics::Int64(of) => (of.min_opt().map(number), of.max_opt().map(number)),
            Statistics::Double(of) => {
                (of.min_opt().copied().map(Value::Float), of.max_opt().copied().map(Value::Float))
            }
            Statistics::ByteArray(of) => {
                (of.min_bytes_opt().map(text), of.max_bytes_opt().map(text))
            }
            _ => (None, None),
        };
        Self {
            least: Bound { value: least, is_exact: statistics.min_is_exact() },
            greatest: Bound { value: greatest, is_exact: statistics.max_is_exact() },
            nulls: statistics.null_count_opt(),
            ..Self::default()
        }
    }

    fn about(self, rows: u64) -> Self {
        Self { rows, ..self }
    }

    fn is_true(&self) -> bool {
        let Seen { least, greatest, nulls } = &self.seen;
        let (Some(least), Some(greatest)) = (least, greatest) else {
            return self.nulls.is_none_or(|claimed| claimed == *nulls);
        };
        let is_bound = |bound: &Bound, value: &Value, lies_beyond: fn(&Value, &Value) -> bool| {
            bound.value.as_ref().is_none_or(|claimed| {
                claimed == value || !bound.is_exact && lies_beyond(claimed, value)
            })
        };
        !self.is_null
            && self.nulls.is_none_or(|claimed| claimed == *nulls)
            && is_bound(&self.least, least, |claimed, value| claimed < value)
            && is_bound(&self.greatest, greatest, |claimed, value| claimed > value)
    }
}

/// The least and the greatest value, if there are values.
type Extremes = (Option<Value>, Option<Value>);

/// The claims about a row group's pages. None if they contradict each other.
fn of_pages(
    index: &ColumnIndexMetaData,
    locations: &[PageLocation],
    rows: u64,
) -> Option<Vec<Claim>> {
    let bounds: Vec<Extremes> = match index {
        ColumnIndexMetaData::BOOLEAN(pages) => of_primitives(pages, |flag| Value::Flag(*flag)),
        ColumnIndexMetaData::INT32(pages) => of_primitives(pages, number),
        ColumnIndexMetaData::INT64(pages) => of_primitives(pages, number),
        ColumnIndexMetaData::DOUBLE(pages) => of_primitives(pages, |float| Value::Float(*float)),
        ColumnIndexMetaData::BYTE_ARRAY(pages) => of_texts(pages),
        _ => return None,
    };
    let is_in_order = |values: Vec<&Value>| match index.get_boundary_order() {
        Some(BoundaryOrder::ASCENDING) => values.is_sorted(),
        Some(BoundaryOrder::DESCENDING) => values.is_sorted_by(|first, second| first >= second),
        _ => true,
    };
    let are_in_order = is_in_order(bounds.iter().filter_map(|(least, _)| least.as_ref()).collect())
        && is_in_order(bounds.iter().filter_map(|(_, greatest)| greatest.as_ref()).collect());
    let starts: Vec<u64> = locations
        .iter()
        .map(|page| u64::try_from(page.first_row_index))
        .collect::<Result<_, _>>()
        .ok()?;
    let ends = starts.iter().skip(1).copied().chain([rows]);
    let lengths: Vec<u64> = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| end.checked_sub(*start).filter(|rows| *rows > 0))
        .collect::<Option<_>>()?;
    if !are_in_order || starts.first() != Some(&0) || lengths.len() != bounds.len() {
        return None;
    }
    let claim = |(number, ((least, greatest), rows)): (usize, (Extremes, u64))| Claim {
        rows,
        least: Bound { value: least, is_exact: false },
        greatest: Bound { value: greatest, is_exact: false },
        nulls: index.null_count(number).and_then(|nulls| u64::try_from(nulls).ok()),
        is_null: index.is_null_page(number),
        seen: Seen::default(),
    };
    Some(bounds.into_iter().zip(lengths).enumerate().map(claim).collect())
}

fn of_primitives<T>(pages: &PrimitiveColumnIndex<T>, value: impl Fn(&T) -> Value) -> Vec<Extremes> {
    pages
        .min_values_iter()
        .zip(pages.max_values_iter())
        .map(|(least, greatest)| (least.map(&value), greatest.map(&value)))
        .collect()
}

fn of_texts(pages: &ByteArrayColumnIndex) -> Vec<Extremes> {
    pages
        .min_values_iter()
        .zip(pages.max_values_iter())
        .map(|(least, greatest)| (least.map(text), greatest.map(text)))
        .collect()
}

fn number<T: Copy + Into<i64>>(number: &T) -> Value {
    Value::Number((*number).into())
}

fn text(bytes: &[u8]) -> Value {
    Value::Text(bytes.to_vec())
}

impl Seen {
    fn of(values: &dyn Array) -> Self {
        let (least, greatest) = match values.data_type() {
            DataType::Boolean => (
                min_boolean(values.as_boolean()).map(Value::Flag),
                max_boolean(values.as_boolean()).map(Value::Flag),
            ),
            DataType::Int32 => {
                let values = values.as_primitive::<Int32Type>();
                (min(values).as_ref().map(number), max(values).as_ref().map(number))
            }
            DataType::Int64 => {
                let values = values.as_primitive::<Int64Type>();
                (min(values).map(Value::Number), max(values).map(Value::Number))
            }
            DataType::Timestamp(..) => {
                let values = values.as_primitive::<TimestampMicrosecondType>();
                (min(values).map(Value::Number), max(values).map(Value::Number))
            }
            DataType::Float64 => {
                let values = values.as_primitive::<Float64Type>();
                (min(values).map(Value::Float), max(values).map(Value::Float))
            }
            DataType::Utf8 => {
                let values = values.as_string::<i32>();
                let value = |value: &str| text(value.as_bytes());
                (min_string(values).map(value), max_string(values).map(value))
            }
            // No table has another type.
            _ => (None, None),
        };
        Self { least, greatest, nulls: values.null_count() as u64 }
    }

    fn add(&mut self, other: &Self) {
        let replaces =
            |new: &Option<Value>, old: &Option<Value>, is_further: fn(&Value, &Value) -> bool| {
                match (new, old) {
                    (Some(new), Some(old)) => is_further(new, old),
                    (new, _) => new.is_some(),
                }
            };
        if replaces(&other.least, &self.least, |new, old| new < old) {
            self.least.clone_from(&other.least);
        }
        if replaces(&other.greatest, &self.greatest, |new, old| new > old) {
            self.greatest.clone_from(&other.greatest);
        }
        self.nulls += other.nulls;
    }
}
