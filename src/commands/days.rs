//! Chooses the days that a command works on.

use crate::calendar::{Clock, Day, DayRange, Zone};
use crate::cli::DaysArgs;
use crate::failure::UsageError;

/// Returns the days that the arguments name or count, if any.
pub(super) fn asked(
    args: &DaysArgs,
    zone: &Zone,
    clock: &Clock,
) -> Result<Option<DayRange>, UsageError> {
    let yesterday = last_over(zone, clock);
    let range = match (args.date, args.from, args.last) {
        (Some(date), ..) => DayRange { first: date.day(yesterday), last: date.day(yesterday) },
        (None, Some(from), _) => DayRange {
            first: from.day(yesterday),
            last: args.to.map_or(yesterday, |to| to.day(yesterday)),
        },
        (None, None, Some(last)) => last_days(last, yesterday),
        (None, None, None) => return Ok(None),
    };
    if range.last >= range.first {
        return Ok(Some(range));
    }
    Err(match args.to {
        Some(_) => UsageError {
            message: format!("--from {} is after --to {}", range.first, range.last),
            advice: Some("swap the two days".into()),
        },
        None => UsageError {
            message: format!("--from {} is after yesterday, {yesterday}", range.first),
            advice: Some("name an earlier day, or the last one with --to".into()),
        },
    })
}

/// Whether the arguments name days, and do not only count them back from yesterday.
pub(super) fn are_named(args: &DaysArgs) -> bool {
    args.date.is_some() || args.from.is_some()
}

/// Returns the days to fetch: the days asked for, which must all be over, or the last `lookback`
/// days up to yesterday.
pub(super) fn to_fetch(
    args: &DaysArgs,
    lookback: u16,
    zone: &Zone,
    clock: &Clock,
) -> Result<DayRange, UsageError> {
    let yesterday = last_over(zone, clock);
    match asked(args, zone, clock)? {
        Some(range) => over(range, yesterday, zone),
        None => Ok(last_days(lookback, yesterday)),
    }
}

/// Checks that days are over.
pub(super) fn over(range: DayRange, yesterday: Day, zone: &Zone) -> Result<DayRange, UsageError> {
    let today = yesterday.plus(1);
    if range.last < today {
        return Ok(range);
    }
    let day = range.last.min(today).max(range.first);
    Err(UsageError {
        message: format!("{day} is not over yet in {}", zone.name()),
        advice: Some(format!("name a day up to {yesterday}, the last day that is over")),
    })
}

fn last_days(days: u16, yesterday: Day) -> DayRange {
    DayRange { first: yesterday.plus(1 - i64::from(days)), last: yesterday }
}

/// Returns yesterday, the last day that is over.
pub(super) fn last_over(zone: &Zone, clock: &Clock) -> Day {
    zone.day_of(clock.now().unix_timestamp()).plus(-1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::NamedDay;

    /// 2024-05-13 01:00 in Shanghai, which is still 2024-05-12 in UTC.
    const NOW: i64 = 1_715_533_200;

    fn chosen(args: &DaysArgs) -> Result<DayRange, UsageError> {
        let zone = Zone::named("Asia/Shanghai").unwrap();
        to_fetch(args, 3, &zone, &Clock::starting_at(NOW))
    }

    fn named(text: &str) -> Option<NamedDay> {
        Some(text.parse().unwrap())
    }

    fn range(args: &DaysArgs) -> String {
        chosen(args).unwrap().to_string()
    }

    #[test]
    fn without_days_it_is_the_lookback_up_to_yesterday() {
        let none = DaysArgs::default();
        assert_eq!(range(&none), "2024-05-10 to 2024-05-12");
        let today = DaysArgs { date: named("2024-05-13"), ..none };
        assert!(chosen(&today).unwrap_err().message.contains("not over yet"));
    }

    #[test]
    fn days_are_counted_back_from_yesterday_in_the_zone_of_the_lake() {
        let none = DaysArgs::default();
        assert_eq!(range(&DaysArgs { last: Some(7), ..none.clone() }), "2024-05-06 to 2024-05-12");
        let yesterday = DaysArgs { date: named("yesterday"), ..none.clone() };
        assert_eq!(range(&yesterday), "2024-05-12");
        let since = DaysArgs { from: named("2024-05-01"), ..none.clone() };
        assert_eq!(range(&since), "2024-05-01 to 2024-05-12");
        let until = DaysArgs { from: named("2024-05-01"), to: named("yesterday"), ..none.clone() };
        assert_eq!(range(&until), "2024-05-01 to 2024-05-12");
        let late = DaysArgs { from: named("2024-05-13"), ..none.clone() };
        assert!(chosen(&late).unwrap_err().message.contains("is after yesterday, 2024-05-12"));
        let swapped = DaysArgs { from: named("2024-05-02"), to: named("2024-05-01"), ..none };
        assert!(chosen(&swapped).unwrap_err().message.contains("is after --to 2024-05-01"));
    }
}
