//! Joins the messages of each customer into turns and sessions, and finds which workers and
//! customers wrote to each other.
//!
//! Reads each customer's messages once, in order. The message before decides what a message is
//! ([`Kind`]). The kind decides what the message adds to the open turn and the open session, and
//! which of them it ends. Customers do not depend on each other, so ranges of them are read in
//! parallel.

use hashbrown::HashMap;

use super::business_hours::OpenHours;
use super::day_rows::{
    DayRows, HandOff, Hour, OfCustomer, Outcome, RANGES_MAX, Segment, Session, SessionOutcome,
    Turn, Visit,
};
use super::dealing::Timelines;
use super::history::{History, Message};
use super::message_kind::Kind;
use super::{DAYS_AFTER, Parameters, Target};
use crate::calendar::{Day, UnixSeconds};
use crate::model::cancel::{Cancel, Cancelled};
use crate::threads;

/// Ranges of customers for each thread. Several ranges keep all threads busy when some take longer.
const RANGES_PER_THREAD: usize = 4;

/// Number of messages between checks for a signal.
const MESSAGES_UNCHECKED: usize = 100_000;

/// Reads all timelines. Returns the rows of each target's day, for each range of customers, in
/// order. `open_hours` cover the first target's day to three days after the last target's day.
pub(super) fn read(
    history: &History,
    targets: &[Target],
    parameters: &Parameters,
    open_hours: Option<&OpenHours>,
    cancel: &Cancel,
) -> Result<Vec<HashMap<Day, DayRows>>, Cancelled> {
    let targets_by_day = by_day(history.first_day(), targets);
    let read = |blocks: &[Timelines]| {
        cancel.check()?;
        let mut unchecked = 0;
        let mut reader = Reader::new(&targets_by_day, parameters, open_hours);
        for (customer, timeline) in blocks.iter().flat_map(Timelines::each) {
            reader.read(customer, timeline);
            unchecked += timeline.len();
            if unchecked >= MESSAGES_UNCHECKED {
                cancel.check()?;
                unchecked = 0;
            }
        }
        Ok(reader.finish())
    };
    let ranges = history.ranges((RANGES_PER_THREAD * rayon::current_num_threads()).min(RANGES_MAX));
    threads::map(ranges, history.is_small(), read)
}

/// Indexes the targets by the number of their day, counted from the first day of the history.
fn by_day(first_day: i32, targets: &[Target]) -> Vec<Option<Target>> {
    let index = |target: &Target| usize::try_from(target.day.number() - first_day).ok();
    let mut by_day = vec![None; targets.iter().filter_map(index).max().map_or(0, |last| last + 1)];
    for target in targets {
        if let Some(slot) = index(target).and_then(|index| by_day.get_mut(index)) {
            *slot = Some(*target);
        }
    }
    by_day
}

/// A turn to which messages may still be added.
#[derive(Clone, Copy, Debug)]
struct OpenTurn {
    asked: Message,
    last: Message,
    customer_messages: u32,
    is_first: bool,
    reply: Option<Message>,
}

/// A session to which messages may still be added.
#[derive(Clone, Copy, Debug)]
struct OpenSession {
    first: Message,
    last: Message,
    /// Instant of the last IN, and whether it has a reply. None without an IN.
    asked: Option<(UnixSeconds, bool)>,
    first_replied_at: Option<UnixSeconds>,
    customer_messages: u32,
    worker_messages: u32,
    turns: u32,
    answered: u32,
}

/// A worker's chain of messages with the customer. No gap is longer than the session gap.
#[derive(Clone, Copy, Debug)]
struct Chain {
    worker: u32,
    first: Message,
    last: Message,
}

/// Reads the timelines of customers, one at a time.
struct Reader<'a> {
    targets: &'a [Option<Target>],
    parameters: &'a Parameters,
    open_hours: Option<&'a OpenHours>,
    /// The rows of each day, counted from the first day of the history.
    found: Vec<DayRows>,
    /// Index into the `hours` of a day, by day, hour and worker.
    hours: HashMap<(u16, u8, u32), usize, foldhash::fast::FixedState>,

    customer: u32,
    turn: Option<OpenTurn>,
    /// Workers who received INs of the turn, each with the instant of its first.
    receivers: Vec<(u32, UnixSeconds)>,
    session: Option<OpenSession>,
    session_workers: Vec<u32>,
    chains: Vec<Chain>,
    /// The visits of the day `visited_on`.
    visits: Vec<Visit>,
    visited_on: u16,
}

