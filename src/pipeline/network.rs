//! Connections and threads for calls. All accounts of a process share them.

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::failure::{Classified, ErrorKind};
use crate::threads::{self, ThreadsError};
use crate::wechat::{CallError, Client, Endpoint};

/// Number of concurrent calls up to which each has its own threads for the disk. Further calls
/// share them: none keeps a thread while it waits for WeChat.
const CALLS_WITH_THREADS: usize = 16;

/// The machine lacks what it takes to make calls.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}

impl Classified for NetworkError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Call(error) => error.kind(),
            Self::Threads(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Call(error) => error.hint(),
            Self::Threads(error) => error.hint(),
        }
    }
}

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
    pub fn open(endpoint: &Endpoint, calls: usize) -> Result<Self, NetworkError> {
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
