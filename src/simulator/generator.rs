//! Generated conversations: any number of days and messages. The same seed always gives the same
//! records.
//!
//! A day is generated on request, from the seed and its date alone, as a plan of 16 bytes per
//! message. Texts and names are generated when a page is rendered. So a year of busy days needs no
//! more memory than the few days in use.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::phrases::Phrase;
use super::records::{Records, RenderedPage, SimulatedWorker, ordinal_after, sparse_id};
use crate::calendar::Day;
use crate::model::record::opercode;

/// Options of the generator.
#[derive(Clone, Copy, Debug)]
pub struct GeneratorOptions {
    /// First day, in Beijing time.
    pub first_day: Day,
    pub days: u32,
    /// Exact number of messages on each day.
    pub messages_per_day: u32,
    pub seed: u64,
}

/// Beijing is 8 hours ahead of UTC, all year.
pub(super) const BEIJING_SECONDS: i64 = 8 * 3_600;
const DAY_SECONDS: i64 = 86_400;

/// Names of workers, as customers see them.
const NICKS: [&str; 12] = [
    "小陈", "小林", "小黄", "小张", "小李", "小王", "小吴", "小刘", "小蔡", "小杨", "小许", "小郑",
];

/// The number of the worker who gets another name, and the days after which it is in the list.
const RENAMED: u16 = 1;
const RENAMED_AFTER: i64 = 30;

/// The number of the worker who leaves, and the days after which the list lacks them.
const LEFT: u16 = 2;
const LEFT_AFTER: i64 = 60;

/// Maximum number of cached plans.
const PLANS_KEPT: usize = 10;

/// Share of a day's load in each hour, in thousandths.
const HOURLY_LOAD: [u32; 24] =
    [6, 4, 2, 2, 2, 4, 9, 20, 38, 62, 78, 74, 52, 56, 70, 72, 66, 56, 52, 64, 76, 70, 46, 19];

/// Generated records.
#[derive(Debug)]
pub struct Generated {
    options: GeneratorOptions,
    plans: Mutex<VecDeque<(i64, Arc<Vec<Event>>)>>,
}

/// A message in a day's plan.
#[derive(Clone, Copy, Debug)]
struct Event {
    /// Second of the day. Past the end of the day if a conversation continues after midnight.
    second: u32,
    customer: u32,
    worker: u16,
    phrase: Phrase,
    /// Selects the wording.
    variant: u32,
}

/// Independent streams of random numbers for each day.
#[derive(Clone, Copy)]
enum Stream {
    /// Conversations that end before midnight.
    Daytime,
    /// Questions late in the evening, answered the next morning.
    Overnight,
}

impl Generated {
    pub fn new(options: GeneratorOptions) -> Self {
        Self { options, plans: Mutex::default() }
    }

    /// Numbers of the first day and of the day after the last.
    fn day_numbers(&self) -> (i64, i64) {
        let first = i64::from(self.options.first_day.number());
        (first, first + i64::from(self.options.days))
    }

