//! How many threads compute.

/// Limits rayon, which decodes and reads, and polars, which has a pool of its own. Must be called before either has begun, and
/// while the process has one thread.
pub fn limit(threads: Option<u16>) {
    let Some(threads) = threads else { return };
    // Fails only when the pool has begun; then it stays as it is.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global();
    // polars takes its limit from the environment alone.
    #[allow(unsafe_code)]
    // SAFETY: nothing else reads or writes the environment now: `main` calls this first, and the threads that rayon has just begun wait for work.
    unsafe {
        std::env::set_var("POLARS_MAX_THREADS", threads.to_string());
    }
}
