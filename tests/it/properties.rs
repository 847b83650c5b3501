//! Random histories: the metrics stage against the oracle, and against itself asked in another way.

use kefu::calendar::{Day, DayRange, Zone};
use kefu::lake::{Table, opercode};
use kefu::metrics::Parameters;
use proptest::prelude::*;

use crate::chat::{Chat, Message, Row, Value, rows};
use crate::oracle::Oracle;

const FIRST_DAY: &str = "2024-11-01";
const DAYS: i64 = 9;

/// Gaps around every edge of the definitions, and anything between.
fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => prop::sample::select(vec![0i64, 0, 1, 29, 30, 31, 180, 300]),
        3 => prop::sample::select(vec![1_799i64, 1_800, 1_801, 3_600]),
        2 => prop::sample::select(vec![86_399i64, 86_400, 86_401, 172_799, 172_800, 172_801]),
        2 => 0..100_000i64,
    ]
}

/// What one customer's next message is: the gap before it, whether the gap ends at a midnight instead, its code and its worker.
type Step = (i64, bool, i32, usize);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let opercode = prop_oneof![
        9 => Just(opercode::WORKER_RECEIVED),
        9 => Just(opercode::WORKER_SENT),
        1 => Just(1004),
    ];
    prop::collection::vec((gap(), prop::bool::weighted(0.05), opercode, 0usize..3), 1..14)
}

fn chats() -> impl Strategy<Value = Chat> {
    let zone = prop::sample::select(vec!["Asia/Shanghai", "America/New_York", "UTC"]);
    let customers = prop::collection::vec((0i64..5 * 86_400, steps()), 1..30);
    let missing = prop::collection::btree_set(0..DAYS, 0..3);
    (zone, customers, missing).prop_map(|(zone, customers, missing)| chat(zone, &customers, &missing.into_iter().collect::<Vec<_>>()))
}

fn chat(zone: &str, customers: &[(i64, Vec<Step>)], missing: &[i64]) -> Chat {
    let zone = Zone::named(zone).unwrap();
    let first: Day = FIRST_DAY.parse().unwrap();
    let days = DayRange { first, last: first.plus(DAYS - 1) };
    let end = zone.bounds(days.last).end;
    let mut messages = Vec::new();
    for (customer, (start, steps)) in customers.iter().enumerate() {
        let mut sent_at = zone.bounds(first).start + start;
        for (gap, is_midnight, opercode, worker) in steps {
            sent_at = if *is_midnight { zone.bounds(zone.day_of(sent_at)).end } else { sent_at + gap };
            if sent_at < end {
                let worker = ["A", "B", "C"][*worker].to_owned();
                messages.push(Message { sent_at, seq: 0, customer: format!("C{customer}"), worker, opercode: *opercode });
            }
        }
    }
    messages.sort_by_key(|message| message.sent_at);
    messages.iter_mut().enumerate().for_each(|(seq, message)| message.seq = seq);
    let fetched = days.days().filter(|day| !missing.contains(&i64::from(day.number() - first.number()))).collect();
    Chat { parameters: Parameters::in_zone(zone.name()), zone, messages, fetched }
}

/// Equal, means and percentiles to 1e-9.
fn agree(ours: &[Row], theirs: &[Row]) -> bool {
    let close = |ours: &Value, theirs: &Value| match (ours, theirs) {
        (Value::Real(ours), Value::Real(theirs)) => (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0),
        (ours, theirs) => ours == theirs,
    };
    let rows_agree =
        |ours: &Row, theirs: &Row| ours.keys().eq(theirs.keys()) && ours.iter().all(|(name, value)| close(value, &theirs[name]));
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| rows_agree(ours, theirs))
}

proptest! {
    // Each case holds up to thirty customers' histories.
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_stage_agrees_with_the_oracle(chat in chats()) {
        for (day, partitions) in chat.compute() {
            let oracle = Oracle::new(&chat, day);
            for (table, theirs) in [(Table::ResponsePairs, oracle.response_pairs()), (Table::WorkerDaily, oracle.worker_daily())] {
                let ours = rows(&partitions[&table]);
                prop_assert!(agree(&ours, &theirs), "{table} of {day}\nours {ours:#?}\noracle {theirs:#?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_day_alone_is_the_same_as_in_a_range(chat in chats()) {
        for run in chat.runs() {
            for (day, in_range) in chat.compute_from(run, run) {
                let read = DayRange { first: run.first.max(day.plus(-2)), last: run.last.min(day.plus(3)) };
                let alone = chat.compute_from(read, DayRange { first: day, last: day });
                prop_assert_eq!(&in_range, &alone[&day]);
            }
        }
    }
}