    /// The messages of a day in order of time. Exactly the configured number.
    fn plan(&self, day: i64) -> Arc<Vec<Event>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plan)) = plans.iter().find(|(planned, _)| *planned == day) {
            return plan.clone();
        }
        let plan = Arc::new(self.make_plan(day));
        if plans.len() == PLANS_KEPT {
            plans.pop_front();
        }
        plans.push_back((day, plan.clone()));
        plan
    }

    fn make_plan(&self, day: i64) -> Vec<Event> {
        let wanted = self.options.messages_per_day as usize;
        let mut events = Vec::with_capacity(wanted + 64);
        let (first_day, _) = self.day_numbers();
        if day > first_day {
            let yesterday = self.overnight(day - 1);
            events.extend(yesterday.into_iter().filter_map(|event| {
                Some(Event { second: event.second.checked_sub(DAY_SECONDS as u32)?, ..event })
            }));
        }
        events.extend(
            self.overnight(day).into_iter().filter(|event| i64::from(event.second) < DAY_SECONDS),
        );
        let mut rng = self.rng(day, Stream::Daytime);
        while events.len() < wanted {
            let start = start_second(&mut rng);
            self.conversation(&mut rng, start, &mut events);
        }
        events.truncate(wanted);
        events.sort_by_key(|event| event.second);
        events
    }

    fn overnight(&self, day: i64) -> Vec<Event> {
        let mut rng = self.rng(day, Stream::Overnight);
        let mut events = Vec::new();
        for _ in 0..self.options.messages_per_day / 400 {
            let customer = self.customer(&mut rng);
            let asked = rng.random_range(22 * 3_600..DAY_SECONDS as u32);
            let replied = DAY_SECONDS as u32 + rng.random_range(8 * 3_600..10 * 3_600);
            let worker = self.worker_on_shift(&mut rng, replied - DAY_SECONDS as u32);
            events.push(event(&mut rng, asked, customer, worker, Phrase::Question));
            events.push(event(&mut rng, replied, customer, worker, Phrase::Answer));
        }
        events
    }

    fn conversation(&self, rng: &mut Pcg64Mcg, start: u32, events: &mut Vec<Event>) {
        let customer = self.customer(rng);
        let mut worker = self.worker_on_shift(rng, start);
        let mut second = start;
        let mut say = |rng: &mut Pcg64Mcg, second: u32, worker: u16, phrase: Phrase| {
            if i64::from(second) < DAY_SECONDS {
                events.push(event(rng, second, customer, worker, phrase));
            }
        };
        let is_greeted = rng.random_bool(0.35);
        let mut turn = 0;
        loop {
            say(rng, second, worker, Phrase::Question);
            if turn == 0 && is_greeted {
                second += rng.random_range(0..3);
                say(rng, second, worker, Phrase::Greeting);
            }
            while rng.random_bool(0.3) {
                second += rng.random_range(0..40);
                let phrase = match rng.random_range(0..10) {
                    0 => Phrase::Image,
                    1 => Phrase::Voice,
                    _ => Phrase::Addition,
                };
                say(rng, second, worker, phrase);
                // Customers often send two pictures at once.
                if phrase == Phrase::Image && rng.random_bool(0.5) {
                    say(rng, second, worker, phrase);
                }
            }
            if rng.random_bool(0.03) {
                // Hands the conversation to a colleague.
                worker = self.worker_on_shift(rng, second);
            }
            if rng.random_bool(0.04) {
                break;
            }
            second += self.wait(rng, worker, second);
            say(rng, second, worker, Phrase::Answer);
            while rng.random_bool(0.25) {
                second += rng.random_range(3..45);
                say(rng, second, worker, Phrase::FollowUp);
            }
            turn += 1;
            if rng.random_bool(0.4) {
                break;
            }
            second += if rng.random_bool(0.05) {
                rng.random_range(300..3_000)
            } else {
                rng.random_range(5..150)
            };
        }
        if rng.random_bool(0.35) {
            second += rng.random_range(5..90);
            say(rng, second, worker, Phrase::Thanks);
        }
        if rng.random_bool(0.02) {
            second += rng.random_range(2_000..20_000);
            say(rng, second, worker, Phrase::Outreach);
        }
    }

    /// Seconds until an answer. Log-normal, with a median that depends on the worker, and longer in
    /// busy hours.
    fn wait(&self, rng: &mut Pcg64Mcg, worker: u16, second: u32) -> u32 {
        let median = 18.0 + f64::from(worker % 7) * 9.0;
        let load = HOURLY_LOAD.get((second / 3_600 % 24) as usize).copied().unwrap_or_default();
        // Approximates a normal number and its exponential. Sums and products alone give the same
        // result on every machine.
        let normal: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let log_normal = (1.0 + normal * 0.9 / 32.0).powi(32);
        (median * (0.7 + f64::from(load) / 100.0) * log_normal).clamp(1.0, 40_000.0) as u32
    }

    fn customer(&self, rng: &mut Pcg64Mcg) -> u32 {
        let population = (self.options.messages_per_day / 3).max(30);
        // The square makes a few customers frequent and most customers rare.
        let share: f64 = rng.random();
        (f64::from(population) * share * share) as u32
    }

    fn worker_count(&self) -> u16 {
        (6 + self.options.messages_per_day / 1_000).min(200) as u16
    }

    /// A worker on shift. A third of the workers works from 8 to 16, a third from 12 to 20, and a
    /// third from 16 to 24. Two workers work at night.
    fn worker_on_shift(&self, rng: &mut Pcg64Mcg, second: u32) -> u16 {
        let count = self.worker_count();
        let hour = second / 3_600 % 24;
        let shifts: &[u16] = match hour {
            0..8 => return rng.random_range(0..2),
            8..12 => &[0],
            12..16 => &[0, 1],
            16..20 => &[1, 2],
            _ => &[2],
        };
        let shift = shifts.get(rng.random_range(0..shifts.len())).copied().unwrap_or_default();
        let of_shift = (count - shift).div_ceil(3);
        rng.random_range(0..of_shift) * 3 + shift
    }

    fn rng(&self, day: i64, stream: Stream) -> Pcg64Mcg {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&self.options.seed.to_le_bytes())
            .update(&day.to_le_bytes())
            .update(&[stream as u8]);
        let mut seed = [0; 16];
        hasher.finalize_xof().fill(&mut seed);
        Pcg64Mcg::from_seed(seed)
    }

    fn render(&self, record: &mut Vec<u8>, day: i64, event: &Event) {
        let text = event.phrase.text(&mut Pcg64Mcg::seed_from_u64(u64::from(event.variant)));
        let opercode = if event.phrase.is_inbound() {
            opercode::WORKER_RECEIVED
        } else {
            opercode::WORKER_SENT
        };
        let time = day * DAY_SECONDS - BEIJING_SECONDS + i64::from(event.second);
        // Writing to memory cannot fail.
        let _ = write!(record, "{{\"openid\":\"");
        self.write_openid(record, event.customer);
        let _ = write!(record, "\",\"opercode\":{opercode},\"text\":");
        let _ = serde_json::to_writer(&mut *record, &text);
        let _ = write!(record, ",\"time\":{time},\"worker\":\"{}\"}}", worker_name(event.worker));
    }

    /// Writes an openid of 28 characters, like WeChat's.
    fn write_openid(&self, record: &mut Vec<u8>, customer: u32) {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut rng = Pcg64Mcg::seed_from_u64(
            self.options.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(customer),
        );
        record.extend_from_slice(b"oKf0");
        let (low, high) = (rng.next_u64(), rng.next_u64());
        let bits = u128::from(low) | u128::from(high) << 64;
        // 20 characters are random. The last four encode the customer, so that no two openids are
        // equal.
        record
            .extend((0..20).filter_map(|digit| ALPHABET.get((bits >> (6 * digit) & 63) as usize)));
        record.extend(
            (0..4).rev().filter_map(|digit| ALPHABET.get((customer >> (6 * digit) & 63) as usize)),
        );
    }
}

