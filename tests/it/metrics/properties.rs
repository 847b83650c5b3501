//! Random histories. The metrics are compared with the oracle, and one day alone with the same day
//! in a range.

use kefu::calendar::{Day, DayRange, Zone};
use kefu::lake::{Table, opercode};
use kefu::metrics::{AutoReply, BusinessHours, Parameters, Shift};
use proptest::prelude::*;

use super::chat::{Chat, Message, Row, Value, rows};
use super::oracle::Oracle;

/// First days of the histories: before clocks go forward in New York, and before they go back.
const FIRST_DAYS: [&str; 2] = ["2024-03-06", "2024-11-01"];
const DAYS: i64 = 9;

/// Gaps in seconds: at every limit of the definitions, and arbitrary ones.
fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => prop::sample::select(vec![0i64, 0, 1, 29, 30, 31, 180, 300]),
        3 => prop::sample::select(vec![1_799i64, 1_800, 1_801, 3_600]),
        2 => prop::sample::select(vec![86_399i64, 86_400, 86_401, 172_799, 172_800, 172_801]),
        2 => 0..100_000i64,
    ]
}

/// The next message of a customer: gap in seconds, is at midnight, code, worker, has a known text.
/// The gap is the time since the message before. A message at midnight is sent at the next midnight
/// instead. A known text may match a rule.
type Step = (i64, bool, i32, usize, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let opercode = prop_oneof![
        9 => Just(opercode::WORKER_RECEIVED),
        9 => Just(opercode::WORKER_SENT),
        1 => Just(1004),
    ];
    prop::collection::vec(
        (gap(), prop::bool::weighted(0.05), opercode, 0usize..3, prop::bool::weighted(0.1)),
        1..14,
    )
}

/// Parameters for metrics, with the defaults about half of the time.
fn parameters() -> impl Strategy<Value = Parameters> {
    let session_gap = prop_oneof![2 => Just(1_800i64), 1 => Just(600), 1 => Just(43_200)];
    let reply_window = prop_oneof![3 => Just(172_800i64), 1 => Just(3_600)];
    let by_text = AutoReply { text: Some("auto".into()), ..AutoReply::default() };
    let by_worker = AutoReply { worker: Some("C".into()), ..AutoReply::default() };
    let by_both =
        AutoReply { text: Some("auto".into()), worker: Some("B".into()), ..AutoReply::default() };
    let auto_reply = prop::sample::select(vec![
        vec![],
        vec![],
        vec![by_text],
        vec![by_worker.clone()],
        vec![by_both, by_worker],
    ]);
    let business_hours = prop::sample::select(vec![None, None, Some(schedule())]);
    (session_gap, reply_window, auto_reply, business_hours).prop_map(
        |(session_gap, reply_window, auto_reply, business_hours)| Parameters {
            session_gap,
            reply_window,
            auto_reply,
            business_hours,
            ..Parameters::in_zone("")
        },
    )
}

/// Office hours, a shift over midnight, a day off and a working weekend.
fn schedule() -> BusinessHours {
    let shifts =
        |shifts: &[&str]| shifts.iter().map(|shift| shift.parse().unwrap()).collect::<Vec<Shift>>();
    BusinessHours {
        monday: shifts(&["09:00-12:00", "13:00-18:00"]),
        tuesday: shifts(&["09:00-18:00", "17:30-19:00"]),
        wednesday: shifts(&["21:00-04:00"]),
        friday: shifts(&["09:00-24:00"]),
        saturday: shifts(&["21:00-02:00"]),
        dates: [("2024-03-09", shifts(&["08:30-17:45"])), ("2024-11-04", shifts(&[]))]
            .map(|(day, shifts)| (day.parse().unwrap(), shifts))
            .into(),
        ..BusinessHours::default()
    }
}

