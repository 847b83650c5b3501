//! A lake in a bucket of an S3-compatible object store.
//!
//! There are no locks and no renames. A file gets visible with one PUT, or when a multipart upload
//! is completed. What it may replace is a condition of the PUT, which the store checks. Stores
//! without such conditions are refused, unless the settings say that there is only one writer
//! ([`probe`]).

mod anonymous;
mod connect;
mod error;
mod list;
mod probe;
mod put;
mod read;
mod snapshot;
mod wire;

use std::fmt;
use std::ops::Range;
use std::path::{Path as LocalPath, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use tokio::sync::Semaphore;

use super::{
    AnonymousAccess, Check, Entry, Expected, File, IsWanted, Key, Look, Space, StagedFile, Store,
    Version,
};
use crate::failure::ErrorKind;
use crate::lake::LakeError;
use crate::threads;
pub use connect::{Addressing, BucketCredentials, BucketOptions};
pub use error::BucketError;
use error::{Answer, failed};
pub use probe::Conditions;
use wire::StoreClock;

/// Requests at the same time for one question about many objects.
const REQUESTS_AT_ONCE: usize = 32;

/// Requests at the same time of all accounts of a process. Each has a connection, which is an open
/// file.
const REQUESTS_OF_PROCESS: usize = 256;

/// Objects in a bucket, below a prefix.
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    prefix: String,
    url: String,
    host: String,
    /// The URL of the bucket, for requests without credentials.
    address: Option<String>,
    scratch: PathBuf,
    is_single_writer: bool,
    clock: StoreClock,
    /// The store does not check conditions, and there is only one writer: kefu looks before it
    /// puts.
    is_unprotected: AtomicBool,
    /// Whether this process has probed the store.
    is_probed: Mutex<bool>,
    /// Limits the requests at the same time.
    gate: Arc<Semaphore>,
}

impl Bucket {
    /// Names the bucket; makes no request.
    ///
    /// # Errors
    /// When the options are not usable.
    pub fn at(options: &BucketOptions) -> Result<Self, LakeError> {
        let place = || format!("{} at {}", options.url(), options.host());
        let clock = StoreClock::default();
        let objects = options
            .connect(&clock)
            .map_err(|error| LakeError::from(failed("use", place(), &error)))?;
        let bucket = Self::over(objects, &options.prefix, options.scratch.clone());
        let is_single_writer = options.single_writer;
        let address = Some(options.address());
        Ok(Self {
            url: options.url(),
            host: options.host(),
            is_single_writer,
            clock,
            address,
            ..bucket
        })
    }

    fn over(objects: Arc<dyn ObjectStore>, prefix: &str, scratch: PathBuf) -> Self {
        Self {
            objects,
            prefix: prefix.to_owned(),
            url: format!("s3://memory/{prefix}"),
            host: "memory".to_owned(),
            address: None,
            scratch,
            clock: StoreClock::default(),
            is_single_writer: false,
            is_unprotected: AtomicBool::new(false),
            is_probed: Mutex::new(false),
            gate: Arc::new(Semaphore::new(REQUESTS_OF_PROCESS)),
        }
    }

    /// The name of an object, as the client wants it.
    fn path(&self, key: &Key) -> Result<Path, LakeError> {
        let name = match (self.prefix.as_str(), key.as_str()) {
            ("", name) | (name, "") => name.to_owned(),
            (prefix, name) => format!("{prefix}/{name}"),
        };
        // `Path::from` would encode everything but ASCII.
        Path::parse(name).map_err(|error| {
            let kind = ErrorKind::Settings;
            let (place, reason) = (self.place(key), error.to_string());
            BucketError { kind, what: "name", place, reason, hint: None }.into()
        })
    }

    /// The bucket or an object, for messages.
    fn place(&self, key: &Key) -> String {
        match key.as_str() {
            "" => format!("{} at {}", self.url, self.host),
            name => format!("{}/{name} at {}", self.url, self.host),
        }
    }

    fn failed(&self, what: &'static str, key: &Key, error: &Error) -> LakeError {
        failed(what, self.place(key), error).into()
    }

    /// The key as other parts of kefu show it.
    fn shown(&self, key: &Key) -> PathBuf {
        LocalPath::new(&self.url).join(key.as_str())
    }

