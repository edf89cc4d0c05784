// SPDX-License-Identifier: Apache-2.0
//! What samples come down to: a middle, and how far they lie apart.

/// Samples of one quantity, taken by several processes.
#[derive(Clone, Debug)]
pub(super) struct Summary {
    /// Half of the samples are below.
    pub(super) median: f64,
    /// From the lowest to the highest after leaving out a tenth at either end: interrupts hit one
    /// batch in twenty, and are no property of what is measured.
    pub(super) spread: f64,
    /// How far the medians of the processes lie apart: what differs less is not told apart.
    pub(super) noise: f64,
}

// === impl Summary ===

impl Summary {
    /// Of at least one sample.
    pub(super) fn of(passes: &[Vec<f64>]) -> Option<Self> {
        let sorted = sorted(passes.concat());
        let last = sorted.len().checked_sub(1)?;
        let tenth = sorted.len() / 10;
        let spread = sorted[last - tenth] - sorted[tenth];
        let medians = passes.iter().filter_map(|pass| percentile(&self::sorted(pass.clone()), 50));
        let medians = self::sorted(medians.collect());
        let noise = medians.last()? - medians.first()?;
        Some(Self { median: percentile(&sorted, 50)?, spread, noise })
    }
}

/// In ascending order.
pub(super) fn sorted(mut samples: Vec<f64>) -> Vec<f64> {
    samples.sort_by(f64::total_cmp);
    samples
}

/// The smallest sample that at least so many in a hundred do not exceed.
pub(super) fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_moves_neither_middle_nor_spread() {
        let samples = (1..=20).map(f64::from).chain([1e9]).collect();
        let summary = Summary::of(&[samples]).unwrap();
        assert_eq!((summary.median, summary.spread, summary.noise), (11.0, 16.0, 0.0));
    }

    #[test]
    fn noise_is_what_processes_differ_by() {
        let summary = Summary::of(&[vec![1.0, 2.0, 9.0], vec![5.0; 3], vec![]]).unwrap();
        assert_eq!((summary.median, summary.noise), (5.0, 3.0));
    }

    #[test]
    fn percentiles_are_samples() {
        let sorted = Vec::from_iter((1..=30).map(f64::from));
        assert_eq!(percentile(&sorted, 50), Some(15.0));
        assert_eq!(percentile(&sorted, 95), Some(29.0));
        assert!(percentile(&[], 50).is_none() && Summary::of(&[vec![]]).is_none());
    }
}
