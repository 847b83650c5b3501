//! Putting an object, only over the one that is expected.
//!
//! The store checks that by a condition of the PUT. When it refuses, or its answer was lost, kefu
//! looks at the object again: with the same content it was put, and with the expected version
//! nothing has happened yet.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

use super::super::{Check, Expected, Key, StagedFile, Store, Version};
use super::{Answer, Bucket, is_absent};
use crate::lake::LakeError;

/// Up to this size, an object is put with one request.
pub(super) const ONE_PUT_BYTES: u64 = 64 << 20;

/// Size of the parts of a larger one, but for the last.
const PART_BYTES: u64 = 16 << 20;

/// How often a PUT is sent when its answer is lost, apart from the retries of the client.
const ATTEMPTS: u32 = 3;

/// The first wait before a PUT is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// Bytes that are compared at once.
const COMPARED_BYTES: usize = 1 << 20;

impl Bucket {
    /// Puts a staged file with one request, or in parts if it is large.
    pub(super) fn put_staged(
        &self,
        key: &Key,
        staged: &StagedFile,
        expected: &Expected,
        check: Check<'_>,
    ) -> Result<(), LakeError> {
        check()?;
        staged.require_own()?;
        let bytes = fs_err::metadata(staged.path())?.len();
        if bytes > ONE_PUT_BYTES {
            return self.put_in_parts(key, staged, expected, check);
        }
        let content = Bytes::from(fs_err::read(staged.path())?);
        let mut attempt = 1;
        loop {
            let Err(error) = self.put_once(key, content.clone(), expected, check)? else {
                return Ok(());
            };
            let is_undecided = is_undecided(&error);
            if is_undecided && self.is_there(key, staged, expected)? {
                return Ok(());
            }
            if !is_undecided || attempt == ATTEMPTS {
                return Err(self.failed("write", key, &error));
            }
            // The other writer of the object may be done then.
            std::thread::sleep(PAUSE * attempt);
            attempt += 1;
        }
    }

    fn put_once(
        &self,
        key: &Key,
        content: Bytes,
        expected: &Expected,
        check: Check<'_>,
    ) -> Result<Result<(), Error>, LakeError> {
        check()?;
        let mode = match expected {
            _ if self.is_unprotected() => {
                self.require_expected(key, expected)?;
                PutMode::Overwrite
            }
            Expected::Any => PutMode::Overwrite,
            Expected::Seen(None) => PutMode::Create,
            Expected::Seen(Some(Version::Bucket { e_tag })) => {
                PutMode::Update(UpdateVersion { e_tag: Some(e_tag.clone()), version: None })
            }
            // A version of another store is never that of an object.
            Expected::Seen(Some(Version::Folder { .. })) => return Err(self.changed(key)),
        };
        let (objects, path) = (self.objects.clone(), self.path(key)?);
        let put = self.run(async move {
            let options = PutOptions { mode, ..PutOptions::default() };
            objects.put_opts(&path, content.into(), options).await
        })?;
        Ok(put.map(drop))
    }

    /// Whether the object is the staged file. False when it is what was expected before: the PUT
    /// did nothing.
    ///
    /// # Errors
    /// [`LakeError::Changed`] when it is neither.
    fn is_there(
        &self,
        key: &Key,
        staged: &StagedFile,
        expected: &Expected,
    ) -> Result<bool, LakeError> {
        let there = self.head(key)?;
        let bytes = fs_err::metadata(staged.path())?.len();
        if there.as_ref().is_some_and(|(size, _)| *size == bytes) && self.is_same(key, staged)? {
            return Ok(true);
        }
        let there = Expected::Seen(there.map(|(_, version)| version));
        match expected {
            Expected::Any => Ok(false),
            expected if *expected == there => Ok(false),
            Expected::Seen(_) => Err(self.changed(key)),
        }
    }

