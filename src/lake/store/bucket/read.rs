//! Looks at objects and copies them to local files.

use std::io::{Seek, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt};

use super::super::{File, Key, Look, SCRATCH_HINT, ScratchFull, Space, Version};
use super::error::{Answer, BucketError};
use super::{Bucket, is_absent};
use crate::failure::ErrorKind;
use crate::lake::LakeError;

/// Bytes of an object that are fetched by one request.
const PART_BYTES: u64 = 16 << 20;

/// Requests at the same time for parts of one object. They take at most 64 MiB of memory for each
/// object that is read.
const PARTS_AT_ONCE: usize = 4;

/// What a GET or a HEAD has brought.
struct Got {
    /// Of the whole object.
    size: u64,
    e_tag: Option<String>,
    bytes: Bytes,
}

impl Bucket {
    /// Looks at each object, and reads as many bytes at its end as are given with its name.
    pub(super) fn get_ends(&self, wanted: &[(Key, u64)]) -> Result<Vec<Option<Look>>, LakeError> {
        let paths = wanted.iter().map(|(key, tail)| Ok((self.path(key)?, *tail)));
        let paths = paths.collect::<Result<Vec<_>, LakeError>>()?;
        let found = self.run_all(paths, |objects, (path, tail)| get_end(objects, path, tail))?;
        let looks = found.into_iter().zip(wanted).map(|(found, (key, _))| match found {
            Ok(Got { size, e_tag, bytes }) => {
                let version = self.version(key, e_tag)?;
                Ok(Some(Look { version, bytes: size, tail: bytes }))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.failed("read", key, &error)),
        });
        looks.collect()
    }

    /// Copies an object, of this version if one is given, to a local file without a name.
    pub(super) fn copy(&self, key: &Key, version: Option<&Version>) -> Result<File, LakeError> {
        let expected = version.map(|version| self.e_tag(key, version)).transpose()?;
        let (path, mut copy) = (self.path(key)?, self.scratch_file()?);
        let (mut copied, mut size, mut e_tag) = (0, PART_BYTES, expected);
        while copied < size {
            let range = Some(GetRange::Bounded(copied..(copied + PART_BYTES).min(size)));
            // All parts must be of the same object.
            let options = GetOptions { range, if_match: e_tag.clone(), ..GetOptions::default() };
            let (objects, path) = (self.objects.clone(), path.clone());
            match self.run(async move { get_part(&*objects, &path, options).await })? {
                Ok(got) if got.bytes.is_empty() => break,
                // Some stores ignore the condition of a GET.
                Ok(got) if e_tag.is_some() && got.e_tag != e_tag => return Err(self.changed(key)),
                Ok(got) => {
                    if copied == 0 && got.size > PART_BYTES {
                        self.require_scratch(key, got.size)?;
                    }
                    copy.write_all(&got.bytes).map_err(|error| self.in_scratch(error))?;
                    copied += got.bytes.len() as u64;
                    (size, e_tag) = (got.size, got.e_tag);
                }
                Err(error) if copied == 0 && is_empty(&error) => break,
                Err(error) => return Err(self.unread(key, version, &error)),
            }
        }
        copy.rewind()?;
        Ok(File::from_parts(copy.into_parts().0, self.shown(key)))
    }

    /// Copies parts of an object of this version and size to a local file without a name. The rest
    /// of the file reads as zeros.
    pub(super) fn copy_parts(
        &self,
        key: &Key,
        version: &Version,
        bytes: u64,
        parts: &[Range<u64>],
    ) -> Result<File, LakeError> {
        let e_tag = self.e_tag(key, version)?;
        self.require_scratch(key, parts.iter().map(|part| part.end - part.start).sum())?;
        let (path, copy) = (self.path(key)?, self.scratch_file()?);
        copy.set_len(bytes)?;
        let requests: Vec<Range<u64>> = parts.iter().flat_map(requests).collect();
        for requests in requests.chunks(PARTS_AT_ONCE) {
            let (path, expected) = (path.clone(), e_tag.clone());
            let got = self.run_all(requests.to_vec(), move |objects, range| {
                let (path, if_match) = (path.clone(), Some(expected.clone()));
                let range = Some(GetRange::Bounded(range));
                async move {
                    let options = GetOptions { range, if_match, ..GetOptions::default() };
                    get(&*objects, &path, options).await
                }
            })?;
            for (range, got) in requests.iter().zip(got) {
                let got = got.map_err(|error| self.unread(key, Some(version), &error))?;
                let is_whole = got.bytes.len() as u64 == range.end - range.start;
                // Some stores ignore the condition of a GET.
                if got.e_tag.as_ref() != Some(&e_tag) || got.size != bytes || !is_whole {
                    return Err(self.changed(key));
                }
                let written = copy.file().write_all_at(&got.bytes, range.start);
                written.map_err(|error| self.in_scratch(error))?;
            }
        }
        Ok(File::from_parts(copy.into_parts().0, self.shown(key)))
    }

