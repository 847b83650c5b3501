//! Runs programs in their own process groups, so that a program and all processes that it started
//! end together.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// The existing groups. None during shutdown, when no program may be started.
static GROUPS: Mutex<Option<Vec<Pid>>> = Mutex::new(Some(Vec::new()));

/// A program and the processes that it started. Dropping it kills all of them.
#[derive(Debug)]
pub struct ProcessGroup {
    child: Child,
    is_let_go: bool,
}

impl ProcessGroup {
    /// Starts the program. Ctrl-C in a terminal does not reach the program, so the caller must make
    /// sure that kefu calls [`end_all`] on shutdown.
    ///
    /// # Errors
    /// When the program cannot be started, or kefu is shutting down.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        // Keep the lock until the group is in the list. Otherwise a shutdown could miss it.
        let mut groups = groups();
        let Some(groups) = groups.as_mut() else { return Err(io::ErrorKind::Interrupted.into()) };
        let child = command.process_group(0).spawn()?;
        groups.push(Pid::from_child(&child));
        Ok(Self { child, is_let_go: false })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Marks the program as ended by itself. Its background processes are then not killed.
    pub fn let_go(mut self) {
        self.is_let_go = true;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        if !self.is_let_go {
            kill(group);
        }
        // The process has ended or is about to end, so an error of `wait` does not matter.
        let _ = self.child.wait();
        groups().iter_mut().for_each(|groups| groups.retain(|other| *other != group));
    }
}

/// Kills every group and prevents further starts. Called on shutdown.
pub fn end_all() {
    groups().take().into_iter().flatten().for_each(kill);
}

fn kill(group: Pid) {
    // Fails if the whole group has already ended. That is no problem.
    let _ = kill_process_group(group, Signal::KILL);
}

fn groups() -> MutexGuard<'static, Option<Vec<Pid>>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}
