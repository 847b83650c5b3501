//! The threads of the process. Their number is limited, and they are created before work begins.
//!
//! If a thread cannot be created in the middle of the work, others would wait for it forever. So
//! each pool creates all of its threads at the start. If the process may not have that many
//! threads, it ends with an error and a hint.

use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::runtime::Runtime;

use crate::failure::{Classified, ErrorKind};

/// Maximum number of computing threads without an explicit limit. More gain little, and each one
/// needs memory.
const COMPUTING_MAX: usize = 16;

/// Number of threads that write metric partitions. They mostly wait for the disk.
const WRITERS: usize = 8;

/// Number of threads for network I/O. They only pass bytes on.
const NETWORK: usize = 2;

/// Number of blocking threads for each concurrent call: one writes pages, one commits.
const BLOCKING_PER_CALL: usize = 2;

/// Number of other blocking threads, for name resolution, token files, and similar work.
const BLOCKING_BESIDE: usize = 4;

/// Maximum time until all threads have started.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The process may not create as many threads as it needs.
#[derive(Debug, thiserror::Error)]
#[error("cannot create {needed} threads for {purpose}")]
pub struct ThreadsError {
    pub(crate) needed: usize,
    pub(crate) purpose: &'static str,
    pub(crate) source: io::Error,
}

/// What to do when threads cannot be created.
pub(crate) const THREADS_HINT: &str = "raise the limit of processes and threads \
     (`ulimit -u`, TasksMax= of systemd, the pids limit of the container) or of memory \
     (`ulimit -v`, vm.max_map_count), or lower --threads and --concurrency. Then run again";

impl Classified for ThreadsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Lake
    }

    fn hint(&self) -> Option<String> {
        Some(THREADS_HINT.to_owned())
    }
}

/// Creates rayon's threads, which read and encode. Sets the number of threads that polars creates
/// at its first use. The polars threads take 13 MiB.
///
/// `limit` is the size of each pool. Without it, there is one thread for each core, at most 16.
/// Must be called while no other thread reads the environment.
///
/// # Errors
/// When the threads cannot be created.
pub fn start(limit: Option<u16>) -> Result<(), ThreadsError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let computing = limit.map_or(cores.min(COMPUTING_MAX), usize::from);
    reserve(2 * computing + 1, "computing")?;
    // polars reads its limit only from the environment.
    #[allow(unsafe_code)]
    // SAFETY: no other thread reads or writes the environment (see above). `reserve` has joined the
    // threads that it created.
    unsafe {
        std::env::set_var("POLARS_MAX_THREADS", computing.to_string());
    }
    let pool = ThreadPoolBuilder::new().num_threads(computing);
    pool.build_global().map_err(|error| ThreadsError {
        needed: computing,
        purpose: "computing",
        source: io::Error::other(error),
    })?;
    Ok(())
}

/// The thread pool that writes metric partitions.
///
/// # Errors
/// When the threads cannot be created.
pub fn writers() -> Result<&'static ThreadPool, ThreadsError> {
    static POOL: OnceLock<ThreadPool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    let pool = ThreadPoolBuilder::new().num_threads(WRITERS).build().map_err(|error| {
        ThreadsError { needed: WRITERS, purpose: "writing", source: io::Error::other(error) }
    })?;
    Ok(POOL.get_or_init(|| pool))
}

/// Number of items up to which one thread does what takes some microseconds for each: to hand them
/// to other threads and to wait for these takes longer.
const FEW: usize = 32;

/// Maps items. The computing threads share the work, unless it is small: then the current thread
/// does it. Work is small if there is one item, or if `is_quick` says so of each and they are few.
///
/// # Errors
/// An error of `work`.
pub fn map<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    is_quick: bool,
    work: impl Fn(T) -> Result<R, E> + Sync + Send,
) -> Result<Vec<R>, E> {
    match items.len() {
        0 | 1 => items.into_iter().map(work).collect(),
        2..=FEW if is_quick => items.into_iter().map(work).collect(),
        _ => items.into_par_iter().map(work).collect(),
    }
}

