//! How many threads compute.

/// Limits rayon, which reads, and polars, which has a pool of its own. Must be called while the process has one thread.
pub fn limit(threads: Option<u16>) {
    let Some(threads) = threads else { return };
    // polars takes its limit from the environment alone.
    #[allow(unsafe_code)]
    // SAFETY: the process has one thread (see above), so nobody else reads or writes the environment now.
    unsafe {
        std::env::set_var("POLARS_MAX_THREADS", threads.to_string());
    }
    // Fails only when the pool has begun; then it stays as it is.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global();
}
