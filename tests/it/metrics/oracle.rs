//! The definitions a second time, in code that is as slow and obvious as possible. For each day
//! alone and each customer, it scans the messages once.

use std::collections::{BTreeMap, BTreeSet};

use kefu::calendar::{Day, DayRange, Span};
use kefu::lake::opercode;
use kefu::metrics::AutoReply;

use super::chat::{Chat, Message, Row, Value};

/// The kind of a message, by the table of section 2.
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

/// The partitions of one day, and all that they depend on.
pub struct Oracle<'a> {
    chat: &'a Chat,
    day: Day,
    horizon: i64,
    is_final: bool,
    /// Each customer's visible messages in the dependency window of the day, in order.
    timelines: BTreeMap<String, Vec<(Message, Kind)>>,
    automatic: Vec<Message>,
}

impl<'a> Oracle<'a> {
    pub fn new(chat: &'a Chat, day: Day) -> Self {
        let run = chat.runs().into_iter().find(|run| run.contains(day)).unwrap();
        let view = DayRange { first: run.first.max(day.plus(-2)), last: run.last.min(day.plus(3)) };
        let mut timelines: BTreeMap<String, Vec<(Message, Kind)>> = BTreeMap::new();
        let mut automatic = Vec::new();
        for message in chat.known() {
            let is_visible =
                [opercode::WORKER_RECEIVED, opercode::WORKER_SENT].contains(&message.opercode);
            let is_automatic = message.opercode == opercode::WORKER_SENT
                && chat.parameters.auto_reply.iter().any(|rule| matches(rule, message));
            if !view.contains(chat.zone.day_of(message.sent_at)) || !is_visible {
                continue;
            }
            if is_automatic {
                automatic.push(message.clone());
            } else {
                let timeline = timelines.entry(message.customer.clone()).or_default();
                let kind = kind(chat, timeline.last().map(|(previous, _)| previous), message);
                timeline.push((message.clone(), kind));
            }
        }
        Self {
            chat,
            day,
            horizon: chat.zone.bounds(view.last).end,
            is_final: view.last == day.plus(3),
            timelines,
            automatic,
        }
    }

    /// Returns the `seq` of a message: the number of messages of its day before it, visible or not.
    fn place(&self, message: &Message) -> Value {
        let of_day = self.chat.messages.iter().filter(|other| self.is_of_day(other));
        count(of_day.take_while(|other| *other != message).count())
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
        // Sorts by (asked_at, openid), then by the order within a second.
        turns.sort_by_key(|turn| (turn.asked[0].sent_at, turn.customer.clone(), turn.asked[0].seq));
        turns
    }

