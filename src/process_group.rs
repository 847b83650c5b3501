//! Programs that kefu starts: each in a process group of its own, with whatever it starts itself, so that all of it ends together.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

/// The groups there are. None when kefu is leaving: then no program is started any more.
static GROUPS: Mutex<Option<Vec<Pid>>> = Mutex::new(Some(Vec::new()));

/// A program and what it has started. Dropped, all of it is killed.
#[derive(Debug)]
pub struct ProcessGroup {
    child: Child,
    is_let_go: bool,
}

impl ProcessGroup {
    /// Starts the program. A terminal's Ctrl-C does not reach it: whoever starts one sees to it that kefu [ends it](end_all).
    ///
    /// # Errors
    /// When it cannot be started, or kefu is leaving.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        // Held until it is known to the others, so that none is started unseen while kefu leaves.
        let mut groups = groups();
        let Some(groups) = groups.as_mut() else { return Err(io::ErrorKind::Interrupted.into()) };
        let child = command.process_group(0).spawn()?;
        groups.push(Pid::from_child(&child));
        Ok(Self { child, is_let_go: false })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The program has ended by itself. What it has left running on purpose is none of kefu's business.
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
        // It is dead, or about to be; that nobody can wait for it makes it no more alive.
        let _ = self.child.wait();
        groups().iter_mut().for_each(|groups| groups.retain(|other| *other != group));
    }
}

/// Kills every program, and lets none be started any more: kefu is leaving.
pub fn end_all() {
    groups().take().into_iter().flatten().for_each(kill);
}

fn kill(group: Pid) {
    // Fails when all of it has ended by itself, which is as well.
    let _ = kill_process_group(group, Signal::KILL);
}

fn groups() -> MutexGuard<'static, Option<Vec<Pid>>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}
