//! Reads the columns of batches by name.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanArray, DictionaryArray, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;

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
        Ok(Names {
            keys: dictionary.keys(),
            values: values.iter().map(|value| value.unwrap_or_default().into()).collect(),
        })
    }
}

/// A column of names: a key for each row, and the name of each key.
pub(super) struct Names<'a> {
    keys: &'a Int32Array,
    values: Vec<Arc<str>>,
}

impl Names<'_> {
    pub(super) fn key(&self, row: usize) -> Option<i32> {
        self.keys.values().get(row).copied()
    }

    pub(super) fn named(&self, key: i32) -> Arc<str> {
        usize::try_from(key).ok().and_then(|key| self.values.get(key)).cloned().unwrap_or_default()
    }

    pub(super) fn name(&self, row: usize) -> Arc<str> {
        self.key(row).map(|key| self.named(key)).unwrap_or_default()
    }
}
