//! How numbers are summed up. Without values the result is null, never 0, sums included; nothing is
//! trimmed or capped.

use polars::prelude::*;

use super::day_rows::Outcome;
use crate::model::Table;
use crate::model::column::Role;

/// How many rows of the group have the property.
pub(super) fn count(property: Expr) -> Expr {
    property.sum()
}

/// The statistics of a table, each of the column and in the way that its name says.
pub(super) fn statistics(table: Table) -> PolarsResult<Vec<Expr>> {
    table.names(|column| column.role == Role::Statistic).into_iter().map(statistic).collect()
}

/// `…_sum`, `…_mean`, `…_pNN` or `…_max`.
fn statistic(name: &str) -> PolarsResult<Expr> {
    let unknown = || polars_err!(ComputeError: "{name} is no statistic");
    let (column, kind) = name.rsplit_once('_').ok_or_else(unknown)?;
    let values = || col(column);
    let statistic = match (kind, kind.strip_prefix('p').and_then(|p| p.parse::<u8>().ok())) {
        // Null without values, where polars would say 0.
        ("sum", _) => when(values().count().gt(lit(0)))
            .then(values().sum())
            .otherwise(lit(NULL).cast(DataType::Int64)),
        ("mean", _) => values().mean(),
        ("max", _) => values().max(),
        // Linear interpolation at (n − 1) · p, like SQL's `percentile_cont`.
        (_, Some(percent)) => {
            values().quantile(lit(f64::from(percent) / 100.0), QuantileMethod::Linear)
        }
        _ => return Err(unknown()),
    };
    Ok(statistic.alias(name))
}

/// Fills the named counts, which are null where there was nothing to count.
pub(super) fn counted(names: &[&str]) -> Vec<Expr> {
    names.iter().map(|name| col(*name).fill_null(lit(0)).cast(DataType::Int64)).collect()
}

/// Whether a pair has the outcome.
pub(super) fn is(outcome: Outcome) -> Expr {
    col("outcome").eq(lit(outcome as u32))
}

/// Joins to each row of `keys` what each of the `parts` has for it.
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
