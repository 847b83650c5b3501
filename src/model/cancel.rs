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

/// Tells long work to stop. All clones share the signal.
///
/// Work that takes longer than about 0.3 seconds must check it in between, so that a process ends
/// within 2 seconds of a signal.
#[derive(Clone, Debug)]
pub struct Cancel {
    first: Arc<watch::Sender<Option<Signal>>>,
    #[cfg(test)]
    countdown: Arc<countdown::Countdown>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self {
            first: Arc::new(watch::Sender::new(None)),
            #[cfg(test)]
            countdown: Arc::default(),
        }
    }
}

impl Cancel {
    /// Asks the work to stop. Only the first signal counts.
    pub fn cancel(&self, signal: Signal) {
        self.first.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(signal);
            is_first
        });
    }

    /// The signal, once there was one.
    pub fn signal(&self) -> Option<Signal> {
        *self.first.borrow()
    }

    /// Waits for a signal.
    pub async fn cancelled(&self) -> Cancelled {
        let mut signals = self.first.subscribe();
        match signals.wait_for(Option::is_some).await.map(|signal| *signal) {
            Ok(Some(signal)) => Cancelled(signal),
            // The sender exists as long as `self` does, so there is always a signal.
            _ => std::future::pending().await,
        }
    }

    /// # Errors
    /// [`Cancelled`] after a signal.
    #[cfg_attr(test, track_caller)]
    pub fn check(&self) -> Result<(), Cancelled> {
        #[cfg(test)]
        self.count_down();
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

/// For tests: counts the checks, and sends a signal at a chosen one.
#[cfg(test)]
mod countdown {
    use std::collections::BTreeSet;
    use std::panic::Location;
    use std::sync::{Mutex, MutexGuard};

    use super::{Cancel, Signal};

    #[derive(Debug, Default)]
    pub(super) struct Countdown(Mutex<Checks>);

    #[derive(Debug, Default)]
    struct Checks {
        count: usize,
        /// The number of checks before the one at which the signal comes.
        before: Option<usize>,
        /// The files with checks.
        files: BTreeSet<&'static str>,
    }

    impl Cancel {
        /// Is cancelled at the check after this number of checks.
        pub(crate) fn after(checks: usize) -> Self {
            let cancel = Self::default();
            cancel.checks().before = Some(checks);
            cancel
        }

        /// The number of checks so far, and the files with them.
        pub(crate) fn checked(&self) -> (usize, BTreeSet<&'static str>) {
            let checks = self.checks();
            (checks.count, checks.files.clone())
        }

        fn checks(&self) -> MutexGuard<'_, Checks> {
            self.countdown.0.lock().unwrap()
        }

        #[track_caller]
        pub(super) fn count_down(&self) {
            let mut checks = self.checks();
            checks.files.insert(Location::caller().file());
            if checks.before == Some(checks.count) {
                self.cancel(Signal::Terminate);
            }
            checks.count += 1;
        }
    }
}
