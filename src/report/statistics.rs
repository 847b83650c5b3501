//! Statistics of waits and shares over all turns of a period. They are not computed from the days'
//! statistics.

use crate::metrics::percentile;

/// The normal quantile of a two-sided test at 95 %.
const NORMAL_QUANTILE: f64 = 1.959_964;

/// Waits in seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits(Vec<i64>);

impl Waits {
    pub(super) fn of(waits: impl IntoIterator<Item = i64>) -> Self {
        Self(waits.into_iter().collect())
    }

    pub(super) fn len(&self) -> i64 {
        self.0.len() as i64
    }

    /// Number of waits that are not longer than the limit.
    pub(super) fn within(&self, limit: i64) -> i64 {
        self.0.iter().filter(|wait| **wait <= limit).count() as i64
    }

    /// None without waits.
    pub(super) fn percentile(&self, share: f64) -> Option<f64> {
        percentile(&self.0, share)
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum::<i64>() as f64 / self.0.len() as f64)
    }
}

/// None without a whole.
pub(super) fn share(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Whether two shares, each a part and a whole, differ by no more than chance explains: the
/// two-proportion z test with a pooled share, two-sided, at 95 %.
pub(super) fn is_within_chance(
    (part, whole): (i64, i64),
    (other, other_whole): (i64, i64),
) -> bool {
    let (Some(one), Some(two)) = (share(part, whole), share(other, other_whole)) else {
        return true;
    };
    let pooled = (part + other) as f64 / (whole + other_whole) as f64;
    let spread = (pooled * (1.0 - pooled) * (1.0 / whole as f64 + 1.0 / other_whole as f64)).sqrt();
    (one - two).abs() <= NORMAL_QUANTILE * spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_interpolated_and_nothing_gives_none() {
        // An example from the definitions.
        let waits = Waits::of([100, 10, 40, 20, 30]);
        assert_eq!(
            (waits.mean(), waits.percentile(0.5), waits.percentile(0.9), waits.within(30)),
            (Some(40.0), Some(30.0), Some(76.0), 3)
        );
        assert_eq!(Waits::of([7]).percentile(0.9), Some(7.0));
        assert_eq!((Waits::default().mean(), Waits::default().percentile(0.5)), (None, None));
    }

    #[test]
    fn a_change_is_within_chance_up_to_a_z_of_1_96() {
        // z is 1.901 and 1.963.
        assert!(is_within_chance((851, 1_000), (880, 1_000)));
        assert!(!is_within_chance((850, 1_000), (880, 1_000)));
        assert!(!is_within_chance((8_500, 10_000), (8_800, 10_000)));
        assert!(is_within_chance((17, 20), (20, 20)));
        // Without a spread, equal shares do not differ. Without turns, nothing can be said.
        assert!(is_within_chance((5, 5), (9, 9)));
        assert!(is_within_chance((0, 0), (9, 9)));
    }
}