    /// Compares an object, which has the size of the staged file, with that file.
    fn is_same(&self, key: &Key, staged: &StagedFile) -> Result<bool, LakeError> {
        let (mut there, mut own) = (self.copy(key, None)?, fs_err::File::open(staged.path())?);
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        loop {
            for (file, bytes) in [(&mut there, &mut theirs), (&mut own, &mut ours)] {
                bytes.clear();
                file.by_ref().take(COMPARED_BYTES as u64).read_to_end(bytes)?;
            }
            match theirs == ours {
                true if ours.is_empty() => return Ok(true),
                true => {}
                false => return Ok(false),
            }
        }
    }

    pub(super) fn require_expected(&self, key: &Key, expected: &Expected) -> Result<(), LakeError> {
        let Expected::Seen(seen) = expected else { return Ok(()) };
        match self.head(key)?.map(|(_, version)| version) == *seen {
            true => Ok(()),
            false => Err(self.changed(key)),
        }
    }

    pub(super) fn changed(&self, key: &Key) -> LakeError {
        LakeError::Changed { path: self.shown(key) }
    }

    /// Puts a large object. No condition can be given for that, so kefu looks just before it is
    /// completed.
    fn put_in_parts(
        &self,
        key: &Key,
        staged: &StagedFile,
        expected: &Expected,
        check: Check<'_>,
    ) -> Result<(), LakeError> {
        let (objects, path) = (self.objects.clone(), self.path(key)?);
        let begun = self.run(async move { objects.put_multipart(&path).await })?;
        let upload = begun.map_err(|error| self.failed("write", key, &error))?;
        let upload = Arc::new(Mutex::new(upload));
        let put = self.complete(key, staged, expected, check, &upload);
        if put.is_err() {
            // What cannot be aborted is for a lifecycle rule of the bucket.
            let _ = self.run(async move { upload.lock().await.abort().await });
        }
        put
    }

    fn complete(
        &self,
        key: &Key,
        staged: &StagedFile,
        expected: &Expected,
        check: Check<'_>,
        upload: &Upload,
    ) -> Result<(), LakeError> {
        self.send_parts(key, staged, upload)?;
        check()?;
        self.require_expected(key, expected)?;
        let upload = upload.clone();
        let completed = self.run(async move { upload.lock().await.complete().await })?;
        let Err(error) = completed else { return Ok(()) };
        // The client tries again when an answer is lost. If the upload was completed by then, the
        // store does not know it any more.
        let is_undecided = is_undecided(&error) || is_absent(&error);
        match is_undecided && self.is_there(key, staged, expected)? {
            true => Ok(()),
            false => Err(self.failed("write", key, &error)),
        }
    }

    /// Sends the parts one by one, so that only one is in memory.
    fn send_parts(&self, key: &Key, staged: &StagedFile, upload: &Upload) -> Result<(), LakeError> {
        let mut file = fs_err::File::open(staged.path())?;
        loop {
            let mut part = Vec::new();
            file.by_ref().take(PART_BYTES).read_to_end(&mut part)?;
            if part.is_empty() {
                return Ok(());
            }
            let upload = upload.clone();
            let sent = self.run(async move {
                let sending = upload.lock().await.put_part(part.into());
                sending.await
            })?;
            sent.map_err(|error| self.failed("write", key, &error))?;
        }
    }

    /// Puts a small object for the probe, and gives its version.
    pub(super) fn put_probe(
        &self,
        path: Path,
        content: &'static [u8],
        mode: PutMode,
    ) -> Result<Result<(), Error>, LakeError> {
        let objects = self.objects.clone();
        let put = self.run(async move {
            let options = PutOptions { mode, ..PutOptions::default() };
            objects.put_opts(&path, Bytes::from_static(content).into(), options).await
        })?;
        Ok(put.map(drop))
    }
}

type Upload = Arc<Mutex<Box<dyn MultipartUpload>>>;

/// Whether another look says what became of a PUT: the store refused the condition, or its answer
/// was lost.
fn is_undecided(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. })
        || Answer::of(error).is_lost()
}