fn worker_name(worker: u16) -> String {
    format!("kf{}@kefu_demo", 2001 + worker)
}

fn event(rng: &mut Pcg64Mcg, second: u32, customer: u32, worker: u16, phrase: Phrase) -> Event {
    Event { second, customer, worker, phrase, variant: rng.next_u32() }
}

/// A random second of the day, weighted by the hourly load.
fn start_second(rng: &mut Pcg64Mcg) -> u32 {
    let mut share = rng.random_range(0..HOURLY_LOAD.iter().sum());
    for (load, hour) in HOURLY_LOAD.iter().zip(0..) {
        if share < *load {
            return hour * 3_600 + rng.random_range(0..3_600);
        }
        share -= load;
    }
    0
}

impl Records for Generated {
    fn page(&self, start: i64, end: i64, after: i64, limit: usize) -> RenderedPage {
        let per_day = i64::from(self.options.messages_per_day);
        let (first_day, end_day) = self.day_numbers();
        let mut page = RenderedPage {
            records: Vec::with_capacity(limit.min(1_000_000) * 160),
            ..RenderedPage::default()
        };
        if per_day == 0 {
            return page;
        }
        let cursor = ordinal_after(after);
        let first = (start + BEIJING_SECONDS)
            .div_euclid(DAY_SECONDS)
            .max(first_day + cursor / per_day)
            .max(first_day);
        let last = (end - 1 + BEIJING_SECONDS).div_euclid(DAY_SECONDS).min(end_day - 1);
        for day in first..=last {
            let plan = self.plan(day);
            let midnight = day * DAY_SECONDS - BEIJING_SECONDS;
            let day_ordinal = (day - first_day) * per_day;
            let by_time = plan.partition_point(|event| midnight + i64::from(event.second) < start);
            let by_cursor = usize::try_from(cursor - day_ordinal).unwrap_or(0);
            for (event, position) in plan.iter().zip(0i64..).skip(by_time.max(by_cursor)) {
                if page.number == limit || midnight + i64::from(event.second) >= end {
                    return page;
                }
                page.push(sparse_id(day_ordinal + position), |records| {
                    self.render(records, day, event)
                });
            }
        }
        page
    }

