//! Maps values to positions on a chart, and chooses the labels of its axes. Pure arithmetic.

/// Waits in seconds that an axis may label. They are round times for people.
const WAIT_TICKS: [f64; 20] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0,
    21_600.0, 43_200.0, 86_400.0, 172_800.0, 345_600.0, 691_200.0,
];

/// Number of labels for which an axis has room.
const TICKS_MOST: usize = 6;

/// An axis that maps a range of values to a range of positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    values: (f64, f64),
    places: (f64, f64),
    is_logarithmic: bool,
}

impl Axis {
    pub(super) fn linear(values: (f64, f64), places: (f64, f64)) -> Self {
        Self { values, places, is_logarithmic: false }
    }

    /// A logarithmic axis. All values are above 0.
    pub(super) fn logarithmic(values: (f64, f64), places: (f64, f64)) -> Self {
        Self { values, places, is_logarithmic: true }
    }

    /// The position of a value. A value beyond an end gets the position of that end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let (lowest, highest) = self.values;
        let value = value.clamp(lowest.min(highest), highest.max(lowest));
        let (value, lowest, highest) = if self.is_logarithmic {
            (value.ln(), lowest.ln(), highest.ln())
        } else {
            (value, lowest, highest)
        };
        let share = if highest == lowest { 0.0 } else { (value - lowest) / (highest - lowest) };
        self.places.0 + share * (self.places.1 - self.places.0)
    }
}

/// Labels of a logarithmic axis that covers all these waits. The first and the last label are the
/// ends of the axis. Without waits, it covers one second to one hour.
pub(super) fn wait_ticks(waits: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let (least, most) = waits
        .into_iter()
        .fold((f64::INFINITY, 0.0_f64), |(least, most), wait| (least.min(wait), most.max(wait)));
    let (least, most) =
        if most > 0.0 && least.is_finite() { (least, most) } else { (1.0, 3_600.0) };
    let first = WAIT_TICKS.iter().rposition(|tick| *tick <= least).unwrap_or(0);
    let last = WAIT_TICKS
        .iter()
        .position(|tick| *tick >= most)
        .unwrap_or(WAIT_TICKS.len() - 1)
        .max(first + 1);
    let ticks: Vec<f64> = WAIT_TICKS.iter().copied().take(last + 1).skip(first).collect();
    // Keep every n-th label, counted from the last, because the last is an end of the axis.
    let step = ticks.len().saturating_sub(1).div_ceil(TICKS_MOST - 1).max(1);
    let mut kept: Vec<f64> = ticks.iter().rev().step_by(step).copied().collect();
    kept.reverse();
    if kept.first() != ticks.first() {
        kept.splice(..0, ticks.first().copied());
    }
    kept
}

/// Labels of an axis of counts from 0. The last label is the end, and is at least `most`.
pub(super) fn count_ticks(most: u64) -> Vec<u64> {
    let most = most.max(1);
    let mut steps = (0..=18)
        .flat_map(|power| [1, 2, 5].map(|step: u64| step.saturating_mul(10_u64.pow(power))));
    let step = steps.find(|step| most.div_ceil(*step) <= 4).unwrap_or(most);
    (0..=most.div_ceil(step)).map(|tick| tick * step).collect()
}

/// Number of days from one label to the next. Each day is `band` wide, and each label needs the
/// width `label`.
pub(super) fn label_every(band: f64, label: f64) -> usize {
    [1, 2, 7, 14, 28, 56, 91, 182]
        .into_iter()
        .find(|days| *days as f64 * band >= label)
        .unwrap_or(364)
}

/// The level of a value, from 0 to 6, on a scale that ends at `most`. Level 0 means no value above
/// 0.
pub(super) fn level(value: f64, most: f64) -> u8 {
    if value <= 0.0 || most <= 0.0 {
        return 0;
    }
    (1..=6).find(|level| value <= most * f64::from(*level) / 6.0).unwrap_or(6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_keeps_its_ends_and_holds_what_is_beyond_them() {
        let axis = Axis::linear((0.0, 100.0), (200.0, 0.0));
        assert_eq!(
            [0.0, 50.0, 100.0, 150.0, -1.0].map(|value| axis.at(value)),
            [200.0, 100.0, 0.0, 0.0, 200.0]
        );
        let axis = Axis::logarithmic((1.0, 100.0), (0.0, 10.0));
        assert!((axis.at(10.0) - 5.0).abs() < 1e-9);
        // A wait of 0 has no logarithm.
        assert_eq!(axis.at(0.0), 0.0);
        assert_eq!(Axis::linear((3.0, 3.0), (1.0, 2.0)).at(3.0), 1.0);
    }

    #[test]
    fn waits_are_labelled_as_people_count_time() {
        assert_eq!(wait_ticks([26.0, 100.0]), [20.0, 30.0, 60.0, 120.0]);
        assert_eq!(wait_ticks([0.0, 0.0]), wait_ticks([]));
        assert_eq!(wait_ticks([60.0]), [60.0, 120.0]);
        assert_eq!(wait_ticks([0.0, 0.4]), [1.0, 2.0]);
        assert_eq!(wait_ticks([200_000.0]), [172_800.0, 345_600.0]);
        let all = wait_ticks([0.0, 172_800.0]);
        assert!(
            all.len() <= TICKS_MOST + 1
                && all.first() == Some(&1.0)
                && all.last() == Some(&172_800.0),
            "{all:?}"
        );
    }

    #[test]
    fn counts_are_labelled_with_round_numbers() {
        assert_eq!(count_ticks(0), [0, 1]);
        assert_eq!(count_ticks(3), [0, 1, 2, 3]);
        assert_eq!(count_ticks(73), [0, 20, 40, 60, 80]);
        assert_eq!(count_ticks(1_000_000), [0, 500_000, 1_000_000]);
        assert!(count_ticks(u64::MAX / 10).len() <= 5);
    }

    #[test]
    fn as_many_days_are_labelled_as_there_is_room_for() {
        assert_eq!(
            [140.0, 30.0, 8.0, 3.0, 0.01].map(|band| label_every(band, 44.0)),
            [1, 2, 7, 28, 364]
        );
    }

    #[test]
    fn a_level_is_a_sixth() {
        assert_eq!(
            [0.0, 0.1, 1.0, 1.1, 6.0, 7.0].map(|value| level(value, 6.0)),
            [0, 1, 1, 2, 6, 6]
        );
        assert_eq!(level(0.0, 0.0), 0);
    }
}
