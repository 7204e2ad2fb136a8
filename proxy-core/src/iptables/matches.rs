//! Matches shared by several rules.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use crate::config::LocalTraffic;
use crate::names::ServicePortName;
use crate::objects::Protocol;
use crate::plan::ServicePlan;

/// The protocol: kube-proxy loads the match of that name even if no port follows.
pub(super) struct Layer4(pub(super) Protocol);

impl fmt::Display for Layer4 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.0.lower();
        write!(formatter, "-m {protocol} -p {protocol}")
    }
}

/// Packets to a VIP of a service port. `what` follows the service port's name in the comment.
#[derive(Clone, Copy)]
pub(super) struct ToVip<'a> {
    pub(super) service: &'a ServicePlan,
    pub(super) vip: IpAddr,
    pub(super) what: &'a str,
}

impl fmt::Display for ToVip<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ServicePlan { name, port, .. } = self.service;
        let Self { vip, what, .. } = self;
        let layer4 = Layer4(name.protocol());
        write!(formatter, "-m comment --comment \"{name} {what}\" {layer4} -d {vip} --dport {port}")
    }
}

/// A comment about the external traffic of a service port.
pub(super) struct ExternalDestinations<'a> {
    pub(super) what: &'a str,
    pub(super) name: &'a ServicePortName,
}

impl fmt::Display for ExternalDestinations<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name } = self;
        write!(formatter, "-m comment --comment \"{what} for {name} external destinations\"")
    }
}

/// Traffic from this node's Pods. kube-proxy: pkg/proxy/util/localdetector.go.
pub(super) struct IfLocal<'a>(pub(super) &'a LocalTraffic);

impl fmt::Display for IfLocal<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            LocalTraffic::Source(net) => write!(formatter, "-s {net}"),
            LocalTraffic::Device(device) => write!(formatter, "-i {device}"),
            LocalTraffic::DevicePrefix(prefix) => write!(formatter, "-i {prefix}+"),
        }
    }
}

/// All other traffic.
pub(crate) struct IfNotLocal<'a>(pub(crate) &'a LocalTraffic);

impl fmt::Display for IfNotLocal<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "! {}", IfLocal(self.0))
    }
}

/// A probability as kube-proxy prints it (`%0.10f`).
pub(super) struct ProbabilityText([u8; ProbabilityText::LENGTH]);

impl ProbabilityText {
    const LENGTH: usize = 12;

    /// One in `count`, which is at least two.
    pub(super) fn of_one_in(count: usize) -> Self {
        const SCALE: usize = 10_000_000_000;
        let (quotient, remainder) = (SCALE / count, SCALE % count);
        let mut digits = match (2 * remainder).cmp(&count) {
            Ordering::Less => quotient,
            Ordering::Greater => quotient + 1,
            // Halfway: the result depends on which side of it the nearest binary fraction lies.
            Ordering::Equal => return Self::by_float(count),
        };
        let mut text = *b"0.0000000000";
        for place in text[2..].iter_mut().rev() {
            *place += u8::try_from(digits % 10).unwrap_or(0);
            digits /= 10;
        }
        Self(text)
    }

    #[expect(clippy::cast_precision_loss, reason = "a Service has fewer endpoints than 2^52")]
    fn by_float(count: usize) -> Self {
        let mut text = [b'0'; Self::LENGTH];
        text.copy_from_slice(format!("{:.10}", 1.0 / count as f64).as_bytes());
        Self(text)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_rounded_as_floats_are() {
        for count in (2..5000).chain([10_240, 20_480, 51_200]) {
            let (fast, float) = (ProbabilityText::of_one_in(count), ProbabilityText::by_float(count));
            assert_eq!(fast.as_str(), float.as_str(), "1/{count}");
        }
        assert_eq!(ProbabilityText::of_one_in(2048).as_str(), "0.0004882812", "half to even");
    }
}
