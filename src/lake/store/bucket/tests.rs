use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::memory::InMemory;

use super::super::{Disk, Kind, Staging, contract};
use super::wire::Limits;
use super::*;
use crate::failure::Classified;
use crate::lake::Account;
use crate::secret::Secret;
use stub::{Fate, Mode, Request, Stub};

// The integration tests use the same server.
#[allow(dead_code, clippy::missing_docs_in_private_items)]
#[path = "../../../../tests/it/bucket/stub.rs"]
pub(super) mod stub;

/// The endpoint of a server with an empty bucket, for the test that runs on any server.
const ENDPOINT: &str = "KEFU_CONTRACT_ENDPOINT";

/// A variable of the environment, if it is set.
fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

pub(super) fn staging() -> (tempfile::TempDir, Staging) {
    let root = tempfile::tempdir().unwrap();
    let staging = Staging::below(root.path().to_owned());
    let account = Account::existing("客服".to_owned()).unwrap();
    fs_err::create_dir_all(staging.of_account(&account)).unwrap();
    (root, staging)
}

fn bucket() -> (tempfile::TempDir, Bucket, Staging) {
    let (root, staging) = staging();
    let bucket = Bucket::over(Arc::new(InMemory::new()), "lake", root.path().to_owned());
    (root, bucket, staging)
}

fn options(endpoint: &str, scratch: &LocalPath, single_writer: bool) -> BucketOptions {
    BucketOptions {
        bucket: variable("KEFU_CONTRACT_BUCKET", "contract"),
        prefix: "lake/中国".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        addressing: Addressing::Path,
        region: variable("AWS_REGION", "us-east-1"),
        single_writer,
        scratch: scratch.to_owned(),
        credentials: BucketCredentials::Keys {
            id: Secret::new(variable("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")),
            key: Secret::new(variable("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")),
            token: None,
        },
    }
}

pub(super) fn at(endpoint: &str, scratch: &LocalPath, single_writer: bool) -> Bucket {
    Bucket::at(&options(endpoint, scratch, single_writer)).unwrap()
}

pub(super) fn stub(mode: Mode) -> Stub {
    let stub = Stub::start(mode);
    stub.create_bucket("contract");
    stub
}

#[test]
fn a_store_in_memory_keeps_the_contract() {
    let (_root, bucket, staging) = bucket();
    contract::check(&bucket, &staging);
}

#[test]
fn a_server_that_honours_conditions_keeps_the_contract() {
    let (root, staging) = staging();
    let stub = stub(Mode::Honours);
    let bucket = at(&stub.endpoint(), root.path(), false);
    bucket.begin_run().unwrap();
    assert!(!bucket.is_unprotected());
    contract::check(&bucket, &staging);
    assert_eq!((stub.objects("contract").len(), stub.uploads("contract")), (0, 0));
}

/// As Aliyun OSS does, by its documentation.
#[test]
fn a_server_that_ignores_ranges_beyond_the_end_keeps_the_contract() {
    let (root, staging) = staging();
    let stub = stub(Mode::WholeForLongRanges);
    let bucket = at(&stub.endpoint(), root.path(), false);
    bucket.begin_run().unwrap();
    contract::check(&bucket, &staging);
    assert_eq!((stub.objects("contract").len(), stub.uploads("contract")), (0, 0));
}

#[test]
fn a_server_without_conditions_keeps_the_contract_for_a_single_writer_only() {
    for mode in [Mode::Refuses, Mode::Ignores] {
        let (root, staging) = staging();
        let stub = stub(mode);
        let refused = at(&stub.endpoint(), root.path(), false).begin_run().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Settings, "{mode:?}: {refused}");
        assert!(stub.objects("contract").is_empty(), "{mode:?}");
        let bucket = at(&stub.endpoint(), root.path(), true);
        bucket.begin_run().unwrap();
        assert!(bucket.is_unprotected(), "{mode:?}");
        contract::check(&bucket, &staging);
        assert_eq!((stub.objects("contract").len(), stub.uploads("contract")), (0, 0));
    }
}

/// Run by `tests/bucket` with a server of its own. To run it by hand with any store, see
/// `tests/bucket/README.md`.
#[test]
#[ignore = "needs a server"]
fn the_server_of_the_environment_keeps_the_contract() {
    let endpoint = std::env::var(ENDPOINT).unwrap();
    let (root, staging) = staging();
    let bucket = at(&endpoint, root.path(), false);
    bucket.begin_run().unwrap();
    contract::check(&bucket, &staging);
    check_divided_listing(&bucket);
    assert_eq!(bucket.list(&Key::root()).unwrap(), []);
}