fn chats() -> impl Strategy<Value = Chat> {
    let zone = prop::sample::select(vec!["Asia/Shanghai", "America/New_York", "UTC"]);
    let customers = prop::collection::vec((0i64..5 * 86_400, steps()), 1..30);
    let missing = prop::collection::btree_set(0..DAYS, 0..3);
    let first = prop::sample::select(FIRST_DAYS.to_vec());
    (zone, first, customers, missing, parameters()).prop_map(
        |(zone, first, customers, missing, parameters)| {
            chat(zone, first, &customers, &missing.into_iter().collect::<Vec<_>>(), parameters)
        },
    )
}

fn chat(
    zone: &str,
    first: &str,
    customers: &[(i64, Vec<Step>)],
    missing: &[i64],
    parameters: Parameters,
) -> Chat {
    let zone = Zone::named(zone).unwrap();
    let first: Day = first.parse().unwrap();
    let days = DayRange { first, last: first.plus(DAYS - 1) };
    let end = zone.bounds(days.last).end;
    let mut messages = Vec::new();
    for (customer, (start, steps)) in customers.iter().enumerate() {
        let mut sent_at = zone.bounds(first).start + start;
        for (gap, is_midnight, opercode, worker, is_known) in steps {
            sent_at =
                if *is_midnight { zone.bounds(zone.day_of(sent_at)).end } else { sent_at + gap };
            if sent_at < end {
                let worker = ["A", "B", "C"][*worker].to_owned();
                let text = if *is_known { "auto".to_owned() } else { String::new() };
                messages.push(Message {
                    sent_at,
                    seq: 0,
                    customer: format!("C{customer}"),
                    worker,
                    opercode: *opercode,
                    text,
                });
            }
        }
    }
    messages.sort_by_key(|message| message.sent_at);
    messages.iter_mut().enumerate().for_each(|(seq, message)| message.seq = seq);
    let fetched = days
        .days()
        .filter(|day| !missing.contains(&i64::from(day.number() - first.number())))
        .collect();
    Chat {
        parameters: Parameters { timezone: zone.name().to_owned(), ..parameters },
        zone,
        messages,
        fetched,
    }
}

/// Compares rows. Means and percentiles may differ by 1e-9, relative to values above 1. All other
/// values must be equal.
fn agree(ours: &[Row], theirs: &[Row]) -> bool {
    let close = |ours: &Value, theirs: &Value| match (ours, theirs) {
        (Value::Real(ours), Value::Real(theirs)) => {
            (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0)
        }
        (ours, theirs) => ours == theirs,
    };
    let rows_agree = |ours: &Row, theirs: &Row| {
        ours.keys().eq(theirs.keys())
            && ours.iter().all(|(name, value)| close(value, &theirs[name]))
    };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| rows_agree(ours, theirs))
}

proptest! {
    // Each case is large: it has the histories of up to 29 customers.
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_metrics_agree_with_the_oracle(chat in chats()) {
        for (day, partitions) in chat.compute() {
            let oracle = Oracle::new(&chat, day);
            for (table, theirs) in [
                (Table::ResponsePairs, oracle.response_pairs()),
                (Table::Sessions, oracle.sessions()),
                (Table::WorkerDaily, oracle.worker_daily()),
                (Table::WorkerHourly, oracle.worker_hourly()),
                (Table::AccountDaily, oracle.account_daily()),
            ] {
                let ours = rows(&partitions[&table]);
                prop_assert!(agree(&ours, &theirs), "{table} of {day}\nours {ours:#?}\noracle {theirs:#?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_day_alone_has_the_same_metrics_as_in_a_range(chat in chats()) {
        for run in chat.runs() {
            for (day, in_range) in chat.compute_from(run, run) {
                let read = DayRange { first: run.first.max(day.plus(-2)), last: run.last.min(day.plus(3)) };
                let alone = chat.compute_from(read, DayRange { first: day, last: day });
                prop_assert_eq!(&in_range, &alone[&day]);
            }
        }
    }
}
