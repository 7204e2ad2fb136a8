//! What a sync may change: everything that a changed service port wanted or wants.

use std::collections::BTreeMap;

use crate::ipvs::addresses;
use crate::ipvs::claims::{Claims, Wants};
use crate::ipvs::services::VirtualService;
use crate::ipvs::set_table::{Member, SetId};
use crate::names::ServicePortName;
use crate::objects::IpFamily;

/// Members and virtual services, with their state before the sync.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// True if the set had the member.
    members: BTreeMap<(SetId, Member), bool>,
    /// The service port that the virtual service served.
    pub(super) services: BTreeMap<VirtualService, Option<ServicePortName>>,
}

/// Texts that change the members of sets.
#[derive(Debug, Default)]
pub(super) struct MemberChanges {
    /// For `ip -batch`.
    pub(super) bound: String,
    /// For `ipset restore`.
    pub(super) sets: String,
    /// For `ip -batch`.
    pub(super) unbound: String,
}

impl Touched {
    /// Notes the state of what a service port wants; `claims` are those before the sync.
    pub(super) fn note(&mut self, claims: &Claims, wants: &Wants) {
        for member in &wants.members {
            self.members.entry(*member).or_insert_with(|| claims.has(member));
        }
        for service in &wants.services {
            self.services.entry(*service).or_insert_with(|| claims.served(service).cloned());
        }
    }

    /// Texts for the members that came or went; `claims` are those after the sync.
    ///
    /// KUBE-IPVS-IPS gets an address last and loses it first: meanwhile, new connections to the VIP would be rejected.
    pub(super) fn members(&self, claims: &Claims, family: IpFamily) -> MemberChanges {
        let went = |key| self.members[key] && !claims.has(key);
        let came = |key| !self.members[key] && claims.has(key);
        let added: Vec<_> = self.members.keys().filter(|key| came(*key)).collect();
        let deleted: Vec<_> = self.members.keys().rev().filter(|key| went(*key)).collect();
        let mut sets = String::new();
        for (verb, keys) in [("add", &added), ("del", &deleted)] {
            for (set, member) in keys.iter().filter(|(_, member)| member.is_storable()) {
                member.write(&mut sets, verb, *set, family);
            }
        }
        let addresses = |keys: &[&(SetId, Member)], verb| {
            let bound = keys.iter().filter(|(set, _)| *set == SetId::IpvsIps);
            addresses::batch(verb, bound.map(|(_, member)| member))
        };
        MemberChanges { bound: addresses(&added, "add"), sets, unbound: addresses(&deleted, "del") }
    }
}
