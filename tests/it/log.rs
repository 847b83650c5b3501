//! What kefu logs in this process, kept apart by thread.
//!
//! tracing decides once for the whole process whether anybody listens to an event, when the event
//! first happens. While there is one subscriber it asks only that of the thread at hand: with a
//! subscriber of one thread, an event that happens first in another thread is never seen again. So
//! there is one subscriber for all threads, from before the first event on.

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

/// Begins to keep what is logged. Every world does this first.
pub fn begin() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let lines = tracing_subscriber::fmt().json().flatten_event(true);
        let subscriber = lines.with_writer(|| ThisThread).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

/// The events of this thread so far.
pub fn of_this_thread() -> Vec<Value> {
    let lines = LINES.with_borrow(|lines| String::from_utf8(lines.clone()).unwrap());
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
