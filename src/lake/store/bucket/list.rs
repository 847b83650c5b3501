//! Lists objects. A listing gives up to 1,000 names for each request, one after another, so a long
//! one is divided into ranges of names that are listed at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ListResult, ObjectMeta, ObjectStore};
use tokio::task::JoinError;

use super::super::{Entry, Key, Kind};
use super::{Bucket, REQUESTS_AT_ONCE};
use crate::lake::LakeError;

/// A name before all that kefu writes.
const FIRST_NAME: &str = "!";

/// Up to this number of objects, those below a folder are listed one request after another.
const NAMES_AT_ONCE: usize = 10_000;

impl Bucket {
    /// The entries of each folder.
    pub(super) fn list_folders(&self, folders: &[Key]) -> Result<Vec<Vec<Entry>>, LakeError> {
        let paths: Vec<Path> =
            folders.iter().map(|folder| self.path(folder)).collect::<Result<_, _>>()?;
        let listed = self.run_all(paths.clone(), list_folder)?;
        let with_folders = listed.into_iter().zip(folders.iter().zip(&paths));
        let listed = with_folders.map(|(listed, (folder, path))| {
            let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
            Ok(entries(folder, path, &listed))
        });
        listed.collect()
    }

    /// The entries of a table's folder, each day with its own entries. Lists all objects of the
    /// table, because one request for each day would be many.
    pub(super) fn list_days(&self, folder: &Key) -> Result<Vec<(Entry, Vec<Entry>)>, LakeError> {
        let (objects, path) = (self.objects.clone(), self.path(folder)?);
        let prefix = path.clone();
        let listed = self.run(async move { list_below(objects, prefix, NAMES_AT_ONCE).await })?;
        let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
        Ok(tree(folder, &path, &listed))
    }

    /// The objects directly in a folder, with the seconds since 1970 when each was written.
    pub(super) fn written(&self, folder: &Key) -> Result<Vec<(Key, i64)>, LakeError> {
        let (objects, path) = (self.objects.clone(), self.path(folder)?);
        let listed = self.run(list_folder(objects, path.clone()))?;
        let listed = listed.map_err(|error| self.failed("list", folder, &error))?;
        let inside = listed.objects.iter().filter(|meta| meta.location != path);
        let written = |meta: &ObjectMeta| {
            Some((folder.join(meta.location.filename()?), meta.last_modified.timestamp()))
        };
        Ok(inside.filter_map(written).collect())
    }
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    name: Path,
    is_empty: bool,
}

impl From<ObjectMeta> for Listed {
    fn from(meta: ObjectMeta) -> Self {
        Self { name: meta.location, is_empty: meta.size == 0 }
    }
}

async fn list_folder(objects: Arc<dyn ObjectStore>, path: Path) -> Result<ListResult, Error> {
    objects.list_with_delimiter((!path.as_ref().is_empty()).then_some(&path)).await
}

/// All objects below a prefix. When there are more than `most`, the others are divided by folder
/// into ranges.
pub(super) async fn list_below(
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    most: usize,
) -> Result<Vec<Listed>, Error> {
    let first = Range { prefix: prefix.clone(), after: None, last: None };
    let mut listed = first.list(&*objects, most + 1).await?;
    let last = listed.last().filter(|_| listed.len() > most);
    let Some(after) = last.map(|last| last.name.clone()) else { return Ok(listed) };
    let folders = objects.list_with_delimiter(Some(&prefix)).await?.common_prefixes;
    let others: Vec<Path> = folders.into_iter().filter(|folder| *folder > after).collect();
    let step = others.len().div_ceil(REQUESTS_AT_ONCE).max(1);
    // A bound is a name in a folder. After the name of a folder itself, some stores skip what is
    // in it.
    let bounds = others.into_iter().skip(step).step_by(step);
    let bounds = bounds.map(|folder| Some(folder.join(FIRST_NAME)));
    let starts = [Some(after)].into_iter().chain(bounds.clone());
    let ranges = starts.zip(bounds.chain([None]));
    let begin = |(after, last)| {
        let (objects, range) = (objects.clone(), Range { prefix: prefix.clone(), after, last });
        tokio::spawn(async move { range.list(&*objects, usize::MAX).await })
    };
    let begun: Vec<_> = ranges.map(begin).collect();
    for range in begun {
        listed.append(&mut range.await.map_err(stopped)??);
    }
    // The name of a folder is listed twice when a range begins after it: the client leaves out the
    // slash at its end.
    listed.dedup();
    Ok(listed)
}

fn stopped(source: JoinError) -> Error {
    Error::JoinError { source }
}

