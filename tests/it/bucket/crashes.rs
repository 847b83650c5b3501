//! Something goes wrong at any request of a run, before or after it had its effect. Each file is
//! then the old or the new one, and the next run completes the work.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use kefu::failure::ErrorKind;
use kefu::metrics::Parameters;
use kefu::model::cancel::Cancel;
use kefu::pipeline::{
    AccountJob, Request, RunReport, Severity, VerifyJob, Wanted, run_account, verify,
};
use kefu::simulator::Simulator;
use kefu::telemetry::Progress;

use super::stub::{Fate, Hook, Mode, Request as Asked, Stub};
use super::{KEY_ID, PREFIX, command, job_of, lake_of};
use crate::robustness::crashes::{DAYS, lines};
use crate::robustness::killed::{RANGE, generated};
use crate::world::{World, recorded, wanted};

const BUCKET: &str = "records";

/// What happens at one request of a run.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The process is killed: neither this request nor a later one arrives. The request before it
    /// has had its effect.
    Die,
    /// The request fails in this way, before it has an effect. The client may send it again.
    Fail(Fate),
    /// The same for a request that changes an object, after it had its effect. Others pass.
    FailAfter(Fate),
}

/// Lets `requests` requests pass, then fails as `then` says.
struct After {
    requests: usize,
    passed: AtomicUsize,
    then: Then,
}

impl After {
    fn new(requests: usize, then: Then) -> Arc<Self> {
        Arc::new(Self { requests, passed: AtomicUsize::new(0), then })
    }

    fn has_struck(&self) -> bool {
        self.passed.load(Ordering::SeqCst) > self.requests
    }
}

impl Hook for Arc<After> {
    fn fate(&self, request: &Asked) -> Fate {
        if matches!(self.then, Then::FailAfter(_)) && !request.is_change() {
            return Fate::Pass;
        }
        let passed = self.passed.fetch_add(1, Ordering::SeqCst);
        match self.then {
            // The client does not try again after this answer.
            Then::Die if passed >= self.requests => Fate::Refuse(403, "AccessDenied"),
            Then::Fail(fate) | Then::FailAfter(fate) if passed == self.requests => fate,
            _ => Fate::Pass,
        }
    }
}

/// The old and the new records of three days, and what a lake has of them.
struct Editions {
    world: World,
    /// The job with the new records.
    job: AccountJob,
    _simulators: [Simulator; 2],
    old_objects: BTreeMap<String, Bytes>,
    old_tables: BTreeMap<String, Bytes>,
    new_tables: BTreeMap<String, Bytes>,
}

impl Editions {
    fn new() -> Self {
        let world = World { concurrency: 3, ..World::new().with_page_records(4) };
        let simulator = |edition| {
            let options = world.options(&[]);
            world.runtime.block_on(Simulator::start(recorded(lines(edition)), options)).unwrap()
        };
        let (old, new) = (simulator("old"), simulator("new"));
        let stub = Stub::start(Mode::Honours);
        let made = |simulator: &Simulator| {
            stub.create_bucket(BUCKET);
            assert_eq!(run(&job_of(&stub, &world, simulator, BUCKET), forced()).kind(), None);
            (stub.objects(BUCKET), stub.tables(BUCKET, PREFIX))
        };
        let ((old_objects, old_tables), (_, new_tables)) = (made(&old), made(&new));
        assert_eq!((old_tables.len(), new_tables.len()), (3 * 6 + 2, 3 * 6 + 2));
        let job = world.job(&new);
        Self { world, job, _simulators: [old, new], old_objects, old_tables, new_tables }
    }

    /// Runs the new edition over the old one, with something wrong at a request. Checks the lake,
    /// and runs again. Returns whether anything went wrong, which a short run may not get to.
    fn is_safe(&self, requests: usize, then: Then) -> bool {
        let story = format!("{then:?} after {requests} requests");
        let stub = Stub::start(Mode::Honours);
        stub.fill(BUCKET, &self.old_objects);
        let lake = || lake_of(&stub, &self.world, BUCKET, KEY_ID);
        let job = || AccountJob { lake: lake(), ..self.job.clone() };
        let hook = After::new(requests, then);
        stub.set_hook(hook.clone());
        let report = run(&job(), forced());
        let has_struck = hook.has_struck();
        stub.unset_hook();
        if !matches!(then, Then::Die) {
            assert_eq!(report.kind(), None, "{story}: {report:?}");
            assert!(stub.tables(BUCKET, PREFIX) == self.new_tables, "{story}");
            return has_struck;
        }
        // The last request of a run only notes how it ended.
        let class = report.kind();
        assert!(matches!(class, None | Some(ErrorKind::Refused | ErrorKind::Partial)), "{story}");
        let there = stub.tables(BUCKET, PREFIX);
        for (name, content) in &there {
            let is_metric = !(name.starts_with("messages") || name.starts_with("rejects"));
            let is_of = |tables: &BTreeMap<String, Bytes>| tables.get(name) == Some(content);
            assert!(
                is_metric || is_of(&self.old_tables) || is_of(&self.new_tables),
                "{story}: {name}"
            );
        }
        assert_eq!(self.broken(&job()), Vec::<String>::new(), "{story}");

        // Any run of the account mends what the killed one left half done.
        let far_away = Wanted { is_named: false, ..wanted("2016-01-01", "2016-01-01") };
        let far_away = Wanted { last_over: "2016-06-30".parse().unwrap(), ..far_away };
        run(&job(), far_away);
        let there = stub.tables(BUCKET, PREFIX);
        for day in DAYS {
            let of_day = |tables: &BTreeMap<String, Bytes>| {
                ["messages", "rejects"]
                    .map(|table| tables.get(&format!("{table}/date={day}/acme.parquet")).cloned())
            };
            let editions = [of_day(&self.old_tables), of_day(&self.new_tables)];
            assert!(editions.contains(&of_day(&there)), "{story}: {day}");
        }
        assert_eq!(run(&job(), forced()).kind(), None, "{story}");
        assert!(stub.tables(BUCKET, PREFIX) == self.new_tables, "{story}");
        has_struck
    }

