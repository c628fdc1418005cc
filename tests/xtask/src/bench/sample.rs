//! Numbers that were measured several times.

use anyhow::{Context, Result};

/// At least one measurement of the same thing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// In the order in which they were measured.
    measured: Vec<f64>,
    /// In ascending order.
    values: Vec<f64>,
}

impl Sample {
    pub(super) fn new(measured: Vec<f64>) -> Result<Self> {
        let mut values = measured.clone();
        values.sort_by(f64::total_cmp);
        values.first().context("nothing was measured")?;
        Ok(Self { measured, values })
    }

    /// This over `other`: the median of the ratios of those that were measured in the same turn, so that a machine that is
    /// slow for some turns is slow for both; where they were not measured in turns, that of the medians.
    pub(super) fn ratio(&self, other: &Self) -> f64 {
        if self.measured.len() != other.measured.len() {
            return self.median() / other.median();
        }
        let ratios = self.measured.iter().zip(&other.measured).map(|(ours, theirs)| ours / theirs).collect();
        Self::new(ratios).map_or(f64::NAN, |ratios| ratios.median())
    }

    pub(super) fn median(&self) -> f64 {
        let (low, high) = ((self.values.len() - 1) / 2, self.values.len() / 2);
        f64::midpoint(self.at(low), self.at(high))
    }

    pub(super) fn low(&self) -> f64 {
        self.at(0)
    }

    pub(super) fn high(&self) -> f64 {
        self.at(self.values.len() - 1)
    }

    fn at(&self, index: usize) -> f64 {
        self.values.get(index).copied().unwrap_or(f64::NAN)
    }

    /// Each value turned into another, such as seconds into a rate.
    pub(super) fn map(&self, change: impl Fn(f64) -> f64) -> Result<Self> {
        Self::new(self.measured.iter().copied().map(change).collect())
    }
}

/// Megabytes in a second, from a number of bytes and seconds.
pub(super) fn rate(bytes: u64) -> impl Fn(f64) -> f64 {
    move |seconds| bytes as f64 / 1e6 / seconds
}

/// The slope of the straight line with the least squared distances to `points` (x, y).
pub(super) fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (mean_x, mean_y) =
        (points.iter().map(|p| p.0).sum::<f64>() / count, points.iter().map(|p| p.1).sum::<f64>() / count);
    let above: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let below: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(Sample::new(vec![3.0, 1.0, 2.0]).unwrap().median(), 2.0);
        assert_eq!(Sample::new(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median(), 2.5);
        assert!(Sample::new(vec![]).is_err());
    }

    #[test]
    fn ratios_are_of_turns() {
        let of = |values: &[f64]| Sample::new(values.to_vec()).unwrap();
        // The machine was four times as slow in the second turn, and somebody else was there in half of the third.
        assert_eq!(of(&[1.0, 4.0, 9.0]).ratio(&of(&[2.0, 8.0, 2.0])), 0.5);
        assert_eq!(of(&[1.0, 3.0]).ratio(&of(&[4.0])), 0.5);
    }

    #[test]
    fn rates_turn_the_order_round() {
        let rates = Sample::new(vec![1.0, 2.0]).unwrap().map(rate(4_000_000)).unwrap();
        assert_eq!((rates.low(), rates.high()), (2.0, 4.0));
    }

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]) - 2.0).abs() < 1e-12);
    }
}
