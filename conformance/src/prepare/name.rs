//! `resolve` steps with all references resolved, except the name itself.

use std::net::SocketAddrV4;
use std::time::Duration;

use proxy_core::objects::Protocol;

use super::Preparation;
use super::plan::{FlowPlan, ResolvePlan};
use super::resolve::{self, own_address};
use crate::cluster::Cluster;
use crate::dns::{self, Zone};
use crate::netns::NetnsName;
use crate::observation::Transport;
use crate::scenario::{FieldFault, PortReference, Reference, Resolve, Target};

/// Timeout of each query (`timeout` of resolv.conf(5)). There is one attempt.
const TIMEOUT: Duration = Duration::from_secs(5);

impl Preparation {
    /// The plan of the step with that index.
    pub(super) fn resolve(
        &mut self,
        index: usize,
        path: &str,
        step: &Resolve,
        cluster: &Cluster,
    ) -> Option<ResolvePlan> {
        let from = self.client(&format!("{path}.from"), &step.from, cluster);
        let name = step.name.as_str();
        if !dns::is_name(name) {
            let fault = FieldFault::new(format!("invalid DNS name {name:?}"))
                .expected("labels separated by dots, such as web.default.svc.cluster.local");
            self.scenario_fault(&fault.at(format!("{path}.name")));
            return None;
        }
        let server = self.found(&format!("{path}.name"), server(cluster))?;
        let from = from?;
        let namespace = match &from {
            NetnsName::Pod(pod) => Some(pod.namespace.as_str()),
            NetnsName::Host(_) | NetnsName::Node(_) | NetnsName::Switch => None,
        };
        let via = resolve::via(cluster, &from, *server.ip());
        let client = own_address(cluster, &from)?;
        let query = |(number, name): (u16, &String)| {
            Some(FlowPlan {
                from: from.clone(),
                from_text: step.from.to_string(),
                client: client.into(),
                to: server.into(),
                to_text: format!("{name} at service/{}", dns::service_name()),
                transport: Transport::Udp,
                // Every query of a scenario has a unique id, the same in every run.
                request: dns::query(
                    u16::try_from(index).unwrap_or(0).wrapping_mul(16).wrapping_add(number),
                    name,
                )?,
                count: 1,
                source_port: None,
                timeout: TIMEOUT,
                via: via.clone(),
                keep: None,
            })
        };
        let names = dns::candidates(name, namespace);
        let queries: Vec<FlowPlan> = (1..).zip(&names).filter_map(query).collect();
        let zone = Zone::of(cluster);
        let mut asked = queries.iter().zip(&names);
        if let Some((_, cut)) = asked.find(|(query, _)| zone.is_truncating(&query.request)) {
            let fault = FieldFault::new(format!("the response for {cut} does not fit into a datagram"))
                .help("a resolver would retry over TCP, which is not modelled: the step sees the addresses that fit");
            self.scenario_warning(&fault.at(format!("{path}.name")));
        }
        Some(ResolvePlan { queries })
    }
}

/// The address of the DNS Service.
fn server(cluster: &Cluster) -> Result<SocketAddrV4, FieldFault> {
    let name = dns::service_name();
    if cluster.service(&name).is_none() {
        return Err(FieldFault::new(format!("no DNS Service {name}"))
            .help("add it to the manifests, with a UDP port named dns, and with Pods as DNS servers"));
    }
    let port = Some(PortReference::Name("dns".to_owned()));
    resolve::socket(cluster, &Reference { target: Target::Service(name), port }, Protocol::Udp)
}
