//! Compares WeChat's clock, from the `Date` of its answers, with this machine's clock. Pure; makes
//! no calls.

use std::sync::{Mutex, PoisonError};

use crate::calendar::{Span, UnixSeconds};

/// The times of both clocks when a page was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnsweredAt {
    /// This machine's clock, from just before the call to just after the answer.
    pub here: Span,
    /// WeChat's clock. None if the answer has no `Date`.
    pub wechat: Option<UnixSeconds>,
}

impl AnsweredAt {
    /// Seconds by which this machine's clock is ahead of WeChat's (negative: behind). 0 if the
    /// duration of the call can explain the difference.
    pub fn skew_seconds(self) -> Option<i64> {
        let wechat = self.wechat?;
        Some(wechat.min(self.here.end).max(self.here.start) - wechat)
    }
}

/// The largest skew of all answers so far.
#[derive(Debug, Default)]
pub(super) struct Skew(Mutex<Option<i64>>);

impl Skew {
    pub(super) fn note(&self, answered: AnsweredAt) {
        let mut largest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let skews = [*largest, answered.skew_seconds()];
        *largest = skews.into_iter().flatten().max_by_key(|seconds| seconds.abs());
    }

    pub(super) fn seconds(&self) -> Option<i64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_within_the_time_of_the_call_is_no_skew() {
        let skew =
            |wechat| AnsweredAt { here: Span { start: 1_000, end: 1_005 }, wechat }.skew_seconds();
        assert_eq!(
            [None, Some(1_000), Some(1_005), Some(940), Some(1_065)].map(skew),
            [None, Some(0), Some(0), Some(60), Some(-60)]
        );
    }

    #[test]
    fn the_largest_skew_is_kept_whichever_clock_is_ahead() {
        let skew = Skew::default();
        assert_eq!(skew.seconds(), None);
        for wechat in [None, Some(999), Some(1_090), Some(995), None] {
            skew.note(AnsweredAt { here: Span { start: 1_000, end: 1_000 }, wechat });
        }
        assert_eq!(skew.seconds(), Some(-90));
    }
}
