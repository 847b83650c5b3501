//! How numbers are summed up. Without values the result is null, never 0, sums included; nothing is
//! trimmed or capped.

use polars::prelude::*;

use super::day_rows::Outcome;

/// How many rows of the group have the property.
pub(super) fn count(property: Expr) -> Expr {
    property.sum()
}

/// `column`_sum; null without values, where polars would say 0.
pub(super) fn sum(column: &str) -> Expr {
    let sum = when(col(column).count().gt(lit(0)))
        .then(col(column).sum())
        .otherwise(lit(NULL).cast(DataType::Int64));
    sum.alias(format!("{column}_sum"))
}

/// `column`_mean.
pub(super) fn mean(column: &str) -> Expr {
    col(column).mean().alias(format!("{column}_mean"))
}

/// `column`_pNN: linear interpolation at (n − 1) · p, like SQL's `percentile_cont`.
pub(super) fn percentile(column: &str, percent: u8) -> Expr {
    col(column)
        .quantile(lit(f64::from(percent) / 100.0), QuantileMethod::Linear)
        .alias(format!("{column}_p{percent}"))
}

/// `column`_max.
pub(super) fn max(column: &str) -> Expr {
    col(column).max().alias(format!("{column}_max"))
}

/// `column`_{sum,mean,p50,p90,p95,max}.
pub(super) fn whole_statistics(column: &str) -> [Expr; 6] {
    [
        sum(column),
        mean(column),
        percentile(column, 50),
        percentile(column, 90),
        percentile(column, 95),
        max(column),
    ]
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
