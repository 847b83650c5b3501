//! SIGINT and SIGTERM: leave at once, and leave nothing behind.
//!
//! A run may be killed at any moment without harm, so there is nothing to wait for: what is in its place stays, what is in staging goes.

use std::sync::atomic::{AtomicI32, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::lake::Lake;
use crate::telemetry;

/// The signal that is ending the process; 0 without one.
static ENDING: AtomicI32 = AtomicI32::new(0);

/// Ends the process when it is told to: says so, calls `before`, clears the lake's staging and exits with 128 and the signal's number, as shells do.
///
/// Best effort: where signals cannot be had, they kill the process as they always did.
pub fn leave_when_told(lake: &Lake, before: impl FnOnce(u8) + Send + 'static) {
    let lake = lake.clone();
    let wait = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        let told = runtime.block_on(async {
            let (Ok(interrupt), Ok(terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return None };
            Some(first_of(interrupt, terminate).await)
        });
        let Some((kind, name)) = told else { return };
        ENDING.store(kind.as_raw_value(), Ordering::SeqCst);
        telemetry::print_note(&format!("stopped by {name}; what was committed stays, run again for the rest"));
        let code = u8::try_from(128 + kind.as_raw_value()).unwrap_or(1);
        before(code);
        // The next run tries again.
        let _ = lake.clear_staging();
        std::process::exit(code.into());
    };
    // Without a thread to spare, the signals kill as they always did.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(wait);
}

/// Does not return when the process is about to end because it was told to.
pub fn let_it_leave() {
    while ENDING.load(Ordering::SeqCst) != 0 {
        std::thread::park();
    }
}

async fn first_of(mut interrupt: Signal, mut terminate: Signal) -> (SignalKind, &'static str) {
    tokio::select! {
        _ = interrupt.recv() => (SignalKind::interrupt(), "SIGINT"),
        _ = terminate.recv() => (SignalKind::terminate(), "SIGTERM"),
    }
}