/// The names below a prefix that are greater than `after` and not greater than `last`.
struct Range {
    prefix: Path,
    after: Option<Path>,
    last: Option<Path>,
}

impl Range {
    /// Lists objects up to this number. A store gives their names in order.
    async fn list(&self, objects: &dyn ObjectStore, most: usize) -> Result<Vec<Listed>, Error> {
        let mut listing = match &self.after {
            Some(after) => objects.list_with_offset(Some(&self.prefix), after),
            None => objects.list(Some(&self.prefix)),
        };
        let mut listed = Vec::new();
        while listed.len() < most
            && let Some(meta) = poll_fn(|context| listing.as_mut().poll_next(context)).await
        {
            let object = Listed::from(meta?);
            if self.last.as_ref().is_some_and(|last| object.name > *last) {
                break;
            }
            listed.push(object);
        }
        Ok(listed)
    }
}

/// The entries of a table's folder with these objects, each day with its own entries.
fn tree(folder: &Key, path: &Path, listed: &[Listed]) -> Vec<(Entry, Vec<Entry>)> {
    let mut entries: BTreeMap<Entry, BTreeSet<Entry>> = BTreeMap::new();
    let next = listed.iter().skip(1).map(Some).chain([None]);
    for (object, next) in listed.iter().zip(next) {
        let Some(parts) = object.name.prefix_match(path) else { continue };
        let parts: Vec<_> = parts.collect();
        // Some programs create an empty object for a folder: `date=2024-05-13/`. In a listing, it
        // is just before the objects in the folder.
        let is_before_its_own = next.is_some_and(|next| next.name.prefix_matches(&object.name));
        let is_day = parts.len() == 1
            && parts.first().is_some_and(|name| folder.join(name.as_ref()).day().is_some());
        let is_folder = object.is_empty && (parts.is_empty() || is_before_its_own || is_day);
        let kind = |place: usize| {
            if parts.len() > place + 1 || is_folder { Kind::Folder } else { Kind::File }
        };
        let entry = |folder: &Key, place: usize| {
            Some(Entry { key: folder.join(parts.get(place)?.as_ref()), kind: kind(place) })
        };
        let Some(first) = entry(folder, 0) else {
            entries.extend(own_file(folder, object.is_empty).map(|own| (own, BTreeSet::new())));
            continue;
        };
        let second = entry(&first.key, 1).filter(|_| first.key.day().is_some());
        entries.entry(first).or_default().extend(second);
    }
    entries.into_iter().map(|(entry, inside)| (entry, inside.into_iter().collect())).collect()
}

/// The entry for an object that has the name of the listed folder. None when it is empty: some
/// programs create such an object for each folder.
fn own_file(folder: &Key, is_empty: bool) -> Option<Entry> {
    (!is_empty).then(|| Entry { key: folder.clone(), kind: Kind::File })
}

fn entries(folder: &Key, path: &Path, listed: &ListResult) -> Vec<Entry> {
    let entry = |path: &Path, kind| Some(Entry { key: folder.join(path.filename()?), kind });
    let folders = listed.common_prefixes.iter().filter_map(|path| entry(path, Kind::Folder));
    let files = listed.objects.iter().filter_map(|meta| match meta.location == *path {
        true => own_file(folder, meta.size == 0),
        false => entry(&meta.location, Kind::File),
    });
    let mut entries: Vec<Entry> = folders.chain(files).collect();
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    entries
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt, PutPayload};

    use super::*;

    #[test]
    fn a_long_listing_is_divided_and_names_every_object_once() {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let prefix = Path::parse("lake/messages").unwrap();
        let days = (1..=70).map(|day| format!("date={:03}", day));
        let mut names: Vec<String> = days
            .flat_map(|day| [format!("{day}/a.parquet"), format!("{day}/客服.parquet")])
            .collect();
        // Names that no partition has, at both ends of ranges and between them.
        names.extend(["date=001".into(), "date=036/sub/deep".into(), "date=070x/y".into()]);
        names.extend(["0".into(), "z".into(), "zz/z".into()]);
        let runtime = crate::threads::runtime(1).unwrap();
        for name in &names {
            let place = Path::parse(format!("{prefix}/{name}")).unwrap();
            runtime.block_on(objects.put(&place, PutPayload::new())).unwrap();
        }
        let mut expected: Vec<String> =
            names.iter().map(|name| format!("{prefix}/{name}")).collect();
        expected.sort();
        for most in [1, 2, 3, 71, 145, 146, 147] {
            let listed =
                runtime.block_on(list_below(objects.clone(), prefix.clone(), most)).unwrap();
            let listed: Vec<&str> = listed.iter().map(|object| object.name.as_ref()).collect();
            assert_eq!(listed, expected, "{most}");
        }
    }
}
