//! Days, time zones and the clock.
//!
//! Only this module converts instants to local days and back. Only this module uses `jiff`. Its
//! zone rules are compiled in, so the same input gives the same output on every machine.
//!
//! All other modules use whole unix seconds and [`Day`]s. This module reads no settings.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// Unix time in whole seconds, the resolution of WeChat's records.
pub type UnixSeconds = i64;

const ISO: StaticFormatDescription = format_description!("[year]-[month]-[day]");

/// A calendar day without a time zone, written like `2016-06-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

impl Day {
    /// Days since 1970-01-01. The metrics stage uses this number for the day.
    pub fn number(self) -> i32 {
        self.0.to_julian_day() - EPOCH.to_julian_day()
    }

    /// The day with this [`number`](Self::number). None outside the calendar (years −9999 to 9999).
    pub fn from_number(number: i32) -> Option<Self> {
        number
            .checked_add(EPOCH.to_julian_day())
            .and_then(|julian| Date::from_julian_day(julian).ok())
            .map(Self)
    }

    /// The day `days` later (earlier when negative). The result is limited to the years 1970 to
    /// 9999.
    pub fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(time::Duration::days(days)).max(EPOCH))
    }

    pub fn weekday(self) -> time::Weekday {
        self.0.weekday()
    }

    fn civil(self) -> civil::Date {
        // Every year comes from `FromStr` or `jiff`, so this succeeds. The fallback avoids a panic.
        i16::try_from(self.0.year())
            .ok()
            .and_then(|year| {
                civil::Date::new(
                    year,
                    i8::try_from(u8::from(self.0.month())).ok()?,
                    i8::try_from(self.0.day()).ok()?,
                )
                .ok()
            })
            .unwrap_or(civil::Date::MAX)
    }

    fn from_civil(date: civil::Date) -> Self {
        let month =
            u8::try_from(date.month()).ok().and_then(|month| time::Month::try_from(month).ok());
        let day = u8::try_from(date.day()).ok();
        let date = month.zip(day).and_then(|(month, day)| {
            Date::from_calendar_date(i32::from(date.year()), month, day).ok()
        });
        Self(date.unwrap_or(Date::MAX))
    }
}

const EPOCH: Date = time::macros::date!(1970 - 01 - 01);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(ISO).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let day =
            Date::parse(text, ISO).map_err(|_| format!("`{text}` is not a day like 2016-06-01"))?;
        if (1970..=9000).contains(&day.year()) {
            Ok(Self(day))
        } else {
            Err(format!("`{text}` is outside the years 1970 to 9000"))
        }
    }
}

