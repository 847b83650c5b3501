//! Decides when to retry, and how long to wait before. Pure; neither waits nor makes calls.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use crate::wechat::{Action, CallError, Renewal};

/// Limits of the attempts at one call.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Maximum number of attempts while WeChat or the network is busy.
    pub attempts_max: u32,
    /// Maximum wait before the second attempt. Doubles with each further attempt.
    pub first_wait: Duration,
    /// Maximum wait, unless `Retry-After` asks for a longer one.
    pub wait_max: Duration,
    /// Maximum `Retry-After`. After a longer one, the call is not retried.
    pub retry_after_max: Duration,
    /// Maximum number of waits for the next minute, after the limit of calls per minute is reached.
    pub minutes_max: u32,
    /// Maximum total wait for all calls of one span.
    pub span_wait_max: Duration,
    /// Maximum total wait of a run.
    pub run_wait_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 6,
            first_wait: Duration::from_secs(1),
            wait_max: Duration::from_secs(30),
            retry_after_max: Duration::from_secs(120),
            minutes_max: 5,
            span_wait_max: Duration::from_secs(20 * 60),
            run_wait_max: Duration::from_secs(60 * 60),
        }
    }
}

/// The remaining time for waits, shared by concurrent calls. Overlapping waits count once.
#[derive(Debug)]
pub struct RetryBudget {
    budget: Mutex<Budget>,
    /// The account and the day of the calls. Both are empty for the budget of a run.
    account: String,
    date: String,
}

#[derive(Debug)]
struct Budget {
    left: Duration,
    /// The end of the waits already deducted.
    paid_until: OffsetDateTime,
}

impl RetryBudget {
    /// The retry budget for all calls of a run.
    pub fn of_run(most: Duration) -> Self {
        Self::of_day(most, "", "")
    }

    /// The retry budget for the calls of one account's day.
    pub fn of_day(most: Duration, account: &str, day: impl ToString) -> Self {
        let budget = Budget { left: most, paid_until: OffsetDateTime::UNIX_EPOCH };
        Self { budget: Mutex::new(budget), account: account.to_owned(), date: day.to_string() }
    }

    /// The account and the day of the calls.
    pub fn concerned(&self) -> (&str, &str) {
        (&self.account, &self.date)
    }

    /// Deducts a wait from the budget. Returns false if the budget is too small; it is then used
    /// up.
    pub fn allows(&self, wait: Duration, now: OffsetDateTime) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let until = now + wait;
        let unpaid = Duration::try_from(until - budget.paid_until.max(now)).unwrap_or_default();
        let left = budget.left.checked_sub(unpaid);
        budget.left = left.unwrap_or_default();
        budget.paid_until = budget.paid_until.max(until);
        left.is_some()
    }
}

/// The next step after a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait, then repeat the call.
    Wait(Duration),
    /// Fetch another token, then repeat the call.
    Renew(Renewal),
    /// Report the error.
    GiveUp,
}

/// Counts of the attempts at one call so far.
#[derive(Debug)]
pub struct Attempts {
    policy: RetryPolicy,
    busy: u32,
    minutes: u32,
    renewals: u32,
}