    /// Does something with the store, on threads of its own, and waits for it. So it does not
    /// matter what kind of thread calls it.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, LakeError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        threads::network()?.spawn(async move {
            // Nobody waits only if this thread panicked.
            let _ = sender.send(work.await);
        });
        receiver.recv().map_err(|_| std::io::Error::other("a request to the bucket stopped").into())
    }

    /// Does something with the store for each of several things, at the same time, and waits for
    /// all.
    fn run_all<I: Send + 'static, T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        things: Vec<I>,
        work: impl Fn(Arc<dyn ObjectStore>, I) -> F + Send + 'static,
    ) -> Result<Vec<T>, LakeError> {
        let (objects, gate) = (self.objects.clone(), Arc::new(Semaphore::new(REQUESTS_AT_ONCE)));
        let of_process = self.gate.clone();
        let done = self.run(async move {
            let begin = |thing: I| {
                let (gate, of_process) = (gate.clone(), of_process.clone());
                let work = work(objects.clone(), thing);
                tokio::spawn(async move {
                    // The gates are never closed.
                    let _turns = (gate.acquire().await, of_process.acquire().await);
                    work.await
                })
            };
            let begun: Vec<_> = things.into_iter().map(begin).collect();
            let mut done = Vec::with_capacity(begun.len());
            for task in begun {
                done.push(task.await);
            }
            done
        })?;
        let stopped = |error| std::io::Error::other(format!("a request stopped: {error}")).into();
        done.into_iter().map(|done| done.map_err(stopped)).collect()
    }

    /// The size and the version of an object, if it is there.
    fn head(&self, key: &Key) -> Result<Option<(u64, Version)>, LakeError> {
        let (objects, path) = (self.objects.clone(), self.path(key)?);
        match self.run(async move { objects.head(&path).await })? {
            Ok(meta) => Ok(Some((meta.size, self.version(key, meta.e_tag)?))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.failed("look at", key, &error)),
        }
    }

    fn version(&self, key: &Key, e_tag: Option<String>) -> Result<Version, LakeError> {
        let no_version = || BucketError {
            kind: ErrorKind::Settings,
            what: "look at",
            place: self.place(key),
            reason: "the store gives no ETag".to_owned(),
            hint: Some("use a store that is compatible with S3".to_owned()),
        };
        Ok(Version::Bucket { e_tag: e_tag.ok_or_else(no_version)? })
    }
}

/// Whether an error says that the object is not there, and not that the bucket is missing.
fn is_absent(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
        && Answer::of(error).code.as_deref() != Some("NoSuchBucket")
}

impl Store for Bucket {
    fn require(&self) -> Result<(), LakeError> {
        match self.list(&Key::root())?.is_empty() {
            true => Err(LakeError::Absent { root: PathBuf::from(&self.url) }),
            false => Ok(()),
        }
    }

    fn look(&self, key: &Key, tail: u64) -> Result<Option<Look>, LakeError> {
        let wanted = [(key.clone(), tail)];
        Ok(self.get_ends(&wanted)?.pop().flatten())
    }

    fn look_all(&self, wanted: &[(Key, u64)]) -> Result<Vec<Option<Look>>, LakeError> {
        self.get_ends(wanted)
    }

    fn open(&self, key: &Key, version: Option<&Version>) -> Result<File, LakeError> {
        self.copy(key, version)
    }

    fn open_parts(
        &self,
        key: &Key,
        version: &Version,
        bytes: u64,
        parts: &[Range<u64>],
    ) -> Result<File, LakeError> {
        self.copy_parts(key, version, bytes, parts)
    }

    fn put(
        &self,
        key: &Key,
        staged: StagedFile,
        expected: &Expected,
        check: Check<'_>,
    ) -> Result<(), LakeError> {
        self.put_staged(key, &staged, expected, check)
    }

    fn remove(&self, _folder: &Key, files: &[Key]) -> Result<(), LakeError> {
        let paths = files.iter().map(|key| self.path(key)).collect::<Result<Vec<_>, _>>()?;
        let delete =
            |objects: Arc<dyn ObjectStore>, path: Path| async move { objects.delete(&path).await };
        let deleted = self.run_all(paths, delete)?.into_iter().zip(files);
        let mut failed = deleted.filter_map(|(deleted, key)| match deleted {
            Err(error) if !is_absent(&error) => Some(self.failed("delete", key, &error)),
            _ => None,
        });
        failed.next().map_or(Ok(()), Err)
    }

    fn snapshot(
        &self,
        folder: &Key,
        is_wanted: IsWanted,
    ) -> Result<Option<blake3::Hash>, LakeError> {
        self.hash_of_listing(folder, is_wanted).map(Some)
    }

    fn list(&self, folder: &Key) -> Result<Vec<Entry>, LakeError> {
        Ok(self.list_folders(std::slice::from_ref(folder))?.pop().unwrap_or_default())
    }

    fn list_all(&self, folders: &[Key]) -> Result<Vec<Vec<Entry>>, LakeError> {
        self.list_folders(folders)
    }

    fn list_table(&self, folder: &Key) -> Result<Vec<(Entry, Vec<Entry>)>, LakeError> {
        self.list_days(folder)
    }

    fn paths(&self) -> Result<Vec<PathBuf>, LakeError> {
        Ok(vec![LocalPath::new("/").join(&self.prefix)])
    }

    fn space(&self) -> Result<Space, LakeError> {
        Space::of(&self.scratch)
    }

    fn scratch(&self) -> Option<&LocalPath> {
        Some(&self.scratch)
    }

    fn begin_run(&self) -> Result<(), LakeError> {
        // Accounts begin side by side: one of them probes, and the others wait for it.
        let mut is_probed = self.is_probed.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_probed {
            return Ok(());
        }
        let conditions = self.probe()?;
        if conditions != Conditions::Honoured {
            if !self.is_single_writer {
                return Err(self.without_conditions(conditions));
            }
            self.is_unprotected.store(true, Ordering::Release);
        }
        *is_probed = true;
        Ok(())
    }

    fn is_unprotected(&self) -> bool {
        self.is_unprotected.load(Ordering::Acquire)
    }

    fn clock_skew_seconds(&self) -> Option<i64> {
        self.clock.skew_seconds()
    }

    fn anonymous_access(&self, file: Option<&Key>) -> AnonymousAccess {
        self.try_without_credentials(file)
    }

    fn conditions(&self) -> Result<Option<Conditions>, LakeError> {
        self.probe_and_clean().map(Some)
    }
}

/// Only the name: the client knows the credentials.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({} at {})", self.url, self.host)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod upload_tests;