#[test]
fn any_kind_of_thread_may_wait_for_a_bucket() {
    let (_root, bucket, _staging) = bucket();
    let bucket = Arc::new(bucket);
    let look = || bucket.look(&Key::of("absent"), 1).unwrap().is_none();
    assert!(look());
    assert!(rayon::join(look, look).0);
    let runtime = crate::threads::runtime(1).unwrap();
    let shared = bucket.clone();
    let looked = runtime.block_on(async move {
        assert!(shared.look(&Key::of("absent"), 0).unwrap().is_none());
        let look = move || shared.look(&Key::of("absent"), 0).unwrap().is_none();
        tokio::task::spawn_blocking(look).await.unwrap()
    });
    assert!(looked);
}

#[test]
fn a_store_that_honours_conditions_can_be_written_and_no_trace_of_the_probe_is_left() {
    let (_root, bucket, _staging) = bucket();
    bucket.begin_run().unwrap();
    assert!(!bucket.is_unprotected());
    assert!(matches!(bucket.require(), Err(LakeError::Absent { .. })));
}

#[test]
fn accounts_side_by_side_probe_once() {
    let (root, _staging) = staging();
    let stub = stub(Mode::Honours);
    let bucket = at(&stub.endpoint(), root.path(), false);
    std::thread::scope(|scope| {
        (0..8).for_each(|_| drop(scope.spawn(|| bucket.begin_run().unwrap())));
    });
    let puts = stub.take_requests().into_iter().filter(|request| request.method == "PUT");
    assert_eq!(puts.count(), 3);
}

#[test]
fn the_doctor_reads_what_it_wrote_and_deletes_what_killed_runs_have_left() {
    let (root, _staging) = staging();
    let stub = stub(Mode::Honours);
    let bucket = at(&stub.endpoint(), root.path(), false);
    // The objects of the stub are of 2016.
    let left = "lake/中国/_kefu/probe/0123456789abcdef".to_owned();
    stub.fill("contract", &BTreeMap::from([(left, Bytes::from_static(b"1"))]));
    assert_eq!(bucket.conditions().unwrap(), Some(Conditions::Honoured));
    assert!(stub.objects("contract").is_empty(), "{:?}", stub.objects("contract"));
    stub.set_hook(|request: &Request| match request.method.as_str() {
        "GET" if !request.is_listing() => Fate::Refuse(403, "AccessDenied"),
        _ => Fate::Pass,
    });
    assert_eq!(bucket.conditions().unwrap_err().kind(), ErrorKind::Refused);
    assert!(stub.objects("contract").is_empty(), "{:?}", stub.objects("contract"));
    bucket.begin_run().unwrap();
}

/// Lists folders of a bucket in which other programs have created an empty object for each.
#[test]
fn an_empty_object_for_a_folder_is_no_file() {
    let (root, _staging) = staging();
    let stub = stub(Mode::Honours);
    let bucket = at(&stub.endpoint(), root.path(), false);
    let object = |name: &str| (format!("lake/中国/{name}"), Bytes::from_static(b"x"));
    let marker = |name: &str| (format!("lake/中国/{name}"), Bytes::new());
    let list = |folder: &str| bucket.list(&Key::of(folder)).unwrap();
    stub.fill("contract", &[marker("")].into());
    assert!(matches!(bucket.require(), Err(LakeError::Absent { .. })));
    let objects = [
        marker(""),
        marker("_kefu/accounts/"),
        marker("_kefu/accounts/acme/"),
        object("_kefu/accounts/acme/runs.jsonl"),
        marker("messages/"),
        marker("messages/date=2024-05-12/"),
        marker("messages/date=2024-05-13/"),
        object("messages/date=2024-05-13/acme.parquet"),
        marker("messages/date=2024-05-13/below/"),
        object("messages/date=2024-05-13/below/deep"),
        marker("messages/date=2024-05-14/empty.parquet"),
        marker("messages/notes/"),
        object("messages/notes/text"),
    ];
    stub.fill("contract", &objects.into());
    let names = |entries: &[Entry]| -> Vec<_> {
        entries.iter().map(|entry| (entry.key.name().to_owned(), entry.kind)).collect()
    };
    let entry = |name: &str, kind| (name.to_owned(), kind);
    assert_eq!(names(&list("_kefu/accounts")), [entry("acme", Kind::Folder)]);
    let day = [entry("acme.parquet", Kind::File), entry("below", Kind::Folder)];
    assert_eq!(names(&list("messages/date=2024-05-13")), day);
    assert_eq!(names(&list("messages/date=2024-05-14")), [entry("empty.parquet", Kind::File)]);
    let table = bucket.list_table(&Key::of("messages")).unwrap();
    let days: Vec<Entry> = table.iter().map(|(day, _)| day.clone()).collect();
    assert_eq!(days, list("messages"));
    for (day, inside) in table.iter().filter(|(day, _)| day.is_day()) {
        assert_eq!(*inside, bucket.list(&day.key).unwrap(), "{day:?}");
    }
}

