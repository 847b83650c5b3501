//! Notices whether objects have changed. A bucket has no locks that a reader could share.

use std::future::poll_fn;

use object_store::{Error, ObjectMeta};

use super::super::{IsWanted, Key};
use super::Bucket;
use crate::lake::LakeError;

impl Bucket {
    /// A hash of the names and versions of the objects below a folder. Leaves out the files of
    /// accounts that are not wanted.
    pub(super) fn hash_of_listing(
        &self,
        folder: &Key,
        is_wanted: IsWanted,
    ) -> Result<blake3::Hash, LakeError> {
        let (objects, path) = (self.objects.clone(), self.path(folder)?);
        let listed = self.run(async move {
            let mut hasher = blake3::Hasher::new();
            let mut listing = objects.list(Some(&path));
            while let Some(meta) = poll_fn(|context| listing.as_mut().poll_next(context)).await {
                let ObjectMeta { location, e_tag, .. } = meta?;
                let account = location.filename().and_then(|name| name.strip_suffix(".parquet"));
                if account.is_none_or(&is_wanted) {
                    hasher.update(format!("{location}\n{e_tag:?}\n").as_bytes());
                }
            }
            Ok::<_, Error>(hasher.finalize())
        })?;
        listed.map_err(|error| self.failed("list", folder, &error))
    }
}
