//! Numbers openids and workers.

use std::hash::BuildHasher;

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
    /// The hash and the number of each name.
    numbers: HashTable<(u64, u32)>,
}

/// Names with their hashes.
#[derive(Debug)]
pub(super) struct Hashed<'a> {
    names: &'a StringArray,
    hashes: Vec<u64>,
}

impl<'a> Hashed<'a> {
    pub(super) fn of(names: &'a StringArray) -> Self {
        let hasher = foldhash::fast::FixedState::default();
        let hashes = names.iter().map(|name| hasher.hash_one(name.unwrap_or_default()));
        Self { names, hashes: hashes.collect() }
    }
}

impl Names {
    /// Returns the number of each name. New names get a new number.
    pub(super) fn number_all(&mut self, values: &Hashed) -> Vec<u32> {
        let names = values.names.iter().map(Option::unwrap_or_default);
        names.zip(&values.hashes).map(|(name, hash)| self.number(name, *hash)).collect()
    }

    fn number(&mut self, name: &str, hash: u64) -> u32 {
        let Self { names, numbers } = self;
        let is_same = |(of, number): &(u64, u32)| {
            *of == hash && names.get(*number as usize).is_some_and(|known| **known == *name)
        };
        let entry = numbers.entry(hash, is_same, |(hash, _)| *hash);
        let (_, number) = *entry.or_insert_with(|| (hash, names.len() as u32)).get();
        if number as usize == names.len() {
            names.push(name.into());
        }
        number
    }

    /// The names in ascending order, and the rank of each number in that order.
    pub(super) fn in_order(self, cancel: &Cancel) -> Result<(StringArray, Vec<u32>), Cancelled> {
        // The openids of an account begin alike. What follows decides most comparisons.
        let alike = self.length_of_common_prefix();
        let with_key = |(name, number)| (bytes_at(name, alike), name, number);
        let names = self.names.iter().map(AsRef::as_ref);
        let mut order: Vec<(u64, &str, u32)> = names.zip(0u32..).map(with_key).collect();
        cancel.check()?;
        order.par_sort_unstable();
        cancel.check()?;
        let mut ranks = vec![0u32; order.len()];
        for ((_, _, number), rank) in order.iter().zip(0u32..) {
            if let Some(slot) = ranks.get_mut(*number as usize) {
                *slot = rank;
            }
        }
        Ok((StringArray::from_iter_values(order.iter().map(|(_, name, _)| name)), ranks))
    }

    fn length_of_common_prefix(&self) -> usize {
        let Some((first, others)) = self.names.split_first() else { return 0 };
        let common = |length: usize, name: &str| {
            let pairs = first.bytes().zip(name.bytes()).take(length);
            pairs.take_while(|(one, other)| one == other).count()
        };
        others.iter().map(AsRef::as_ref).fold(first.len(), common)
    }
}

/// Eight bytes of a name, in the order of names. Bytes after its end are zero.
fn bytes_at(name: &str, place: usize) -> u64 {
    let mut bytes = [0; 8];
    let rest = name.as_bytes().get(place..).unwrap_or_default();
    bytes.iter_mut().zip(rest).for_each(|(byte, of_name)| *byte = *of_name);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_of_a_name_is_its_place_in_the_order_of_names() {
        for given in [
            vec!["oABCxxxxxxxx2", "oABCxxxxxxxx1", "oABC", "oABCxxxxxxxx1", "oABCxxx", "oABD"],
            vec!["客服", "客", "客服二", "a"],
            vec!["only"],
            vec![],
        ] {
            let mut names = Names::default();
            let values = StringArray::from(given.clone());
            let numbers = names.number_all(&Hashed::of(&values));
            let (sorted, ranks) = names.in_order(&Cancel::default()).unwrap();
            let mut expected = given.clone();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(sorted.iter().flatten().collect::<Vec<_>>(), expected);
            for (name, number) in given.iter().zip(numbers) {
                assert_eq!(sorted.value(ranks[number as usize] as usize), *name);
            }
        }
    }
}
