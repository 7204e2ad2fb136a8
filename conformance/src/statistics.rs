//! The statistical test of counts against shares.

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Significance level. In a suite of ten thousand steps, false alarms occur once in a hundred seeds; since seeds are
/// fixed, an alarm is reproducible.
pub const SIGNIFICANCE: f64 = 1e-6;

/// The result of a G-test (likelihood-ratio test; Sokal and Rohlf, Biometry, chapter 17).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GTest {
    /// G = 2 Σ observed · ln(observed / expected). For k categories its distribution is approximately chi-squared with
    /// k - 1 degrees of freedom.
    pub statistic: f64,
    /// The probability of a larger G if the shares are correct.
    pub p_value: f64,
}

impl GTest {
    /// Tests counts against shares, which sum to one. A nonzero count for a zero share is impossible: p is zero.
    ///
    /// `None` if nothing was counted, or only one category is possible.
    pub fn new(counts: &[u32], shares: &[f64]) -> Option<Self> {
        assert_eq!(counts.len(), shares.len(), "one share for each count");
        let total: f64 = counts.iter().copied().map(f64::from).sum();
        if total == 0.0 {
            return None;
        }
        let mut statistic = 0.0;
        let mut categories = 0_u32;
        for (count, share) in counts.iter().zip(shares) {
            if *share <= 0.0 {
                if *count > 0 {
                    return Some(Self { statistic: f64::INFINITY, p_value: 0.0 });
                }
                continue;
            }
            categories += 1;
            if *count > 0 {
                let observed = f64::from(*count);
                statistic += 2.0 * observed * (observed / (total * share)).ln();
            }
        }
        Self::of_statistic(statistic, categories)
    }

    /// Tests whether two samples have the same distribution. Categories with fewer than five observations in both samples
    /// together count as one, because the approximation is poor for them.
    ///
    /// `None` if a sample is empty, or both have the same single category.
    pub fn of_two(first: &[u32], second: &[u32]) -> Option<Self> {
        const SEVERAL: u32 = 5;
        assert_eq!(first.len(), second.len(), "one count in each sample");
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        let mut rest = (0, 0);
        for (first, second) in first.iter().zip(second) {
            match first + second {
                SEVERAL.. => pairs.push((*first, *second)),
                0..SEVERAL => rest = (rest.0 + first, rest.1 + second),
            }
        }
        pairs.extend((rest != (0, 0)).then_some(rest));
        let totals = pairs.iter().fold((0, 0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        let all = f64::from(totals.0 + totals.1);
        if totals.0 == 0 || totals.1 == 0 {
            return None;
        }
        let mut statistic = 0.0;
        for (first, second) in &pairs {
            let share = f64::from(first + second) / all;
            for (count, total) in
                [(*first, totals.0), (*second, totals.1)].into_iter().filter(|(count, _)| *count > 0)
            {
                let observed = f64::from(count);
                statistic += 2.0 * observed * (observed / (f64::from(total) * share)).ln();
            }
        }
        Self::of_statistic(statistic, u32::try_from(pairs.len()).ok()?)
    }

    fn of_statistic(statistic: f64, categories: u32) -> Option<Self> {
        // A sum that should be zero may be slightly negative because of rounding.
        let statistic = statistic.max(0.0);
        let distribution = ChiSquared::new(f64::from(categories.checked_sub(1)?)).ok()?;
        Some(Self { statistic, p_value: distribution.sf(statistic) })
    }
}

#[cfg(test)]
mod tests;
