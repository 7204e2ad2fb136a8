//! Exact probabilities.

use num_bigint::BigUint;
use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{AddAssign, Mul};

/// An exact probability: `mantissa / 2^exponent`, in lowest terms.
///
/// The kernel draws from 2^31 or 2^32 equally likely numbers wherever an endpoint is selected, so the denominator of
/// every weight is a power of two. Products and sums need no greatest common divisor: the weights of a thousand chained
/// `statistic` rules have 31,000 bits, which shifts keep in lowest terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Odd, unless the exponent is zero.
    mantissa: BigUint,
    exponent: u64,
}

impl Weight {
    /// Never.
    pub const ZERO: Self = Self { mantissa: BigUint::ZERO, exponent: 0 };

    /// `numerator / 2^exponent`.
    pub fn new(numerator: u64, exponent: u32) -> Self {
        Self::reduced(BigUint::from(numerator), u64::from(exponent))
    }

    /// `mantissa / 2^exponent`: the inverse of [`Weight::mantissa`] and [`Weight::exponent`].
    pub fn of_parts(mantissa: BigUint, exponent: u64) -> Self {
        Self::reduced(mantissa, exponent)
    }

    /// Always.
    pub fn one() -> Self {
        Self::new(1, 0)
    }

    /// The numerator in lowest terms.
    pub const fn mantissa(&self) -> &BigUint {
        &self.mantissa
    }

    /// The binary logarithm of the denominator in lowest terms.
    pub const fn exponent(&self) -> u64 {
        self.exponent
    }

    fn reduced(mantissa: BigUint, exponent: u64) -> Self {
        match mantissa.trailing_zeros() {
            None => Self::ZERO,
            Some(zeros) => {
                let shift = zeros.min(exponent);
                if shift == 0 {
                    return Self { mantissa, exponent };
                }
                Self { mantissa: mantissa >> shift, exponent: exponent - shift }
            }
        }
    }
}

impl Mul for &Weight {
    type Output = Weight;

    fn mul(self, other: Self) -> Weight {
        Weight::reduced(&self.mantissa * &other.mantissa, self.exponent + other.exponent)
    }
}

impl AddAssign<&Self> for Weight {
    fn add_assign(&mut self, other: &Self) {
        let exponent = self.exponent.max(other.exponent);
        let mut sum = std::mem::take(&mut self.mantissa) << (exponent - self.exponent);
        match exponent - other.exponent {
            0 => sum += &other.mantissa,
            shift => sum += &other.mantissa << shift,
        }
        *self = Self::reduced(sum, exponent);
    }
}

impl<'a> Sum<&'a Self> for Weight {
    fn sum<I: Iterator<Item = &'a Self>>(weights: I) -> Self {
        weights.fold(Self::ZERO, |mut sum, weight| {
            sum += weight;
            sum
        })
    }
}

impl Ord for Weight {
    fn cmp(&self, other: &Self) -> Ordering {
        let exponent = self.exponent.max(other.exponent);
        let scaled = |weight: &Self| &weight.mantissa << (exponent - weight.exponent);
        scaled(self).cmp(&scaled(other))
    }
}

impl PartialOrd for Weight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `715827883/2147483648`; without a denominator of one.
impl fmt::Display for Weight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exponent {
            0 => write!(formatter, "{}", self.mantissa),
            exponent => write!(formatter, "{}/{}", self.mantissa, BigUint::from(1_u8) << exponent),
        }
    }
}
