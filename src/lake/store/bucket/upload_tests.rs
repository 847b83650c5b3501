//! Large files, which are put in parts.

use std::io::Write;
use std::sync::atomic::AtomicUsize;

use bytes::Bytes;

use super::super::{Disk, Staging};
use super::tests::stub::{Fate, Mode, Request};
use super::tests::{at, staging, stub};
use super::*;
use crate::failure::Classified;
use crate::lake::Account;

/// A file above 64 MiB, staged.
fn large(staging: &Staging) -> StagedFile {
    let account = Account::existing("客服".to_owned()).unwrap();
    let (staged, mut file) = staging.create(&Disk::default(), &account, "large").unwrap();
    file.write_all(&vec![7; (64 << 20) + 1]).unwrap();
    staged.sync().unwrap();
    staged
}

fn is_completion(request: &Request) -> bool {
    request.method == "POST" && request.query.contains_key("uploadId")
}

#[test]
fn a_large_file_is_put_although_the_answer_to_its_completion_is_lost() {
    let (root, staging) = staging();
    let key = Key::of("messages").join("date=2024-05-13").join("客服.parquet");
    for fate in [Fate::LoseAnswer, Fate::RefuseAfter(500, "InternalError")] {
        let stub = stub(Mode::Honours);
        let bucket = at(&stub.endpoint(), root.path(), false);
        let is_first = AtomicBool::new(true);
        stub.set_hook(move |request: &Request| {
            let is_lost = is_completion(request) && is_first.swap(false, Ordering::SeqCst);
            if is_lost { fate } else { Fate::Pass }
        });
        let put = bucket.put(&key, large(&staging), &Expected::Seen(None), &|| Ok(()));
        assert!(put.is_ok(), "{fate:?}: {put:?}");
        assert_eq!(bucket.look(&key, 0).unwrap().unwrap().bytes, (64 << 20) + 1);
    }
}

#[test]
fn a_large_upload_that_fails_in_any_way_is_aborted() {
    let (root, staging) = staging();
    let key = Key::of("messages").join("date=2024-05-13").join("客服.parquet");
    let refused = Fate::Refuse(403, "AccessDenied");
    let is_part = |request: &Request| request.query.contains_key("partNumber");
    let is_head = |request: &Request| request.method == "HEAD";
    // The completion is refused, and so is the look that would say what became of it.
    let after_completion = [(is_completion as fn(&Request) -> bool, Fate::Refuse(412, "x"))];
    for fates in [
        vec![(is_part as fn(&Request) -> bool, refused)],
        vec![(is_completion, refused)],
        after_completion.into_iter().chain([(is_head as fn(&Request) -> bool, refused)]).collect(),
    ] {
        let stub = stub(Mode::Honours);
        let bucket = at(&stub.endpoint(), root.path(), false);
        stub.set_hook(move |request: &Request| {
            let fate = fates.iter().find(|(is_meant, _)| is_meant(request));
            fate.map_or(Fate::Pass, |(_, fate)| *fate)
        });
        let put = bucket.put(&key, large(&staging), &Expected::Any, &|| Ok(()));
        assert_eq!(put.unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(stub.uploads("contract"), 0);
    }
}

/// Puts a large file over a small one with a fault at each of its requests: begin, two of the
/// parts, the look before the completion, and the completion.
#[test]
fn a_fault_at_any_request_of_a_large_upload_leaves_the_old_file_or_the_new_one() {
    let (root, staging) = staging();
    let key = Key::of("messages").join("date=2024-05-13").join("客服.parquet");
    let (new, size) = (large(&staging), (64 << 20) + 1);
    let faults = [
        (Fate::Drop, true),
        (Fate::LoseAnswer, true),
        (Fate::RefuseAfter(500, "InternalError"), true),
        (Fate::Refuse(403, "AccessDenied"), false),
        (Fate::RefuseAfter(403, "AccessDenied"), false),
    ];
    for (fate, is_passing) in faults {
        for place in [0, 1, 5, 6, 7] {
            let stub = stub(Mode::Honours);
            let bucket = at(&stub.endpoint(), root.path(), false);
            stub.fill(
                "contract",
                &[(format!("lake/中国/{}", key.as_str()), Bytes::from_static(b"old"))].into(),
            );
            let old = bucket.look(&key, 0).unwrap().unwrap().version;
            let asked = AtomicUsize::new(0);
            stub.set_hook(move |_: &Request| {
                let place_now = asked.fetch_add(1, Ordering::SeqCst);
                let is_hit = place_now == place || !is_passing && place_now > place;
                if is_hit { fate } else { Fate::Pass }
            });
            let expected = Expected::Seen(Some(old));
            let put = bucket.put_staged(&key, &new, &expected, &|| Ok(()));
            stub.set_hook(|_: &Request| Fate::Pass);
            let story = format!("{fate:?} at request {place}: {put:?}");
            let there = bucket.look(&key, 0).unwrap().unwrap().bytes;
            // Only a completion whose answer was lost may have put the file in spite of an error.
            let is_completed = place == 7 && matches!(fate, Fate::RefuseAfter(..));
            assert_eq!(there, if is_passing || is_completed { size } else { 3 }, "{story}");
            assert_eq!(put.is_ok(), is_passing, "{story}");
            // Nobody knows the name of an upload whose first answer was lost. One that is refused
            // for good cannot be aborted either. A lifecycle rule of the bucket removes both.
            let is_lost = place == 0 && !matches!(fate, Fate::Drop | Fate::Refuse(..));
            let is_aborted = is_passing && !is_lost || is_completed;
            assert!(!is_aborted || stub.uploads("contract") == 0, "{story}");
            assert!(stub.uploads("contract") <= 1, "{story}");
        }
    }
}
