//! Exact shares: `1/3`, `0`, `1`, `0.25`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A fraction from 0 to 1, in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Share {
    numerator: u32,
    denominator: u32,
}

impl Share {
    /// Zero.
    pub const ZERO: Self = Self { numerator: 0, denominator: 1 };
    /// One.
    pub const ONE: Self = Self { numerator: 1, denominator: 1 };

    /// Maximum number of decimal places. Precise enough for every share that rules can express, which are multiples of
    /// 2⁻³¹.
    pub const PLACES_MAX: u32 = 9;

    /// `numerator / denominator`, or `None` if that is not between 0 and 1.
    pub fn new(numerator: u32, denominator: u32) -> Option<Self> {
        let divisor = gcd(numerator, denominator);
        (denominator != 0 && numerator <= denominator)
            .then(|| Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// Parses `1/3`, `0`, `1` or a decimal with up to [`Share::PLACES_MAX`] places, exactly.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |text: &str| -> Option<u32> {
            (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
        };
        if let Some((numerator, denominator)) = text.split_once('/') {
            return Self::new(digits(numerator.trim_end())?, digits(denominator.trim_start())?);
        }
        let Some((whole, places)) = text.split_once('.') else { return Self::new(digits(text)?, 1) };
        let place_count = u32::try_from(places.len()).ok().filter(|count| *count <= Self::PLACES_MAX)?;
        let denominator = 10_u32.pow(place_count);
        Self::new(digits(whole)?.checked_mul(denominator)?.checked_add(digits(places)?)?, denominator)
    }

    /// The numerator in lowest terms.
    pub const fn numerator(self) -> u32 {
        self.numerator
    }

    /// The denominator in lowest terms.
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// The nearest floating-point number; for statistics, never for exact comparison.
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }
}

fn gcd(left: u32, right: u32) -> u32 {
    if right == 0 { left.max(1) } else { gcd(right, left % right) }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(formatter, "{}", self.numerator),
            denominator => write!(formatter, "{}/{denominator}", self.numerator),
        }
    }
}
