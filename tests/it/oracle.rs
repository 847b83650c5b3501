//! The definitions once more, written as slowly and obviously as possible: for each day alone, for each customer, one scan over the messages.

use std::collections::{BTreeMap, BTreeSet};

use kefu::calendar::{Day, DayRange};
use kefu::lake::opercode;

use crate::chat::{Chat, Message, Row, Value};

/// What a message is, by the table of section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    TurnStart { opens_session: bool },
    TurnContinues,
    Reply,
    FollowUp,
    Outreach,
}

#[derive(Clone, Debug)]
struct Turn {
    customer: String,
    asked: Vec<Message>,
    reply: Option<Message>,
    is_first: bool,
    is_superseded: bool,
}

/// A partition: what there is to know about one day.
pub struct Oracle<'a> {
    chat: &'a Chat,
    day: Day,
    horizon: i64,
    is_final: bool,
    /// Each customer's visible messages of the days that the partition may look at.
    timelines: BTreeMap<String, Vec<(Message, Kind)>>,
}

impl<'a> Oracle<'a> {
    pub fn new(chat: &'a Chat, day: Day) -> Self {
        let run = chat.runs().into_iter().find(|run| run.contains(day)).unwrap();
        let view = DayRange { first: run.first.max(day.plus(-2)), last: run.last.min(day.plus(3)) };
        let mut timelines: BTreeMap<String, Vec<(Message, Kind)>> = BTreeMap::new();
        for message in chat.known() {
            let is_visible = [opercode::WORKER_RECEIVED, opercode::WORKER_SENT].contains(&message.opercode);
            if is_visible && view.contains(chat.zone.day_of(message.sent_at)) {
                let timeline = timelines.entry(message.customer.clone()).or_default();
                let kind = kind(chat, timeline.last().map(|(previous, _)| previous), message);
                timeline.push((message.clone(), kind));
            }
        }
        Self { chat, day, horizon: chat.zone.bounds(view.last).end, is_final: view.last == day.plus(3), timelines }
    }

    fn is_of_day(&self, message: &Message) -> bool {
        self.chat.zone.day_of(message.sent_at) == self.day
    }

    fn turns(&self) -> Vec<Turn> {
        let mut turns = Vec::new();
        for (customer, timeline) in &self.timelines {
            for (start, (message, kind)) in timeline.iter().enumerate() {
                let Kind::TurnStart { opens_session } = kind else { continue };
                if !self.is_of_day(message) {
                    continue;
                }
                let mut turn = Turn {
                    customer: customer.clone(),
                    asked: vec![message.clone()],
                    reply: None,
                    is_first: *opens_session,
                    is_superseded: false,
                };
                for (message, kind) in &timeline[start + 1..] {
                    match kind {
                        Kind::TurnContinues => turn.asked.push(message.clone()),
                        Kind::Reply => {
                            turn.reply = Some(message.clone());
                            break;
                        }
                        Kind::TurnStart { .. } => {
                            turn.is_superseded = true;
                            break;
                        }
                        Kind::FollowUp | Kind::Outreach => break,
                    }
                }
                turns.push(turn);
            }
        }
        // By (asked_at, openid), and in their order within a second.
        turns.sort_by_key(|turn| (turn.asked[0].sent_at, turn.customer.clone(), turn.asked[0].seq));
        turns
    }

