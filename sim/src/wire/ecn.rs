//! The ECN field: the two lower bits of the type of service or traffic class (RFC 3168 §5).

/// What the field says about a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ecn {
    /// Its transport does not use ECN.
    #[default]
    NotEct,
    /// ECT(1): its transport uses ECN.
    Ect1,
    /// ECT(0): the same; the usual codepoint.
    Ect0,
    /// A router has met congestion.
    Ce,
}

impl Ecn {
    /// The field of a type of service octet.
    pub const fn of_tos(tos: u8) -> Self {
        match tos & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The type of service octet with this field and DSCP 0.
    pub const fn tos(self) -> u8 {
        match self {
            Self::NotEct => 0b00,
            Self::Ect1 => 0b01,
            Self::Ect0 => 0b10,
            Self::Ce => 0b11,
        }
    }
}