impl serde::Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Days from `first` to `last`, both included. Empty when `last` is before `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRange {
    pub first: Day,
    pub last: Day,
}

impl DayRange {
    pub fn contains(self, day: Day) -> bool {
        self.first <= day && day <= self.last
    }

    pub fn days(self) -> impl Iterator<Item = Day> {
        (self.first.number()..=self.last.number()).filter_map(Day::from_number)
    }

    /// Groups days, given in order, into ranges of consecutive days.
    pub fn runs(days: impl IntoIterator<Item = Day>) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        for day in days {
            match runs.last_mut() {
                Some(run) if run.last.plus(1) == day => run.last = day,
                _ => runs.push(Self { first: day, last: day }),
            }
        }
        runs
    }

    /// Renders days, given in order. Consecutive days become `first to last`.
    pub fn list(days: &[Day]) -> String {
        Self::runs(days.iter().copied())
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The range of the same length directly before this one.
    #[must_use]
    pub fn before(self) -> Self {
        let days = i64::from(self.last.number() - self.first.number()) + 1;
        Self { first: self.first.plus(-days), last: self.first.plus(-1) }
    }
}

impl fmt::Display for DayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{} to {}", self.first, self.last)
        }
    }
}

/// A half-open span of time, `[start, end)` in unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: UnixSeconds,
    pub end: UnixSeconds,
}

impl Span {
    pub fn contains(self, instant: UnixSeconds) -> bool {
        self.start <= instant && instant < self.end
    }

    pub fn seconds(self) -> i64 {
        self.end - self.start
    }
}

/// A span of time with one offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetSpan {
    /// First second with this offset, in unix time.
    pub from: UnixSeconds,
    /// Local time minus UTC.
    pub offset_seconds: i32,
}

/// A named IANA time zone. It defines local days and hours.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

static RULES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

impl Zone {
    /// The zone of the local days, unless the settings name another one.
    pub const DEFAULT: &str = "Asia/Shanghai";

    /// Looks up the zone in the compiled-in IANA database.
    ///
    /// # Errors
    /// Fails when no zone has that name.
    pub fn named(name: &str) -> Result<Self, String> {
        let rules = RULES
            .get(name)
            .map_err(|_| format!("`{name}` is not an IANA time zone like Asia/Shanghai"))?;
        Ok(Self { name: rules.iana_name().unwrap_or(name).to_owned(), rules })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The instants of a local day, from its first second to the first second of the next day.
    ///
    /// A day has 86,400 s. When clocks change, it usually has 82,800 or 90,000 s. A day that the
    /// zone skipped is empty (Pacific/Apia 2011-12-30).
    pub fn bounds(&self, day: Day) -> Span {
        Span { start: self.start_of(day), end: self.start_of(day.plus(1)) }
    }

    fn start_of(&self, day: Day) -> UnixSeconds {
        match day.civil().to_zoned(self.rules.clone()) {
            Ok(start) => start.start_of_day().unwrap_or(start).timestamp().as_second(),
            // Only the last hours of the year 9999 have no instant.
            Err(_) => Timestamp::MAX.as_second(),
        }
    }

    /// The instant at which local clocks show a time of a day, in minutes since midnight. Minutes
    /// beyond 24 hours are on the next day. A time that clocks skip is converted with the offset
    /// before the skip. A time that occurs twice is the first one.
    pub fn instant(&self, day: Day, minute: u32) -> UnixSeconds {
        let (days, minute) = (i64::from(minute / 1_440), minute % 1_440);
        let civil = day.plus(days).civil();
        let time = i8::try_from(minute / 60).ok().zip(i8::try_from(minute % 60).ok());
        let zoned = time.and_then(|(hour, minute)| {
            civil.at(hour, minute, 0, 0).to_zoned(self.rules.clone()).ok()
        });
        match zoned {
            // Midnight means the start of the day, even if the day starts later than 00:00.
            Some(zoned) if minute > 0 => zoned.timestamp().as_second(),
            _ => self.start_of(day.plus(days)),
        }
    }

    /// The local day of an instant.
    pub fn day_of(&self, instant: UnixSeconds) -> Day {
        let instant = Timestamp::from_second(instant).unwrap_or(Timestamp::MAX);
        Day::from_civil(self.rules.to_datetime(instant).date())
    }

    /// Renders the local date and time of an instant, like `2024-05-13 10:00:40`.
    pub fn written(&self, instant: UnixSeconds) -> String {
        let shown =
            self.rules.to_datetime(Timestamp::from_second(instant).unwrap_or(Timestamp::MAX));
        let (hour, minute, second) = (shown.hour(), shown.minute(), shown.second());
        format!("{} {hour:02}:{minute:02}:{second:02}", Day::from_civil(shown.date()))
    }

    /// The UTC offsets during a span, in order. The first one applies at the start of the span.
    pub fn offsets(&self, span: Span) -> Vec<OffsetSpan> {
        let start = Timestamp::from_second(span.start).unwrap_or(Timestamp::MIN);
        let first =
            OffsetSpan { from: span.start, offset_seconds: self.rules.to_offset(start).seconds() };
        let later = self
            .rules
            .following(start)
            .take_while(|transition| transition.timestamp().as_second() < span.end)
            .map(|transition| OffsetSpan {
                from: transition.timestamp().as_second(),
                offset_seconds: transition.offset().seconds(),
            });
        std::iter::once(first).chain(later).collect()
    }
}

/// Tells the time and waits: the system clock, or a virtual clock for tests.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    #[default]
    System,
    /// Unix microseconds. Waiting moves the clock forward and takes no real time.
    Virtual(Arc<AtomicI64>),
}

impl Clock {
    /// A virtual clock that starts at `instant`. Only waiting moves it.
    pub fn starting_at(instant: UnixSeconds) -> Self {
        Self::Virtual(Arc::new(AtomicI64::new(instant * 1_000_000)))
    }

    pub fn now(&self) -> OffsetDateTime {
        match self {
            Self::System => OffsetDateTime::now_utc(),
            Self::Virtual(micros) => {
                let nanos = i128::from(micros.load(Ordering::SeqCst)) * 1_000;
                OffsetDateTime::from_unix_timestamp_nanos(nanos)
                    .unwrap_or(OffsetDateTime::UNIX_EPOCH)
            }
        }
    }

    pub async fn wait(&self, duration: Duration) {
        match self {
            Self::System => tokio::time::sleep(duration).await,
            Self::Virtual(micros) => {
                micros.fetch_add(
                    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
                    Ordering::SeqCst,
                );
                tokio::task::yield_now().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn days_in_a_row_are_written_as_one() {
        let days = ["2024-05-01", "2024-05-02", "2024-05-03", "2024-05-07"].map(day);
        assert_eq!(DayRange::list(&days), "2024-05-01 to 2024-05-03, 2024-05-07");
    }

    #[test]
    fn the_official_example_is_a_calendar_day_in_beijing() {
        let bounds = Zone::named("Asia/Shanghai").unwrap().bounds(day("2016-06-01"));
        assert_eq!(bounds, Span { start: 1_464_710_400, end: 1_464_796_800 });
    }

    #[test]
    fn days_on_which_clocks_change_are_23_and_25_hours_long() {
        let zone = Zone::named("America/New_York").unwrap();
        assert_eq!(zone.bounds(day("2024-03-10")).seconds(), 23 * 3600);
        assert_eq!(zone.bounds(day("2024-11-03")).seconds(), 25 * 3600);
        assert_eq!(zone.offsets(zone.bounds(day("2024-11-03"))).len(), 2);
    }

    #[test]
    fn days_in_a_row_are_one_range_and_what_is_before_is_as_long() {
        let days = ["2024-05-01", "2024-05-02", "2024-05-03", "2024-05-07"].map(day);
        let [long, short] = [
            DayRange { first: days[0], last: days[2] },
            DayRange { first: days[3], last: days[3] },
        ];
        assert_eq!(DayRange::runs(days), [long, short]);
        assert_eq!(long.before(), DayRange { first: day("2024-04-28"), last: day("2024-04-30") });
    }

    #[test]
    fn an_instant_is_written_as_the_clocks_of_its_zone_show_it() {
        assert_eq!(
            Zone::named("Asia/Shanghai").unwrap().written(1_715_615_999),
            "2024-05-13 23:59:59"
        );
        // New York has this hour twice.
        let zone = Zone::named("America/New_York").unwrap();
        assert_eq!(
            [1_730_613_000, 1_730_616_600].map(|instant| zone.written(instant)),
            ["2024-11-03 01:50:00"; 2]
        );
    }

    #[test]
    fn a_day_that_the_zone_skipped_is_empty() {
        let zone = Zone::named("Pacific/Apia").unwrap();
        assert_eq!(zone.bounds(day("2011-12-30")).seconds(), 0);
        assert_eq!(zone.bounds(day("2011-12-29")).seconds(), 86_400);
    }

    #[test]
    fn a_local_day_contains_exactly_the_instants_between_its_bounds() {
        for name in
            ["Asia/Shanghai", "America/New_York", "America/Sao_Paulo", "Africa/Cairo", "UTC"]
        {
            let zone = Zone::named(name).unwrap();
            for day in (DayRange { first: day("2018-01-01"), last: day("2018-12-31") }).days() {
                let bounds = zone.bounds(day);
                assert_eq!(zone.day_of(bounds.start), day, "{name}");
                assert_eq!(zone.day_of(bounds.end - 1), day, "{name}");
            }
        }
    }

    #[test]
    fn a_day_and_its_number_are_the_same_thing() {
        assert_eq!(day("1970-01-01").number(), 0);
        assert_eq!(Day::from_number(day("2024-05-13").number()), Some(day("2024-05-13")));
        assert_eq!(day("2024-05-13").plus(-40_000), day("1970-01-01"));
        assert!("1969-12-31".parse::<Day>().is_err());
        assert!("2024-5-13".parse::<Day>().is_err());
        assert!("2024-02-30".parse::<Day>().is_err());
    }
}
