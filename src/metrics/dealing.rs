//! Deals messages to their customers: from the order of time to the order of customers.
//!
//! A message anywhere in memory costs more than one nearby. So messages are dealt to blocks of
//! customers first, and to the customers of each block then. The messages of a block fit into the
//! caches of a processor.

use rayon::prelude::*;

use super::history::Message;

/// A visible or automatic message, in the order of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Row {
    pub sent_at: u32,
    pub seq: u32,
    pub customer: u32,
    pub worker: u32,
    pub hour: u8,
    pub inbound: bool,
    pub automatic: bool,
}

impl Row {
    /// The same in a timeline. `day` is counted from the first day of the history.
    fn on(self, day: u16) -> Message {
        let Self { sent_at, seq, worker, hour, inbound, .. } = self;
        Message { sent_at, seq, worker, day, hour, inbound }
    }
}

/// Blocks of customers with consecutive numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    count: usize,
    /// A block has this power of two of customers.
    shift: u32,
}

/// The largest number of customers of a block, as a power of two.
const BLOCK_SHIFT_MAX: u32 = 12;

/// The messages of a part, by block of customers. Those of a block are in order.
#[derive(Debug)]
pub(super) struct Dealt {
    day: u16,
    rows: Vec<Row>,
    /// End of each block in `rows`.
    ends: Vec<usize>,
    /// Day and worker of each automatic message. They are not in `rows`.
    pub automatic: Vec<(u16, u32)>,
}

impl Dealt {
    fn rows_of(&self, block: usize) -> &[Row] {
        let start = block.checked_sub(1).and_then(|before| self.ends.get(before));
        let end = self.ends.get(block).copied().unwrap_or_default();
        self.rows.get(start.copied().unwrap_or_default()..end).unwrap_or_default()
    }
}

impl Blocks {
    /// Several blocks for each thread, if there are enough customers.
    pub(super) fn of(customers: usize) -> Self {
        let wanted = customers / (4 * rayon::current_num_threads());
        let shift = wanted.max(1).ilog2().min(BLOCK_SHIFT_MAX);
        Self { count: customers.div_ceil(1 << shift), shift }
    }

    fn of_customer(self, customer: u32) -> usize {
        (customer >> self.shift) as usize
    }

    /// Divides the rows of a part by block.
    pub(super) fn deal(self, day: u16, rows: &[Row]) -> Dealt {
        let mut ends = vec![0usize; self.count];
        let mut automatic = Vec::new();
        for row in rows {
            if row.automatic {
                automatic.push((day, row.worker));
            } else if let Some(count) = ends.get_mut(self.of_customer(row.customer)) {
                *count += 1;
            }
        }
        // Each end begins at the start of its block, and is moved by each row.
        to_starts(&mut ends);
        let mut dealt = vec![Row::default(); rows.len() - automatic.len()];
        for row in rows.iter().filter(|row| !row.automatic) {
            let Some(next) = ends.get_mut(self.of_customer(row.customer)) else { continue };
            if let Some(place) = dealt.get_mut(*next) {
                *place = *row;
            }
            *next += 1;
        }
        Dealt { day, rows: dealt, ends, automatic }
    }

    /// The timelines of each block, from the messages of all parts in order.
    pub(super) fn timelines(self, parts: &[Dealt]) -> Vec<Timelines> {
        (0..self.count).into_par_iter().map(|block| self.timelines_of(parts, block)).collect()
    }

    fn timelines_of(self, parts: &[Dealt], block: usize) -> Timelines {
        let place_of = |row: &Row| (row.customer & ((1 << self.shift) - 1)) as usize;
        let mut ends = vec![0; 1 << self.shift];
        for row in parts.iter().flat_map(|part| part.rows_of(block)) {
            if let Some(count) = ends.get_mut(place_of(row)) {
                *count += 1;
            }
        }
        let mut messages = vec![Message::default(); to_starts(&mut ends)];
        for part in parts {
            for row in part.rows_of(block) {
                let Some(next) = ends.get_mut(place_of(row)) else { continue };
                if let Some(message) = messages.get_mut(*next) {
                    *message = row.on(part.day);
                }
                *next += 1;
            }
        }
        Timelines { first: (block << self.shift) as u32, messages, ends }
    }
}

/// The timelines of a block of customers, one after another. Each is in order of (`sent_at`,
/// `seq`).
#[derive(Debug)]
pub(super) struct Timelines {
    /// The first customer.
    first: u32,
    messages: Vec<Message>,
    /// End of the timeline of each customer in `messages`.
    ends: Vec<usize>,
}

impl Timelines {
    /// The number of messages.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The timeline of each customer, in order.
    pub(super) fn each(&self) -> impl Iterator<Item = (u32, &[Message])> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let timelines = starts.zip(&self.ends).map(|(start, end)| self.messages.get(start..*end));
        (self.first..).zip(timelines.map(Option::unwrap_or_default))
    }

    /// A copy with only the messages that `is_wanted`.
    pub(super) fn filtered(&self, is_wanted: impl Fn(&Message) -> bool) -> Self {
        let mut filtered = Self { first: self.first, messages: Vec::new(), ends: Vec::new() };
        for (_, timeline) in self.each() {
            filtered.messages.extend(timeline.iter().filter(|message| is_wanted(message)));
            filtered.ends.push(filtered.messages.len());
        }
        filtered
    }
}

/// Replaces each count by the sum of those before it. Returns the sum of all.
fn to_starts(counts: &mut [usize]) -> usize {
    let mut start = 0;
    for count in counts {
        start += std::mem::replace(count, start);
    }
    start
}