    fn outcome(&self, turn: &Turn) -> &'static str {
        let last_asked_at = turn.asked[turn.asked.len() - 1].sent_at;
        if turn.reply.is_some() {
            "answered"
        } else if !turn.is_superseded && !self.is_final && self.horizon - last_asked_at <= self.chat.parameters.reply_window {
            "pending"
        } else {
            "unanswered"
        }
    }

    pub fn response_pairs(&self) -> Vec<Row> {
        let pair = |turn: &Turn| {
            let first = &turn.asked[0];
            let last = &turn.asked[turn.asked.len() - 1];
            let reply = turn.reply.as_ref();
            let own = reply.and_then(|reply| turn.asked.iter().find(|asked| asked.worker == reply.worker));
            let since = |instant: i64| whole(reply.map(|reply| reply.sent_at - instant));
            row([
                ("account", text("acme")),
                ("openid", text(&turn.customer)),
                ("worker", text(reply.map_or(&last.worker, |reply| &reply.worker))),
                ("first_worker", text(&first.worker)),
                ("asked_at", Value::Whole(first.sent_at)),
                ("last_asked_at", Value::Whole(last.sent_at)),
                ("replied_at", whole(reply.map(|reply| reply.sent_at))),
                ("outcome", text(self.outcome(turn))),
                ("response_seconds", since(first.sent_at)),
                ("since_last_seconds", since(last.sent_at)),
                ("own_response_seconds", own.map_or(Value::Null, |own| since(own.sent_at))),
                ("business_seconds", Value::Null),
                ("asked_in_hours", Value::Null),
                ("customer_messages", Value::Whole(turn.asked.len() as i64)),
                ("is_first", Value::Flag(turn.is_first)),
            ])
        };
        self.turns().iter().map(pair).collect()
    }

    pub fn worker_daily(&self) -> Vec<Row> {
        let of_day: Vec<&(Message, Kind)> = self.timelines.values().flatten().filter(|(message, _)| self.is_of_day(message)).collect();
        let turns = self.turns();
        let credited = |turn: &Turn| turn.reply.as_ref().unwrap_or(&turn.asked[turn.asked.len() - 1]).worker.clone();
        let mut workers: BTreeSet<String> = of_day.iter().map(|(message, _)| message.worker.clone()).collect();
        workers.extend(turns.iter().flat_map(|turn| turn.asked.iter().map(|asked| asked.worker.clone()).chain([credited(turn)])));
        workers.iter().map(|worker| self.worker_row(worker, &of_day, &turns, &credited)).collect()
    }

    fn worker_row(&self, worker: &str, of_day: &[&(Message, Kind)], turns: &[Turn], credited: &dyn Fn(&Turn) -> String) -> Row {
        let own: Vec<&(Message, Kind)> = of_day.iter().copied().filter(|(message, _)| message.worker == worker).collect();
        let is_in = |message: &Message| message.opercode == opercode::WORKER_RECEIVED;
        let kinds = |wanted: Kind| count(own.iter().filter(|(_, kind)| *kind == wanted).count());
        let sent_at = || own.iter().filter(|(message, _)| !is_in(message)).map(|(message, _)| message.sent_at);
        let customers: BTreeSet<&String> = own.iter().filter(|(message, _)| is_in(message)).map(|(message, _)| &message.customer).collect();
        let got_message = |customer: &&&String| own.iter().any(|(message, _)| !is_in(message) && message.customer == ***customer);

        let mine: Vec<&Turn> = turns.iter().filter(|turn| credited(turn) == worker).collect();
        let wait = |turn: &&&Turn| turn.reply.as_ref().map(|reply| reply.sent_at - turn.asked[0].sent_at);
        let own_wait = |turn: &&Turn| {
            let reply = turn.reply.as_ref()?;
            Some(reply.sent_at - turn.asked.iter().find(|asked| asked.worker == reply.worker)?.sent_at)
        };
        let waits: Vec<i64> = mine.iter().filter_map(|turn| wait(&turn)).collect();
        let first_waits: Vec<i64> = mine.iter().filter(|turn| turn.is_first).filter_map(|turn| wait(&turn)).collect();
        let own_waits: Vec<i64> = mine.iter().filter_map(own_wait).collect();
        let outcomes = |outcome: &str, is_first: Option<bool>| {
            count(mine.iter().filter(|turn| self.outcome(turn) == outcome && is_first.is_none_or(|first| turn.is_first == first)).count())
        };
        let within = |seconds: i64| count(waits.iter().filter(|wait| **wait <= seconds).count());
        let handed_off =
            turns.iter().filter(|turn| credited(turn) != worker && turn.asked.iter().any(|asked| asked.worker == worker)).count();

        let mut columns = row([
            ("account", text("acme")),
            ("worker", text(worker)),
            ("messages_received", count(own.iter().filter(|(message, _)| is_in(message)).count())),
            ("messages_sent", count(sent_at().count())),
            ("replies", kinds(Kind::Reply)),
            ("follow_ups", kinds(Kind::FollowUp)),
            ("outreach", kinds(Kind::Outreach)),
            ("auto_messages_sent", Value::Whole(0)),
            ("customers", count(customers.len())),
            ("customers_served", count(customers.iter().filter(got_message).count())),
            ("first_sent_at", whole(sent_at().min())),
            ("last_sent_at", whole(sent_at().max())),
            ("max_concurrent", Value::Whole(0)),
            ("mean_concurrent", Value::Null),
            ("answered", outcomes("answered", None)),
            ("pending", outcomes("pending", None)),
            ("unanswered_first", outcomes("unanswered", Some(true))),
            ("unanswered_later", outcomes("unanswered", Some(false))),
            ("takeovers", count(waits.len() - own_waits.len())),
            ("handed_off", count(handed_off)),
            ("answered_within_30s", within(30)),
            ("answered_within_60s", within(60)),
            ("answered_within_180s", within(180)),
            ("answered_within_300s", within(300)),
            ("first_responses", count(first_waits.len())),
            ("answered_in_hours", Value::Null),
            ("business_seconds_mean", Value::Null),
            ("business_seconds_p50", Value::Null),
            ("business_seconds_p90", Value::Null),
            ("asked_out_of_hours", Value::Null),
        ]);
        statistics(&mut columns, "response_seconds", &waits, &["sum", "mean", "p50", "p90", "p95", "max"]);
        statistics(&mut columns, "first_response_seconds", &first_waits, &["sum", "mean", "p50", "p90", "p95", "max"]);
        statistics(&mut columns, "own_response_seconds", &own_waits, &["mean", "p50", "p90"]);
        columns
    }
}

