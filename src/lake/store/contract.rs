//! What each store must do, as one test that every store runs.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;

use super::{Disk, Entry, Expected, Key, Kind, StagedFile, Staging, Store, Version};
use crate::lake::{Account, LakeError};

/// A file of this size is put into a bucket with one request, and a larger one in parts.
const ONE_PUT_BYTES: usize = 64 << 20;

/// Checks a store without files of the tables `messages`, `sessions` and `rejects`. The files are
/// staged for the account 客服, whose staging folder must exist.
pub fn check(store: &dyn Store, staging: &Staging) {
    check_conditions(store, staging);
    check_sizes(store, staging);
    check_table(store, staging);
    check_many_files(store, staging);
}

fn staged(staging: &Staging, content: &[u8]) -> StagedFile {
    let account = Account::existing("客服".to_owned()).unwrap();
    let (staged, mut file) = staging.create(&Disk::default(), &account, "staged").unwrap();
    file.write_all(content).unwrap();
    staged.sync().unwrap();
    staged
}

fn content_of(store: &dyn Store, key: &Key) -> Vec<u8> {
    let mut content = Vec::new();
    store.open(key, None).unwrap().read_to_end(&mut content).unwrap();
    content
}

fn is_changed(put: &Result<(), LakeError>) -> bool {
    matches!(put, Err(LakeError::Changed { .. }))
}

/// Checks what a file may replace.
fn check_conditions(store: &dyn Store, staging: &Staging) {
    let folder = Key::of("messages").join("date=2024-05-13");
    let (key, other) = (folder.join("客服.parquet"), folder.join("acme.parquet"));
    let staged = |content: &[u8]| staged(staging, content);
    let put_checked = |key: &Key, content: &[u8], expected: Expected, is_allowed: bool| {
        let refused = || LakeError::Displaced { path: "lock".into() };
        store.put(key, staged(content), &expected, &|| is_allowed.then_some(()).ok_or_else(refused))
    };
    let put = |content: &[u8], expected| put_checked(&key, content, expected, true);
    let content = || content_of(store, &key);
    let version = || store.look(&key, 0).unwrap().map(|look| look.version);
    let names = || {
        let entries = store.list(&folder).unwrap();
        assert!(entries.iter().all(|entry| entry.kind == Kind::File));
        entries.iter().map(|entry| entry.key.name().to_owned()).collect::<Vec<_>>()
    };

    assert_eq!((version(), names()), (None, Vec::new()));
    assert!(store.open(&key, None).is_err());
    store.remove(&folder, std::slice::from_ref(&key)).unwrap();

    put(b"first", Expected::Seen(None)).unwrap();
    let first = version();
    let changed = |put: Result<(), LakeError>| is_changed(&put);
    assert!(changed(put(b"second", Expected::Seen(None))), "it is there");
    assert_eq!((content(), version()), (b"first".to_vec(), first.clone()));
    assert!(put_checked(&key, b"second", Expected::Any, false).is_err(), "the check refuses");
    assert_eq!((content(), version()), (b"first".to_vec(), first.clone()));
    put(b"other", Expected::Seen(first.clone())).unwrap();
    assert_ne!(version(), first, "another content of the same length is another version");
    assert!(changed(put(b"third", Expected::Seen(first.clone()))), "it is another version");
    let opened = |version: Option<Version>| store.open(&key, version.as_ref()).map(drop);
    assert!(opened(version()).is_ok());
    let of_first = store.open_parts(&key, first.as_ref().unwrap(), 5, &[0..2, 3..4]).map(drop);
    assert!(changed(of_first), "it is another version");
    assert!(changed(opened(first)), "it is another version");
    assert_eq!(content(), b"other");
    let seen = version().unwrap();
    let parts = store.open_parts(&key, &seen, 5, &[0..1, 3..5]).unwrap();
    for (at, expected) in [(0, &b"o"[..]), (3, b"er")] {
        let mut part = vec![0; expected.len()];
        parts.file().read_exact_at(&mut part, at).unwrap();
        assert_eq!(part, expected);
    }
    assert_eq!(parts.metadata().unwrap().len(), 5);
    for (tail, expected) in [(0, &b""[..]), (2, b"er"), (5, b"other"), (u64::MAX, b"other")] {
        let look = store.look(&key, tail).unwrap().unwrap();
        assert_eq!((look.bytes, look.tail.as_ref()), (5, expected));
    }
    put(b"", Expected::Any).unwrap();
    assert_eq!((content(), store.look(&key, 9).unwrap().unwrap().bytes), (Vec::new(), 0));

    put_checked(&other, b"x", Expected::Any, true).unwrap();
    assert_eq!(names(), ["acme.parquet", "客服.parquet"]);
    assert_eq!(store.files_of_days(&Key::of("messages")).unwrap(), [other.clone(), key.clone()]);
    let listed = store.list_all(&[folder.clone(), Key::of("absent")]).unwrap();
    assert_eq!(listed, [store.list(&folder).unwrap(), Vec::new()]);
    let absent = folder.join("absent");
    let looks = store.look_all(&[(other.clone(), 1), (absent, 1), (other.clone(), 0)]).unwrap();
    let tails = looks.iter().map(|look| look.as_ref().map(|look| look.tail.as_ref()));
    assert_eq!(tails.collect::<Vec<_>>(), [Some(&b"x"[..]), None, Some(b"")]);
    let table = store.list(&Key::of("messages")).unwrap();
    assert_eq!(table, [Entry { key: folder.clone(), kind: Kind::Folder }]);
    let last = version();
    store.remove(&folder, std::slice::from_ref(&key)).unwrap();
    assert_eq!((version(), names()), (None, vec!["acme.parquet".to_owned()]));
    store.remove(&folder, &[key.clone(), other]).unwrap();
    assert_eq!(store.list(&Key::of("messages")).unwrap(), []);
    assert!(changed(put(b"third", Expected::Seen(last))), "it was removed");
    assert_eq!(store.list(&Key::of("messages")).unwrap(), [], "a refused file leaves no folder");
}

