use proxy_core::load::Load;

use crate::cluster::Cluster;
use crate::cni::Plugins;
use crate::diagnostic::Source;
use crate::manifest::{self, Facts};
use crate::scenario::{Masquerade, Network};

const NODES: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\n\
    status: {addresses: [{type: InternalIP, address: 192.168.0.11}]}\n";

/// A cluster of one node with these Pods.
fn cluster(masquerade: Masquerade, pods: &[(&str, &str)]) -> Cluster {
    let pod = |(name, ports): &(&str, &str)| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
             spec: {{nodeName: node-1, containers: [{{ports: [{ports}]}}]}}\n"
        )
    };
    let text = format!("{NODES}{}", pods.iter().map(pod).collect::<String>());
    let loaded = manifest::load(vec![Source { name: "cluster.yaml".into(), text }]);
    let objects = loaded.objects.into_iter().map(|object| object.object).collect();
    let network = Network { masquerade, ..Network::default() };
    Cluster::new(&network, &Facts::default(), objects).unwrap().0
}

fn listing(plugins: &mut Plugins, cluster: &Cluster) -> String {
    let words = plugins.update(cluster).into_values().flatten().map(|load| match load {
        Load::Sysctl { name, value } => format!("sysctl {name}={value}\n"),
        Load::Ensure(ensure) => format!("{}\n", ensure.command()),
        Load::Text { text, .. } => text,
    });
    words.collect()
}

#[test]
fn rules_follow_the_pods() {
    let mut plugins = Plugins::default();
    let many: Vec<String> = (1..=17).map(|port| format!("{{containerPort: 80, hostPort: {port}}}")).collect();
    let many = many.join(", ");
    let web = ("web", "{containerPort: 8080, hostPort: 80, hostIP: 192.168.0.11}, {containerPort: 1}");
    let other = (
        "other",
        "{containerPort: 53, hostPort: 53, protocol: UDP}, {containerPort: 1, hostPort: 2, hostIP: '::1'}",
    );
    let mut text = String::new();
    for (what, pods) in [
        ("no Pod has a host port", vec![("none", "{containerPort: 80}")]),
        ("the first one", vec![web]),
        ("nothing changes", vec![web]),
        ("another one, which has a port of IPv6", vec![web, other]),
        ("the first one is gone", vec![other]),
        ("more ports than a rule may have, instead", vec![("other", &many)]),
    ] {
        text.push_str(&format!("# {what}\n{}", listing(&mut plugins, &cluster(Masquerade::None, &pods))));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn plugins_masquerade_by_their_own_rules() {
    let pods = [("web", "{containerPort: 80}")];
    let mut text = String::new();
    for masquerade in Masquerade::ALL {
        let mut plugins = Plugins::default();
        text.push_str(&format!(
            "# {}\n{}",
            masquerade.name(),
            listing(&mut plugins, &cluster(masquerade, &pods))
        ));
        text.push_str(&format!("# without the Pod\n{}", listing(&mut plugins, &cluster(masquerade, &[]))));
    }
    insta::assert_snapshot!(text);
}