#[test]
fn an_object_with_a_name_that_cannot_be_read_is_named() {
    let (root, _staging) = staging();
    let stub = stub(Mode::Honours);
    let bucket = at(&stub.endpoint(), root.path(), false);
    for (name, shown) in [("messages//x", "messages//x"), ("messages/a\u{1}b", "messages/a\\u{1}b")]
    {
        let key = format!("lake/中国/{name}");
        stub.fill("contract", &BTreeMap::from([(key, Bytes::from_static(b"x"))]));
        let error = bucket.list_table(&Key::of("messages")).unwrap_err();
        let said = error.to_string();
        assert!(said.contains(&format!("lake/中国/{shown}")), "{said}");
        assert_eq!(error.kind(), ErrorKind::Lake);
        assert!(error.hint().unwrap().contains("move or delete that object"));
    }
}

/// Lists many days in ranges, and compares that with one long listing.
fn check_divided_listing(bucket: &Bucket) {
    let put = |name: &str| {
        let (objects, path) = (bucket.objects.clone(), bucket.path(&Key::of(name)).unwrap());
        bucket.run(async move { objects.put(&path, "x".into()).await }).unwrap().unwrap();
    };
    let names: Vec<String> = (1..=31)
        .flat_map(|day| {
            ["acme", "客服"].map(|name| format!("sessions/date=2024-05-{day:02}/{name}"))
        })
        .collect();
    names.iter().for_each(|name| put(name));
    let folder = Key::of("sessions");
    let list = |most: usize| {
        let (objects, path) = (bucket.objects.clone(), bucket.path(&folder).unwrap());
        bucket.run(list::list_below(objects, path, most)).unwrap().unwrap()
    };
    let whole = list(usize::MAX - 1);
    assert_eq!(whole.len(), names.len());
    for most in [1, 2, 7, 61] {
        assert_eq!(list(most), whole, "{most}");
    }
    let keys: Vec<Key> = names.iter().map(|name| Key::of(name)).collect();
    bucket.remove(&folder, &keys).unwrap();
}

#[test]
fn a_server_lists_a_range_of_names() {
    let (root, _staging) = staging();
    let stub = stub(Mode::Honours);
    check_divided_listing(&at(&stub.endpoint(), root.path(), false));
    let requests = stub.take_requests();
    assert!(requests.iter().any(|request| request.query.contains_key("start-after")));
}

/// A bucket whose requests may take only a moment.
fn hurried(stub: &Stub, scratch: &LocalPath) -> Bucket {
    let limits = Limits {
        whole: Duration::from_secs(20),
        silence: Duration::from_millis(500),
        sent_per_second: 1 << 20,
    };
    let bucket = at(&stub.endpoint(), scratch, false);
    let objects = options(&stub.endpoint(), scratch, false)
        .connect_within(limits, &StoreClock::default())
        .unwrap();
    Bucket { objects, ..bucket }
}

#[test]
fn a_request_without_an_answer_is_sent_again() {
    let (root, staging) = staging();
    let stub = stub(Mode::Honours);
    let bucket = hurried(&stub, root.path());
    let begun = Instant::now();
    let hung = Mutex::new(BTreeSet::new());
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let receiver = Mutex::new(receiver);
    stub.set_hook(move |request: &Request| {
        // The first of each kind gets no answer until the test is over.
        if hung.lock().unwrap().insert(request.method.clone()) {
            let _ = receiver.lock().unwrap().recv();
        }
        Fate::Pass
    });
    let key = Key::of("messages/x");
    assert!(bucket.look(&key, 1).unwrap().is_none());
    let (staged, mut file) = staging
        .create(&Disk::default(), &Account::existing("客服".to_owned()).unwrap(), "x")
        .unwrap();
    file.write_all(b"x").unwrap();
    bucket.put(&key, staged, &Expected::Seen(None), &|| Ok(())).unwrap();
    assert_eq!(bucket.look(&key, 1).unwrap().unwrap().bytes, 1);
    assert!(begun.elapsed() < Duration::from_secs(20), "it waits for the end of a whole request");
    drop(sender);
}