    /// The ETag of a version. A version of another store is never that of an object.
    fn e_tag(&self, key: &Key, version: &Version) -> Result<String, LakeError> {
        match version {
            Version::Bucket { e_tag } => Ok(e_tag.clone()),
            Version::Folder { .. } => Err(self.changed(key)),
        }
    }

    /// Why an object, of this version if one is given, could not be read.
    fn unread(&self, key: &Key, version: Option<&Version>, error: &Error) -> LakeError {
        match error {
            Error::Precondition { .. } => self.changed(key),
            error if is_absent(error) && version.is_some() => self.changed(key),
            error if is_absent(error) => LakeError::not_there(&self.shown(key)),
            error => self.failed("read", key, error),
        }
    }

    /// Checks that a large object fits into the local folder.
    fn require_scratch(&self, key: &Key, bytes: u64) -> Result<(), LakeError> {
        let free = Space::of(&self.scratch)?.free_bytes;
        if free >= bytes {
            return Ok(());
        }
        let reason = format!(
            "it takes {} MiB, and {} has {} MiB free",
            bytes >> 20,
            self.scratch.display(),
            free >> 20
        );
        let hint = format!("{SCRATCH_HINT}, then run again");
        let (kind, place) = (ErrorKind::Lake, self.place(key));
        Err(BucketError { kind, what: "copy", place, reason, hint: Some(hint) }.into())
    }

    fn in_scratch(&self, error: std::io::Error) -> std::io::Error {
        ScratchFull::instead_of(error, &self.scratch)
    }

    /// A new local file without a name.
    fn scratch_file(&self) -> Result<File, LakeError> {
        fs_err::create_dir_all(&self.scratch).map_err(|error| self.in_scratch(error))?;
        let path = self.scratch.join(format!("{:032x}", rand::random::<u128>()));
        let mut options = fs_err::OpenOptions::new();
        fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(|error| self.in_scratch(error))?;
        // It vanishes when it is closed, even if this process is killed.
        fs_err::remove_file(&path)?;
        Ok(file)
    }
}

/// The ranges of the requests for a part.
fn requests(part: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let end = part.end;
    let size = usize::try_from(PART_BYTES).unwrap_or(usize::MAX);
    (part.start..end).step_by(size).map(move |start| start..(start + PART_BYTES).min(end))
}

/// Fetches a range of an object, or all of it.
async fn get(objects: &dyn ObjectStore, path: &Path, options: GetOptions) -> Result<Got, Error> {
    let result = objects.get_opts(path, options).await?;
    let (size, e_tag) = (result.meta.size, result.meta.e_tag.clone());
    Ok(Got { size, e_tag, bytes: result.bytes().await? })
}

/// Fetches a range of an object, or all of it if the object ends before the range does and the
/// server ignores such a range, like that of Aliyun OSS.
async fn get_part(
    objects: &dyn ObjectStore,
    path: &Path,
    options: GetOptions,
) -> Result<Got, Error> {
    let is_first = matches!(&options.range, Some(GetRange::Bounded(range)) if range.start == 0);
    let whole = GetOptions { range: None, ..options.clone() };
    match get(objects, path, options).await {
        Err(error) if is_first && is_whole(&error) => get(objects, path, whole).await,
        got => got,
    }
}

/// Whether a server has answered with all of an object instead of a range.
fn is_whole(error: &Error) -> bool {
    error.to_string().contains("non-partial response")
}

/// Fetches up to `tail` bytes at the end of an object.
async fn get_end(objects: Arc<dyn ObjectStore>, path: Path, tail: u64) -> Result<Got, Error> {
    if tail > 0 {
        let range = (tail < u64::MAX).then_some(GetRange::Suffix(tail));
        let options = GetOptions { range, ..GetOptions::default() };
        match get(&*objects, &path, options).await {
            Err(error) if is_empty(&error) => {}
            // A server may answer with all of a small object. moto does for an empty one.
            Err(error) if is_whole(&error) => {
                return get(&*objects, &path, GetOptions::default()).await;
            }
            got => return got,
        }
    }
    let meta = objects.head(&path).await?;
    Ok(Got { size: meta.size, e_tag: meta.e_tag, bytes: Bytes::new() })
}

fn is_empty(error: &Error) -> bool {
    // The client's store in memory, and some answers that the client reads itself, say it in words.
    Answer::of(error).is_empty_object() || error.to_string().contains("only 0 bytes long")
}
