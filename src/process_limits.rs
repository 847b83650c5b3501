//! Limits of this process and of the programs that it starts: core dumps and open files.
//!
//! Best effort: kefu also runs if the system refuses.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Number of open files to ask for where the system has no limit. macOS refuses more.
const OPEN_FILES_UNLIMITED: u64 = 10_240;

/// Maximum number of open files to ask for. The programs that kefu starts inherit the limit. Some
/// close every possible descriptor one by one, which takes minutes with a limit of 10^9.
const OPEN_FILES_MAX: u64 = 65_536;

/// Forbids core dumps, because the memory of this process contains secrets and customers' messages.
pub fn forbid_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    // A limit of 0 does not stop a core dump that is piped into a program (core_pattern `|…`).
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Raises the limit of open files to 65,536, or as far as this user may. Never lowers it. `prune`
/// and `verify` have one lock file open for each account, and the usual limit is 1,024 files or
/// fewer.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: raised(limit), ..limit });
}

/// The new soft limit. None means no limit.
fn raised(Rlimit { current, maximum }: Rlimit) -> Option<u64> {
    let allowed = maximum.unwrap_or(OPEN_FILES_UNLIMITED).min(OPEN_FILES_MAX);
    current.map(|current| current.max(allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_65536_at_most_and_never_lowered() {
        let raised = |current, maximum| raised(Rlimit { current, maximum });
        assert_eq!(raised(Some(1_024), Some(4_096)), Some(4_096));
        assert_eq!(raised(Some(1_024), Some(1_000_000_000)), Some(65_536));
        assert_eq!(raised(Some(100_000), Some(1_000_000_000)), Some(100_000));
        assert_eq!(raised(Some(256), None), Some(10_240));
        assert_eq!(raised(None, None), None);
    }
}