#[test]
fn a_large_body_may_take_longer_than_an_answer() {
    let (root, staging) = staging();
    let stub = stub(Mode::Honours);
    let bucket = hurried(&stub, root.path());
    let (arrived, has_arrived) = channel();
    let (given_up, is_given_up) = channel();
    let (over, is_over) = channel::<()>();
    let (is_given_up, is_over) = (Mutex::new(is_given_up), Mutex::new(is_over));
    let looks = AtomicUsize::new(0);
    // The file is answered only when a look got no answer in time twice.
    stub.set_hook(move |request: &Request| {
        match request.method.as_str() {
            "PUT" => {
                arrived.send(()).unwrap();
                is_given_up.lock().unwrap().recv().unwrap();
            }
            _ => match looks.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => drop(is_over.lock().unwrap().recv()),
                2 => given_up.send(()).unwrap(),
                _ => {}
            },
        }
        Fate::Pass
    });
    let account = Account::existing("客服".to_owned()).unwrap();
    let (staged, mut file) = staging.create(&Disk::default(), &account, "x").unwrap();
    file.write_all(&vec![7; 4 << 20]).unwrap();
    let bucket = &bucket;
    std::thread::scope(|scope| {
        let looking = scope.spawn(move || {
            has_arrived.recv().unwrap();
            bucket.look(&Key::of("messages/y"), 1)
        });
        let key = Key::of("messages/x");
        bucket.put(&key, staged, &Expected::Any, &|| Ok(())).unwrap();
        assert!(looking.join().unwrap().unwrap().is_none());
    });
    drop(over);
    let puts = stub.take_requests().into_iter().filter(|request| request.method == "PUT");
    assert_eq!(puts.count(), 1);
}

#[test]
fn a_store_that_waited_too_long_for_a_body_gets_it_again() {
    let (root, staging) = staging();
    let stub = stub(Mode::Honours);
    let bucket = at(&stub.endpoint(), root.path(), false);
    let is_first = AtomicBool::new(true);
    stub.set_hook(move |_: &Request| match is_first.swap(false, Ordering::SeqCst) {
        true => Fate::Refuse(400, "RequestTimeout"),
        false => Fate::Pass,
    });
    let account = Account::existing("客服".to_owned()).unwrap();
    let (staged, mut file) = staging.create(&Disk::default(), &account, "x").unwrap();
    file.write_all(b"x").unwrap();
    bucket.put(&Key::of("messages/x"), staged, &Expected::Any, &|| Ok(())).unwrap();
}

#[test]
fn a_conflict_with_another_writer_passes_or_ends_with_75() {
    let account = Account::existing("客服".to_owned()).unwrap();
    for (conflicts, kind) in [(2, None), (usize::MAX, Some(ErrorKind::Occupied))] {
        let (root, staging) = staging();
        let stub = stub(Mode::Honours);
        let bucket = at(&stub.endpoint(), root.path(), false);
        let puts = AtomicUsize::new(0);
        stub.set_hook(move |request: &Request| {
            let is_put = request.method == "PUT";
            match is_put && puts.fetch_add(1, Ordering::SeqCst) < conflicts {
                true => Fate::Refuse(409, "ConditionalRequestConflict"),
                false => Fate::Pass,
            }
        });
        let (staged, mut file) = staging.create(&Disk::default(), &account, "x").unwrap();
        file.write_all(b"x").unwrap();
        let put = bucket.put(&Key::of("messages/x"), staged, &Expected::Seen(None), &|| Ok(()));
        assert_eq!(put.as_ref().err().map(Classified::kind), kind, "{put:?}");
        assert_eq!(stub.objects("contract").len(), usize::from(kind.is_none()));
    }
}

#[test]
fn an_expired_token_on_a_look_without_content_is_no_damaged_file() {
    let (root, _staging) = staging();
    let stub = stub(Mode::Honours);
    let bucket = at(&stub.endpoint(), root.path(), false);
    stub.set_hook(|_: &Request| Fate::Refuse(400, "ExpiredToken"));
    let error = bucket.look(&Key::of("messages/x"), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("may have expired"), "{error}");
}

#[test]
fn a_token_file_that_cannot_be_read_is_about_credentials() {
    let (root, _staging) = staging();
    let options = BucketOptions {
        credentials: BucketCredentials::Role(vec![
            ("AWS_WEB_IDENTITY_TOKEN_FILE", root.path().join("absent").display().to_string()),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/kefu".to_owned()),
        ]),
        ..options("http://127.0.0.1:9", root.path(), false)
    };
    let error = Store::list(&Bucket::at(&options).unwrap(), &Key::root()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
    assert!(error.to_string().contains("absent"), "{error}");
    assert!(error.hint().unwrap().contains("AWS_WEB_IDENTITY_TOKEN_FILE"));
}
