//! Reads the columns of batches by name.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;

use super::facts::Id;
use super::ids::Ids;
use crate::failure::{BugError, Failure};
use crate::model::column::typed;

/// The columns of a batch. The lake checks every file against its table's schema. A missing column
/// is therefore one that was not requested.
pub(super) struct Columns<'a>(pub(super) &'a RecordBatch);

impl<'a> Columns<'a> {
    fn typed<A: Array + 'static>(&self, name: &str) -> Result<&'a A, Failure> {
        Ok(typed(self.0, name).map_err(|error| BugError(error.to_string()))?)
    }

    pub(super) fn whole(&self, name: &str) -> Result<&'a Int64Array, Failure> {
        self.typed(name)
    }

    /// The sum of a column of counts.
    pub(super) fn total(&self, name: &str) -> Result<i64, Failure> {
        Ok(self.whole(name)?.values().iter().sum())
    }

    pub(super) fn codes(&self, name: &str) -> Result<&'a Int32Array, Failure> {
        self.typed(name)
    }

    pub(super) fn instants(&self, name: &str) -> Result<&'a TimestampMicrosecondArray, Failure> {
        self.typed(name)
    }

    pub(super) fn flags(&self, name: &str) -> Result<&'a BooleanArray, Failure> {
        self.typed(name)
    }

    pub(super) fn texts(&self, name: &str) -> Result<&'a StringArray, Failure> {
        self.typed(name)
    }

    pub(super) fn names(&self, name: &str) -> Result<Names<'a>, Failure> {
        let dictionary = self.typed::<DictionaryArray<Int32Type>>(name)?;
        let values = dictionary.values().as_string_opt::<i32>();
        let values = values.ok_or_else(|| BugError(format!("the names of {name} are no texts")))?;
        Ok(Names { keys: dictionary.keys(), values })
    }
}

/// A column of names: a key for each row, and the name of each key.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    keys: &'a Int32Array,
    values: &'a StringArray,
}

impl<'a> Names<'a> {
    pub(super) fn key(&self, row: usize) -> usize {
        self.keys.values().get(row).and_then(|key| usize::try_from(*key).ok()).unwrap_or_default()
    }

    pub(super) fn named(&self, key: usize) -> &'a str {
        if key < self.values.len() { self.values.value(key) } else { "" }
    }

    pub(super) fn name(&self, row: usize) -> Arc<str> {
        self.named(self.key(row)).into()
    }

    /// The number of each key's name.
    pub(super) fn ids(&self, ids: &Ids<'_>) -> KeyIds<'a> {
        let names = (0..self.values.len()).map(|key| self.named(key));
        KeyIds { keys: self.keys, ids: ids.of(names) }
    }
}

/// The number of the name in each row.
pub(super) struct KeyIds<'a> {
    keys: &'a Int32Array,
    ids: Vec<Id>,
}

impl KeyIds<'_> {
    pub(super) fn of_key(&self, key: usize) -> Id {
        self.ids.get(key).copied().unwrap_or(Id::MAX)
    }

    pub(super) fn of_row(&self, row: usize) -> Id {
        let key = self.keys.values().get(row).and_then(|key| usize::try_from(*key).ok());
        key.map_or(Id::MAX, |key| self.of_key(key))
    }
}
