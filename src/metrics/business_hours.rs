//! Business hours: a weekly schedule with exceptions by date. Counts the open seconds between two
//! instants.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::calendar::{Day, DayRange, UnixSeconds, Zone};

/// The hours in which workers are expected to answer. All times are local.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusinessHours {
    pub monday: Vec<Shift>,
    pub tuesday: Vec<Shift>,
    pub wednesday: Vec<Shift>,
    pub thursday: Vec<Shift>,
    pub friday: Vec<Shift>,
    pub saturday: Vec<Shift>,
    pub sunday: Vec<Shift>,
    /// Days that differ from their weekday: holidays (no shift), 调休 working Saturdays.
    pub dates: BTreeMap<Day, Vec<Shift>>,
}

/// A part of a day, such as `09:00-18:00`. It belongs to the day on which it begins. If the end is
/// earlier than the start, as in `21:00-02:00`, the shift ends on the next day. `24:00` is the end
/// of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shift {
    start_minute: u32,
    /// More than 24 hours when the shift ends on the next day.
    end_minute: u32,
}

const DAY_MINUTES: u32 = 24 * 60;

impl FromStr for Shift {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a shift like 09:00-18:00");
        let minute = |text: &str| -> Option<u32> {
            let (hour, minute) = text.split_once(':')?;
            let is_two_digits = |digits: &str| {
                digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
            };
            let minutes = hour.parse::<u32>().ok()? * 60
                + minute.parse::<u32>().ok().filter(|minute| *minute < 60)?;
            (is_two_digits(hour) && is_two_digits(minute) && minutes <= DAY_MINUTES)
                .then_some(minutes)
        };
        let (start, end) = text.split_once('-').ok_or_else(wrong)?;
        let (start_minute, end) = minute(start).zip(minute(end)).ok_or_else(wrong)?;
        if start_minute == DAY_MINUTES {
            return Err(wrong());
        }
        match end {
            end if end == start_minute => {
                Err(format!("`{text}` is empty; a whole day is 00:00-24:00"))
            }
            end if end < start_minute => Ok(Self { start_minute, end_minute: end + DAY_MINUTES }),
            end_minute => Ok(Self { start_minute, end_minute }),
        }
    }
}

impl TryFrom<String> for Shift {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.end_minute > DAY_MINUTES {
            self.end_minute - DAY_MINUTES
        } else {
            self.end_minute
        };
        write!(
            f,
            "{:02}:{:02}-{:02}:{:02}",
            self.start_minute / 60,
            self.start_minute % 60,
            end / 60,
            end % 60
        )
    }
}

impl From<Shift> for String {
    fn from(shift: Shift) -> Self {
        shift.to_string()
    }
}

impl BusinessHours {
    /// The shifts that begin on a day.
    pub(super) fn shifts(&self, day: Day) -> &[Shift] {
        let weekday = match day.weekday() {
            time::Weekday::Monday => &self.monday,
            time::Weekday::Tuesday => &self.tuesday,
            time::Weekday::Wednesday => &self.wednesday,
            time::Weekday::Thursday => &self.thursday,
            time::Weekday::Friday => &self.friday,
            time::Weekday::Saturday => &self.saturday,
            time::Weekday::Sunday => &self.sunday,
        };
        self.dates.get(&day).unwrap_or(weekday)
    }

    /// Converts the schedule to spans of instants that cover the given days.
    pub(super) fn open_hours(&self, zone: &Zone, days: DayRange) -> OpenHours {
        // A shift of the day before may end in the first day.
        let mut spans: Vec<(UnixSeconds, UnixSeconds)> =
            DayRange { first: days.first.plus(-1), last: days.last }
                .days()
                .flat_map(|day| self.shifts(day).iter().map(move |shift| (day, shift)))
                .map(|(day, shift)| {
                    (zone.instant(day, shift.start_minute), zone.instant(day, shift.end_minute))
                })
                .filter(|(start, end)| start < end)
                .collect();
        spans.sort_unstable();
        let mut hours = OpenHours::default();
        for (start, end) in spans {
            hours.push(start, end);
        }
        hours
    }
}

/// Spans of open hours, ascending. They neither overlap nor touch.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenHours(Vec<OpenSpan>);

#[derive(Clone, Copy, Debug)]
struct OpenSpan {
    start: UnixSeconds,
    end: UnixSeconds,
    /// Open seconds of all earlier spans.
    before: i64,
}

impl OpenHours {
    fn push(&mut self, start: UnixSeconds, end: UnixSeconds) {
        match self.0.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            last => {
                let before = last.map_or(0, |last| last.before + last.end - last.start);
                self.0.push(OpenSpan { start, end, before });
            }
        }
    }

    /// The last span that begins at or before the instant.
    fn span_at(&self, instant: UnixSeconds) -> Option<&OpenSpan> {
        self.0
            .partition_point(|span| span.start <= instant)
            .checked_sub(1)
            .and_then(|last| self.0.get(last))
    }

    /// Open seconds before an instant. Subtract two results to get the open seconds between two
    /// instants.
    pub(super) fn seconds_before(&self, instant: UnixSeconds) -> i64 {
        self.span_at(instant).map_or(0, |span| span.before + instant.min(span.end) - span.start)
    }

    pub(super) fn contains(&self, instant: UnixSeconds) -> bool {
        self.span_at(instant).is_some_and(|span| instant < span.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_is_written_as_it_is_read() {
        for text in ["09:00-18:00", "21:00-02:00", "00:00-24:00", "18:30-24:00"] {
            assert_eq!(text.parse::<Shift>().unwrap().to_string(), text);
        }
        for text in [
            "9:00-18:00",
            "09:00",
            "09:00-09:00",
            "24:00-02:00",
            "09:60-10:00",
            "09:00-25:00",
            "+9:00-18:00",
            "",
        ] {
            assert!(text.parse::<Shift>().is_err(), "{text}");
        }
    }

    #[test]
    fn shifts_that_touch_or_overlap_count_once() {
        let zone = Zone::named("UTC").unwrap();
        let day: Day = "2024-05-13".parse().unwrap();
        let shifts = ["09:00-12:00", "12:00-13:00", "11:00-12:30", "22:00-02:00"]
            .map(|shift| shift.parse().unwrap())
            .to_vec();
        let hours = BusinessHours { monday: shifts, ..BusinessHours::default() }
            .open_hours(&zone, DayRange { first: day, last: day.plus(2) });
        let midnight = zone.bounds(day).start;
        assert_eq!(
            hours.seconds_before(midnight + 2 * 86_400) - hours.seconds_before(midnight),
            (4 + 4) * 3_600
        );
        assert!(
            hours.contains(midnight + 12 * 3_600)
                && !hours.contains(midnight + 13 * 3_600)
                && hours.contains(midnight + 25 * 3_600)
        );
    }

    #[test]
    fn a_schedule_follows_the_clocks() {
        let zone = Zone::named("America/New_York").unwrap();
        let day: Day = "2024-11-03".parse().unwrap();
        let hours = BusinessHours {
            sunday: vec!["00:00-24:00".parse().unwrap()],
            ..BusinessHours::default()
        };
        let hours = hours.open_hours(&zone, DayRange { first: day, last: day });
        let bounds = zone.bounds(day);
        assert_eq!(
            hours.seconds_before(bounds.end) - hours.seconds_before(bounds.start),
            25 * 3_600
        );
    }
}
