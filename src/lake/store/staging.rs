//! Staging: where files are written before they get to their place.
//!
//! Each [`Lake`](crate::lake::Lake) that writes has a folder of its own below
//! `_kefu/accounts/<account>/staging`, with a random name that also says which process made it. So
//! two processes never write the same file, even where the lock does nothing. What is left there is
//! removed by the next run of the account that has the lock, and for a lake elsewhere, in a scratch
//! folder of this machine, by the next run of any account:
//!
//! - the folder of a process of this boot of this machine, when that process is gone;
//! - anything else (of another machine, container or boot, or of an earlier version of kefu), when
//!   it has not changed for a day: nobody can prove that its process is gone.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::folder::paths_in;
use super::{Disk, StagedFile, WrittenFile};
use crate::lake::{ACCOUNTS, Account};

/// Folder of an account where files are written. Earlier versions of kefu had one for the whole
/// lake.
const FOLDER: &str = "staging";

/// How long what is left of an unknown process stays.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The folders of this process that are in use.
static IN_USE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A process, as far as another one can tell it from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    /// The boot and the namespaces in which the number of the process means something.
    place: String,
    process: u32,
    /// When it started, in ticks since the boot: numbers of processes are used again.
    started: u64,
}

/// What is known of the process that made a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerState {
    Alive,
    Gone,
    /// It may be on another machine.
    Unknown,
}

impl Owner {
    fn this_process() -> Option<&'static Self> {
        static OWNER: LazyLock<Option<Owner>> = LazyLock::new(|| {
            let process = std::process::id();
            Some(Owner { place: place()?, process, started: process_facts(process)?.started })
        });
        OWNER.as_ref()
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let owner = Self {
            place: parts.next()?.to_owned(),
            process: parts.next()?.parse().ok()?,
            started: parts.next()?.parse().ok()?,
        };
        // The random part, and nothing more.
        parts.next().and(parts.next().is_none().then_some(owner))
    }
}

/// A new name for a folder, which says whose it is.
fn new_name() -> String {
    let random: u64 = rand::random();
    match Owner::this_process() {
        Some(Owner { place, process, started }) => {
            format!("{place}-{process}-{started}-{random:016x}")
        }
        // Nobody will be able to prove that this process is gone.
        None => format!("unknown-{random:016x}"),
    }
}

/// What is known of the process that made a folder of this name.
fn owner_state(name: &str) -> OwnerState {
    let (Some(owner), Some(here)) = (Owner::parse(name), Owner::this_process()) else {
        return OwnerState::Unknown;
    };
    if owner.place != here.place {
        return OwnerState::Unknown;
    }
    if owner == *here {
        let is_in_use = in_use().contains(name);
        return if is_in_use { OwnerState::Alive } else { OwnerState::Gone };
    }
    let process = i32::try_from(owner.process).ok().and_then(Pid::from_raw);
    match process.map(test_kill_process) {
        Some(Err(Errno::SRCH)) => OwnerState::Gone,
        // A process without readable facts may be hidden from this user.
        _ => match process_facts(owner.process) {
            Some(facts) if facts.is_dead || facts.started != owner.started => OwnerState::Gone,
            _ => OwnerState::Alive,
        },
    }
}

/// Linux's id of this boot and of the namespaces of processes and of time, as one word.
fn place() -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&fs_err::read("/proc/sys/kernel/random/boot_id").ok()?);
    for namespace in ["pid", "time"] {
        let link = fs_err::read_link(format!("/proc/self/ns/{namespace}"));
        hasher.update(link.unwrap_or_default().as_os_str().as_encoded_bytes());
        hasher.update(b"\n");
    }
    Some(word(hasher.finalize()))
}

/// The first 16 characters of a hash.
fn word(hash: blake3::Hash) -> String {
    hash.to_hex().chars().take(16).collect()
}

struct ProcessFacts {
    /// Whether it is dead, and its parent has not taken note of that yet.
    is_dead: bool,
    /// In ticks since the boot.
    started: u64,
}

fn process_facts(process: u32) -> Option<ProcessFacts> {
    let text = fs_err::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything. The state and the start are the
    // fields 3 and 22.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    Some(ProcessFacts { is_dead, started: fields.nth(18)?.parse().ok()? })
}

