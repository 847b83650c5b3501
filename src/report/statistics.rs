//! Statistics of waits over all turns of a period. They are not computed from the days' statistics.

use crate::metrics::percentile;

/// Waits in seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits(Vec<i64>);

impl Waits {
    pub(super) fn of(waits: impl IntoIterator<Item = i64>) -> Self {
        Self(waits.into_iter().collect())
    }

    /// None without waits.
    pub(super) fn percentile(&self, share: f64) -> Option<f64> {
        percentile(&self.0, share)
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum::<i64>() as f64 / self.0.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_interpolated_and_nothing_gives_none() {
        // An example from the definitions.
        let waits = Waits::of([100, 10, 40, 20, 30]);
        assert_eq!(
            (waits.mean(), waits.percentile(0.5), waits.percentile(0.9)),
            (Some(40.0), Some(30.0), Some(76.0))
        );
        assert_eq!(Waits::of([7]).percentile(0.9), Some(7.0));
        assert_eq!((Waits::default().mean(), Waits::default().percentile(0.5)), (None, None));
    }
}
