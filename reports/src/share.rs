//! Exact probabilities as text.

use conformance::result::EndpointShare;
use conformance::shares::approximation;
use conformance::statistics::GTest;
use sim::draws::Weight;

/// Decimal digits. Weights are multiples of 2^-31, so ten digits tell neighbouring values apart.
const DIGITS: u32 = 10;

/// A probability as a decimal, rounded to nearest: `0.3333333335`. Computed without floating point.
pub fn decimal(weight: &Weight) -> String {
    let scale = 10_u64.pow(DIGITS);
    let scaled = (weight * Weight::from_integer(scale.into())).round().to_integer();
    let (whole, places) = (&scaled / scale, &scaled % scale);
    let text = format!("{whole}.{places:0>width$}", places = places.to_string(), width = DIGITS as usize);
    let shortened = text.trim_end_matches('0');
    shortened.strip_suffix('.').unwrap_or(shortened).to_owned()
}

/// The simplest fraction that approximates a probability: `1/3` for 715827883/2147483648.
///
/// kube-proxy writes the probability of its k-th rule with ten decimal digits and the kernel stores it as a fraction of
/// 2^31, so equal shares are never exactly equal. `None` if no fraction with a denominator up to 4096 is close enough.
pub fn simplest(weight: &Weight) -> Option<(u64, u64)> {
    const MAX_DENOMINATOR: u64 = 4096;
    let tolerance = Weight::new(1_u8.into(), (1_u64 << 26).into());
    (1..=MAX_DENOMINATOR).find_map(|denominator| {
        let numerator = (weight * Weight::from_integer(denominator.into())).round().to_integer();
        let fraction = Weight::new(numerator.clone(), denominator.into());
        let distance = if &fraction > weight { &fraction - weight } else { weight - &fraction };
        (distance <= tolerance).then(|| Some((u64::try_from(&numerator).ok()?, denominator)))?
    })
}

/// Tests the counts of a step against the exact weights. `None` if weights are unknown, or if only one endpoint can
/// answer.
pub fn g_test(shares: &[EndpointShare]) -> Option<GTest> {
    let weights: Option<Vec<f64>> =
        shares.iter().map(|share| share.weight.as_ref().map(approximation)).collect();
    let counts: Vec<u32> = shares.iter().map(|share| share.count).collect();
    GTest::new(&counts, &weights?)
}

#[cfg(test)]
mod tests {
    use super::{decimal, simplest};
    use sim::draws::Weight;

    fn weight(numerator: u64, denominator: u64) -> Weight {
        Weight::new(numerator.into(), denominator.into())
    }

    #[test]
    fn probabilities_read_as_what_they_stand_for() {
        for (numerator, denominator, as_decimal, as_fraction) in [
            (0, 1, "0", Some((0, 1))),
            (1, 1, "1", Some((1, 1))),
            (1, 4, "0.25", Some((1, 4))),
            (715_827_883, 1 << 31, "0.3333333335", Some((1, 3))),
            (715_827_882, 1 << 31, "0.333333333", Some((1, 3))),
            (u64::MAX - 1, u64::MAX, "1", Some((1, 1))),
            // Between 0 and 1/4096: no simple fraction is close.
            (1, 10_000, "0.0001", None),
        ] {
            let weight = weight(numerator, denominator);
            assert_eq!(decimal(&weight), as_decimal, "{weight}");
            assert_eq!(simplest(&weight), as_fraction, "{weight}");
        }
    }
}