fn in_use() -> MutexGuard<'static, BTreeSet<String>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder of this user, below a scratch folder, in which files of a lake elsewhere are staged.
/// Creates it.
///
/// # Errors
/// When it cannot be created, or belongs to another user.
pub fn own_scratch(scratch: &Path, lake: &str) -> io::Result<PathBuf> {
    let user = rustix::process::getuid();
    let own = scratch.join(format!("kefu-{}", user.as_raw()));
    Disk::default().in_scratch(scratch).create_folders(&own)?;
    // The names in /tmp can be guessed.
    let facts = fs_err::symlink_metadata(&own)?;
    if !facts.is_dir() || facts.uid() != user.as_raw() {
        let reason = format!("{} is not a folder of this user", own.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(own.join(word(blake3::hash(lake.as_bytes()))))
}

/// The staging folders of one [`Lake`](crate::lake::Lake), each made when the first file of its
/// account is staged.
pub struct Staging {
    /// The folder that has the staging folders of all accounts below it.
    root: PathBuf,
    name: String,
    /// The folders that exist.
    made: Mutex<BTreeSet<PathBuf>>,
    /// Whether what was left of all accounts has been removed.
    is_all_cleared: AtomicBool,
}

impl Staging {
    /// Names the staging of a process; touches nothing.
    pub fn below(root: PathBuf) -> Self {
        let name = new_name();
        in_use().insert(name.clone());
        Self { root, name, made: Mutex::default(), is_all_cleared: AtomicBool::new(false) }
    }

    fn made(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder with what all processes have in staging for an account.
    pub fn of_account(&self, account: &Account) -> PathBuf {
        self.root.join(ACCOUNTS).join(account.as_str()).join(FOLDER)
    }

    /// The same of earlier versions of kefu, for all accounts.
    fn of_earlier_versions(&self) -> PathBuf {
        self.root.join(FOLDER)
    }

    /// Creates a file, and begins to write it.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn create(
        &self,
        disk: &Disk,
        account: &Account,
        name: &str,
    ) -> io::Result<(StagedFile, WrittenFile)> {
        StagedFile::create(&self.own_folder(disk, account)?, name, disk)
    }

    /// The folder of this process for an account, which is made if it is not there yet.
    fn own_folder(&self, disk: &Disk, account: &Account) -> io::Result<PathBuf> {
        let mut made = self.made();
        let folder = self.of_account(account).join(&self.name);
        if !made.contains(&folder) {
            // Its name is new. The folder above is there as long as the lake is.
            disk.create_folder(&folder)?;
            made.insert(folder.clone());
        }
        Ok(folder)
    }

    /// Removes what processes that are gone have left in the staging of an account, and in that of
    /// earlier versions of kefu. What cannot be removed does not stop a run, and is logged.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn clear(&self, account: &Account, now: SystemTime) -> io::Result<()> {
        let of_lake = self.of_earlier_versions();
        let paths = paths_in(&self.of_account(account))?.into_iter().chain(paths_in(&of_lake)?);
        paths.for_each(|path| remove_if_left(&path, now));
        // Once it is empty, nobody needs it.
        let _ = fs_err::remove_dir(of_lake);
        Ok(())
    }

    /// Removes the same from the staging of all accounts, the first time that it is called. Only
    /// for a scratch folder: the staging below a lake in a folder is cleared under the lock of its
    /// account. A folder of another account that cannot be listed does not stop a run, and is
    /// logged.
    ///
    /// # Errors
    /// When the accounts cannot be listed.
    pub fn clear_all_once(&self, now: SystemTime) -> io::Result<()> {
        if self.is_all_cleared.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        for account in paths_in(&self.root.join(ACCOUNTS))? {
            let folder = account.join(FOLDER);
            match paths_in(&folder) {
                Ok(paths) => paths.iter().for_each(|path| remove_if_left(path, now)),
                Err(error) => warn_of_left(&folder, &error),
            }
        }
        Ok(())
    }

    /// What runs that are gone, as far as is known, have left in staging.
    ///
    /// # Errors
    /// When a folder cannot be listed.
    pub fn left(&self) -> io::Result<Vec<PathBuf>> {
        let mut left = paths_in(&self.of_earlier_versions())?;
        for account in paths_in(&self.root.join(ACCOUNTS))? {
            left.extend(paths_in(&account.join(FOLDER))?);
        }
        left.retain(|path| owner_of(path) != OwnerState::Alive);
        Ok(left)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        for folder in self.made().iter() {
            // One that is not empty is for the next run to clear.
            let _ = fs_err::remove_dir(folder);
        }
        in_use().remove(&self.name);
    }
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Staging({})", self.name)
    }
}

