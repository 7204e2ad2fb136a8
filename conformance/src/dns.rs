//! DNS in a cluster: the records of its server, and the queries of a Pod's resolver.
//!
//! The server follows the Kubernetes DNS specification for Services and the Pods behind headless ones. It forwards
//! nothing, so names outside of the cluster do not exist.

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

/// Names with fewer dots are tried with the search domains first (`ndots` in a Pod's resolv.conf).
const NDOTS: usize = 5;

/// TTL of records in seconds, as in CoreDNS.
const TTL: u32 = 30;

/// The maximum response size in bytes for queries without EDNS (RFC 1035 §4.2.1); like glibc and musl by default
/// (`options edns0` of resolv.conf(5)), the resolvers here do not use EDNS.
const ANSWER_MAX: usize = 512;

/// Size of an address record whose name is that of the question, in bytes: compression pointer, type, class, TTL,
/// length, and address (RFC 1035 §4.1.3, §4.1.4).
const ADDRESS_RECORD: usize = 2 + 2 + 2 + 4 + 2 + 4;

/// The responding server, as an additional record of class CHAOS (RFC 4892 §2.1): the identity line of all servers.
const IDENTITY: &str = "id.server";

/// The records of a cluster's DNS server, by name in lower case without the trailing dot.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone(BTreeMap<String, Records>);

/// The records of a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Records {
    /// A records.
    Addresses(Vec<Ipv4Addr>),
    /// A CNAME record: the name of an ExternalName Service.
    Alias(String),
}

/// The longest chain of aliases that a server follows.
const ALIASES_MAX: usize = 8;

/// The contents of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The name exists.
    pub is_found: bool,
    /// Other names that it stands for, in order: CNAME records.
    pub aliases: Vec<String>,
    /// Its addresses, in order.
    pub addresses: Vec<Ipv4Addr>,
    /// More addresses exist that did not fit into the datagram (TC, RFC 1035 §4.1.1). glibc (`send_dg`,
    /// resolv/res_send.c) and musl since 1.2.4 then retry over TCP, which is not modelled.
    pub is_truncated: bool,
}

impl fmt::Display for Resolved {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_truncated {
            return write!(
                formatter,
                "a truncated response with the first {} addresses; a resolver would retry over TCP, which is \
                 not modelled",
                self.addresses.len()
            );
        }
        if !self.is_found {
            return formatter.write_str("no such name");
        }
        for alias in &self.aliases {
            write!(formatter, "CNAME {alias}, ")?;
        }
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        match &addresses[..] {
            [] => formatter.write_str("no address"),
            addresses => formatter.write_str(&addresses.join(", ")),
        }
    }
}

