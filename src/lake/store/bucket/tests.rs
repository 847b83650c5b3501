use std::sync::Arc;

use object_store::memory::InMemory;

use super::super::{Staging, contract};
use super::*;
use crate::failure::Classified;
use crate::lake::Account;
use crate::secret::Secret;
use stub::{Mode, Stub};

// The integration tests use the same server.
#[allow(dead_code, clippy::missing_docs_in_private_items)]
#[path = "../../../../tests/it/bucket/stub.rs"]
mod stub;

/// The endpoint of a server with an empty bucket, for the test that runs on any server.
const ENDPOINT: &str = "KEFU_CONTRACT_ENDPOINT";

/// A variable of the environment, if it is set.
fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn staging() -> (tempfile::TempDir, Staging) {
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

fn at(endpoint: &str, scratch: &LocalPath, single_writer: bool) -> Bucket {
    let options = BucketOptions {
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
    };
    Bucket::at(&options).unwrap()
}

fn stub(mode: Mode) -> Stub {
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
