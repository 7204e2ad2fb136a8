//! Changes of virtual services and their real servers.

use std::fmt::Write as _;

use super::touched::Touched;
use super::{NodeState, RealServer};
use crate::ipvs::services::{Offer, Scheduling, VirtualService, offers, write_added_server, write_service};
use crate::names::ServicePortName;
use crate::objects::Protocol;
use crate::plan::{IpvsNode, Plan, ServiceChange, ServicePlan};

/// What a virtual service has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    scheduling: Scheduling,
    /// Those with weight 1, sorted by text.
    servers: Vec<Box<str>>,
}

/// Lines for `ipvsadm --restore`.
#[derive(Debug, Default)]
pub(super) struct ServiceChanges {
    /// Additions and changes, and servers that leave.
    pub(super) changed: String,
    /// Virtual services that nothing refers to any more.
    pub(super) deleted: String,
}

impl Content {
    /// What a service port makes of a virtual service; of its offers, the last one counts.
    fn new(service: &VirtualService, plan: &ServicePlan, node: &IpvsNode) -> Option<Self> {
        let mut last: Option<Offer<'_>> = None;
        offers(plan, node, &mut |offer| {
            if offer.service == *service {
                last = Some(offer);
            }
        });
        last.map(|offer| Self {
            scheduling: Scheduling { scheduler: node.scheduler, persistence: plan.affinity_seconds },
            servers: offer.servers().map(Box::from).collect(),
        })
    }

    fn has(&self, server: &str) -> bool {
        self.servers.binary_search_by(|own| (**own).cmp(server)).is_ok()
    }
}

impl NodeState {
    /// Changes the touched virtual services. `self.node` is the node before the sync.
    pub(super) fn change_services(
        &mut self,
        touched: &Touched,
        changes: &[ServiceChange],
        after: &Plan,
    ) -> ServiceChanges {
        let mut lines = ServiceChanges::default();
        for (service, served_before) in &touched.services {
            let old = served_before.as_ref().and_then(|name| plan_before(name, changes, after));
            let old = old.and_then(|plan| Content::new(service, plan, &self.node.ipvs));
            let old = old.or_else(|| self.excluded.remove(service));
            let new = self.claims.served(service).and_then(|name| after.services.get(name));
            let new = new.and_then(|plan| Content::new(service, plan, &after.node.ipvs));
            self.change_service(&mut lines, service, old, new, &after.node.ipvs);
        }
        self.excluded.retain(|service, _| {
            let is_kept = after.node.ipvs.excludes(service.address);
            if !is_kept {
                writeln!(lines.deleted, "-D {service}").expect("writing to a String does not fail");
            }
            is_kept
        });
        lines
    }

    fn change_service(
        &mut self,
        lines: &mut ServiceChanges,
        service: &VirtualService,
        old: Option<Content>,
        new: Option<Content>,
        node: &IpvsNode,
    ) {
        let key = service.to_string();
        match (old, new) {
            (None, None) => {}
            (None, Some(new)) => {
                write_service(&mut lines.changed, "-A", &key, new.scheduling);
                for server in &new.servers {
                    write_added_server(&mut lines.changed, &key, server);
                }
            }
            (Some(old), Some(new)) => {
                if old.scheduling != new.scheduling {
                    write_service(&mut lines.changed, "-E", &key, new.scheduling);
                }
                for server in new.servers.iter().filter(|server| !old.has(server)) {
                    self.add_server(&mut lines.changed, service, &key, server);
                }
                for server in old.servers.iter().filter(|server| !new.has(server)) {
                    self.retire_server(&mut lines.changed, service, &key, server);
                }
            }
            (Some(old), None) if node.excludes(service.address) => {
                self.excluded.insert(*service, old);
            }
            (Some(_), None) => {
                writeln!(lines.deleted, "-D {key}").expect("writing to a String does not fail");
                self.draining.retain(|server| server.service != *service);
            }
        }
    }

    /// A server that comes back while it drains is deleted and added again.
    ///
    /// kube-proxy: `MoveRSOutofGracefulDeleteList`, pkg/proxy/ipvs/graceful_termination.go.
    fn add_server(&mut self, text: &mut String, service: &VirtualService, key: &str, server: &str) {
        if self.draining.remove(&RealServer { service: *service, address: server.into() }) {
            text.extend(["-d ", key, " -r ", server, "\n"]);
        }
        write_added_server(text, key, server);
    }

    /// A TCP server keeps its connections, with weight 0. Others are deleted at once: nothing tells when a UDP flow ends,
    /// and `expire_nodest_conn` ends it with its next packet.
    ///
    /// kube-proxy: `GracefulDeleteRS`, pkg/proxy/ipvs/graceful_termination.go; `IsRsGracefulTerminationNeeded`,
    /// pkg/proxy/ipvs/util/ipvs.go.
    fn retire_server(&mut self, text: &mut String, service: &VirtualService, key: &str, server: &str) {
        match service.protocol {
            Protocol::Tcp => {
                text.extend(["-e ", key, " -r ", server, " -m -w 0\n"]);
                self.draining.insert(RealServer { service: *service, address: server.into() });
            }
            Protocol::Udp | Protocol::Sctp => text.extend(["-d ", key, " -r ", server, "\n"]),
        }
    }
}

/// The plan of a service port before the changes.
fn plan_before<'a>(
    name: &ServicePortName,
    changes: &'a [ServiceChange],
    after: &'a Plan,
) -> Option<&'a ServicePlan> {
    match changes.binary_search_by(|change| change.name.cmp(name)) {
        Ok(index) => changes[index].before.as_deref(),
        Err(_) => after.services.get(name).map(|plan| &**plan),
    }
}
