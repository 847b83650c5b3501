//! A lake in a bucket of an S3-compatible object store.
//!
//! There are no locks and no renames. A file gets visible with one PUT, or when a multipart upload
//! is completed. What it may replace is a condition of the PUT, which the store checks. Stores
//! without such conditions are refused, unless the settings say that there is only one writer
//! ([`probe`]).

mod connect;
mod error;
mod probe;
mod put;

use std::fmt;
use std::io::{Seek, Write};
use std::path::{Path as LocalPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::{Check, Entry, Expected, File, Key, Kind, Look, Space, StagedFile, Store, Version};
use crate::failure::ErrorKind;
use crate::lake::LakeError;
use crate::threads;
pub use connect::{Addressing, BucketCredentials, BucketOptions};
pub use error::BucketError;
use error::{Answer, failed};
pub use probe::Conditions;

/// Bytes of an object that are fetched by one request.
const PART_BYTES: u64 = 16 << 20;

/// Objects in a bucket, below a prefix.
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    prefix: String,
    url: String,
    host: String,
    scratch: PathBuf,
    is_single_writer: bool,
    /// The store does not check conditions, and there is only one writer: kefu looks before it puts.
    is_unprotected: AtomicBool,
    /// Whether this process has probed the store.
    is_probed: AtomicBool,
}

impl Bucket {
    /// Names the bucket; makes no request.
    ///
    /// # Errors
    /// When the options are not usable.
    pub fn at(options: &BucketOptions) -> Result<Self, LakeError> {
        let place = || format!("{} at {}", options.url(), options.host());
        let objects =
            options.connect().map_err(|error| LakeError::from(failed("use", place(), &error)))?;
        let bucket = Self::over(objects, &options.prefix, options.scratch.clone());
        let is_single_writer = options.single_writer;
        Ok(Self { url: options.url(), host: options.host(), is_single_writer, ..bucket })
    }

    fn over(objects: Arc<dyn ObjectStore>, prefix: &str, scratch: PathBuf) -> Self {
        Self {
            objects,
            prefix: prefix.to_owned(),
            url: format!("s3://memory/{prefix}"),
            host: "memory".to_owned(),
            scratch,
            is_single_writer: false,
            is_unprotected: AtomicBool::new(false),
            is_probed: AtomicBool::new(false),
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

    /// Does something with the store, on threads of its own, and waits for it. So it does not matter
    /// what kind of thread calls it.
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

    /// Fetches a range of an object, or all of it.
    fn get(&self, path: Path, options: GetOptions) -> Result<Result<Got, Error>, LakeError> {
        let objects = self.objects.clone();
        self.run(async move {
            let result = objects.get_opts(&path, options).await?;
            let (size, e_tag) = (result.meta.size, result.meta.e_tag.clone());
            Ok(Got { size, e_tag, bytes: result.bytes().await? })
        })
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

    /// A new local file without a name.
    fn scratch_file(&self) -> Result<File, LakeError> {
        fs_err::create_dir_all(&self.scratch)?;
        let path = self.scratch.join(format!("{:032x}", rand::random::<u128>()));
        let mut options = fs_err::OpenOptions::new();
        fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.read(true).write(true).create_new(true).open(&path)?;
        // It vanishes when it is closed, even if this process is killed.
        fs_err::remove_file(&path)?;
        Ok(file)
    }
}

struct Got {
    /// Of the whole object.
    size: u64,
    e_tag: Option<String>,
    bytes: Bytes,
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
        let is_head = tail == 0;
        if !is_head {
            let range = (tail < u64::MAX).then_some(GetRange::Suffix(tail));
            match self.get(self.path(key)?, GetOptions { range, ..GetOptions::default() })? {
                Ok(Got { size, e_tag, bytes }) => {
                    let version = self.version(key, e_tag)?;
                    return Ok(Some(Look { version, bytes: size, tail: bytes }));
                }
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) if is_empty(&error) => {}
                Err(error) => return Err(self.failed("read", key, &error)),
            }
        }
        let found = self.head(key)?;
        Ok(found.map(|(bytes, version)| Look { version, bytes, tail: Bytes::new() }))
    }

    fn open(&self, key: &Key) -> Result<File, LakeError> {
        let (path, mut copy) = (self.path(key)?, self.scratch_file()?);
        let (mut copied, mut size, mut e_tag) = (0, PART_BYTES, None);
        while copied < size {
            let range = Some(GetRange::Bounded(copied..(copied + PART_BYTES).min(size)));
            // All parts must be of the same object.
            let options = GetOptions { range, if_match: e_tag.clone(), ..GetOptions::default() };
            match self.get(path.clone(), options)? {
                Ok(got) if got.bytes.is_empty() => break,
                Ok(got) => {
                    copy.write_all(&got.bytes)?;
                    copied += got.bytes.len() as u64;
                    (size, e_tag) = (got.size, got.e_tag);
                }
                Err(error) if copied == 0 && is_empty(&error) => break,
                Err(Error::Precondition { .. }) => {
                    return Err(LakeError::Changed { path: self.shown(key) });
                }
                Err(error) if is_absent(&error) => {
                    return Err(LakeError::not_there(&self.shown(key)));
                }
                Err(error) => return Err(self.failed("read", key, &error)),
            }
        }
        copy.rewind()?;
        Ok(File::from_parts(copy.into_parts().0, self.shown(key)))
    }

    fn put(
        &self,
        key: &Key,
        staged: StagedFile,
        expected: &Expected,
        check: Check<'_>,
    ) -> Result<(), LakeError> {
        check()?;
        staged.require_own()?;
        self.put_staged(key, &staged, expected, check)
    }

    fn remove(&self, _folder: &Key, files: &[Key]) -> Result<(), LakeError> {
        for key in files {
            let (objects, path) = (self.objects.clone(), self.path(key)?);
            match self.run(async move { objects.delete(&path).await })? {
                Err(error) if !is_absent(&error) => {
                    return Err(self.failed("delete", key, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn list(&self, folder: &Key) -> Result<Vec<Entry>, LakeError> {
        let (objects, path) = (self.objects.clone(), self.path(folder)?);
        let is_root = path.as_ref().is_empty();
        let listed = self
            .run(async move { objects.list_with_delimiter((!is_root).then_some(&path)).await })?;
        let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
        let entry = |path: &Path, kind| Some(Entry { key: folder.join(path.filename()?), kind });
        let folders = listed.common_prefixes.iter().filter_map(|path| entry(path, Kind::Folder));
        let files = listed.objects.iter().filter_map(|meta| entry(&meta.location, Kind::File));
        let mut entries: Vec<Entry> = folders.chain(files).collect();
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(entries)
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
        if self.is_probed.load(Ordering::Acquire) {
            return Ok(());
        }
        let conditions = self.probe()?;
        if conditions != Conditions::Honoured {
            if !self.is_single_writer {
                return Err(self.without_conditions(conditions));
            }
            self.is_unprotected.store(true, Ordering::Release);
        }
        self.is_probed.store(true, Ordering::Release);
        Ok(())
    }

    fn is_unprotected(&self) -> bool {
        self.is_unprotected.load(Ordering::Acquire)
    }

    fn conditions(&self) -> Result<Option<Conditions>, LakeError> {
        self.probe().map(Some)
    }
}

fn is_empty(error: &Error) -> bool {
    // object_store's store in memory, and some answers that it reads itself, say it in words.
    Answer::of(error).is_empty_object() || error.to_string().contains("only 0 bytes long")
}

/// Only the name: the client knows the credentials.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({} at {})", self.url, self.host)
    }
}

#[cfg(test)]
mod tests;