    /// One worker has another name from `RENAMED_AFTER` days on. Another one has left after
    /// `LEFT_AFTER` days.
    fn workers(&self, day: Day) -> Vec<SimulatedWorker> {
        let days = i64::from(day.number()) - i64::from(self.options.first_day.number());
        let worker = |number: u16| {
            let name = NICKS.get(usize::from(number) % NICKS.len()).copied().unwrap_or_default();
            let nick = match number / NICKS.len() as u16 {
                _ if number == RENAMED && days >= RENAMED_AFTER => format!("{name}（组长）"),
                0 => name.to_owned(),
                round => format!("{name}{}", round + 1),
            };
            SimulatedWorker { account: worker_name(number), nick }
        };
        let is_there = |number: &u16| *number != LEFT || days < LEFT_AFTER;
        (0..self.worker_count()).filter(is_there).map(worker).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(messages_per_day: u32) -> Generated {
        Generated::new(GeneratorOptions {
            first_day: "2024-05-13".parse().unwrap(),
            days: 3,
            messages_per_day,
            seed: 7,
        })
    }

    #[test]
    fn each_day_has_exactly_the_messages_asked_for_whatever_the_page() {
        let records = generated(1_234);
        let midnight = 1_715_529_600;
        for day in 0..3 {
            let start = midnight + day * 86_400;
            for size in [100, 617, 1_234, 10_000] {
                let (mut after, mut total) = (1, 0);
                loop {
                    let page = records.page(start, start + 86_400, after, size);
                    total += page.number;
                    if page.number < size {
                        break;
                    }
                    after = page.msgid;
                }
                assert_eq!(total, 1_234);
            }
        }
        assert_eq!(records.page(midnight - 86_400, midnight, 1, 10).number, 0);
        assert_eq!(records.page(midnight + 3 * 86_400, midnight + 4 * 86_400, 1, 10).number, 0);
    }

    #[test]
    fn a_day_is_the_same_whatever_was_asked_before() {
        let page =
            |records: &Generated| records.page(1_715_616_000, 1_715_702_400, 1, 10_000).records;
        let warm = generated(500);
        warm.page(0, i64::MAX / 2, 1, 10_000);
        assert_eq!(page(&warm), page(&generated(500)));
    }
}
