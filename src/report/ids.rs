//! Numbers for names. Numbers are compared and counted much faster than names.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::facts::Id;

/// Hands out the numbers of a report. Which name gets which number depends on the threads, so
/// nothing may be shown in the order of numbers.
#[derive(Debug, Default)]
pub(super) struct IdCounter(AtomicU32);

/// The numbers of one kind of names of an account: its customers, or its workers.
#[derive(Debug)]
pub(super) struct Ids<'a> {
    counter: &'a IdCounter,
    known: Mutex<HashMap<Arc<str>, Id, FixedState>>,
}

impl<'a> Ids<'a> {
    pub(super) fn new(counter: &'a IdCounter) -> Self {
        Self { counter, known: Mutex::default() }
    }

    /// The number of each name.
    pub(super) fn of<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<Id> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |name: &'n str| match known.get(name) {
            Some(id) => *id,
            None => {
                let id = self.counter.0.fetch_add(1, Ordering::Relaxed);
                known.insert(name.into(), id);
                id
            }
        };
        names.into_iter().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_and_two_accounts_share_none() {
        let counter = IdCounter::default();
        let (one, other) = (Ids::new(&counter), Ids::new(&counter));
        assert_eq!(one.of(["a", "b", "a"]), [0, 1, 0]);
        assert_eq!(other.of(["a", "b"]), [2, 3]);
        assert_eq!(one.of(["b", "c"]), [1, 4]);
    }
}