impl Attempts {
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, busy: 0, minutes: 0, renewals: 0 }
    }

    /// The number of the attempt after a wait for `error`, and the maximum number of attempts.
    pub fn next(&self, error: &CallError) -> (u32, u32) {
        match error {
            CallError::Api(error) if error.action() == Action::AwaitNextMinute => {
                (self.minutes + 1, self.policy.minutes_max + 1)
            }
            _ => (self.busy + 1, self.policy.attempts_max),
        }
    }

    /// Decides the next step after a failed call.
    ///
    /// `jitter` in `0.0..1.0` spreads the backoff of concurrent calls between half of the wait and
    /// the whole wait. `second` is the current second of the minute.
    pub fn after(&mut self, error: &CallError, jitter: f64, second: u8) -> Step {
        match error {
            CallError::Api(error) if error.action() == Action::RenewToken => {
                self.renewals += 1;
                match self.renewals {
                    1 => Step::Renew(Renewal::Ask),
                    2 => Step::Renew(Renewal::Force),
                    _ => Step::GiveUp,
                }
            }
            CallError::Api(error) if error.action() == Action::AwaitNextMinute => {
                self.minutes += 1;
                if self.minutes > self.policy.minutes_max {
                    return Step::GiveUp;
                }
                // Jitter is needed here: calls repeated in the same second would reach the same
                // limit again.
                Step::Wait(
                    Duration::from_secs(60 - u64::from(second.min(59)))
                        + Duration::from_secs(2).mul_f64(jitter),
                )
            }
            error if error.is_transient() => {
                self.busy += 1;
                if self.busy >= self.policy.attempts_max {
                    return Step::GiveUp;
                }
                let own = self
                    .policy
                    .first_wait
                    .saturating_mul(1 << (self.busy - 1).min(16))
                    .min(self.policy.wait_max)
                    .mul_f64(0.5 + jitter / 2.0);
                match error {
                    CallError::Status { retry_after: Some(asked), .. }
                        if *asked > self.policy.retry_after_max =>
                    {
                        Step::GiveUp
                    }
                    CallError::Status { retry_after: Some(asked), .. } => {
                        Step::Wait(own.max(*asked))
                    }
                    _ => Step::Wait(own),
                }
            }
            _ => Step::GiveUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::{ApiError, Peer, TransportError, Trouble, Whose};
    use proptest::prelude::*;

    fn transport(trouble: Trouble) -> CallError {
        let (peer, detail) = (Peer::default(), String::new());
        CallError::Transport(Box::new(TransportError { trouble, peer, detail }))
    }

    fn api(code: i64) -> CallError {
        ApiError { code, message: String::new(), on_token_endpoint: false }.into()
    }

    fn errors() -> impl Strategy<Value = CallError> {
        prop_oneof![
            Just(()).prop_map(|()| transport(Trouble::Cut)),
            prop::sample::select(vec![
                -1i64, 40001, 40014, 42001, 45009, 45011, 65416, 48001, 12345
            ])
            .prop_map(api),
            (
                prop::sample::select(vec![408u16, 429, 500, 502, 503, 404]),
                prop::option::of(0u64..400)
            )
                .prop_map(|(status, seconds)| CallError::Status {
                    status,
                    retry_after: seconds.map(Duration::from_secs),
                    peer: Peer::default(),
                    came: String::new(),
                }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_the_attempts_end_and_so_do_the_waits(errors in prop::collection::vec(errors(), 40), jitter in 0.0..1.0f64, second in 0u8..60) {
            let mut attempts = Attempts::new(RetryPolicy::default());
            let mut waited = Duration::ZERO;
            let mut calls = 0;
            for error in &errors {
                calls += 1;
                match attempts.after(error, jitter, second) {
                    Step::Wait(wait) => waited += wait,
                    Step::Renew(_) => {}
                    Step::GiveUp => break,
                }
            }
            prop_assert!(calls <= 6 + 5 + 3);
            prop_assert!(waited <= Duration::from_secs(5 * 120 + 5 * 62));
        }
    }

    #[test]
    fn retry_after_is_honoured_unless_it_is_too_long() {
        let busy = |seconds| CallError::Status {
            status: 503,
            retry_after: Some(Duration::from_secs(seconds)),
            peer: Peer::default(),
            came: String::new(),
        };
        let after = |seconds| Attempts::new(RetryPolicy::default()).after(&busy(seconds), 0.0, 0);
        assert_eq!(after(7), Step::Wait(Duration::from_secs(7)));
        assert_eq!(after(3600), Step::GiveUp);
    }

    #[test]
    fn a_certificate_and_a_password_are_not_tried_twice() {
        let step =
            |trouble| Attempts::new(RetryPolicy::default()).after(&transport(trouble), 0.0, 0);
        for trouble in [
            Trouble::Certificate(Whose::Host),
            Trouble::Tls(Whose::Proxy),
            Trouble::NothingTrusted,
            Trouble::ProxyWantsPassword,
        ] {
            assert_eq!(step(trouble), Step::GiveUp, "{trouble:?}");
        }
        for trouble in [Trouble::ConnectionRefused(Whose::Host), Trouble::NoAddress(Whose::Proxy)] {
            assert!(matches!(step(trouble), Step::Wait(_)), "{trouble:?}");
        }
    }

    #[test]
    fn waits_side_by_side_are_borne_once_and_those_in_a_row_each() {
        let minute = Duration::from_secs(60);
        let retry_budget = RetryBudget::of_run(3 * minute);
        let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert!(
            (0..8).all(|caller| retry_budget.allows(minute, now + Duration::from_millis(caller)))
        );
        assert!(retry_budget.allows(minute, now + minute));
        assert!(!retry_budget.allows(2 * minute, now + 3 * minute));
        assert!(!retry_budget.allows(minute, now + 9 * minute));
    }

    #[test]
    fn a_refused_token_is_asked_for_again_then_forced_once() {
        let mut attempts = Attempts::new(RetryPolicy::default());
        let steps: Vec<_> = (0..3).map(|_| attempts.after(&api(42001), 0.0, 0)).collect();
        assert_eq!(steps, [Step::Renew(Renewal::Ask), Step::Renew(Renewal::Force), Step::GiveUp]);
    }
}
