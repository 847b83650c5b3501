//! Collects the log events of this process, separately for each thread.
//!
//! tracing decides for the whole process whether an event has a subscriber, when the event first
//! happens. With one thread-local subscriber, it asks only the subscriber of the current thread. An
//! event that first happens in another thread is then never recorded. So one global subscriber is
//! set before the first event.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

use serde_json::Value;

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ThisThread;

impl Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Starts to collect log events. `World::new` calls this first.
pub fn begin() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let lines = tracing_subscriber::fmt().json().flatten_event(true);
        let subscriber = lines.with_writer(|| ThisThread).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// Returns the events of this thread so far.
pub fn of_this_thread() -> Vec<Value> {
    let lines = LINES.with_borrow(|lines| String::from_utf8(lines.clone()).unwrap());
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
