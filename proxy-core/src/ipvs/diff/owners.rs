//! Which service port wants what.

use std::collections::BTreeMap;

use crate::ipvs::members::members;
use crate::ipvs::services::{VirtualService, offers};
use crate::ipvs::set_table::{Member, SET_COUNT, SetId};
use crate::plan::Plan;

/// What a node should have, with the service port that wants it; the first one of several. Service ports are named as in
/// rules: `namespace/name:port`.
#[derive(Debug)]
pub(super) struct Owners {
    /// By [`SetId`].
    members: [BTreeMap<Member, String>; SET_COUNT],
    services: BTreeMap<VirtualService, String>,
    counts: BTreeMap<String, Counts>,
}

/// How much of a kind a service port is named for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) members: usize,
    pub(super) services: usize,
}

impl Owners {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut owners = Self {
            members: [const { BTreeMap::new() }; SET_COUNT],
            services: BTreeMap::new(),
            counts: BTreeMap::new(),
        };
        let node = &plan.node.ipvs;
        for service in plan.services.values() {
            let name = service.name.as_str();
            let mut counts = Counts::default();
            members(service, node, &mut |set, member| {
                if member.is_storable() {
                    owners.members[set as usize].entry(member).or_insert_with(|| {
                        counts.members += 1;
                        name.to_owned()
                    });
                }
            });
            offers(service, node, &mut |offer| {
                owners.services.entry(offer.service).or_insert_with(|| {
                    counts.services += 1;
                    name.to_owned()
                });
            });
            owners.counts.insert(name.to_owned(), counts);
        }
        owners
    }

    /// The members that a set should have.
    pub(super) fn members(&self, set: SetId) -> &BTreeMap<Member, String> {
        &self.members[set as usize]
    }

    /// The service port of a virtual service.
    pub(super) fn of_service(&self, service: &VirtualService) -> Option<&str> {
        self.services.get(service).map(String::as_str)
    }

    /// The number of virtual services and set members that this service port is named for.
    pub(super) fn counts(&self, name: &str) -> Counts {
        self.counts.get(name).copied().unwrap_or_default()
    }
}
