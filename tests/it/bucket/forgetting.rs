//! Runs and readers beside `kefu forget`, in a bucket, which has no locks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use kefu::failure::ErrorKind;
use kefu::lake::{Account, LocksOf};
use kefu::model::cancel::Cancel;
use kefu::pipeline::{AccountJob, Request, RunReport, VerifyJob, run_account, verify};
use kefu::simulator::Simulator;
use kefu::telemetry::Progress;

use super::lake_of;
use super::stub::{Fate, Mode, Request as Asked, Stub};
use crate::world::{DAY, MIDNIGHT, World, recorded, wanted};

const BUCKET: &str = "records";

fn message(time: i64, openid: &str) -> String {
    format!(r#"{{"openid":"{openid}","opercode":2003,"text":"x","time":{time},"worker":"A@acme"}}"#)
}

/// A lake with two customers, and the jobs of two processes.
struct Scene {
    world: World,
    stub: Stub,
    simulator: Simulator,
}

impl Scene {
    fn new() -> Self {
        let (world, stub) = (World::new(), Stub::start(Mode::Honours));
        stub.create_bucket(BUCKET);
        let records = recorded([message(MIDNIGHT, "oC1"), message(MIDNIGHT + 60, "oC2")]);
        let simulator = world.simulate(records, world.options(&[]));
        Self { world, stub, simulator }
    }

    fn job(&self, signer: &str) -> AccountJob {
        let lake = lake_of(&self.stub, &self.world, BUCKET, signer);
        AccountJob { lake, ..self.world.job(&self.simulator) }
    }

    fn run(&self, request: &Request) -> RunReport {
        run_account(&self.job("RUN-A"), request, &(), &Cancel::default())
    }

    /// Lets another process forget a customer just before the first change of a key that contains
    /// `part`.
    fn forget_before(&self, part: &'static str, openid: &str) {
        let (other, forget) = (self.job("RUN-B"), Request::Forget(vec![openid.to_owned()]));
        let is_done = Arc::new(AtomicBool::new(false));
        self.stub.set_hook(move |asked: &Asked| {
            let is_first =
                asked.signer() == "RUN-A" && asked.is_change() && asked.key.contains(part);
            if is_first && !is_done.swap(true, Ordering::AcqRel) {
                let report = run_account(&other, &forget, &(), &Cancel::default());
                assert_eq!(report.kind(), None, "{report:?}");
            }
            Fate::Pass
        });
    }

    fn findings(&self) -> Vec<String> {
        let AccountJob { lake, zone, rules, .. } = self.job("RUN-A");
        let today = DAY.parse::<kefu::calendar::Day>().unwrap().plus(1);
        let job = VerifyJob { lake, zone, rules, today, accounts: None, shard: None };
        let progress = Progress::begin("verify", 0);
        let verification = verify(&job, None, &progress, &Cancel::default()).unwrap();
        verification.findings.iter().map(|finding| format!("{finding:?}")).collect()
    }
}

#[test]
fn of_two_that_forget_customers_at_once_one_ends_with_75() {
    let scene = Scene::new();
    assert_eq!(scene.run(&Request::Run(wanted(DAY, DAY))).kind(), None);
    scene.forget_before("privacy.json", "oC2");
    let forget = Request::Forget(vec!["oC1".to_owned()]);
    assert_eq!(scene.run(&forget).kind(), Some(ErrorKind::Occupied));
    assert_eq!(scene.run(&forget).kind(), None);
    let account = scene.world.account();
    let privacy = scene.job("RUN-A").lake.privacy(&account).unwrap().unwrap();
    assert_eq!(privacy.forgotten.parts().1.len(), 2, "neither is forgotten by kefu itself");
    assert_eq!(scene.findings(), Vec::<String>::new());
}

#[test]
fn a_customer_who_is_forgotten_beside_a_run_does_not_stay_in_its_metrics() {
    for part in ["response_pairs", "sessions", "account_daily"] {
        let scene = Scene::new();
        scene.forget_before(part, "oC1");
        let report = scene.run(&Request::Run(wanted(DAY, DAY)));
        assert_eq!(report.kind(), Some(ErrorKind::Occupied), "{part}");
        assert_eq!(scene.run(&Request::Run(wanted(DAY, DAY))).kind(), None, "{part}");
        assert_eq!(scene.findings(), Vec::<String>::new(), "{part}");
    }
}

#[test]
fn a_run_that_ends_before_the_other_process_does_makes_the_redaction_repeat() {
    let scene = Scene::new();
    let (other, forget) = (scene.job("RUN-B"), Request::Forget(vec!["oC1".to_owned()]));
    let (swept, is_swept) = channel();
    let (ended, is_ended) = channel();
    let begun = Mutex::new(Some(other));
    let is_ended = Mutex::new(is_ended);
    let is_swept = Mutex::new(is_swept);
    let (reports, report_of_other) = channel();
    let records = AtomicUsize::new(0);
    scene.stub.set_hook(move |asked: &Asked| {
        let is_record = asked.method == "PUT" && asked.key.contains("privacy.json");
        if asked.signer() == "RUN-A" && asked.is_change() && asked.key.contains("response_pairs") {
            // The other process does all but its last step before the metrics get visible.
            if let Some(other) = begun.lock().unwrap().take() {
                let (forget, reports) = (forget.clone(), reports.clone());
                std::thread::spawn(move || {
                    reports.send(run_account(&other, &forget, &(), &Cancel::default()).kind())
                });
                is_swept.lock().unwrap().recv().unwrap();
            }
        } else if asked.signer() == "RUN-B"
            && is_record
            && records.fetch_add(1, Ordering::AcqRel) == 1
        {
            swept.send(()).unwrap();
            is_ended.lock().unwrap().recv().unwrap();
        }
        Fate::Pass
    });
    let run = || scene.run(&Request::Run(wanted(DAY, DAY))).kind();
    assert_eq!(run(), Some(ErrorKind::Occupied));
    ended.send(()).unwrap();
    assert_eq!(report_of_other.recv().unwrap(), Some(ErrorKind::Occupied));
    assert_eq!(run(), None);
    assert_eq!(scene.findings(), Vec::<String>::new());
}

#[test]
fn a_reader_notices_that_a_run_has_changed_files() {
    let scene = Scene::new();
    let run = |date: &str| {
        assert_eq!(scene.run(&Request::Run(wanted(date, date))).kind(), None);
    };
    run(DAY);
    let other = Account::new("other".to_owned()).unwrap();
    let of = |account: Account| LocksOf::Accounts(vec![account]);
    let readings = [LocksOf::All, of(scene.world.account()), of(other)]
        .map(|of| scene.job("RUN-B").lake.lock_shared(of).unwrap());
    let changed = || readings.each_ref().map(|reading| reading.require_undisturbed().is_err());
    assert_eq!(changed(), [false; 3]);
    let forget = Request::Forget(vec!["oC1".to_owned()]);
    assert_eq!(scene.run(&forget).kind(), None);
    assert_eq!(changed(), [true, true, false]);
}
