//! Computes statistics of columns. A statistic without values is null, never 0; this includes sums.
//! No value is trimmed or capped.

use polars::prelude::*;

use super::day_rows::Outcome;
use crate::model::Table;
use crate::model::column::Role;

/// How percentiles are interpolated: linearly at (n − 1) · p, like SQL's `percentile_cont`.
const PERCENTILE: QuantileMethod = QuantileMethod::Linear;

/// The percentile of values, by the rule of all tables. `share` is from 0 to 1. None without values.
pub fn percentile(values: &[i64], share: f64) -> Option<f64> {
    Int64Chunked::from_slice("values".into(), values).quantile(share, PERCENTILE).ok().flatten()
}

/// Counts the rows of the group that have the property.
pub(super) fn count(property: Expr) -> Expr {
    property.sum()
}

/// The statistics of a table. A column's name says which column is aggregated, and how.
pub(super) fn statistics(table: Table) -> PolarsResult<Vec<Expr>> {
    table.names(|column| column.role == Role::Statistic).into_iter().map(statistic).collect()
}

/// Parses a name that ends with `_sum`, `_mean`, `_pNN` or `_max`.
fn statistic(name: &str) -> PolarsResult<Expr> {
    let unknown = || polars_err!(ComputeError: "{name} is no statistic");
    let (column, kind) = name.rsplit_once('_').ok_or_else(unknown)?;
    let values = || col(column);
    let statistic = match (kind, kind.strip_prefix('p').and_then(|p| p.parse::<u8>().ok())) {
        // A sum without values is null here; polars would return 0.
        ("sum", _) => when(values().count().gt(lit(0)))
            .then(values().sum())
            .otherwise(lit(NULL).cast(DataType::Int64)),
        ("mean", _) => values().mean(),
        ("max", _) => values().max(),
        (_, Some(percent)) => values().quantile(lit(f64::from(percent) / 100.0), PERCENTILE),
        _ => return Err(unknown()),
    };
    Ok(statistic.alias(name))
}

/// Replaces null with 0 in the named counts. A count is null when there was nothing to count.
pub(super) fn counted(names: &[&str]) -> Vec<Expr> {
    names.iter().map(|name| col(*name).fill_null(lit(0)).cast(DataType::Int64)).collect()
}

/// Tests whether a pair has the outcome.
pub(super) fn is(outcome: Outcome) -> Expr {
    col("outcome").eq(lit(outcome as u32))
}

/// Left-joins each of the `parts` to the rows of `keys`.
pub(super) fn join_all<const N: usize>(
    keys: DataFrame,
    parts: [DataFrame; N],
    on: &[&str],
) -> LazyFrame {
    let on: Vec<Expr> = on.iter().map(|name| col(*name)).collect();
    parts.into_iter().fold(keys.lazy(), |rows, part| {
        rows.join(part.lazy(), &on, &on, JoinArgs::new(JoinType::Left))
    })
}

/// The distinct keys that occur in any of the `parts`.
pub(super) fn keys_of<const N: usize>(
    parts: &[DataFrame; N],
    on: &[&str],
) -> PolarsResult<DataFrame> {
    let keys: Vec<LazyFrame> = parts
        .iter()
        .map(|part| {
            part.clone().lazy().select(on.iter().map(|name| col(*name)).collect::<Vec<_>>())
        })
        .collect();
    concat(keys, UnionArgs::default())?.unique(None, UniqueKeepStrategy::Any).collect()
}