impl Zone {
    /// The records of a cluster's DNS server.
    pub fn of(cluster: &Cluster) -> Self {
        let mut names: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
        let mut aliases = BTreeMap::new();
        for service in cluster.services() {
            let own = format!("{}.{}.svc.{DOMAIN}", service.metadata.name, service.metadata.namespace());
            if service.spec.service_type == ServiceType::ExternalName {
                let name = service.spec.external_name.trim_end_matches('.').to_ascii_lowercase();
                aliases.insert(own, Records::Alias(name));
                continue;
            }
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
        let names = names.into_iter().map(|(name, addresses)| (name, Records::Addresses(addresses)));
        Self(names.chain(aliases).collect())
    }

    /// True if the response to a query does not fit into a datagram.
    pub fn is_truncating(&self, query: &[u8]) -> bool {
        let answer = self.answer(query, "whoever it is");
        answer.and_then(|answer| read(&answer)).is_some_and(|(resolved, _)| resolved.is_truncated)
    }

    /// The response to any datagram: to a query as a DNS server, and to another one, such as that of a `connect` step, as any
    /// server, with the line `identity`.
    pub fn respond(&self, request: &[u8], identity: &str) -> Vec<u8> {
        self.answer(request, identity).unwrap_or_else(|| identity.as_bytes().to_vec())
    }

    /// The response to a query. `identity` is the line that identifies the server; `None` if this is not a query.
    pub fn answer(&self, query: &[u8], identity: &str) -> Option<Vec<u8>> {
        let query = Packet::parse(query).ok().filter(|query| !query.has_flags(PacketFlag::RESPONSE))?;
        let question = query.questions.first()?;
        let mut reply = Packet::new_reply(query.id());
        reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        if query.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        let mut name = question.qname.to_string().to_ascii_lowercase();
        if !self.0.contains_key(&name) {
            *reply.rcode_mut() = RCODE::NameError;
        }
        let record = |name: &str, data| {
            Some(ResourceRecord::new(Name::new(name).ok()?.into_owned(), CLASS::IN, TTL, data))
        };
        let mut owner = question.qname.to_string();
        for _ in 0..ALIASES_MAX {
            match self.0.get(&name).filter(|_| question.qtype == QTYPE::TYPE(TYPE::A)) {
                // CoreDNS looks the target up (plugin kubernetes, `External`): in its zone, and elsewhere by forwarding.
                Some(Records::Alias(alias)) => {
                    let target = Name::new(alias).ok()?.into_owned();
                    reply.answers.extend(record(&owner, RData::CNAME(target.into())));
                    owner.clone_from(alias);
                    name.clone_from(alias);
                }
                Some(Records::Addresses(addresses)) => {
                    let data = addresses.iter().map(|address| RData::A((*address).into()));
                    reply.answers.extend(data.filter_map(|data| record(&owner, data)));
                    break;
                }
                None => break,
            }
        }
        reply.questions.push(question.clone());
        truncate(&mut reply)?;
        // A line longer than a TXT string is split into several strings.
        let text = TXT::try_from(identity.trim_end()).ok()?;
        let identity = Name::new_unchecked(IDENTITY);
        reply.additional_records.push(ResourceRecord::new(identity, CLASS::CH, 0, RData::TXT(text)));
        reply.build_bytes_vec_compressed().ok()
    }
}

/// Truncates a response that is too long, as CoreDNS does (`Scrub`, request/request.go, with `Truncate`,
/// msg_truncate.go of miekg/dns). The identity record is not counted: no server of a real cluster sends it, and the
/// result would otherwise depend on the server's name.
fn truncate(reply: &mut Packet<'_>) -> Option<()> {
    let excess = reply.build_bytes_vec_compressed().ok()?.len().saturating_sub(ANSWER_MAX);
    if excess > 0 {
        let fitting = reply.answers.len().saturating_sub(excess.div_ceil(ADDRESS_RECORD));
        reply.answers.truncate(fitting);
        reply.set_flags(PacketFlag::TRUNCATION);
    }
    Some(())
}

/// The endpoints of a Service that clients may be sent to, with their host names.
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

/// The Service that provides DNS.
pub fn service_name() -> ObjectName {
    ObjectName::new("kube-system", "kube-dns")
}

/// Addresses and UDP ports of the endpoints of the DNS Service, ready or not; these endpoints are the DNS servers.
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

/// The names that a resolver queries, in order, until one exists: with few dots, those with search domains first, as in
/// glibc (resolv.conf(5)). `namespace` is that of a Pod; other clients have no search domains.
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

/// True if it is a valid name to query.
pub fn is_name(text: &str) -> bool {
    let absolute = text.strip_suffix('.').unwrap_or(text);
    // `Name` skips empty labels.
    let is_label =
        |label: &str| !label.is_empty() && Name::new(label).is_ok_and(|label| label.is_valid_hostname());
    // The longest search domain must fit after it.
    absolute.len() <= 160 && absolute.split('.').all(is_label)
}

/// A query for the IPv4 addresses of a name; `None` if the name is invalid.
pub fn query(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let question =
        Question::new(Name::new(name).ok()?, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false);
    query.questions.push(question);
    query.build_bytes_vec().ok()
}

/// Parses a response: its contents and the server's identity line. `None` if it is malformed.
pub fn read(answer: &[u8]) -> Option<(Resolved, String)> {
    let answer = Packet::parse(answer).ok().filter(|answer| answer.has_flags(PacketFlag::RESPONSE))?;
    let addresses = answer.answers.iter().filter_map(|record| {
        let RData::A(address) = &record.rdata else { return None };
        Some(Ipv4Addr::from(address.address))
    });
    let aliases = answer.answers.iter().filter_map(|record| {
        let RData::CNAME(alias) = &record.rdata else { return None };
        Some(alias.0.to_string())
    });
    let resolved = Resolved {
        is_found: answer.rcode() == RCODE::NoError,
        aliases: aliases.collect(),
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
