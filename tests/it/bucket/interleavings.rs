//! Every order of the requests of two runs that fetch the same day, each killed at any of them.
//!
//! The runs are the real code, against the stub, which lets one request go at a time. Orders that
//! differ only in requests that do not touch each other are tried once: of two neighbours, those of
//! the first run come first.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use kefu::failure::ErrorKind;
use kefu::fetch::Source;
use kefu::lake::Lake;
use kefu::metrics::Parameters;
use kefu::model::cancel::Cancel;
use kefu::pipeline::{
    AccountJob, FetchJob, FetchReport, OnShrink, Request, VerifyJob, fetch_days, run_account,
    verify,
};
use kefu::simulator::Simulator;
use kefu::telemetry::Progress;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::stub::{Fate, Hook, Mode, Request as Asked, Stub};
use super::{PREFIX, lake_of};
use crate::world::{DAY, MIDNIGHT, World, record, recorded, wanted};

const BUCKET: &str = "records";
const DAY_BEFORE: &str = "2016-05-31";

/// The signers of the two runs. Other signers are not kept waiting.
const RUNS: [&str; 2] = ["RUN-A", "RUN-B"];

/// What a run gets from WeChat for the day: records, and which of them cannot be read.
type Edition = (i64, &'static [usize]);

const EMPTY: Edition = (0, &[]);
const OLD: Edition = (6, &[2]);
const OLD_PLAIN: Edition = (6, &[]);
const PLAIN: Edition = (8, &[]);
const REJECTS: Edition = (8, &[3]);
const OTHER_REJECTS: Edition = (8, &[3, 5]);

/// What the lake has at first, and what the two runs get.
type Scenario = (Option<Edition>, Edition, Edition);

const SCENARIOS: [Scenario; 10] = [
    (None, REJECTS, EMPTY),
    (None, REJECTS, OTHER_REJECTS),
    (None, PLAIN, EMPTY),
    (None, PLAIN, REJECTS),
    (Some(OLD), PLAIN, OTHER_REJECTS),
    (Some(OLD), REJECTS, REJECTS),
    (Some(OLD), EMPTY, PLAIN),
    (Some(OLD_PLAIN), OTHER_REJECTS, PLAIN),
    (Some(OLD_PLAIN), REJECTS, OTHER_REJECTS),
    (Some(OLD_PLAIN), PLAIN, PLAIN),
];

/// A request that waits to be let go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    is_change: bool,
    key: String,
}

impl Step {
    /// Whether it makes no difference which of the two comes first.
    fn commutes_with(&self, other: &Self) -> bool {
        self.key != other.key || !self.is_change && !other.is_change
    }
}

#[derive(Clone, Debug, Default)]
struct Run {
    waiting: Option<Step>,
    let_go: Option<Fate>,
    is_killed: bool,
    is_over: bool,
}

/// Keeps the requests of the two runs for the files of the day waiting.
#[derive(Default)]
struct Gate {
    /// Whether one answer of an order may be lost.
    is_lossy: bool,
    runs: Mutex<[Run; 2]>,
    changed: Condvar,
}

