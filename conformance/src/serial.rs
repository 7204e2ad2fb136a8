//! Serialized forms of types of the simulator, which has no serialization of its own.

use num_bigint::BigUint;
use serde::{Deserialize, Serialize};
use sim::draws::Weight;
use sim::trace::{Outcome, Refusal, Unreachable};

/// [`Outcome`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Outcome")]
pub(crate) enum OutcomeForm {
    Connected,
    Refused(#[serde(with = "RefusalForm")] Refusal),
    Unreachable(#[serde(with = "UnreachableForm")] Unreachable),
    Timeout,
    Reset,
}

/// [`Refusal`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Refusal")]
pub(crate) enum RefusalForm {
    TcpReset,
    IcmpPortUnreachable,
}

/// [`Unreachable`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Unreachable")]
pub(crate) enum UnreachableForm {
    Network,
    Host,
    Protocol,
    Prohibited,
    MessageSize,
}

/// An exact probability, or none: `(numerator, binary logarithm of the denominator)`, the numerator in decimal.
pub(crate) mod weight {
    use serde::de::Error as _;
    use serde::{Deserializer, Serializer};

    use super::{BigUint, Deserialize, Serialize, Weight};

    pub(crate) fn serialize<S: Serializer>(weight: &Option<Weight>, to: S) -> Result<S::Ok, S::Error> {
        let parts = |weight: &Weight| (weight.mantissa().to_string(), weight.exponent());
        weight.as_ref().map(parts).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Weight>, D::Error> {
        let Some((mantissa, exponent)) = Option::<(String, u64)>::deserialize(from)? else { return Ok(None) };
        let mantissa: BigUint = mantissa.parse().map_err(D::Error::custom)?;
        Ok(Some(Weight::of_parts(mantissa, exponent)))
    }
}
