//! Splits a local day into the windows that the API allows.

use crate::calendar::Span;
use crate::wechat::WINDOW_SECONDS_MAX;

/// Splits a span into windows of at most 24 hours, in order, without gaps or overlaps. A day of 25
/// hours has two windows, an empty span none.
pub fn windows(span: Span) -> Vec<Span> {
    let mut windows = Vec::new();
    let mut start = span.start;
    while start < span.end {
        let end = span.end.min(start + WINDOW_SECONDS_MAX);
        windows.push(Span { start, end });
        start = end;
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn windows_cover_a_span_exactly_and_none_is_longer_than_24_hours(start in -1_000_000_000i64..4_000_000_000, seconds in 0i64..400_000) {
            let span = Span { start, end: start + seconds };
            let windows = windows(span);
            prop_assert_eq!(windows.iter().map(|window| window.seconds()).sum::<i64>(), seconds);
            prop_assert!(windows.iter().all(|window| (1..=86_400).contains(&window.seconds())));
            prop_assert!(windows.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert_eq!(windows.first().map_or(start, |window| window.start), start);
        }
    }

    #[test]
    fn a_day_of_24_hours_is_one_window() {
        assert_eq!(windows(Span { start: 0, end: 86_400 }).len(), 1);
        assert_eq!(windows(Span { start: 0, end: 90_000 }).len(), 2);
    }
}
