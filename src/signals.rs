//! SIGINT and SIGTERM: leave at once, and leave nothing behind.
//!
//! A run may be killed at any moment without harm, so there is nothing to wait for: what is in its place stays, what is in staging goes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::threads::ThreadsError;
use crate::{process_group, telemetry};

type Act = Box<dyn FnOnce(u8) + Send>;

/// What is to be done before the process leaves, the last of them first.
static SHUTDOWN_ACTIONS: Mutex<Vec<(u64, Act)>> = Mutex::new(Vec::new());

/// Tells acts apart.
static ACTS: AtomicU64 = AtomicU64::new(0);

/// The process has been told to shut down, and is about to.
static IS_SHUTTING_DOWN: AtomicBool = AtomicBool::new(false);

/// Takes an act back when dropped.
#[derive(Debug)]
pub struct Registered(u64);

/// From now on, a process that is told to stop says so, does `act`, which learns the exit code, and exits with 128 and the signal's number, as
/// shells do. Best effort: where signals cannot be had, they kill the process as they always did.
pub fn on_shutdown(act: impl FnOnce(u8) + Send + 'static) -> Registered {
    let number = ACTS.fetch_add(1, Ordering::Relaxed);
    shutdown_actions().push((number, Box::new(act)));
    // Where there is no thread to spare, the signals kill the process as they do by default.
    let _ = listen();
    Registered(number)
}

/// From now on, SIGINT and SIGTERM shut the process down: it ends [the programs that it
/// started](process_group), runs the last acts, and exits.
///
/// The two threads that this takes are created here, so that a signal needs none.
///
/// # Errors
/// When they cannot be created.
pub fn listen() -> Result<(), ThreadsError> {
    static IS_LISTENING: Mutex<bool> = Mutex::new(false);
    let mut is_listening = IS_LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
    if *is_listening {
        return Ok(());
    }
    let failed = |source| ThreadsError { needed: 2, purpose: "signals", source };
    let (acts, received) = channel::<ShutdownActions>();
    let thread = |name: &str| std::thread::Builder::new().name(name.into());
    thread("last acts")
        .spawn(move || received.into_iter().for_each(ShutdownActions::run))
        .map_err(failed)?;
    let (ready, is_ready) = channel();
    thread("signals").spawn(move || wait_for_signal(ready, acts)).map_err(failed)?;
    let _ = is_ready.recv();
    *is_listening = true;
    Ok(())
}

impl Drop for Registered {
    fn drop(&mut self) {
        shutdown_actions().retain(|(number, _)| *number != self.0);
    }
}

fn shutdown_actions() -> std::sync::MutexGuard<'static, Vec<(u64, Act)>> {
    SHUTDOWN_ACTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does not return when the process is about to end because it was told to. What failed meanwhile failed because of that.
pub fn await_shutdown() {
    while IS_SHUTTING_DOWN.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// Work that a shutdown waits for, so that the process can say whether it was done.
#[derive(Debug)]
pub struct Indivisible(());

static INDIVISIBLE: Mutex<usize> = Mutex::new(0);
static DONE: Condvar = Condvar::new();

/// Begins such work. Does not return when the process is about to end.
pub fn indivisible() -> Indivisible {
    let mut running = INDIVISIBLE.lock().unwrap_or_else(PoisonError::into_inner);
    if IS_SHUTTING_DOWN.load(Ordering::SeqCst) {
        drop(running);
        await_shutdown();
        running = INDIVISIBLE.lock().unwrap_or_else(PoisonError::into_inner);
    }
    *running += 1;
    Indivisible(())
}

impl Drop for Indivisible {
    fn drop(&mut self) {
        *INDIVISIBLE.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        DONE.notify_all();
    }
}

/// Waits until there is no such work left, but not for long.
fn await_indivisible() {
    let running = INDIVISIBLE.lock().unwrap_or_else(PoisonError::into_inner);
    // Whatever came of it, it is time to leave.
    let _ = DONE.wait_timeout_while(running, INDIVISIBLE_LIMIT, |running| *running > 0);
}

/// A commit waits for the disk, which may be slow.
const INDIVISIBLE_LIMIT: Duration = Duration::from_secs(1);

/// SIGXFSZ, on Linux and on macOS.
const FILE_TOO_LARGE: i32 = 25;

/// From now on, a file that may not grow is an error like a disk that is full, and does not kill. Best effort.
pub fn outlive_large_files() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    // After a process has listened once, the signal no longer kills it.
    runtime.block_on(async { drop(signal(SignalKind::from_raw(FILE_TOO_LARGE))) });
}

/// The last acts may take so long.
const SHUTDOWN_ACTIONS_LIMIT: Duration = Duration::from_secs(2);

/// What is done before the process exits.
struct ShutdownActions {
    acts: Vec<(u64, Act)>,
    exit_code: u8,
    done: oneshot::Sender<()>,
}

impl ShutdownActions {
    fn run(self) {
        await_indivisible();
        self.acts.into_iter().rev().for_each(|(_, act)| act(self.exit_code));
        // The receiver is gone after a second signal.
        let _ = self.done.send(());
    }
}

fn wait_for_signal(ready: Sender<()>, acts: Sender<ShutdownActions>) {
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
        let (kind, name) = tokio::select! {
            _ = interrupt.recv() => (SignalKind::interrupt(), "SIGINT"),
            _ = terminate.recv() => (SignalKind::terminate(), "SIGTERM"),
        };
        IS_SHUTTING_DOWN.store(true, Ordering::SeqCst);
        telemetry::print_note(&format!(
            "stopped by {name}; what was committed stays, run again for the rest"
        ));
        let exit_code = u8::try_from(128 + kind.as_raw_value()).unwrap_or(1);
        let (done, is_done) = oneshot::channel();
        // It fails only if the thread is gone; then there is nothing to wait for.
        let _ = acts.send(ShutdownActions {
            acts: std::mem::take(&mut *shutdown_actions()),
            exit_code,
            done,
        });
        // A second signal ends the process at once.
        tokio::select! {
            _ = tokio::time::timeout(SHUTDOWN_ACTIONS_LIMIT, is_done) => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // Last, because a task that waits for such a program would report that it was killed.
        process_group::end_all();
        std::process::exit(exit_code.into());
    });
}