fn owner_of(path: &Path) -> OwnerState {
    owner_state(&path.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes a path in staging, if its process is gone, or is unknown and has changed nothing for a
/// day.
fn remove_if_left(path: &Path, now: SystemTime) {
    let is_left = match owner_of(path) {
        OwnerState::Alive => false,
        OwnerState::Gone => true,
        OwnerState::Unknown => {
            let changed = last_change(path);
            changed.is_some_and(|at| now.duration_since(at).is_ok_and(|age| age > KEPT))
        }
    };
    if is_left && let Err(error) = remove(path) {
        warn_of_left(path, &error);
    }
}

fn warn_of_left(path: &Path, error: &io::Error) {
    tracing::warn!(
        event = "staging_not_cleared",
        path = %path.display(),
        reason = %error,
        "cannot remove the files of a killed run from staging"
    );
}

/// When a file, or a folder or one of its files, changed last.
fn last_change(path: &Path) -> Option<SystemTime> {
    let changed = |path: &Path| path.symlink_metadata().ok()?.modified().ok();
    let within = paths_in(path).ok()?.into_iter().filter_map(|path| changed(&path));
    within.chain(changed(path)).max()
}

/// Removes a file, or a folder with all that is in it, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let is_folder = path.symlink_metadata().is_ok_and(|facts| facts.is_dir());
    match if is_folder { fs_err::remove_dir_all(path) } else { fs_err::remove_file(path) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(owner: &Owner) -> String {
        format!("{}-{}-{}-0123456789abcdef", owner.place, owner.process, owner.started)
    }

    #[test]
    fn a_folder_is_left_behind_only_when_its_process_is_surely_gone() {
        let here = Owner::this_process().unwrap().clone();
        let staging = Staging::below(PathBuf::new());
        let own = staging.name.clone();
        assert_eq!(Owner::parse(&own), Some(here.clone()));
        assert_eq!(owner_state(&own), OwnerState::Alive);
        drop(staging);
        assert_eq!(owner_state(&own), OwnerState::Gone, "nobody uses it any more");

        let mut other = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let started = process_facts(other.id()).unwrap().started;
        let alive = Owner { process: other.id(), started, ..here };
        assert_eq!(owner_state(&name_of(&alive)), OwnerState::Alive);
        let successor = Owner { started: alive.started + 1, ..alive.clone() };
        assert_eq!(owner_state(&name_of(&successor)), OwnerState::Gone, "its number is used again");
        let elsewhere = Owner { place: "0".repeat(16), ..alive.clone() };
        assert_eq!(owner_state(&name_of(&elsewhere)), OwnerState::Unknown);
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(owner_state(&name_of(&alive)), OwnerState::Gone);
        for name in ["left", "a-b-c-d", "messages.2016-06-01.acme.0.parquet", &name_of(&alive)[1..]]
        {
            assert_eq!(owner_state(name), OwnerState::Unknown, "{name}");
        }
    }

    #[test]
    fn what_killed_runs_of_other_accounts_left_in_a_scratch_folder_is_removed_once() {
        let root = tempfile::tempdir().unwrap();
        let here = Owner::this_process().unwrap().clone();
        let gone = name_of(&Owner { started: here.started + 1, ..here.clone() });
        let elsewhere = name_of(&Owner { place: "0".repeat(16), ..here });
        let [one, two] = ["one", "two"].map(|name| Account::new(name.to_owned()).unwrap());
        let running = Staging::below(root.path().to_owned());
        let own = |account: &Account, name: &str| running.of_account(account).join(name);
        let leave = |account: &Account, name: &str| {
            fs_err::create_dir_all(own(account, name)).unwrap();
            fs_err::write(own(account, name).join("0.messages"), "PAR1").unwrap();
        };
        for account in [&one, &two] {
            [&gone, &elsewhere, &running.name].into_iter().for_each(|name| leave(account, name));
        }
        fs_err::write(root.path().join(ACCOUNTS).join("foreign"), "").unwrap();
        let is_there = |name: &str| [&one, &two].map(|account| own(account, name).exists());

        let next = Staging::below(root.path().to_owned());
        let now = SystemTime::now();
        next.clear_all_once(now).unwrap();
        assert_eq!(is_there(&gone), [false; 2]);
        assert_eq!(is_there(&elsewhere), [true; 2], "its process may be alive");
        assert_eq!(is_there(&running.name), [true; 2]);
        leave(&two, &gone);
        next.clear_all_once(now).unwrap();
        assert_eq!(is_there(&gone), [false, true], "not for each account again");
        let later = Staging::below(root.path().to_owned());
        later.clear_all_once(now + 2 * KEPT).unwrap();
        assert_eq!([is_there(&gone), is_there(&elsewhere)], [[false; 2]; 2]);
        assert_eq!(is_there(&running.name), [true; 2]);
    }
}