fn kind(chat: &Chat, previous: Option<&Message>, message: &Message) -> Kind {
    let parameters = &chat.parameters;
    let gap = |previous: &Message| message.sent_at - previous.sent_at;
    let is_in = |message: &Message| message.opercode == opercode::WORKER_RECEIVED;
    match previous {
        Some(previous) if is_in(message) && gap(previous) <= parameters.session_gap => {
            if is_in(previous) {
                Kind::TurnContinues
            } else {
                Kind::TurnStart { opens_session: false }
            }
        }
        _ if is_in(message) => Kind::TurnStart { opens_session: true },
        Some(previous) if is_in(previous) && gap(previous) <= parameters.reply_window => Kind::Reply,
        Some(previous) if !is_in(previous) && gap(previous) <= parameters.session_gap => Kind::FollowUp,
        _ => Kind::Outreach,
    }
}

fn statistics(columns: &mut Row, prefix: &str, values: &[i64], names: &[&str]) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let percentile = |share: f64| {
        let position = (sorted.len() as f64 - 1.0) * share;
        let (below, above) = (sorted[position.floor() as usize] as f64, sorted[position.ceil() as usize] as f64);
        Value::Real(below + (above - below) * position.fract())
    };
    for name in names {
        let value = match *name {
            _ if sorted.is_empty() => Value::Null,
            "sum" => Value::Whole(sorted.iter().sum()),
            "max" => Value::Whole(sorted[sorted.len() - 1]),
            "mean" => Value::Real(sorted.iter().sum::<i64>() as f64 / sorted.len() as f64),
            percent => percentile(percent[1..].parse::<f64>().unwrap() / 100.0),
        };
        columns.insert(format!("{prefix}_{name}"), value);
    }
}

fn row<const N: usize>(columns: [(&str, Value); N]) -> Row {
    columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn whole(value: Option<i64>) -> Value {
    value.map_or(Value::Null, Value::Whole)
}

fn count(count: usize) -> Value {
    Value::Whole(count as i64)
}
