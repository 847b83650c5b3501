//! Connections and threads for calls. All accounts of a process share them.

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::failure::Failure;
use crate::threads;
use crate::wechat::{Client, Endpoint};

/// Number of concurrent calls up to which each has its own threads for the disk. Further calls share
/// them: none keeps a thread while it waits for WeChat.
const CALLS_WITH_THREADS: usize = 16;

/// A pool of connections and a runtime. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Network {
    client: Client,
    runtime: Arc<Runtime>,
}

impl Network {
    /// Creates the threads. Opens no connection yet. `calls` is the number of concurrent calls of
    /// all accounts together.
    ///
    /// # Errors
    /// When the machine has no trusted certificates, or the threads cannot be created.
    pub fn open(endpoint: &Endpoint, calls: usize) -> Result<Self, Failure> {
        let client = Client::new(endpoint)?;
        let runtime = Arc::new(threads::runtime(calls.min(CALLS_WITH_THREADS))?);
        Ok(Self { client, runtime })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Waits in the current thread for work that makes calls.
    pub(super) fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}