/// The runtime for requests to a bucket, which any thread may wait for.
///
/// # Errors
/// When the threads cannot be created.
pub fn network() -> Result<&'static Runtime, ThreadsError> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = runtime(1)?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// Starts a thread that ends within the scope.
///
/// # Errors
/// When the thread cannot be created.
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    purpose: &'static str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, ThreadsError> {
    let thread = std::thread::Builder::new().name(purpose.into());
    let failed = |source| ThreadsError { needed: 1, purpose, source };
    thread.spawn_scoped(scope, work).map_err(failed)
}

/// Runs `work` in this number of threads at once, and `beside` in the current thread. Returns the
/// result of `beside` when all have ended.
///
/// # Errors
/// When the threads cannot be created. No work has then begun.
pub fn side_by_side<T>(
    threads: usize,
    purpose: &'static str,
    work: impl Fn() + Sync,
    beside: impl FnOnce() -> T,
) -> Result<T, ThreadsError> {
    reserve(threads, purpose)?;
    std::thread::scope(|scope| {
        for number in 0..threads {
            // The threads existed just now. If one does not any more, the others do its work.
            if let Err(error) = spawn_scoped(scope, purpose, &work)
                && number == 0
            {
                return Err(error);
            }
        }
        Ok(beside())
    })
}

/// A runtime for this number of concurrent calls, with all of its threads.
///
/// # Errors
/// When the threads cannot be created.
pub fn runtime(calls: usize) -> Result<Runtime, ThreadsError> {
    let blocking = BLOCKING_PER_CALL * calls + BLOCKING_BESIDE;
    let purpose = "the network";
    // tokio panics if it cannot create a worker, and waits if it cannot create another blocking
    // thread. Neither is an error that could be handled.
    reserve(NETWORK + blocking, purpose)?;
    let failed = |source| ThreadsError { needed: NETWORK + blocking, purpose, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK)
        .max_blocking_threads(blocking)
        // Keep idle threads, because an ended one might not be created again.
        .thread_keep_alive(Duration::from_secs(24 * 3600))
        .enable_all()
        .build()
        .map_err(failed)?;
    let gate = Arc::new(Gate::default());
    for _ in 0..blocking {
        let gate = gate.clone();
        runtime.spawn_blocking(move || gate.enter());
    }
    match gate.open_for(blocking) {
        true => Ok(runtime),
        false => Err(failed(io::ErrorKind::WouldBlock.into())),
    }
}

/// Checks that this number of threads can exist at the same time. Creates them, then ends them.
fn reserve(threads: usize, purpose: &'static str) -> Result<(), ThreadsError> {
    let gate = Arc::new(Gate::default());
    let mut created = Vec::with_capacity(threads);
    let mut failed = None;
    for _ in 0..threads {
        let gate = gate.clone();
        match std::thread::Builder::new().spawn(move || gate.enter()) {
            Ok(thread) => created.push(thread),
            Err(source) => {
                failed = Some(ThreadsError { needed: threads, purpose, source });
                break;
            }
        }
    }
    gate.open_for(0);
    for thread in created {
        // The thread does nothing that could panic.
        let _ = thread.join();
    }
    failed.map_or(Ok(()), Err)
}

/// Blocks threads until all of them exist.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    waiting: usize,
    is_open: bool,
}

impl Gate {
    fn enter(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting += 1;
        self.changed.notify_all();
        let is_shut = |state: &mut GateState| !state.is_open;
        drop(self.changed.wait_while(state, is_shut).unwrap_or_else(PoisonError::into_inner));
    }

    /// Opens the gate once this number of threads wait. Returns false if that takes too long.
    fn open_for(&self, threads: usize) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks = |state: &mut GateState| state.waiting < threads;
        let (mut state, waited) = self
            .changed
            .wait_timeout_while(state, START_LIMIT, lacks)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_open = true;
        self.changed.notify_all();
        !waited.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_of_a_runtime_exist_before_its_work_begins() {
        let runtime = runtime(3).unwrap();
        assert!(runtime.metrics().num_workers() == NETWORK);
        reserve(4, "a test").unwrap();
    }
}
