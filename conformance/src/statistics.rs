//! The one statistical test that is needed: do counts go with shares?

use statrs::distribution::{ChiSquared, ContinuousCDF};

/// A run is called wrong if what it shows has a smaller probability than this. A suite of ten thousand steps with one
/// seed each then has a wrong alarm once in a hundred times; and a seed is fixed, so an alarm stays or never comes.
pub const SIGNIFICANCE: f64 = 1e-6;

/// Result of a G-test (likelihood ratio test; Sokal and Rohlf, Biometry, chapter 17).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GTest {
    /// G = 2 Σ observed · ln(observed / expected). For k categories it is distributed about as chi-squared with k - 1
    /// degrees of freedom.
    pub statistic: f64,
    /// The probability of a larger G if the shares are right.
    pub p_value: f64,
}

impl GTest {
    /// Tests counts against shares, which sum to one. A count where the share is zero is impossible: p is zero.
    ///
    /// `None` if nothing was counted, or there is only one category that can be.
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
        // A sum that should be zero may fall below it by rounding.
        let statistic = statistic.max(0.0);
        let distribution = ChiSquared::new(f64::from(categories.checked_sub(1)?)).ok()?;
        Some(Self { statistic, p_value: distribution.sf(statistic) })
    }
}

#[cfg(test)]
mod tests;
