//! Computes statistics of columns. A statistic without values is null, never 0; this includes sums.
//! No value is trimmed or capped.

use std::collections::BTreeMap;

use polars::prelude::*;
use rayon::prelude::*;

use super::day_rows::Outcome;
use crate::model::Table;
use crate::model::column::Role;

/// The percentile of values, by the rule of all tables. `share` is from 0 to 1. None without
/// values.
pub fn percentile(values: &[i64], share: f64) -> Option<f64> {
    percentiles_of(values.to_vec(), 0, &[share]).pop().flatten()
}

/// Counts the rows of the group that have the property.
pub(super) fn count(property: Expr) -> Expr {
    property.sum()
}

/// The statistics of a table. A column's name says which column is aggregated, and how. In place of
/// percentiles, there is a list of values for [`with_percentiles`].
pub(super) fn statistics(table: Table) -> PolarsResult<Vec<Expr>> {
    let names = table.names(|column| column.role == Role::Statistic).into_iter();
    let statistics = names.filter(|name| percentile_of(name).is_none()).map(statistic);
    let lists = percentiles(table).into_keys().map(|column| Ok(col(column)));
    statistics.chain(lists).collect()
}

/// Parses a name that ends with `_sum`, `_mean` or `_max`.
fn statistic(name: &str) -> PolarsResult<Expr> {
    let unknown = || polars_err!(ComputeError: "{name} is no statistic");
    let (column, kind) = name.rsplit_once('_').ok_or_else(unknown)?;
    let values = || col(column);
    let statistic = match kind {
        // A sum without values is null here; polars would return 0.
        "sum" => when(values().count().gt(lit(0)))
            .then(values().sum())
            .otherwise(lit(NULL).cast(DataType::Int64)),
        "mean" => values().mean(),
        "max" => values().max(),
        _ => return Err(unknown()),
    };
    Ok(statistic.alias(name))
}

/// Parses a name that ends with `_pNN`: the column, and the percent.
fn percentile_of(name: &str) -> Option<(&str, u8)> {
    let (column, percent) = name.rsplit_once("_p")?;
    Some((column, percent.parse().ok()?))
}

/// The percentiles of a table: for each column of values, the percents with their names.
fn percentiles(table: Table) -> BTreeMap<&'static str, BTreeMap<u8, &'static str>> {
    let mut percentiles: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for name in table.names(|column| column.role == Role::Statistic) {
        if let Some((column, percent)) = percentile_of(name) {
            percentiles.entry(column).or_default().insert(percent, name);
        }
    }
    percentiles
}

/// Replaces the lists of values of each group with the percentiles of a table. polars would sort
/// the values of a group again for each percentile.
pub(super) fn with_percentiles(mut groups: DataFrame, table: Table) -> PolarsResult<DataFrame> {
    for (column, names) in percentiles(table) {
        let lists = groups.drop_in_place(column)?;
        let lists: Vec<Option<Series>> = lists.list()?.series_iter().collect();
        let shares: Vec<f64> = names.keys().map(|percent| f64::from(*percent) / 100.0).collect();
        let of_group = |values: &Option<Series>| -> PolarsResult<Vec<Option<f64>>> {
            let Some(values) = values else { return Ok(Vec::new()) };
            let known = values.i64()?.iter().flatten().collect();
            Ok(percentiles_of(known, values.null_count(), &shares))
        };
        let found = lists.par_iter().map(of_group).collect::<PolarsResult<Vec<_>>>()?;
        for (place, name) in names.into_values().enumerate() {
            let values = found.iter().map(|of_group| of_group.get(place).copied().flatten());
            let column = values.collect::<Float64Chunked>().with_name(name.into());
            groups.with_column(column.into_column())?;
        }
    }
    Ok(groups)
}

/// Percentiles of values, for ascending shares: interpolated linearly at (n − 1) · p, like SQL's
/// `percentile_cont`. The place counts the nulls of the group, as it does in polars, because this
/// decides how the number is rounded.
fn percentiles_of(mut values: Vec<i64>, nulls: usize, shares: &[f64]) -> Vec<Option<f64>> {
    let most = values.len().saturating_sub(1) as f64;
    // No value before this place is greater than one after it.
    let mut sorted = 0;
    let percentile = |share: &f64| {
        let place = most * share + nulls as f64;
        let lower_place = place as usize - nulls;
        let rest = values.get_mut(sorted..).filter(|rest| !rest.is_empty())?;
        let (_, lower, greater) = rest.select_nth_unstable(lower_place - sorted);
        sorted = lower_place;
        let (lower, upper) = (*lower as f64, greater.iter().min());
        Some(match upper.map(|upper| *upper as f64).filter(|upper| *upper != lower) {
            Some(upper) => (place - place.floor()) * (upper - lower) + lower,
            None => lower,
        })
    };
    shares.iter().map(percentile).collect()
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Files that earlier versions wrote have the numbers that polars gave.
        #[test]
        fn percentiles_are_the_same_numbers_as_those_of_polars(
            values in prop::collection::vec(prop::option::of(0i64..200_000), 0..60)
        ) {
            let shares = [0.0, 0.5, 0.9, 0.95, 1.0];
            let column = Int64Chunked::from_iter(values.iter().copied());
            let known = values.iter().copied().flatten().collect();
            let found = percentiles_of(known, column.null_count(), &shares);
            for (share, found) in shares.into_iter().zip(found) {
                prop_assert_eq!(found, column.quantile(share, QuantileMethod::Linear).unwrap());
            }
        }
    }
}
