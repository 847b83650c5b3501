//! Forbids core dumps, because the memory of this process contains secrets and customers' messages.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Forbids core dumps of this process and of the programs that it starts.
///
/// Best effort: kefu also runs if the system refuses.
pub fn forbid() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    // A limit of 0 does not stop a core dump that is piped into a program (core_pattern `|…`).
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}
