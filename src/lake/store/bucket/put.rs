//! Putting an object, only over the one that is expected.
//!
//! The store checks that by a condition of the PUT. When it refuses, or its answer was lost, kefu
//! looks at the object again: with the same content it was put, and with the expected version
//! nothing has happened yet.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, MultipartUpload, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use std::io::Read;

use super::super::{Check, Expected, Key, StagedFile, Store, Version};
use super::{Answer, Bucket};
use crate::lake::LakeError;

/// Up to this size, an object is put with one request.
pub(super) const ONE_PUT_BYTES: u64 = 64 << 20;

/// Size of the parts of a larger one, but for the last.
const PART_BYTES: u64 = 16 << 20;

/// How often a PUT is sent when its answer is lost, apart from the retries of the client.
const ATTEMPTS: usize = 3;

/// Bytes that are compared at once.
const COMPARED_BYTES: usize = 1 << 20;

impl Bucket {
    pub(super) fn put_staged(
        &self,
        key: &Key,
        staged: &StagedFile,
        expected: &Expected,
        check: Check<'_>,
    ) -> Result<(), LakeError> {
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

    /// Whether the object is the staged file. False when it is what was expected before: the PUT did
    /// nothing.
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
        let (mut there, mut own) = (self.open(key, None)?, fs_err::File::open(staged.path())?);
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
        let (upload, sent) = self.send_parts(key, staged, upload)?;
        let checked = sent.and_then(|()| {
            check()?;
            self.require_expected(key, expected)
        });
        if let Err(error) = checked {
            self.abort(upload)?;
            return Err(error);
        }
        let (upload, completed) = self.run(complete(upload))?;
        match completed {
            Ok(()) => Ok(()),
            Err(error) if is_undecided(&error) && self.is_there(key, staged, expected)? => Ok(()),
            Err(error) => {
                self.abort(upload)?;
                Err(self.failed("write", key, &error))
            }
        }
    }

    /// Sends the parts one by one, so that only one is in memory.
    fn send_parts(
        &self,
        key: &Key,
        staged: &StagedFile,
        mut upload: Upload,
    ) -> Result<(Upload, Result<(), LakeError>), LakeError> {
        let mut file = fs_err::File::open(staged.path())?;
        loop {
            let mut part = Vec::new();
            if let Err(error) = file.by_ref().take(PART_BYTES).read_to_end(&mut part) {
                return Ok((upload, Err(error.into())));
            }
            if part.is_empty() {
                return Ok((upload, Ok(())));
            }
            let sent;
            (upload, sent) = self.run(async move {
                let sent = upload.put_part(part.into()).await;
                (upload, sent)
            })?;
            if let Err(error) = sent {
                return Ok((upload, Err(self.failed("write", key, &error))));
            }
        }
    }

    /// Gives up a large object. What cannot be aborted is for a lifecycle rule of the bucket.
    fn abort(&self, mut upload: Upload) -> Result<(), LakeError> {
        self.run(async move { drop(upload.abort().await) })
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

type Upload = Box<dyn MultipartUpload>;

async fn complete(mut upload: Upload) -> (Upload, Result<(), Error>) {
    let completed = upload.complete().await.map(drop);
    (upload, completed)
}

/// Whether another look says what became of a PUT: the store refused the condition, or its answer
/// was lost.
fn is_undecided(error: &Error) -> bool {
    matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. })
        || Answer::of(error).is_lost()
}