    fn outcome(&self, turn: &Turn) -> &'static str {
        let last_asked_at = turn.asked[turn.asked.len() - 1].sent_at;
        if turn.reply.is_some() {
            "answered"
        } else if !turn.is_superseded && self.may_be_answered(last_asked_at) {
            "pending"
        } else {
            "unanswered"
        }
    }

    fn may_be_answered(&self, last_asked_at: i64) -> bool {
        !self.is_final && self.horizon - last_asked_at <= self.chat.parameters.reply_window
    }

    pub fn response_pairs(&self) -> Vec<Row> {
        let with_schedule = |value: Value| {
            if self.chat.parameters.business_hours.is_some() { value } else { Value::Null }
        };
        let pair = |turn: &Turn| {
            let first = &turn.asked[0];
            let last = &turn.asked[turn.asked.len() - 1];
            let reply = turn.reply.as_ref();
            let own = reply
                .and_then(|reply| turn.asked.iter().find(|asked| asked.worker == reply.worker));
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
                (
                    "business_seconds",
                    with_schedule(whole(
                        reply.map(|reply| self.open_seconds(first.sent_at, reply.sent_at)),
                    )),
                ),
                ("asked_in_hours", with_schedule(Value::Flag(self.is_open(first.sent_at)))),
                ("customer_messages", Value::Whole(turn.asked.len() as i64)),
                ("is_first", Value::Flag(turn.is_first)),
                ("asked_seq", self.place(first)),
            ])
        };
        self.turns().iter().map(pair).collect()
    }

    /// Returns the day's visible messages with their kinds, without automatic messages.
    fn of_day(&self) -> Vec<&(Message, Kind)> {
        self.timelines.values().flatten().filter(|(message, _)| self.is_of_day(message)).collect()
    }

    fn automatic_of_day(&self) -> Vec<&Message> {
        self.automatic.iter().filter(|message| self.is_of_day(message)).collect()
    }

    pub fn worker_daily(&self) -> Vec<Row> {
        let mut workers: BTreeSet<String> =
            self.of_day().iter().map(|(message, _)| message.worker.clone()).collect();
        workers.extend(self.automatic_of_day().iter().map(|message| message.worker.clone()));
        workers.extend(self.turns().iter().flat_map(|turn| {
            turn.asked.iter().map(|asked| asked.worker.clone()).chain([credited(turn).to_owned()])
        }));
        let worker_row = |worker: &String| {
            let mut columns = self.activity(&|one| one == worker);
            columns.insert("worker".into(), text(worker));
            columns.insert(
                "handed_off".into(),
                count(self.turns().iter().filter(|turn| is_handed_off(turn, worker)).count()),
            );
            columns
        };
        workers.iter().map(worker_row).collect()
    }

    pub fn account_daily(&self) -> Vec<Row> {
        let mut columns = self.activity(&|_| true);
        let is_handed_off_by_any =
            |turn: &&Turn| turn.asked.iter().any(|asked| is_handed_off(turn, &asked.worker));
        columns.insert(
            "handed_off".into(),
            count(self.turns().iter().filter(is_handed_off_by_any).count()),
        );
        let senders: BTreeSet<&String> = self
            .of_day()
            .into_iter()
            .filter(|(message, _)| !is_in(message))
            .map(|(message, _)| &message.worker)
            .collect();
        columns.insert("workers".into(), count(senders.len()));
        let sessions = self.sessions();
        for outcome in ["completed", "missed", "dropped", "open", "outreach"] {
            let of_outcome =
                sessions.iter().filter(|session| session["outcome"] == text(outcome)).count();
            columns.insert(format!("sessions_{outcome}"), count(of_outcome));
        }
        vec![columns]
    }

    pub fn worker_hourly(&self) -> Vec<Row> {
        let hour = |instant: i64| self.local(instant).rem_euclid(86_400) / 3_600;
        let turns = self.turns();
        let mut keys: BTreeSet<(String, i64)> = self
            .of_day()
            .iter()
            .map(|(message, _)| (message.worker.clone(), hour(message.sent_at)))
            .collect();
        keys.extend(
            turns.iter().map(|turn| (credited(turn).to_owned(), hour(turn.asked[0].sent_at))),
        );
        let hourly_row = |(worker, of_hour): &(String, i64)| {
            let messages = |inbound: bool| {
                let is_counted = |message: &Message| {
                    message.worker == *worker
                        && hour(message.sent_at) == *of_hour
                        && is_in(message) == inbound
                };
                count(self.of_day().iter().filter(|(message, _)| is_counted(message)).count())
            };
            let mine: Vec<&Turn> = turns
                .iter()
                .filter(|turn| credited(turn) == worker && hour(turn.asked[0].sent_at) == *of_hour)
                .collect();
            let mut columns = row([
                ("account", text("acme")),
                ("worker", text(worker)),
                ("hour", Value::Whole(*of_hour)),
                ("messages_received", messages(true)),
                ("messages_sent", messages(false)),
                ("answered", self.outcomes(&mine, "answered", None)),
                ("pending", self.outcomes(&mine, "pending", None)),
                ("unanswered_first", self.outcomes(&mine, "unanswered", Some(true))),
                ("unanswered_later", self.outcomes(&mine, "unanswered", Some(false))),
            ]);
            let waits: Vec<i64> = mine.iter().filter_map(|turn| wait(turn)).collect();
            statistics(&mut columns, "response_seconds", &waits, &["sum", "mean", "p50", "p90"]);
            columns
        };
        keys.iter().map(hourly_row).collect()
    }

    pub fn sessions(&self) -> Vec<Row> {
        let mut sessions = Vec::new();
        for (customer, timeline) in &self.timelines {
            let starts = |entry: &(Message, Kind)| {
                matches!(entry.1, Kind::Outreach | Kind::TurnStart { opens_session: true })
            };
            for (start, entry) in timeline.iter().enumerate() {
                if !starts(entry) || !self.is_of_day(&entry.0) {
                    continue;
                }
                let end = (start + 1..timeline.len())
                    .find(|next| starts(&timeline[*next]))
                    .unwrap_or(timeline.len());
                let is_superseded = timeline.get(end).is_some_and(|(message, _)| is_in(message));
                sessions.push((
                    customer,
                    timeline[start..end].iter().collect::<Vec<_>>(),
                    is_superseded,
                ));
            }
        }
        sessions.sort_by_key(|(customer, messages, _)| {
            (messages[0].0.sent_at, (*customer).clone(), messages[0].0.seq)
        });
        sessions
            .into_iter()
            .map(|(customer, messages, is_superseded)| {
                self.session_row(customer, &messages, is_superseded)
            })
            .collect()
    }

    fn session_row(
        &self,
        customer: &str,
        messages: &[&(Message, Kind)],
        is_superseded: bool,
    ) -> Row {
        let ins: Vec<&Message> =
            messages.iter().map(|(message, _)| message).filter(|message| is_in(message)).collect();
        let outs = messages.len() - ins.len();
        let replies = messages.iter().filter(|(_, kind)| *kind == Kind::Reply).count();
        // The last turn is answered if a reply follows the last IN.
        let last_in = messages.iter().rposition(|(message, _)| is_in(message));
        let is_answered = last_in
            .is_some_and(|last| messages[last..].iter().any(|(_, kind)| *kind == Kind::Reply));
        let outcome = match last_in {
            None => "outreach",
            Some(_) if is_answered => "completed",
            Some(last) if !is_superseded && self.may_be_answered(messages[last].0.sent_at) => {
                "open"
            }
            Some(_) if outs == 0 => "missed",
            Some(_) => "dropped",
        };
        let first = &messages[0].0;
        // The turn that opened the session is answered if a reply comes before the next turn.
        let next_turn = messages
            .iter()
            .skip(1)
            .position(|(_, kind)| matches!(kind, Kind::TurnStart { .. }))
            .map_or(messages.len(), |next| next + 1);
        let first_reply = messages[..next_turn]
            .iter()
            .find(|(_, kind)| *kind == Kind::Reply)
            .filter(|_| is_in(first));
        row([
            ("account", text("acme")),
            ("openid", text(customer)),
            ("started_at", Value::Whole(first.sent_at)),
            ("ended_at", Value::Whole(messages[messages.len() - 1].0.sent_at)),
            ("initiated_by", text(if is_in(first) { "customer" } else { "worker" })),
            ("outcome", text(outcome)),
            (
                "first_response_seconds",
                whole(first_reply.map(|(reply, _)| reply.sent_at - first.sent_at)),
            ),
            ("customer_messages", count(ins.len())),
            ("worker_messages", count(outs)),
            (
                "turns",
                count(
                    messages
                        .iter()
                        .filter(|(_, kind)| matches!(kind, Kind::TurnStart { .. }))
                        .count(),
                ),
            ),
            ("answered", count(replies)),
            (
                "workers",
                count(
                    messages
                        .iter()
                        .map(|(message, _)| &message.worker)
                        .collect::<BTreeSet<_>>()
                        .len(),
                ),
            ),
            ("started_seq", self.place(first)),
        ])
    }

    /// Returns the columns of `worker_daily` over the selected workers, without hand-offs.
    fn activity(&self, is_meant: &dyn Fn(&String) -> bool) -> Row {
        let of_day = self.of_day();
        let own: Vec<&(Message, Kind)> =
            of_day.into_iter().filter(|(message, _)| is_meant(&message.worker)).collect();
        let kinds = |wanted: Kind| count(own.iter().filter(|(_, kind)| *kind == wanted).count());
        let sent_at = || {
            own.iter().filter(|(message, _)| !is_in(message)).map(|(message, _)| message.sent_at)
        };
        let customers: BTreeSet<&String> = own
            .iter()
            .filter(|(message, _)| is_in(message))
            .map(|(message, _)| &message.customer)
            .collect();
        let got_message = |customer: &&&String| {
            own.iter().any(|(message, _)| !is_in(message) && message.customer == ***customer)
        };

        let turns = self.turns();
        let mine: Vec<&Turn> =
            turns.iter().filter(|turn| is_meant(&credited(turn).to_owned())).collect();
        let own_wait = |turn: &&Turn| {
            let reply = turn.reply.as_ref()?;
            Some(
                reply.sent_at
                    - turn.asked.iter().find(|asked| asked.worker == reply.worker)?.sent_at,
            )
        };
        let waits: Vec<i64> = mine.iter().filter_map(|turn| wait(turn)).collect();
        let first_waits: Vec<i64> =
            mine.iter().filter(|turn| turn.is_first).filter_map(|turn| wait(turn)).collect();
        let own_waits: Vec<i64> = mine.iter().filter_map(own_wait).collect();
        let within = |seconds: i64| count(waits.iter().filter(|wait| **wait <= seconds).count());
        let in_hours: Vec<&&Turn> =
            mine.iter().filter(|turn| self.is_open(turn.asked[0].sent_at)).collect();
        let business_waits: Vec<i64> = in_hours
            .iter()
            .filter_map(|turn| {
                Some(self.open_seconds(turn.asked[0].sent_at, turn.reply.as_ref()?.sent_at))
            })
            .collect();
        let with_schedule = |number: usize| {
            if self.chat.parameters.business_hours.is_some() { count(number) } else { Value::Null }
        };
        let (max_concurrent, mean_concurrent) = self.concurrency(is_meant);

        let mut columns = row([
            ("account", text("acme")),
            ("messages_received", count(own.iter().filter(|(message, _)| is_in(message)).count())),
            ("messages_sent", count(sent_at().count())),
            ("replies", kinds(Kind::Reply)),
            ("follow_ups", kinds(Kind::FollowUp)),
            ("outreach", kinds(Kind::Outreach)),
            (
                "auto_messages_sent",
                count(
                    self.automatic_of_day()
                        .iter()
                        .filter(|message| is_meant(&message.worker))
                        .count(),
                ),
            ),
            ("customers", count(customers.len())),
            ("customers_served", count(customers.iter().filter(got_message).count())),
            ("first_sent_at", whole(sent_at().min())),
            ("last_sent_at", whole(sent_at().max())),
            ("max_concurrent", max_concurrent),
            ("mean_concurrent", mean_concurrent),
            ("answered", self.outcomes(&mine, "answered", None)),
            ("pending", self.outcomes(&mine, "pending", None)),
            ("unanswered_first", self.outcomes(&mine, "unanswered", Some(true))),
            ("unanswered_later", self.outcomes(&mine, "unanswered", Some(false))),
            ("takeovers", count(waits.len() - own_waits.len())),
            ("answered_within_30s", within(30)),
            ("answered_within_60s", within(60)),
            ("answered_within_180s", within(180)),
            ("answered_within_300s", within(300)),
            ("first_responses", count(first_waits.len())),
            ("answered_in_hours", with_schedule(business_waits.len())),
            ("asked_out_of_hours", with_schedule(mine.len() - in_hours.len())),
        ]);
        statistics(
            &mut columns,
            "response_seconds",
            &waits,
            &["sum", "mean", "p50", "p90", "p95", "max"],
        );
        statistics(
            &mut columns,
            "first_response_seconds",
            &first_waits,
            &["sum", "mean", "p50", "p90", "p95", "max"],
        );
        statistics(&mut columns, "own_response_seconds", &own_waits, &["mean", "p50", "p90"]);
        statistics(&mut columns, "business_seconds", &business_waits, &["mean", "p50", "p90"]);
        columns
    }

    fn outcomes(&self, turns: &[&Turn], outcome: &str, is_first: Option<bool>) -> Value {
        let is_counted = |turn: &&&Turn| {
            self.outcome(turn) == outcome && is_first.is_none_or(|first| turn.is_first == first)
        };
        count(turns.iter().filter(is_counted).count())
    }

    /// Returns two values: the largest number of segments at one instant of the day, and the mean.
    /// The mean is the sum of their lengths divided by the length of their union.
    fn concurrency(&self, is_meant: &dyn Fn(&String) -> bool) -> (Value, Value) {
        let bounds = self.chat.zone.bounds(self.day);
        let mut segments: Vec<(i64, i64)> = Vec::new();
        for timeline in self.timelines.values() {
            let workers: BTreeSet<&String> = timeline
                .iter()
                .map(|(message, _)| &message.worker)
                .filter(|worker| is_meant(worker))
                .collect();
            for worker in workers {
                let times: Vec<i64> = timeline
                    .iter()
                    .filter(|(message, _)| message.worker == *worker)
                    .map(|(message, _)| message.sent_at)
                    .collect();
                let chains = times
                    .chunk_by(|earlier, later| later - earlier <= self.chat.parameters.session_gap);
                segments.extend(chains.map(|chain| {
                    (chain[0].max(bounds.start), (chain[chain.len() - 1] + 1).min(bounds.end))
                }));
            }
        }
        segments.retain(|(start, end)| start < end);
        let at_once = |instant: i64| {
            segments.iter().filter(|(start, end)| *start <= instant && instant < *end).count()
        };
        let most = segments.iter().map(|(start, _)| at_once(*start)).max().unwrap_or(0);
        if segments.is_empty() {
            return (count(most), Value::Null);
        }
        segments.sort_unstable();
        let mut covered = 0;
        let mut covered_until = i64::MIN;
        for (start, end) in &segments {
            covered += (end - (*start).max(covered_until)).max(0);
            covered_until = covered_until.max(*end);
        }
        let total: i64 = segments.iter().map(|(start, end)| end - start).sum();
        (count(most), Value::Real(total as f64 / covered as f64))
    }

    /// Returns the local time of an instant in seconds, as if local time were unix time.
    fn local(&self, instant: i64) -> i64 {
        instant
            + i64::from(
                self.chat.zone.offsets(Span { start: instant, end: instant + 1 })[0].offset_seconds,
            )
    }

    /// True if the local time is within a shift of its day or of the day before.
    fn is_open(&self, instant: i64) -> bool {
        let Some(hours) = &self.chat.parameters.business_hours else { return false };
        let local = self.local(instant);
        let today = Day::from_number(local.div_euclid(86_400) as i32).unwrap();
        let shifts = |day: Day| {
            let week = [
                &hours.monday,
                &hours.tuesday,
                &hours.wednesday,
                &hours.thursday,
                &hours.friday,
                &hours.saturday,
                &hours.sunday,
            ];
            hours
                .dates
                .get(&day)
                .unwrap_or(week[day.weekday().number_days_from_monday() as usize])
                .clone()
        };
        let minute_of =
            |time: &str| time[..2].parse::<i64>().unwrap() * 60 + time[3..].parse::<i64>().unwrap();
        let minute = local.rem_euclid(86_400) / 60;
        [(today, minute), (today.plus(-1), minute + 1_440)].into_iter().any(|(day, minute)| {
            shifts(day).iter().any(|shift| {
                let (start, end) = shift
                    .to_string()
                    .split_once('-')
                    .map(|(start, end)| (minute_of(start), minute_of(end)))
                    .unwrap();
                let end = if end <= start { end + 1_440 } else { end };
                start <= minute && minute < end
            })
        })
    }

    /// Returns the open seconds of `[from, to)`, counted minute by minute.
    fn open_seconds(&self, from: i64, to: i64) -> i64 {
        let mut open = 0;
        let mut instant = from;
        while instant < to {
            let next = (instant.div_euclid(60) * 60 + 60).min(to);
            open += if self.is_open(instant) { next - instant } else { 0 };
            instant = next;
        }
        open
    }
}

