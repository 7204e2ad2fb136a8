//! Properties that hold for every cluster, node and update.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/clusters.rs"]
mod clusters;
#[path = "support/commands.rs"]
mod commands;
#[path = "support/compare.rs"]
mod compare;
#[path = "support/manifests.rs"]
mod manifests;
#[path = "support/restore_model.rs"]
mod restore_model;

use proptest::prelude::*;
use proxy_core::config::NodeConfig;
use proxy_core::generator::Generator;
use proxy_core::iptables::{self, sync};
use proxy_core::load::{Ensure, Load};
use proxy_core::objects::{IpFamily, Object};
use proxy_core::plan::Plan;
use proxy_core::service_store::ServiceStore;
use restore_model::Ruleset;

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

fn plan(objects: &[Object], config: &NodeConfig, family: IpFamily) -> Plan {
    Plan::new(&ServiceStore::new(objects).unwrap(), config, family)
}

/// The state of a node: the chains that the jumps refer to, then the restore input.
fn loaded(plan: &Plan) -> Ruleset {
    let mut rules = Ruleset::default();
    for ensure in commands::ensured(plan) {
        if let Ensure::Chain { table, chain, .. } = ensure {
            rules.make_chain(&table.to_string(), chain);
        }
    }
    rules.restore(&iptables::restore(plan)).unwrap();
    rules
}

fn loads(plan: &Plan) -> Vec<Load> {
    Generator::Iptables.load(plan)
}

fn check_sync(before: &Plan, after: &Plan, sync: &str) {
    let mut rules = loaded(before);
    rules.restore(sync).unwrap_or_else(|error| panic!("{error}\n{sync}"));
    let differences = compare::differences(&loaded(after), &rules);
    assert_eq!(differences, "", "after\n{sync}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Full rules followed by the sync equal the full rules of the new state.
    #[test]
    fn a_sync_leads_to_the_new_state((before, after) in clusters::pair(), config in clusters::config()) {
        for family in FAMILIES {
            let [before, after] = [&before, &after].map(|objects| plan(objects, &config, family));
            let sync = sync::between(&before, &after);
            check_sync(&before, &after, &sync);
            prop_assert_eq!(sync.is_empty(), loaded(&before) == loaded(&after));
        }
    }

    /// The same if the node itself changes.
    #[test]
    fn a_sync_follows_the_node((before, after) in clusters::pair(), configs in [clusters::config(), clusters::config()]) {
        for family in FAMILIES {
            let before = plan(&before, &configs[0], family);
            let after = plan(&after, &configs[1], family);
            check_sync(&before, &after, &sync::between(&before, &after));
        }
    }

    /// A plan updated object by object equals the plan of the new objects, and each sync leads to it.
    #[test]
    fn a_plan_follows_single_objects((before, after) in clusters::pair(), config in clusters::config()) {
        for family in FAMILIES {
            let mut store = ServiceStore::new(&before).unwrap();
            let mut current = Plan::new(&store, &config, family);
            let mut rules = loaded(&current);
            for (object, is_new) in steps(&before, &after) {
                let services = if is_new {
                    store.apply(object).unwrap()
                } else {
                    store.delete(object.kind(), object.metadata().unwrap())
                };
                let old = current.clone();
                let change = current.update(&store, &config, &services);
                prop_assert_eq!(&change, &current.change_since(&old));
                rules.restore(&sync::of_change(&current, &change)).unwrap();
            }
            prop_assert_eq!(&current, &plan(&after, &config, family));
            prop_assert_eq!(compare::differences(&loaded(&current), &rules), "");
        }
    }

    /// The order of manifests does not matter.
    #[test]
    fn order_never_matters((objects, shuffled) in clusters::cluster().prop_flat_map(|objects| (Just(objects.clone()), Just(objects).prop_shuffle())), config in clusters::config()) {
        for family in FAMILIES {
            prop_assert_eq!(loads(&plan(&objects, &config, family)), loads(&plan(&shuffled, &config, family)));
        }
    }
}

/// Deletions and changes that turn one cluster into another.
fn steps<'a>(before: &'a [Object], after: &'a [Object]) -> Vec<(&'a Object, bool)> {
    let key = |object: &Object| {
        let metadata = object.metadata().unwrap();
        (object.kind(), metadata.namespace.clone(), metadata.name.clone())
    };
    let is_in = |objects: &[Object], wanted: &Object| objects.iter().any(|object| key(object) == key(wanted));
    let deleted = before.iter().filter(|object| !is_in(after, object)).map(|object| (object, false));
    deleted.chain(after.iter().map(|object| (object, true))).collect()
}

/// Objects of the given number of Services and endpoints per Service.
fn uniform_cluster(services: usize, endpoints: usize) -> Vec<Object> {
    let mut objects = Vec::new();
    for service in 0..services {
        let yaml = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{service}}}\nspec: {{clusterIP: 10.96.0.{}, ports: [{{port: 80}}]}}\n",
            service + 1
        );
        let addresses: String =
            (0..endpoints).map(|index| format!("- {{addresses: [10.244.{service}.{index}]}}\n")).collect();
        let slice = format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{service}-1, labels: {{kubernetes.io/service-name: s{service}}}}}\n\
             addressType: IPv4\nports: [{{name: '', port: 80}}]\nendpoints:\n{addresses}"
        );
        objects.extend(manifests::read(&format!("{yaml}---\n{slice}")));
    }
    objects
}

/// Above a thousand endpoints, comments about endpoints are omitted in all Services; below they return.
#[test]
fn a_sync_follows_the_size_of_the_cluster() {
    let configuration = proxy_core::objects::KubeProxyConfiguration::default();
    let config = NodeConfig::new(proxy_core::config::Machine::new("a"), &configuration, None).unwrap();
    let small = uniform_cluster(10, 100);
    let mut large = small.clone();
    large.extend(uniform_cluster(11, 1).split_off(20));
    let [small, large] = [small, large].map(|objects| plan(&objects, &config, IpFamily::V4));
    assert_eq!((small.endpoint_count, large.endpoint_count), (1000, 1001));
    assert!(iptables::restore(&small).contains(" -> 10.244.0.0:80"));
    assert!(!iptables::restore(&large).contains(" -> "));
    for (before, after) in [(&small, &large), (&large, &small)] {
        check_sync(before, after, &sync::between(before, after));
    }
}

/// A duplicate address yields a duplicate rule; which of them is deleted matters for the order of the others.
#[test]
fn a_sync_handles_equal_rules() {
    let machine = proxy_core::config::Machine::new("a");
    let config = NodeConfig::new(machine, &Default::default(), None).unwrap();
    let mut lists = vec![vec![]];
    for _ in 0..3 {
        let longer = |list: &Vec<&'static str>| {
            ["198.51.100.1", "198.51.100.2"].map(|ip| [list.as_slice(), &[ip]].concat())
        };
        lists = lists.iter().flat_map(longer).chain(lists.clone()).collect();
    }
    let plans = lists.iter().map(|list| {
        let mut objects = uniform_cluster(3, 0);
        for object in &mut objects {
            if let Object::Service(service) = object {
                service.spec.external_ips = list.iter().map(|ip| (*ip).to_owned()).collect();
            }
        }
        plan(&objects, &config, IpFamily::V4)
    });
    let plans: Vec<_> = plans.collect();
    for before in &plans {
        for after in &plans {
            check_sync(before, after, &sync::between(before, after));
        }
    }
}
