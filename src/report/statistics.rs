//! Statistics of waits over all turns of a period. They are not computed from the days' statistics.

/// Waits in seconds, in ascending order.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits(Vec<i64>);

impl Waits {
    pub(super) fn of(waits: impl IntoIterator<Item = i64>) -> Self {
        let mut waits: Vec<i64> = waits.into_iter().collect();
        waits.sort_unstable();
        Self(waits)
    }

    /// Interpolates at (n − 1) · `share`, like SQL's `percentile_cont`. None without waits.
    pub(super) fn percentile(&self, share: f64) -> Option<f64> {
        let place = (self.0.len().checked_sub(1)? as f64) * share;
        let (below, part) = (place.floor(), place.fract());
        let lower = *self.0.get(below as usize)? as f64;
        let upper = *self.0.get(place.ceil() as usize)? as f64;
        Some(lower + (upper - lower) * part)
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
