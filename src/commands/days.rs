//! Chooses the days that a command works on.

use crate::calendar::{Clock, Day, DayRange, Zone};
use crate::cli::DaysArgs;
use crate::failure::UsageError;

/// Returns the named days, if any.
pub(super) fn named(args: &DaysArgs) -> Result<Option<DayRange>, UsageError> {
    let range = match (args.date, args.from, args.to) {
        (Some(date), _, _) => DayRange { first: date, last: date },
        (None, Some(first), Some(last)) => DayRange { first, last },
        _ => return Ok(None),
    };
    if range.last < range.first {
        let message = format!("--from {} is after --to {}", range.first, range.last);
        return Err(UsageError { message, advice: Some("swap the two days".into()) });
    }
    Ok(Some(range))
}

/// Returns the days to fetch: the named days, which must all be over, or the last `lookback` days
/// up to yesterday.
pub(super) fn to_fetch(
    args: &DaysArgs,
    lookback: u16,
    zone: &Zone,
    clock: &Clock,
) -> Result<DayRange, UsageError> {
    let yesterday = last_over(zone, clock);
    let today = yesterday.plus(1);
    match named(args)? {
        Some(range) if range.last >= today => Err(UsageError {
            message: format!(
                "{} is not over yet in {}",
                range.last.min(today).max(range.first),
                zone.name()
            ),
            advice: Some(format!("name a day up to {yesterday}, the last day that is over")),
        }),
        Some(range) => Ok(range),
        None => Ok(DayRange { first: yesterday.plus(1 - i64::from(lookback)), last: yesterday }),
    }
}

/// Returns yesterday, the last day that is over.
pub(super) fn last_over(zone: &Zone, clock: &Clock) -> Day {
    zone.day_of(clock.now().unix_timestamp()).plus(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn without_days_it_is_the_lookback_up_to_yesterday() {
        let zone = Zone::named("Asia/Shanghai").unwrap();
        // 2024-05-13 01:00 in Shanghai, which is still 2024-05-12 in UTC.
        let clock = Clock::starting_at(1_715_533_200);
        let none = DaysArgs { date: None, from: None, to: None };
        assert_eq!(
            to_fetch(&none, 3, &zone, &clock).unwrap(),
            DayRange { first: day("2024-05-10"), last: day("2024-05-12") }
        );
        let today = DaysArgs { date: Some(day("2024-05-13")), ..none };
        assert!(to_fetch(&today, 3, &zone, &clock).unwrap_err().message.contains("not over yet"));
    }
}