fn is_in(message: &Message) -> bool {
    message.opercode == opercode::WORKER_RECEIVED
}

/// Returns the worker who replied. Without a reply, returns the worker who received the last IN.
fn credited(turn: &Turn) -> &str {
    &turn.reply.as_ref().unwrap_or(&turn.asked[turn.asked.len() - 1]).worker
}

fn is_handed_off(turn: &Turn, by: &str) -> bool {
    credited(turn) != by && turn.asked.iter().any(|asked| asked.worker == by)
}

fn wait(turn: &Turn) -> Option<i64> {
    turn.reply.as_ref().map(|reply| reply.sent_at - turn.asked[0].sent_at)
}

/// True if a rule matches. Covers only the rules of the random histories: by worker and by text.
fn matches(rule: &AutoReply, message: &Message) -> bool {
    rule.worker.as_ref().is_none_or(|worker| *worker == message.worker)
        && rule.text.as_ref().is_none_or(|text| *text == message.text)
}

fn kind(chat: &Chat, previous: Option<&Message>, message: &Message) -> Kind {
    let parameters = &chat.parameters;
    let gap = |previous: &Message| message.sent_at - previous.sent_at;
    match previous {
        Some(previous) if is_in(message) && gap(previous) <= parameters.session_gap => {
            if is_in(previous) {
                Kind::TurnContinues
            } else {
                Kind::TurnStart { opens_session: false }
            }
        }
        _ if is_in(message) => Kind::TurnStart { opens_session: true },
        Some(previous) if is_in(previous) && gap(previous) <= parameters.reply_window => {
            Kind::Reply
        }
        Some(previous) if !is_in(previous) && gap(previous) <= parameters.session_gap => {
            Kind::FollowUp
        }
        _ => Kind::Outreach,
    }
}

fn statistics(columns: &mut Row, prefix: &str, values: &[i64], names: &[&str]) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let percentile = |share: f64| {
        let position = (sorted.len() as f64 - 1.0) * share;
        let (below, above) =
            (sorted[position.floor() as usize] as f64, sorted[position.ceil() as usize] as f64);
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
