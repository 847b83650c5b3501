use std::io::{Read, Write};
use std::sync::Arc;

use object_store::memory::InMemory;

use super::super::{Disk, Staging, contract};
use super::put::ONE_PUT_BYTES;
use super::*;
use crate::lake::Account;

fn bucket() -> (tempfile::TempDir, Bucket, Staging) {
    let root = tempfile::tempdir().unwrap();
    let staging = Staging::below(root.path().to_owned());
    let account = Account::existing("客服".to_owned()).unwrap();
    fs_err::create_dir_all(staging.of_account(&account)).unwrap();
    let bucket = Bucket::over(Arc::new(InMemory::new()), "lake", root.path().to_owned());
    (root, bucket, staging)
}

#[test]
fn a_bucket_keeps_the_contract_of_a_store() {
    let (_root, bucket, staging) = bucket();
    contract::check(&bucket, &staging);
}

#[test]
fn a_large_object_is_put_in_parts_and_only_over_the_expected_one() {
    let (_root, bucket, staging) = bucket();
    let account = Account::existing("客服".to_owned()).unwrap();
    let key = Key::of("messages").join("date=2024-05-13").join("客服.parquet");
    let put = |bytes: u64, expected: Expected| {
        let (staged, mut file) = staging.create(&Disk::default(), &account, "staged").unwrap();
        let block: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        let mut left = bytes as usize;
        while left > 0 {
            let count = left.min(block.len());
            file.write_all(&block[..count]).unwrap();
            left -= count;
        }
        staged.sync().unwrap();
        bucket.put(&key, staged, &expected, &|| Ok(()))
    };
    let mut seen = None;
    for bytes in [ONE_PUT_BYTES - 1, ONE_PUT_BYTES, ONE_PUT_BYTES + 1] {
        put(bytes, Expected::Seen(seen.clone())).unwrap();
        // The same once more is taken for an answer that was lost.
        put(bytes, Expected::Seen(seen)).unwrap_or_else(|error| {
            assert!(bytes > ONE_PUT_BYTES && matches!(error, LakeError::Changed { .. }), "{error}");
        });
        let look = bucket.look(&key, 3).unwrap().unwrap();
        assert_eq!((look.bytes, look.tail.len()), (bytes, 3));
        seen = Some(look.version);
        let mut content = Vec::new();
        bucket.open(&key, None).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content.len() as u64, bytes);
        assert!(
            content.chunks(1 << 20).all(|block| block.iter().zip(0..=255).all(|(a, b)| *a == b))
        );
    }
    let changed = put(ONE_PUT_BYTES + 2, Expected::Seen(None));
    assert!(matches!(changed, Err(LakeError::Changed { .. })));
    assert_eq!(bucket.look(&key, 0).unwrap().unwrap().version, seen.unwrap());
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