impl Hook for Arc<Gate> {
    fn fate(&self, request: &Asked) -> Fate {
        let Some(which) = RUNS.iter().position(|run| *run == request.signer()) else {
            return Fate::Pass;
        };
        let mut runs = self.runs.lock().unwrap();
        let is_of_day = ["messages", "rejects"]
            .iter()
            .any(|table| request.key.contains(&format!("/{table}/date={DAY}/")));
        if is_of_day && !runs[which].is_killed {
            let step = Step { is_change: request.is_change(), key: request.key.clone() };
            runs[which].waiting = Some(step);
            self.changed.notify_all();
            let is_held =
                |runs: &mut [Run; 2]| runs[which].let_go.is_none() && !runs[which].is_killed;
            runs = self.changed.wait_while(runs, is_held).unwrap();
            if let Some(fate) = runs[which].let_go.take() {
                return fate;
            }
        }
        // A process that was killed asks nothing more. Here it goes on, and every request fails.
        match runs[which].is_killed {
            true => Fate::Refuse(403, "AccessDenied"),
            false => Fate::Pass,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    LetGo(usize, Step),
    /// The request has its effect, and its answer is lost.
    LoseAnswer(usize, Step),
    Kill(usize),
}

/// An action that was taken, its number, and how many there were to choose from.
type Taken = (Action, usize, usize);

impl Gate {
    fn begin(&self) {
        *self.runs.lock().unwrap() = Default::default();
    }

    fn end(&self, which: usize) {
        self.runs.lock().unwrap()[which].is_over = true;
        self.changed.notify_all();
    }

    /// Waits until each run waits or is over. Returns what can be done next, after what was taken.
    fn actions(&self, taken: &[Taken]) -> Vec<Action> {
        let last = taken.last().map(|(action, ..)| action);
        let is_lost = taken.iter().any(|(action, ..)| matches!(action, Action::LoseAnswer(..)));
        let is_busy = |runs: &mut [Run; 2]| {
            runs.iter().any(|run| !run.is_over && (run.waiting.is_none() || run.is_killed))
        };
        let runs = self.changed.wait_while(self.runs.lock().unwrap(), is_busy).unwrap();
        let mut actions = Vec::new();
        for (which, run) in runs.iter().enumerate().filter(|(_, run)| !run.is_over) {
            let Some(step) = &run.waiting else { continue };
            let is_tried = matches!(last, Some(Action::LetGo(other, before))
                if *other > which && before.commutes_with(step));
            if !is_tried {
                actions.push(Action::LetGo(which, step.clone()));
            }
            if self.is_lossy && step.is_change && !is_lost {
                actions.push(Action::LoseAnswer(which, step.clone()));
            }
            // Killed before a request that changes nothing, it is as if killed before the next one.
            let is_next = matches!(last, Some(Action::LetGo(before, _)) if *before == which);
            if step.is_change && is_next {
                actions.push(Action::Kill(which));
            }
        }
        actions
    }

    fn act(&self, action: &Action) {
        let mut runs = self.runs.lock().unwrap();
        match action {
            Action::LetGo(which, _) => {
                runs[*which].waiting = None;
                runs[*which].let_go = Some(Fate::Pass);
            }
            Action::LoseAnswer(which, _) => {
                runs[*which].waiting = None;
                runs[*which].let_go = Some(Fate::LoseAnswer);
            }
            Action::Kill(which) => runs[*which].is_killed = true,
        }
        self.changed.notify_all();
    }

    fn kill_all(&self) {
        self.runs.lock().unwrap().iter_mut().for_each(|run| run.is_killed = true);
        self.changed.notify_all();
    }
}

/// What the footer of a file says.
#[derive(Clone, Debug)]
struct Facts {
    records: u64,
    content_hash: String,
    rejects_hash: Option<String>,
}

impl Facts {
    fn of(content: &Bytes) -> Self {
        let reader = SerializedFileReader::new(content.clone()).unwrap();
        let entries = reader.metadata().file_metadata().key_value_metadata().unwrap();
        let get = |key: &str| {
            let found = entries.iter().find(|entry| entry.key == format!("kefu.{key}"));
            found.and_then(|entry| entry.value.clone())
        };
        let count = |key: &str| get(key).map_or(0, |count| count.parse().unwrap());
        Self {
            records: count("rows") + count("rejects"),
            content_hash: get("content_hash").unwrap(),
            rejects_hash: get("rejects_hash"),
        }
    }
}

/// One scenario on a server of its own.
struct Trial {
    world: World,
    stub: Stub,
    gate: Arc<Gate>,
    at_first: std::collections::BTreeMap<String, Bytes>,
    jobs: [FetchJob; 2],
    next: AccountJob,
    _simulators: [Simulator; 3],
    facts: Mutex<HashMap<Bytes, Facts>>,
}

fn simulator(world: &World, edition: Edition) -> Simulator {
    let (count, unreadable) = edition;
    let mut lines: Vec<String> = (0..count)
        .map(|number| record(MIDNIGHT + number, &format!("{number} of {count} {unreadable:?}")))
        .collect();
    unreadable.iter().for_each(|line| lines[*line] = lines[*line].replace("oC1", ""));
    lines.push(record(MIDNIGHT - 3_600, "the day before"));
    world.runtime.block_on(Simulator::start(recorded(lines), world.options(&[]))).unwrap()
}

fn fetch_job(world: &World, lake: Lake, simulator: &Simulator) -> FetchJob {
    let endpoint = simulator.client_url().unwrap();
    let source = Source::connect(&endpoint, world.credential.clone(), world.clock.clone());
    FetchJob {
        source: Arc::new(source.unwrap()),
        lake,
        account: world.account(),
        app_id: None,
        zone: world.zone.clone(),
        concurrency: 1,
        refreshed: Default::default(),
        on_shrink: OnShrink::Fail,
        cancel: Cancel::default(),
    }
}

impl Trial {
    fn new(mode: Mode, (at_first, first, second): Scenario, is_lossy: bool) -> Self {
        let (world, stub) = (World::new(), Stub::start(mode));
        stub.create_bucket(BUCKET);
        let lake = |signer: &str| lake_of(&stub, &world, BUCKET, signer);
        let prepare = |edition: Edition, day: &str| {
            let simulator = simulator(&world, edition);
            let job = fetch_job(&world, lake("BEFORE"), &simulator);
            let _lock = job.lake.lock(&job.account).unwrap();
            let report = world.runtime.block_on(fetch_days(&job, &[day.parse().unwrap()], &()));
            assert!(report.failed.is_empty(), "{report:?}");
        };
        // An empty day is committed only after an earlier day.
        prepare(EMPTY, DAY_BEFORE);
        at_first.iter().for_each(|edition| prepare(*edition, DAY));
        let simulators = [first, second, OTHER_REJECTS].map(|edition| simulator(&world, edition));
        let jobs = [0, 1].map(|run| fetch_job(&world, lake(RUNS[run]), &simulators[run]));
        for job in &jobs {
            drop(job.lake.lock(&job.account).unwrap());
        }
        let next = AccountJob { lake: lake("NEXT"), ..world.job(&simulators[2]) };
        let at_first = stub.objects(BUCKET);
        let gate = Arc::new(Gate { is_lossy, ..Gate::default() });
        stub.set_hook(gate.clone());
        Self {
            world,
            stub,
            gate,
            at_first,
            jobs,
            next,
            _simulators: simulators,
            facts: Mutex::default(),
        }
    }

    /// Runs both jobs. `choices` are the numbers of the actions to take, from the first one on.
    /// Then takes the first action that there is. Returns the actions, and how many there were to
    /// choose from each time. Returns no reports when the order was tried before.
    fn run(&self, choices: &[usize]) -> (Vec<Taken>, Option<[FetchReport; 2]>) {
        self.stub.fill(BUCKET, &self.at_first);
        self.gate.begin();
        std::thread::scope(|scope| {
            let runs = [0, 1].map(|run| {
                scope.spawn(move || {
                    let day = [DAY.parse().unwrap()];
                    // A run remembers what it has looked at.
                    let lake = self.jobs[run].lake.remembering();
                    let job = FetchJob { lake, ..self.jobs[run].clone() };
                    let fetch = fetch_days(&job, &day, &());
                    let report = self.world.runtime.block_on(fetch);
                    self.gate.end(run);
                    report
                })
            });
            let mut taken: Vec<Taken> = Vec::new();
            let is_new = loop {
                let actions = self.gate.actions(&taken);
                let choice = choices.get(taken.len()).copied().unwrap_or_default();
                let Some(action) = actions.get(choice) else {
                    break self.gate.runs.lock().unwrap().iter().all(|run| run.is_over);
                };
                self.gate.act(action);
                taken.push((action.clone(), choice, actions.len()));
            };
            if !is_new {
                self.gate.kill_all();
            }
            let reports = runs.map(|run| run.join().unwrap());
            (taken, is_new.then_some(reports))
        })
    }

    fn facts_of(&self, content: &Bytes) -> Facts {
        let mut known = self.facts.lock().unwrap();
        known.entry(content.clone()).or_insert_with(|| Facts::of(content)).clone()
    }

    /// The facts of the day's messages and rejects.
    fn day(&self) -> [Option<Facts>; 2] {
        let there = self.stub.objects(BUCKET);
        [self.key("messages"), self.key("rejects")]
            .map(|key| there.get(&key).map(|content| self.facts_of(content)))
    }

    fn key(&self, table: &str) -> String {
        format!("{PREFIX}/{table}/date={DAY}/{}.parquet", self.world.account())
    }

    /// Whether the messages and the rejects belong together.
    fn is_whole(&self) -> bool {
        match self.day() {
            [None, rejects] => rejects.is_none(),
            [Some(messages), rejects] => {
                let there = rejects.map_or_else(|| "none".to_owned(), |facts| facts.content_hash);
                messages.rejects_hash == Some(there)
            }
        }
    }

    /// Checks the lake after both runs. Returns what is wrong.
    fn check(&self, reports: &[FetchReport; 2]) -> Result<(), String> {
        let key = self.key("messages");
        let put = self.stub.history(BUCKET).into_iter().filter(|(name, _)| *name == key);
        let contents = self.at_first.get(&key).cloned().into_iter();
        let records: Vec<u64> = contents
            .chain(put.map(|(_, content)| content))
            .map(|content| self.facts_of(&content).records)
            .collect();
        if !records.is_sorted() {
            return Err(format!("a day was replaced by less of it: {records:?}"));
        }
        let runs = self.gate.runs.lock().unwrap().clone();
        for (run, report) in runs.iter().zip(reports).filter(|(run, _)| !run.is_killed) {
            let class = report.failed.first().map(|failed| failed.failure.kind);
            if !matches!(class, None | Some(ErrorKind::Occupied | ErrorKind::Contract)) {
                return Err(format!("{run:?} fails with {report:?}"));
            }
            if class.is_none() && records.is_empty() {
                return Err(format!("a run lost its day: {report:?}"));
            }
        }
        match self.is_whole() {
            true => Ok(()),
            false => self.check_next(),
        }
    }

    /// Checks that `kefu verify` and the next run notice that the files do not belong together.
    fn check_next(&self) -> Result<(), String> {
        let job = VerifyJob {
            lake: self.next.lake.clone(),
            zone: self.world.zone.clone(),
            rules: Parameters::in_zone(self.world.zone.name()).into(),
            today: "2027-01-15".parse().unwrap(),
            accounts: None,
            shard: None,
        };
        let found = verify(&job, None, &Progress::begin("verify", 0), &Cancel::default()).unwrap();
        if found.findings.is_empty() {
            return Err("verify does not notice files that do not belong together".to_owned());
        }
        let request =
            Request::Fetch(kefu::pipeline::Wanted { is_named: false, ..wanted(DAY, DAY) });
        let report = run_account(&self.next, &request, &(), &Cancel::default());
        let is_fetched = report.fetch.is_some_and(|fetch| fetch.fetched.len() == 1);
        match is_fetched && self.is_whole() {
            true => Ok(()),
            false => Err("the next run does not mend files that do not belong together".to_owned()),
        }
    }

    /// Tries every order, until something is wrong. Returns the number of orders.
    fn explore(&self) -> Result<usize, String> {
        let (mut choices, mut orders) = (Vec::new(), 0);
        loop {
            let (mut taken, reports) = self.run(&choices);
            if let Some(reports) = reports {
                orders += 1;
                let story = |wrong| format!("{wrong}, after {taken:#?}");
                self.check(&reports).map_err(story)?;
            }
            while taken.pop_if(|(_, choice, count)| *choice + 1 == *count).is_some() {}
            let Some((_, choice, _)) = taken.last_mut() else { return Ok(orders) };
            *choice += 1;
            choices = taken.iter().map(|(_, choice, _)| *choice).collect();
        }
    }
}

/// With `KEFU_INTERLEAVINGS=all`, one answer of each order may also be lost. That takes minutes,
/// because a client waits before it asks again.
#[test]
fn no_order_of_two_runs_loses_records_or_hides_files_that_do_not_belong_together() {
    let is_lossy = std::env::var("KEFU_INTERLEAVINGS").is_ok_and(|wanted| wanted == "all");
    std::thread::scope(|scope| {
        for scenario in SCENARIOS {
            scope.spawn(move || {
                let orders = Trial::new(Mode::Honours, scenario, is_lossy).explore();
                let orders = orders.unwrap_or_else(|wrong| panic!("{scenario:?}: {wrong}"));
                // A run that gets fewer records than there are writes nothing.
                assert!(orders > 5, "{scenario:?}: {orders}");
            });
        }
    });
}

#[test]
fn without_conditions_some_order_replaces_a_day_by_less_of_it() {
    let trial = Trial::new(Mode::IgnoresAfterProbe, SCENARIOS[0], false);
    let wrong = trial.explore().unwrap_err();
    assert!(wrong.contains("replaced by less of it: [8, 0]"), "{wrong}");
}
