//! SIGINT and SIGTERM: the first one asks the work to stop, a second one ends the process.
//!
//! A run may be killed at any moment without harm to the lake. So a process that does not stop in
//! time is ended, too.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::model::cancel::{Cancel, Signal};
use crate::threads::ThreadsError;
use crate::{process_group, telemetry};

/// How long the work may take to stop.
const LIMIT: Duration = Duration::from_millis(1_800);

/// SIGXFSZ, on Linux and on macOS.
const FILE_TOO_LARGE: i32 = 25;

/// Makes a write beyond the limit of file sizes an error, like a write to a full disk. By default,
/// SIGXFSZ would kill the process. Best effort.
pub fn outlive_large_files() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    // After a process has listened once, the signal no longer kills it.
    runtime.block_on(async { drop(signal(SignalKind::from_raw(FILE_TOO_LARGE))) });
}

/// Listens for SIGINT and SIGTERM from now on. Says that what was committed stays, if the command
/// commits something. The thread that this takes is created here, so that a signal needs none.
///
/// # Errors
/// When the thread cannot be created.
pub fn listen(cancel: &Cancel, is_committing: bool) -> Result<(), ThreadsError> {
    let cancel = cancel.clone();
    let (ready, is_ready) = channel();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || wait_for_signals(&cancel, is_committing, ready))
        .map_err(|source| ThreadsError { needed: 1, purpose: "signals", source })?;
    // Fails if signals cannot be received. They then kill the process, as they do by default.
    let _ = is_ready.recv();
    Ok(())
}

fn wait_for_signals(cancel: &Cancel, is_committing: bool, ready: Sender<()>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        drop(ready);
        let first = tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Terminate,
        };
        let stays = match is_committing {
            true => "; what was committed stays, run again for the rest",
            false => "",
        };
        telemetry::print_note(&format!("stopped by {}{stays}", first.name()));
        cancel.cancel(first);
        tokio::select! {
            () = tokio::time::sleep(LIMIT) => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        process_group::end_all();
        std::process::exit(first.exit_code().into());
    });
}
