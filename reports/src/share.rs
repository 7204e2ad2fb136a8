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
    let scaled = rounded(weight, scale);
    let (whole, places) = (scaled / scale, scaled % scale);
    let text = format!("{whole}.{places:0>width$}", width = DIGITS as usize);
    let shortened = text.trim_end_matches('0');
    shortened.strip_suffix('.').unwrap_or(shortened).to_owned()
}

/// A probability times `scale`, rounded to the nearest integer, halves up.
fn rounded(weight: &Weight, scale: u64) -> u64 {
    let doubled = ((weight.mantissa() * scale) << 1_u32) >> weight.exponent();
    u64::try_from((doubled + 1_u8) >> 1_u32).unwrap_or(u64::MAX)
}

/// The simplest fraction that approximates a probability: `1/3` for 715827883/2147483648.
///
/// kube-proxy writes the probability of its k-th rule with ten decimal digits and the kernel stores it as a fraction of
/// 2^31, so equal shares are never exactly equal. `None` if no fraction with a denominator up to 4096 is close enough.
pub fn simplest(weight: &Weight) -> Option<(u64, u64)> {
    const MAX_DENOMINATOR: u64 = 4096;
    /// A weight may have thousands of bits. Those beyond this number are far below the tolerance.
    const BITS: u32 = 64;
    const TOLERANCE: u128 = 1 << (BITS - 26);
    let fixed = u128::try_from((weight.mantissa() << BITS) >> weight.exponent()).ok()?;
    (1..=MAX_DENOMINATOR).find_map(|denominator| {
        let scaled = fixed * u128::from(denominator);
        let numerator = (scaled + (1 << (BITS - 1))) >> BITS;
        let distance = scaled.abs_diff(numerator << BITS);
        let is_near = distance <= TOLERANCE * u128::from(denominator);
        is_near.then(|| Some((u64::try_from(numerator).ok()?, denominator)))?
    })
}

/// `1/3`, or `1`.
pub fn fraction_text((numerator, denominator): (u64, u64)) -> String {
    match denominator {
        1 => numerator.to_string(),
        _ => format!("{numerator}/{denominator}"),
    }
}

/// The fraction itself, if it has at most `width_max` characters.
pub fn fraction(weight: &Weight, width_max: usize) -> Option<String> {
    // A digit needs more than three bits. Avoids computing digits of larger denominators.
    let may_fit = weight.exponent() <= 4 * u64::try_from(width_max).unwrap_or(u64::MAX);
    may_fit.then(|| weight.to_string()).filter(|text| text.len() <= width_max)
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

    #[test]
    fn probabilities_read_as_what_they_stand_for() {
        for (numerator, exponent, as_decimal, as_fraction) in [
            (0, 0, "0", Some((0, 1))),
            (1, 0, "1", Some((1, 1))),
            (1, 2, "0.25", Some((1, 4))),
            (715_827_883, 31, "0.3333333335", Some((1, 3))),
            (715_827_882, 31, "0.333333333", Some((1, 3))),
            (u64::MAX, 64, "1", Some((1, 1))),
            // Between 0 and 1/4096: no simple fraction is close.
            (1, 13, "0.0001220703", None),
            // Halves are rounded up: 0.00000000005.
            (1, 11, "0.0004882813", Some((1, 2048))),
        ] {
            let weight = Weight::new(numerator, exponent);
            assert_eq!(decimal(&weight), as_decimal, "{weight}");
            assert_eq!(simplest(&weight), as_fraction, "{weight}");
        }
    }
}
