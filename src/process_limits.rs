//! Limits of this process and of the programs that it starts: core dumps and open files.
//!
//! Best effort: kefu also runs if the system refuses.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Maximum number of open files where the system names none. macOS refuses more.
const OPEN_FILES_MAX: u64 = 10_240;

/// Forbids core dumps, because the memory of this process contains secrets and customers' messages.
pub fn forbid_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    // A limit of 0 does not stop a core dump that is piped into a program (core_pattern `|…`).
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Raises the limit of open files as far as this user may. `prune` and `verify` have one lock file
/// open for each account, and the usual limit is 1,024 files or fewer.
pub fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = current.map(|current| current.max(maximum.unwrap_or(OPEN_FILES_MAX)));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: raised, maximum });
}
