//! DNS as a cluster has it: what its server knows, and what the resolver of a Pod asks.
//!
//! The server is that of the Kubernetes DNS specification for Services and the Pods behind headless ones; it forwards
//! nothing, so what is outside of the cluster does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use proxy_core::objects::{Protocol, Service, ServiceType};
use simple_dns::rdata::{RData, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};

use crate::cluster::Cluster;
use crate::scenario::ObjectName;

/// The domain of the cluster.
const DOMAIN: &str = "cluster.local";

/// A name with fewer dots is looked for in the search domains first (`ndots` of a Pod's resolv.conf).
const NDOTS: usize = 5;

/// Seconds for which answers may be kept, as CoreDNS has them.
const TTL: u32 = 30;

/// The longest answer, in bytes, to a query that does not say that its sender takes longer ones by EDNS (RFC 1035 §4.2.1);
/// the resolvers here do not, as glibc and musl do not unless they are told to (`options edns0` of resolv.conf(5)).
const ANSWER_MAX: usize = 512;

/// An address in an answer whose name is that of the question: a pointer to it, type, class, TTL, length, and the address
/// (RFC 1035 §4.1.3, §4.1.4); in bytes.
const ADDRESS_RECORD: usize = 2 + 2 + 2 + 4 + 2 + 4;

/// Who answered, in an additional record of class CHAOS (RFC 4892 §2.1): the line with which all servers answer.
const IDENTITY: &str = "id.server";

/// The names that the DNS server of a cluster knows, in lower case and without the last dot, with their addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone(BTreeMap<String, Vec<Ipv4Addr>>);

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The name exists.
    pub is_found: bool,
    /// Its addresses, in their order.
    pub addresses: Vec<Ipv4Addr>,
    /// There are more of them, which did not fit into a datagram (TC, RFC 1035 §4.1.1). glibc (`send_dg`, resolv/res_send.c) and
    /// musl since 1.2.4 then ask again by TCP; here nobody does.
    pub is_truncated: bool,
}

impl fmt::Display for Resolved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_truncated {
            return write!(
                formatter,
                "the first {} addresses of an answer that is too long for a datagram; a resolver would ask again by TCP, which is \
                 not modelled",
                self.addresses.len()
            );
        }
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        match (self.is_found, &addresses[..]) {
            (false, _) => formatter.write_str("no such name"),
            (true, []) => formatter.write_str("no address"),
            (true, addresses) => formatter.write_str(&addresses.join(", ")),
        }
    }
}

impl Zone {
    /// What the server of a cluster knows.
    pub fn of(cluster: &Cluster) -> Self {
        let mut names: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
        for service in
            cluster.services().filter(|service| service.spec.service_type != ServiceType::ExternalName)
        {
            let own = format!("{}.{}.svc.{DOMAIN}", service.metadata.name, service.metadata.namespace());
            if service.spec.cluster_ip != "None" {
                let addresses = service.spec.cluster_ips.iter().filter_map(|text| text.parse().ok());
                names.insert(own, addresses.collect());
                continue;
            }
            for (hostname, address) in endpoints(cluster, service) {
                let hosted = hostname.map(|hostname| format!("{hostname}.{own}"));
                for name in hosted.into_iter().chain([own.clone()]) {
                    let addresses = names.entry(name).or_default();
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
            }
        }
        names.values_mut().for_each(|addresses| addresses.sort_unstable());
        Self(names)
    }

    /// Whether the answer to a query does not fit into a datagram.
    pub fn is_truncating(&self, query: &[u8]) -> bool {
        let answer = self.answer(query, "whoever it is");
        answer.and_then(|answer| read(&answer)).is_some_and(|(resolved, _)| resolved.is_truncated)
    }

    /// The answer to a query. `identity` is the line that says who answers; `None` for what is no query.
    pub fn answer(&self, query: &[u8], identity: &str) -> Option<Vec<u8>> {
        let query = Packet::parse(query).ok().filter(|query| !query.has_flags(PacketFlag::RESPONSE))?;
        let question = query.questions.first()?;
        let mut reply = Packet::new_reply(query.id());
        reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        if query.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        let known = self.0.get(&question.qname.to_string().to_ascii_lowercase());
        if known.is_none() {
            *reply.rcode_mut() = RCODE::NameError;
        }
        if question.qtype == QTYPE::TYPE(TYPE::A) {
            let record = |address: &Ipv4Addr| {
                ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, RData::A((*address).into()))
            };
            reply.answers = known.into_iter().flatten().map(record).collect();
        }
        reply.questions.push(question.clone());
        truncate(&mut reply)?;
        // A line that is longer than a string of a TXT record becomes several of them.
        let text = TXT::try_from(identity.trim_end()).ok()?;
        let identity = Name::new_unchecked(IDENTITY);
        reply.additional_records.push(ResourceRecord::new(identity, CLASS::CH, 0, RData::TXT(text)));
        reply.build_bytes_vec_compressed().ok()
    }
}