/// Returns whether a message of `day` is early enough for the dependency window of day `of`.
fn is_in_window(day: u16, of: u16) -> bool {
    i64::from(day) - i64::from(of) <= DAYS_AFTER
}

impl<'a> Reader<'a> {
    fn new(
        targets: &'a [Option<Target>],
        parameters: &'a Parameters,
        open_hours: Option<&'a OpenHours>,
    ) -> Self {
        Self {
            targets,
            parameters,
            open_hours,
            found: targets.iter().map(|_| DayRows::default()).collect(),
            hours: HashMap::default(),
            customer: 0,
            turn: None,
            receivers: Vec::new(),
            session: None,
            session_workers: Vec::new(),
            chains: Vec::new(),
            visits: Vec::new(),
            visited_on: 0,
        }
    }

    fn finish(self) -> HashMap<Day, DayRows> {
        self.targets
            .iter()
            .zip(self.found)
            .filter_map(|(target, found)| Some((target.as_ref()?.day, found)))
            .collect()
    }

    fn target(&self, day: u16) -> Option<&'a Target> {
        self.targets.get(usize::from(day))?.as_ref()
    }

    /// The rows of a day, if the day is a target.
    fn on(&mut self, day: u16) -> Option<&mut DayRows> {
        self.found
            .get_mut(usize::from(day))
            .filter(|_| self.targets.get(usize::from(day)).is_some_and(Option::is_some))
    }

    fn read(&mut self, customer: u32, timeline: &[Message]) {
        self.customer = customer;
        let mut previous = None;
        for message in timeline {
            let kind = Kind::of(message, previous, self.parameters);
            self.add_to_turn(message, kind);
            self.add_to_session(message, kind);
            self.add_to_chain(message);
            self.add_to_day(message, kind);
            previous = Some(message);
        }
        self.end_turn(None);
        self.end_session(None);
        for chain in std::mem::take(&mut self.chains) {
            self.end_chain(&chain);
        }
        self.end_visits();
    }

    fn add_to_turn(&mut self, message: &Message, kind: Kind) {
        match kind {
            Kind::SessionStart | Kind::TurnStart => {
                self.end_turn(Some(message));
                self.receivers.push((message.worker, message.sent_at()));
                let is_first = kind == Kind::SessionStart;
                self.turn = Some(OpenTurn {
                    asked: *message,
                    last: *message,
                    customer_messages: 1,
                    is_first,
                    reply: None,
                });
            }
            Kind::Continuation => {
                let Some(turn) =
                    self.turn.as_mut().filter(|turn| is_in_window(message.day, turn.asked.day))
                else {
                    return;
                };
                turn.last = *message;
                turn.customer_messages += 1;
                if self.receivers.iter().all(|(worker, _)| *worker != message.worker) {
                    self.receivers.push((message.worker, message.sent_at()));
                }
            }
            Kind::Reply => {
                if let Some(turn) =
                    self.turn.as_mut().filter(|turn| is_in_window(message.day, turn.asked.day))
                {
                    turn.reply = Some(*message);
                }
                self.end_turn(None);
            }
            Kind::FollowUp | Kind::Outreach => self.end_turn(None),
        }
    }

    /// Ends the open turn. `next` is the customer's message that starts another turn, if one does.
    fn end_turn(&mut self, next: Option<&Message>) {
        let receivers = std::mem::take(&mut self.receivers);
        if let Some(OpenTurn { asked, last, customer_messages, is_first, reply }) = self.turn.take()
            && let Some(target) = self.target(asked.day)
        {
            let is_followed = next.is_some_and(|next| is_in_window(next.day, asked.day));
            let outcome = match reply {
                Some(_) => Outcome::Answered,
                None if !is_followed && self.may_be_answered(target, last.sent_at()) => {
                    Outcome::Pending
                }
                None => Outcome::Unanswered,
            };
            let worker = reply.map_or(last.worker, |reply| reply.worker);
            let own_asked_at = receivers
                .iter()
                .find(|(receiver, _)| *receiver == worker)
                .map(|(_, asked_at)| *asked_at);
            let open_seconds = |hours: &OpenHours, reply: Message| {
                hours.seconds_before(reply.sent_at()) - hours.seconds_before(asked.sent_at())
            };
            let turn = Turn {
                asked_at: asked.sent_at(),
                asked_seq: asked.seq,
                customer: self.customer,
                worker,
                first_worker: asked.worker,
                customer_messages,
                asking_seconds: seconds(last.sent_at() - asked.sent_at()),
                response_seconds: reply.map(|reply| seconds(reply.sent_at() - asked.sent_at())),
                own_response_seconds: reply
                    .zip(own_asked_at)
                    .map(|(reply, asked_at)| seconds(reply.sent_at() - asked_at)),
                business_seconds: self
                    .open_hours
                    .zip(reply)
                    .map(|(hours, reply)| seconds(open_seconds(hours, reply))),
                hour: asked.hour,
                outcome,
                is_first,
                asked_in_hours: self.open_hours.map(|hours| hours.contains(asked.sent_at())),
            };
            if let Some(found) = self.on(asked.day) {
                found.turns.push(turn);
                let others =
                    receivers.iter().filter(|(receiver, _)| *receiver != worker).enumerate();
                found.hand_offs.extend(others.map(|(index, (receiver, _))| HandOff {
                    worker: *receiver,
                    is_first: index == 0,
                }));
            }
        }
        // Reuse the memory for the next turn.
        self.receivers = receivers;
        self.receivers.clear();
    }

    /// Returns whether the last message of a turn may still get a reply. This needs two conditions:
    /// D+3 is not fetched yet, and the reply window was still open at the horizon.
    fn may_be_answered(&self, target: &Target, last_asked_at: UnixSeconds) -> bool {
        !target.is_final && target.horizon - last_asked_at <= self.parameters.reply_window
    }

    fn add_to_session(&mut self, message: &Message, kind: Kind) {
        if kind.starts_session() {
            self.end_session(kind.starts_turn().then_some(message));
            self.session = Some(OpenSession {
                first: *message,
                last: *message,
                asked: None,
                first_replied_at: None,
                customer_messages: 0,
                worker_messages: 0,
                turns: 0,
                answered: 0,
            });
        }
        let Some(session) = &mut self.session else { return };
        if !is_in_window(message.day, session.first.day) {
            return;
        }
        session.last = *message;
        if message.inbound {
            session.customer_messages += 1;
            session.asked = Some((message.sent_at(), false));
        } else {
            session.worker_messages += 1;
        }
        if kind.starts_turn() {
            session.turns += 1;
        }
        if kind == Kind::Reply {
            session.answered += 1;
            session.asked = session.asked.map(|(asked_at, _)| (asked_at, true));
            // Only a reply to the turn that opened the session is a first response.
            if session.first.inbound && session.turns == 1 {
                session.first_replied_at = Some(message.sent_at());
            }
        }
        if !self.session_workers.contains(&message.worker) {
            self.session_workers.push(message.worker);
        }
    }

    /// Ends the open session. `next` is the customer's message that starts another session, if one
    /// does.
    fn end_session(&mut self, next: Option<&Message>) {
        if let Some(session) = self.session.take()
            && let Some(target) = self.target(session.first.day)
        {
            let is_followed = next.is_some_and(|next| is_in_window(next.day, session.first.day));
            // The last turn decides the outcome.
            let outcome = match session.asked {
                None => SessionOutcome::Outreach,
                Some((_, true)) => SessionOutcome::Completed,
                Some((asked_at, false))
                    if !is_followed && self.may_be_answered(target, asked_at) =>
                {
                    SessionOutcome::Open
                }
                Some(_) if session.worker_messages == 0 => SessionOutcome::Missed,
                Some(_) => SessionOutcome::Dropped,
            };
            let found = Session {
                started_at: session.first.sent_at(),
                started_seq: session.first.seq,
                ended_at: session.last.sent_at(),
                customer: self.customer,
                first_response_seconds: session
                    .first_replied_at
                    .map(|replied_at| seconds(replied_at - session.first.sent_at())),
                customer_messages: session.customer_messages,
                worker_messages: session.worker_messages,
                turns: session.turns,
                answered: session.answered,
                workers: self.session_workers.len() as u32,
                by_customer: session.first.inbound,
                outcome,
            };
            if let Some(on_day) = self.on(session.first.day) {
                on_day.sessions.push(found);
            }
        }
        self.session_workers.clear();
    }

    fn add_to_chain(&mut self, message: &Message) {
        let Some(chain) = self.chains.iter_mut().find(|chain| chain.worker == message.worker)
        else {
            self.chains.push(Chain { worker: message.worker, first: *message, last: *message });
            return;
        };
        let ended = (message.sent_at() - chain.last.sent_at() > self.parameters.session_gap)
            .then_some(*chain);
        if ended.is_some() {
            chain.first = *message;
        }
        chain.last = *message;
        if let Some(chain) = ended {
            self.end_chain(&chain);
        }
    }

    /// Adds the segments of a chain. A segment ends one second after the last message, and is cut
    /// at the bounds of each day.
    fn end_chain(&mut self, chain: &Chain) {
        for day in chain.first.day..=chain.last.day {
            if let Some(target) = self.target(day) {
                let (start, end) = (
                    chain.first.sent_at().max(target.bounds.start),
                    (chain.last.sent_at() + 1).min(target.bounds.end),
                );
                // A day that the time zone skipped has no seconds.
                if let Some(found) = self.on(day).filter(|_| start < end) {
                    found.segments.push(Segment { worker: chain.worker, start, end });
                }
            }
        }
    }

    /// Counts the message for its worker, hour and day.
    fn add_to_day(&mut self, message: &Message, kind: Kind) {
        let Message { worker, day, hour, inbound, .. } = *message;
        let sent_at = message.sent_at();
        if day != self.visited_on {
            self.end_visits();
            self.visited_on = day;
        }
        if self.target(day).is_none() {
            return;
        }
        match self.visits.iter_mut().find(|visit| visit.worker == worker) {
            Some(visit) => {
                visit.received |= inbound;
                visit.sent |= !inbound;
            }
            None => self.visits.push(Visit {
                worker,
                customer: self.customer,
                received: inbound,
                sent: !inbound,
                of_customer: None,
            }),
        }

        let Some(DayRows { hours, .. }) = self.found.get_mut(usize::from(day)) else { return };
        let index = *self.hours.entry((day, hour, worker)).or_insert_with(|| {
            hours.push(Hour {
                hour,
                worker,
                received: 0,
                replies: 0,
                follow_ups: 0,
                outreach: 0,
                sent: None,
            });
            hours.len() - 1
        });
        let Some(hour) = hours.get_mut(index) else { return };
        match kind {
            Kind::SessionStart | Kind::TurnStart | Kind::Continuation => hour.received += 1,
            Kind::Reply => hour.replies += 1,
            Kind::FollowUp => hour.follow_ups += 1,
            Kind::Outreach => hour.outreach += 1,
        }
        if !inbound {
            let (first, last) = hour.sent.unwrap_or((sent_at, sent_at));
            hour.sent = Some((first.min(sent_at), last.max(sent_at)));
        }
    }

    fn end_visits(&mut self) {
        let received = self.visits.iter().any(|visit| visit.received);
        let sent = self.visits.iter().any(|visit| visit.sent);
        if let Some(last) = self.visits.last_mut() {
            last.of_customer = Some(OfCustomer { received, sent });
        }
        if let Some(found) = self.found.get_mut(usize::from(self.visited_on)) {
            found.visits.append(&mut self.visits);
        }
    }
}

/// Converts a duration to the stored type. A turn or session covers only some days, so it always
/// fits.
fn seconds(duration: i64) -> u32 {
    duration.clamp(0, u32::MAX.into()) as u32
}