    /// The findings for which `kefu verify` exits with 65.
    fn broken(&self, job: &AccountJob) -> Vec<String> {
        let job = VerifyJob {
            lake: job.lake.clone(),
            zone: self.world.zone.clone(),
            rules: Parameters::in_zone(self.world.zone.name()).into(),
            today: "2027-01-15".parse().unwrap(),
            accounts: None,
            shard: None,
        };
        let found = verify(&job, None, &Progress::begin("verify", 0), &Cancel::default()).unwrap();
        let broken = found.findings.into_iter();
        let broken = broken.filter(|finding| finding.severity == Severity::Broken);
        broken.map(|finding| format!("{finding:?}")).collect()
    }

    /// Tries each request. Returns the number of requests of a run.
    fn strike_at_each(&self, then: impl Fn(usize) -> Then + Sync) -> usize {
        let (next, over) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let strike = || loop {
            let requests = next.fetch_add(1, Ordering::SeqCst);
            if requests >= over.load(Ordering::SeqCst) {
                break;
            }
            if !self.is_safe(requests, then(requests)) {
                over.fetch_min(requests, Ordering::SeqCst);
            }
        };
        // A client that tries again waits a moment first.
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(strike))));
        over.load(Ordering::SeqCst)
    }
}

fn run(job: &AccountJob, wanted: Wanted) -> RunReport {
    run_account(job, &Request::Run(wanted), &(), &Cancel::default())
}

fn forced() -> Wanted {
    Wanted { force: true, ..wanted(DAYS[0], DAYS[2]) }
}

/// Whether to try all faults at each request, and not one after the other in turn.
fn is_thorough() -> bool {
    std::env::var("KEFU_FAULTS").is_ok_and(|wanted| wanted == "all")
}

/// Tries the faults, one in turn or all of them at each request.
fn strike_with(faults: [Then; 2], requests_min: usize) {
    let editions = Editions::new();
    let strikes: Vec<usize> = match is_thorough() {
        true => faults.map(|then| editions.strike_at_each(|_| then)).into(),
        false => vec![editions.strike_at_each(|request| faults[request % 2])],
    };
    assert!(strikes.iter().all(|requests| *requests > requests_min), "{strikes:?}");
}

#[test]
fn a_crash_between_any_two_requests_leaves_old_or_new_files_and_the_next_run_completes() {
    let requests = Editions::new().strike_at_each(|_| Then::Die);
    assert!(requests > 40, "{requests}");
}

#[test]
fn a_request_that_fails_once_does_not_fail_the_run() {
    strike_with([Fate::Drop, Fate::Refuse(503, "SlowDown")].map(Then::Fail), 40);
}

#[test]
fn an_answer_that_is_lost_once_does_not_fail_the_run() {
    strike_with(
        [Fate::LoseAnswer, Fate::RefuseAfter(500, "InternalError")].map(Then::FailAfter),
        20,
    );
}

/// `KEFU_KILLS` sets the number of kills, spread evenly over the requests of a run.
#[test]
fn a_run_killed_at_any_request_leaves_complete_files_and_the_last_run_completes_the_lake() {
    let world = World::new();
    let simulator = world.simulate(generated(), world.options(&[]));
    let stub = Stub::start(Mode::Honours);
    stub.create_bucket("calm");
    let arguments = [&["run"], RANGE.as_slice()].concat();
    let calm = command(&stub, &world, &simulator, "calm", &arguments).output().unwrap();
    assert!(calm.status.success(), "{}", String::from_utf8_lossy(&calm.stderr));
    let requests = stub.take_requests().len();
    let whole = stub.tables("calm", PREFIX);
    assert_eq!(whole.len(), 12 * 6);

    let kills: usize =
        std::env::var("KEFU_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(12);
    for number in 0..kills {
        stub.create_bucket(BUCKET);
        let mut killed = command(&stub, &world, &simulator, BUCKET, &arguments);
        let child = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (at, seen) = (number * requests / kills, AtomicUsize::new(0));
        let id = i32::try_from(child.id()).unwrap();
        stub.set_hook(move |_: &Asked| {
            if seen.fetch_add(1, Ordering::SeqCst) == at {
                let process = rustix::process::Pid::from_raw(id).unwrap();
                rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
            }
            Fate::Pass
        });
        let ended = { child }.wait().unwrap();
        stub.unset_hook();
        assert!(!ended.success(), "request {at} of {requests}");
        for (name, content) in stub.tables(BUCKET, PREFIX) {
            assert!(!name.starts_with("messages") || whole[&name] == content, "{name}");
        }
        let last = command(&stub, &world, &simulator, BUCKET, &arguments).output().unwrap();
        assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
        assert!(stub.tables(BUCKET, PREFIX) == whole, "request {at} of {requests}");
    }
}
