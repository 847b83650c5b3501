//! Lists objects. A listing gives up to 1,000 names for each request, one after another, so large
//! ones are divided by folder.

use std::future::poll_fn;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ListResult, ObjectMeta, ObjectStore};

use super::super::{Entry, Key, Kind};
use super::Bucket;
use crate::lake::LakeError;

/// Up to this number of files, the folders of a folder are listed as one.
const FILES_AT_ONCE: usize = 10_000;

impl Bucket {
    /// The entries of each folder.
    pub(super) fn list_folders(&self, folders: &[Key]) -> Result<Vec<Vec<Entry>>, LakeError> {
        let paths = folders.iter().map(|folder| self.path(folder)).collect::<Result<_, _>>()?;
        let listed = self.run_all(paths, list_folder)?;
        let entries = listed.into_iter().zip(folders).map(|(listed, folder)| {
            let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
            Ok(entries(folder, &listed))
        });
        entries.collect()
    }

    /// The files in the folders of a folder, in order.
    pub(super) fn list_files(&self, folder: &Key) -> Result<Vec<Key>, LakeError> {
        let (objects, path) = (self.objects.clone(), self.path(folder)?);
        let prefix = path.clone();
        let listed = self.run(async move { list_some(&*objects, &prefix, FILES_AT_ONCE).await })?;
        let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
        let Some(listed) = listed else {
            let folders = self.list_folders(std::slice::from_ref(folder))?.into_iter().flatten();
            let folders: Vec<Key> = folders.map(|entry| entry.key).collect();
            let files = self.list_folders(&folders)?.into_iter().flatten();
            return Ok(files.filter(|entry| entry.kind == Kind::File).map(|e| e.key).collect());
        };
        let below = |meta: &ObjectMeta| {
            let parts: Vec<_> = meta.location.prefix_match(&path)?.collect();
            match parts.as_slice() {
                [day, file] => Some(folder.join(day.as_ref()).join(file.as_ref())),
                _ => None,
            }
        };
        let mut files: Vec<Key> = listed.iter().filter_map(below).collect();
        files.sort();
        Ok(files)
    }
}

async fn list_folder(objects: Arc<dyn ObjectStore>, path: Path) -> Result<ListResult, Error> {
    objects.list_with_delimiter((!path.as_ref().is_empty()).then_some(&path)).await
}

/// All objects below a prefix. None when there are more than `most`.
async fn list_some(
    objects: &dyn ObjectStore,
    prefix: &Path,
    most: usize,
) -> Result<Option<Vec<ObjectMeta>>, Error> {
    let mut listing = objects.list(Some(prefix));
    let mut listed = Vec::new();
    while let Some(meta) = poll_fn(|context| listing.as_mut().poll_next(context)).await {
        if listed.len() == most {
            return Ok(None);
        }
        listed.push(meta?);
    }
    Ok(Some(listed))
}

fn entries(folder: &Key, listed: &ListResult) -> Vec<Entry> {
    let entry = |path: &Path, kind| Some(Entry { key: folder.join(path.filename()?), kind });
    let folders = listed.common_prefixes.iter().filter_map(|path| entry(path, Kind::Folder));
    let files = listed.objects.iter().filter_map(|meta| entry(&meta.location, Kind::File));
    let mut entries: Vec<Entry> = folders.chain(files).collect();
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    entries
}