/// Leaves out the last addresses of an answer that is too long, and says so, as CoreDNS does (`Scrub`, request/request.go, by
/// `Truncate`, msg_truncate.go of miekg/dns). The record that says who answers is not counted: no server of a cluster sends it,
/// and what clients are told would else depend on the server's name.
fn truncate(reply: &mut Packet<'_>) -> Option<()> {
    let excess = reply.build_bytes_vec_compressed().ok()?.len().saturating_sub(ANSWER_MAX);
    if excess > 0 {
        let fitting = reply.answers.len().saturating_sub(excess.div_ceil(ADDRESS_RECORD));
        reply.answers.truncate(fitting);
        reply.set_flags(PacketFlag::TRUNCATION);
    }
    Some(())
}

/// The endpoints of a Service that its clients may be sent to, with their host names.
fn endpoints(cluster: &Cluster, service: &Service) -> Vec<(Option<String>, Ipv4Addr)> {
    let mut found = Vec::new();
    for slice in cluster.slices().filter(|slice| is_of(&slice.metadata, service)) {
        for endpoint in &slice.endpoints {
            let is_published =
                endpoint.conditions.ready.unwrap_or(true) || service.spec.publish_not_ready_addresses;
            let address = endpoint.addresses.first().and_then(|text| text.parse().ok());
            found
                .extend(address.filter(|_| is_published).map(|address| (endpoint.hostname.clone(), address)));
        }
    }
    found
}

fn is_of(slice: &proxy_core::objects::ObjectMeta, service: &Service) -> bool {
    slice.namespace() == service.metadata.namespace()
        && slice.labels.get("kubernetes.io/service-name") == Some(&service.metadata.name)
}

/// The Service by which DNS is reached.
pub fn service_name() -> ObjectName {
    ObjectName::new("kube-system", "kube-dns")
}

/// Addresses and UDP ports of the endpoints of the DNS Service, ready or not: who is one of them is a DNS server.
pub fn servers(cluster: &Cluster) -> BTreeSet<(Ipv4Addr, u16)> {
    let mut servers = BTreeSet::new();
    let Some(service) = cluster.service(&service_name()) else { return servers };
    for slice in cluster.slices().filter(|slice| is_of(&slice.metadata, service)) {
        let ports = slice.ports.iter().filter(|port| port.protocol == Protocol::Udp);
        let ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
        for address in slice.endpoints.iter().filter_map(|endpoint| endpoint.addresses.first()?.parse().ok())
        {
            servers.extend(ports.iter().map(|port| (address, *port)));
        }
    }
    servers
}

/// The names that a resolver asks for, in order, until one exists: those of the search domains first if the name has few
/// dots, as glibc does (resolv.conf(5)). `namespace` is that of a Pod; others have no search domains.
pub fn candidates(name: &str, namespace: Option<&str>) -> Vec<String> {
    if let Some(absolute) = name.strip_suffix('.') {
        return vec![absolute.to_owned()];
    }
    let Some(namespace) = namespace else { return vec![name.to_owned()] };
    let domains = [format!("{namespace}.svc.{DOMAIN}"), format!("svc.{DOMAIN}"), DOMAIN.to_owned()];
    let searched = domains.iter().map(|domain| format!("{name}.{domain}"));
    match name.matches('.').count() >= NDOTS {
        true => std::iter::once(name.to_owned()).chain(searched).collect(),
        false => searched.chain([name.to_owned()]).collect(),
    }
}

/// Whether it can be asked for.
pub fn is_name(text: &str) -> bool {
    let absolute = text.strip_suffix('.').unwrap_or(text);
    // `Name` passes over labels that are empty.
    let is_label =
        |label: &str| !label.is_empty() && Name::new(label).is_ok_and(|label| label.is_valid_hostname());
    // The longest search domain must fit behind it.
    absolute.len() <= 160 && absolute.split('.').all(is_label)
}

/// A query for the IPv4 addresses of a name; `None` if there can be no such name.
pub fn query(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let question =
        Question::new(Name::new(name).ok()?, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false);
    query.questions.push(question);
    query.build_bytes_vec().ok()
}

/// Reads an answer: what it says, and the line that says who answered. `None` if it is none.
pub fn read(answer: &[u8]) -> Option<(Resolved, String)> {
    let answer = Packet::parse(answer).ok().filter(|answer| answer.has_flags(PacketFlag::RESPONSE))?;
    let addresses = answer.answers.iter().filter_map(|record| {
        let RData::A(address) = &record.rdata else { return None };
        Some(Ipv4Addr::from(address.address))
    });
    let resolved = Resolved {
        is_found: answer.rcode() == RCODE::NoError,
        addresses: addresses.collect(),
        is_truncated: answer.has_flags(PacketFlag::TRUNCATION),
    };
    let identity = answer.additional_records.iter().find_map(|record| {
        let RData::TXT(text) = &record.rdata else { return None };
        String::try_from(text.clone()).ok()
    })?;
    Some((resolved, format!("{identity}\n")))
}

#[cfg(test)]
mod tests;
