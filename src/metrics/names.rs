//! Numbers openids and workers.

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, StringArray};
use arrow::datatypes::Int32Type;
use hashbrown::HashTable;
use rayon::slice::ParallelSliceMut;

use super::MetricsError;
use crate::model::cancel::{Cancel, Cancelled};

/// Casts a column of names, which must be a dictionary with int32 keys.
pub(super) fn dictionary(column: &ArrayRef) -> Result<&DictionaryArray<Int32Type>, MetricsError> {
    let names = column
        .as_dictionary_opt::<Int32Type>()
        .filter(|names| names.null_count() == 0 && names.values().as_string_opt::<i32>().is_some());
    names.ok_or_else(|| {
        MetricsError::Unexpected(format!("names as {}, or without a value", column.data_type()))
    })
}

/// Distinct names, numbered in order of first appearance.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<Box<str>>,
    numbers: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
}

impl Names {
    /// Returns the number of each value. New values get a new number.
    pub(super) fn number_all(&mut self, values: &StringArray) -> Vec<u32> {
        values.iter().map(|name| self.number(name.unwrap_or_default())).collect()
    }

    fn number(&mut self, name: &str) -> u32 {
        use std::hash::BuildHasher;
        let Self { names, numbers, hasher } = self;
        let name_of = |number: &u32| names.get(*number as usize).map_or("", AsRef::as_ref);
        let entry = numbers.entry(
            hasher.hash_one(name),
            |number| name_of(number) == name,
            |number| hasher.hash_one(name_of(number)),
        );
        let number = *entry.or_insert_with(|| names.len() as u32).get();
        if number as usize == names.len() {
            names.push(name.into());
        }
        number
    }

    /// The names in ascending order, and the rank of each number in that order.
    pub(super) fn in_order(self, cancel: &Cancel) -> Result<(StringArray, Vec<u32>), Cancelled> {
        let mut order: Vec<(&str, u32)> =
            self.names.iter().map(AsRef::as_ref).zip(0u32..).collect();
        cancel.check()?;
        order.par_sort_unstable();
        cancel.check()?;
        let mut ranks = vec![0u32; order.len()];
        for ((_, number), rank) in order.iter().zip(0u32..) {
            if let Some(slot) = ranks.get_mut(*number as usize) {
                *slot = rank;
            }
        }
        Ok((StringArray::from_iter_values(order.iter().map(|(name, _)| name)), ranks))
    }
}
