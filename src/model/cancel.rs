//! Cancellation: a signal asks the work to stop, and the work looks for it between its steps.

use std::sync::Arc;

use tokio::sync::watch;

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: from a service manager or a scheduler.
    Terminate,
}

impl Signal {
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// 128 and the number of the signal, as shells report it.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Tells long work to stop. Clones are told together.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<watch::Sender<Option<Signal>>>);

impl Default for Cancel {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Cancel {
    /// Asks the work to stop. Only the first signal counts.
    pub fn cancel(&self, signal: Signal) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(signal);
            is_first
        });
    }

    /// The signal, once there was one.
    pub fn signal(&self) -> Option<Signal> {
        *self.0.borrow()
    }

    /// Waits for a signal.
    pub async fn cancelled(&self) -> Cancelled {
        let mut signals = self.0.subscribe();
        match signals.wait_for(Option::is_some).await.map(|signal| *signal) {
            Ok(Some(signal)) => Cancelled(signal),
            // The sender exists as long as `self` does, so there is always a signal.
            _ => std::future::pending().await,
        }
    }

    /// # Errors
    /// [`Cancelled`] after a signal.
    pub fn check(&self) -> Result<(), Cancelled> {
        self.signal().map_or(Ok(()), |signal| Err(Cancelled(signal)))
    }

    /// The outcome of some work, unless a signal comes first. Then the work is dropped.
    ///
    /// # Errors
    /// [`Cancelled`] after a signal.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Result<T, Cancelled> {
        tokio::select! {
            biased;
            cancelled = self.cancelled() => Err(cancelled),
            done = work => Ok(done),
        }
    }
}

/// The work was stopped by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped by {}", .0.name())]
pub struct Cancelled(pub Signal);
