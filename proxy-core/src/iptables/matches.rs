//! Matches that several rules share, as they stand in a rule.

use std::fmt;
use std::net::IpAddr;

use crate::config::LocalTraffic;
use crate::names::ServicePortName;
use crate::objects::Protocol;
use crate::plan::ServicePlan;

/// The protocol: kube-proxy loads the match of that name even where no port follows.
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

/// A comment about the traffic that a service port takes from outside.
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

/// A comment about a service port and perhaps one of its endpoints, with a space after it; nothing in large clusters.
#[derive(Clone, Copy)]
pub(super) struct EndpointComment<'a> {
    pub(super) name: Option<&'a ServicePortName>,
    pub(super) endpoint: Option<&'a str>,
}

impl fmt::Display for EndpointComment<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name, self.endpoint) {
            (None, _) => Ok(()),
            (Some(name), None) => write!(formatter, "-m comment --comment {name} "),
            (Some(name), Some(endpoint)) => {
                write!(formatter, "-m comment --comment \"{name} -> {endpoint}\" ")
            }
        }
    }
}

/// Traffic of this node's pods. kube-proxy: pkg/proxy/util/localdetector.go.
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
pub(super) struct IfNotLocal<'a>(pub(super) &'a LocalTraffic);

impl fmt::Display for IfNotLocal<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "! {}", IfLocal(self.0))
    }
}

/// One in so many, drawn at random; the probability as kube-proxy prints it (`%0.10f`).
pub(super) struct OneIn(pub(super) usize);

impl fmt::Display for OneIn {
    #[expect(clippy::cast_precision_loss, reason = "a Service has fewer endpoints than 2^52")]
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "-m statistic --mode random --probability {:.10}", 1.0 / self.0 as f64)
    }
}
