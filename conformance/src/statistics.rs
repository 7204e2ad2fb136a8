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
        // A sum that should be zero may be slightly negative because of rounding.
        let statistic = statistic.max(0.0);
        let distribution = ChiSquared::new(f64::from(categories.checked_sub(1)?)).ok()?;
        Some(Self { statistic, p_value: distribution.sf(statistic) })
    }
}

#[cfg(test)]
mod tests;
