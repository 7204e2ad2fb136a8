//! `net.ipv4.tcp_congestion_control`: the only sysctl here whose value is a name.

use std::fmt;

/// An algorithm that limits how much TCP has in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CongestionControl {
    /// Halves its window at a loss (RFC 5681). Built into every kernel.
    Reno,
    /// Reduces it by three tenths (RFC 9438). The default of Linux.
    #[default]
    Cubic,
}

impl CongestionControl {
    pub(super) const NAME: &str = "net.ipv4.tcp_congestion_control";

    /// The algorithm with that name. The error says what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "reno" => Ok(Self::Reno),
            "cubic" => Ok(Self::Cubic),
            _ => Err("reno or cubic; other algorithms are not modelled".to_owned()),
        }
    }
}

impl fmt::Display for CongestionControl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Reno => "reno",
            Self::Cubic => "cubic",
        })
    }
}
