//! The iptables commands in the list of a node, as kube-proxy runs them.
#![allow(dead_code, reason = "each test uses its part of this")]

use proxy_core::generator::Generator;
use proxy_core::load::{Ensure, Load};
use proxy_core::plan::Plan;

/// Every chain and jump that a node ensures in iptables mode, in order.
pub(crate) fn ensured(plan: &Plan) -> Vec<Ensure> {
    let load = Generator::Iptables.load(plan).into_iter();
    load.filter_map(|load| match load {
        Load::Ensure(ensure) => Some(ensure),
        Load::Sysctl { .. } | Load::Text { .. } => None,
    })
    .collect()
}
