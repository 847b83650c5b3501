//! How many messages all accounts of a process have in memory for metrics.
//!
//! Days with few messages and days with many have separate budgets. So an account with few messages
//! never waits for one with many.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::chunks::ROWS_AT_ONCE;
use crate::model::cancel::{Cancel, Cancelled};

/// Chunks with at most this many messages are small.
const SMALL_ROWS: usize = 500_000;

static SMALL: Budget = Budget::new(4_000_000);
static LARGE: Budget = Budget::new(ROWS_AT_ONCE);

/// Interval between checks for a signal.
const GLANCE: Duration = Duration::from_millis(100);

/// Waits until a chunk with this many messages may be read. The messages count until the result is
/// dropped. A chunk that is larger than the budget waits until it is alone.
///
/// # Errors
/// [`Cancelled`] after a signal.
pub(super) fn reserve(rows: usize, cancel: &Cancel) -> Result<Reserved, Cancelled> {
    if rows <= SMALL_ROWS { SMALL.reserve(rows, cancel) } else { LARGE.reserve(rows, cancel) }
}

struct Budget {
    rows: usize,
    used: Mutex<usize>,
    freed: Condvar,
}

/// Messages that may be in memory.
pub(super) struct Reserved {
    budget: &'static Budget,
    rows: usize,
}

impl Budget {
    const fn new(rows: usize) -> Self {
        Self { rows, used: Mutex::new(0), freed: Condvar::new() }
    }

    fn reserve(&'static self, rows: usize, cancel: &Cancel) -> Result<Reserved, Cancelled> {
        let rows = rows.min(self.rows);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        while *used + rows > self.rows {
            cancel.check()?;
            let waited = self.freed.wait_timeout(used, GLANCE);
            (used, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        *used += rows;
        Ok(Reserved { budget: self, rows })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used -= self.rows;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cancel::Signal;

    #[test]
    fn a_chunk_waits_for_others_of_its_size_only() {
        let cancel = Cancel::default();
        let alone = reserve(usize::MAX, &cancel).unwrap();
        drop(reserve(SMALL_ROWS, &cancel).unwrap());
        let waiting = std::thread::spawn({
            let cancel = cancel.clone();
            move || reserve(SMALL_ROWS + 1, &cancel).map(drop)
        });
        drop(alone);
        assert_eq!(waiting.join().unwrap(), Ok(()));
        let _alone = reserve(usize::MAX, &cancel).unwrap();
        cancel.cancel(Signal::Terminate);
        assert!(reserve(SMALL_ROWS + 1, &cancel).is_err());
    }
}