/// Checks files around the size at which a bucket gets them in parts.
fn check_sizes(store: &dyn Store, staging: &Staging) {
    let folder = Key::of("messages").join("date=2024-05-14");
    let key = folder.join("客服.parquet");
    let content: Vec<u8> = (0..=250).cycle().take(ONE_PUT_BYTES + 1).collect();
    let put = |bytes: usize, expected: &Expected| {
        store.put(&key, staged(staging, &content[..bytes]), expected, &|| Ok(()))
    };
    let mut seen = None;
    for bytes in [ONE_PUT_BYTES - 1, ONE_PUT_BYTES, ONE_PUT_BYTES + 1] {
        put(bytes, &Expected::Seen(seen)).unwrap();
        for tail in [0, 1, 1 << 16, u64::MAX] {
            let look = store.look(&key, tail).unwrap().unwrap();
            let start = bytes - (bytes as u64).min(tail) as usize;
            assert_eq!(look.bytes, bytes as u64);
            assert!(look.tail == content[start..bytes], "the last {tail} of {bytes} bytes");
        }
        assert!(content_of(store, &key) == content[..bytes], "{bytes} bytes");
        seen = Some(store.look(&key, 0).unwrap().unwrap().version);
    }
    // The check just before the file gets visible refuses. A bucket has its parts by then.
    let checks = Cell::new(0);
    let refuse = || {
        checks.set(checks.get() + 1);
        (checks.get() < 2).then_some(()).ok_or_else(|| LakeError::Displaced { path: "lock".into() })
    };
    let refused = store.put(&key, staged(staging, &content), &Expected::Any, &refuse);
    assert!(matches!(refused, Err(LakeError::Displaced { .. })), "{refused:?}");
    // It is larger than what is there, so no store can take it for the answer that was lost.
    let larger = [&content[..], &content[..1]].concat();
    let changed = store.put(&key, staged(staging, &larger), &Expected::Seen(None), &|| Ok(()));
    assert!(is_changed(&changed), "{changed:?}");
    assert_eq!(store.look(&key, 0).unwrap().unwrap().version, seen.unwrap());
    store.remove(&folder, &[key]).unwrap();
}

/// Checks the listing of a table, with entries that kefu does not write.
fn check_table(store: &dyn Store, staging: &Staging) {
    let table = Key::of("sessions");
    let names = [
        "date=2024-05-13/acme.parquet",
        "date=2024-05-13/below/deep.parquet",
        "date=2024-05-14/客服.parquet",
        "notes/text",
        "stray",
    ];
    let keys = names.map(|name| Key::of(&format!("sessions/{name}")));
    for key in &keys {
        store.put(key, staged(staging, b"x"), &Expected::Seen(None), &|| Ok(())).unwrap();
    }
    let listed = store.list_table(&table).unwrap();
    let entries: Vec<&Entry> = listed.iter().map(|(entry, _)| entry).collect();
    assert_eq!(entries, store.list(&table).unwrap().iter().collect::<Vec<_>>());
    for (entry, inside) in &listed {
        match entry.is_day() {
            true => assert_eq!(*inside, store.list(&entry.key).unwrap()),
            false => assert_eq!(*inside, [], "{entry:?}"),
        }
    }
    let files = store.files_of_days(&table).unwrap();
    assert_eq!(files, [keys[0].clone(), keys[2].clone()]);
    assert_eq!(store.list_table(&Key::of("absent")).unwrap(), []);
    for key in &keys {
        store.remove(&key.folder(), std::slice::from_ref(key)).unwrap();
    }
}

/// Checks listings of more files than one answer of a bucket names.
fn check_many_files(store: &dyn Store, staging: &Staging) {
    const FILES: usize = 1_001;
    let folder = Key::of("rejects").join("date=2024-05-13");
    let keys: Vec<Key> =
        (0..FILES).map(|number| folder.join(&format!("{number:04}.parquet"))).collect();
    for key in &keys {
        store.put(key, staged(staging, b"x"), &Expected::Seen(None), &|| Ok(())).unwrap();
    }
    let there = store.list(&folder).unwrap();
    assert_eq!(there.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), keys);
    let table = Key::of("rejects");
    assert_eq!(store.list(&table).unwrap().len(), 1);
    let day = Entry { key: folder.clone(), kind: Kind::Folder };
    assert_eq!(store.list_table(&table).unwrap(), [(day, there)]);
    assert_eq!(store.files_of_days(&table).unwrap(), keys);
    store.remove(&folder, &keys).unwrap();
    assert_eq!(store.list(&folder).unwrap(), []);
}
