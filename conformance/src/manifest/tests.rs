use proxy_core::objects::Kind;

use super::*;
use crate::cluster::Cluster;
use crate::diagnostic::{Style, render};
use crate::prepare::prepare;
use crate::runner::{RunOptions, run_sim};
use crate::scenario::{ObjectKey, ObjectName, ProxyMode};

/// The rendered diagnostics of one text.
fn rendered(text: &str) -> String {
    let manifests = load(vec![Source { name: "test.yaml".into(), text: text.into() }]);
    render(&manifests.diagnostics, &manifests.sources, Style::Plain)
}

const SCENARIO: &str = "\
apiVersion: hairpin/v1
kind: Scenario
metadata: {name: x}
spec:
  intent: i
  steps: [{connect: {from: client, to: pod/a}}]
";

#[test]
fn a_scenario_and_its_manifests_are_loaded() {
    let text = format!(
        "{SCENARIO}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n---\napiVersion: v1\nkind: ConfigMap\n---\n\
         apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {{name: n}}\n- apiVersion: apps/v1\n  \
         kind: ReplicaSet\n  metadata: {{name: r}}\n---\napiVersion: v1\nkind: ServiceList\nitems: [{{metadata: {{name: s, namespace: p}}}}]\n"
    );
    let manifests = load(vec![Source { name: "test.yaml".into(), text }]);
    assert_eq!(manifests.diagnostics, []);
    assert_eq!(manifests.scenarios.len(), 1);
    let keys: Vec<_> = manifests.objects.iter().map(|loaded| ObjectKey::of(&loaded.object)).collect();
    let expected = [
        (Kind::Pod, "default", "a"),
        (Kind::Node, "default", "n"),
        (Kind::ReplicaSet, "default", "r"),
        (Kind::Service, "p", "s"),
    ];
    assert_eq!(keys, expected.map(|(kind, ns, name)| ObjectKey { kind, name: ObjectName::new(ns, name) }));
    let node = &manifests.objects[1].origin;
    assert_eq!(&manifests.sources[0].text[node.value("metadata.name").span], "n");
}

#[test]
fn what_kubectl_prints_is_taken_verbatim() {
    // In the format of `kubectl get nodes,pods,deployments,replicasets,services,endpointslices,endpoints -o yaml`.
    let dump = include_str!("tests/dump.yaml");
    let scenario = SCENARIO
        .replace("  intent: i", "  intent: i\n  network: {externalHosts: [{name: client, ip: 172.18.0.100}]}")
        .replace("to: pod/a", "to: node/kind-worker:31234");
    let manifests = load(vec![Source { name: "dump.yaml".into(), text: format!("{scenario}---\n{dump}") }]);
    let prepared = prepare(manifests).unwrap();
    let warnings: Vec<_> = prepared.warnings.iter().map(|warning| warning.message.as_str()).collect();
    let api_server = "the endpoint 172.18.0.2 is not a Pod, a node or a host of these files; assuming an external host \
                      endpoint-172-18-0-2";
    assert_eq!(warnings, [api_server]);
    let pods: Vec<_> = prepared.cluster.pods().iter().map(|pod| pod.name.name.as_str()).collect();
    assert_eq!(pods, ["web-6d6565499c-7k2qd"], "the Deployment counts the existing Pod");
    let slices: Vec<_> = prepared.cluster.slices().map(|slice| slice.metadata.name.as_str()).collect();
    assert_eq!(slices.len(), 2, "{slices:?}: the given one, and the one mirrored from Endpoints");
    let run = run_sim(&prepared, &RunOptions::new(ProxyMode::Iptables)).unwrap();
    let flow = &run.result.steps[0].flows[0];
    assert_eq!(flow.endpoint.as_ref().map(ToString::to_string).as_deref(), Some("pod/web-6d6565499c-7k2qd"));

    // From the first change on, slices follow the Pods, regardless of the dump.
    let pod = ObjectName::new("default", "web-6d6565499c-7k2qd");
    let (changed, _) = prepared.cluster.set_ready(&pod, false).unwrap().unwrap();
    let ready = |cluster: &Cluster| {
        let web =
            cluster.slices().filter(|slice| slice.metadata.labels["kubernetes.io/service-name"] == "web");
        web.flat_map(|slice| &slice.endpoints).map(|endpoint| endpoint.conditions.ready).collect::<Vec<_>>()
    };
    assert_eq!((ready(&prepared.cluster), ready(&changed)), (vec![Some(true)], vec![Some(false)]));
}

#[test]
fn not_yaml() {
    insta::assert_snapshot!(rendered("apiVersion: v1\nkind: [Service\n---\nkind: x: y\n"));
}

#[test]
fn nested_too_deep() {
    let levels: String = (0..70).map(|level| format!("{}level:\n", " ".repeat(level))).collect();
    insta::assert_snapshot!(rendered(&levels));
}

#[test]
fn empty_name_of_a_scenario() {
    insta::assert_snapshot!(rendered(&SCENARIO.replace("{name: x}", "{name: ''}")));
}

#[test]
fn the_same_key_twice() {
    insta::assert_snapshot!(rendered("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  name: b\n"));
}

#[test]
fn kinds_that_no_api_server_serves() {
    insta::assert_snapshot!(rendered(
        "apiVersion: v1\nkind: Servce\n---\napiVersion: example.org/v1\nkind: Widget\n---\napiVersion: hairpin/v1\nkind: Scene\n\
         ---\napiVersion: hairpin/v2\nkind: Scenario\n---\napiVersion: apps/v1\nkind: Service\n---\nkind: Service\n---\n- a\n"
    ));
}

#[test]
fn other_kinds_are_passed_over() {
    let kinds = [
        ("v1", "ConfigMapList"),
        ("v1", "PodTemplate"),
        ("rbac.authorization.k8s.io/v1", "RoleList"),
        ("storage.k8s.io/v1", "CSINode"),
        ("storage.k8s.io/v1", "VolumeAttachment"),
        ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
        ("networking.k8s.io/v1", "IPAddress"),
        ("resource.k8s.io/v1", "ResourceClaim"),
        ("certificates.k8s.io/v1", "CertificateSigningRequest"),
        ("metrics.k8s.io/v1beta1", "PodMetrics"),
        ("gateway.networking.k8s.io/v1", "Gateway"),
        ("metallb.io/v1beta1", "IPAddressPool"),
        ("monitoring.coreos.com/v1", "ServiceMonitorList"),
        // A kind of the same name in a group of its own.
        ("serving.knative.dev/v1", "Service"),
        ("example.org/v1", "AllowList"),
    ];
    for (api_version, kind) in kinds {
        let item = "{metadata: {name: a}, spec: {endpoints: [{port: http}]}}";
        let text = format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{}}\nitems: [{item}]\n");
        let manifests = load(vec![Source { name: "test.yaml".into(), text }]);
        assert_eq!((manifests.diagnostics, manifests.objects), (Vec::new(), Vec::new()), "{kind}");
    }
}

#[test]
fn lists_of_any_kind_are_read() {
    for (list, item) in [("DaemonSetList", "DaemonSet"), ("ReplicaSetList", "ReplicaSet")] {
        let text = format!("apiVersion: apps/v1\nkind: {list}\nitems: [{{metadata: {{name: a}}}}]\n");
        let manifests = load(vec![Source { name: "test.yaml".into(), text }]);
        let kinds: Vec<_> = manifests.objects.iter().map(|loaded| loaded.object.kind().name()).collect();
        assert_eq!(kinds, [item]);
    }
    let empty = "apiVersion: v1\nkind: List\nitems: null\n";
    assert_eq!(rendered(empty), "");
}

#[test]
fn unknown_fields_are_warnings() {
    insta::assert_snapshot!(rendered(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, lables: {app: a}}\nspec:\n  sessionAfinity: ClientIP\n  ports:\n  - port: 80\n    \
         nodeport: 30080\n---\napiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: d}\nspec:\n  template:\n    spec:\n      containers:\n      - \
         port: 80\n        volumeMounts: [{any: thing}]\n      xyzzy: 1\n---\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: \
         KubeProxyConfiguration\nclusterCidr: 10.244.0.0/16\n"
    ));
}

#[test]
fn unknown_field_of_a_scenario() {
    insta::assert_snapshot!(rendered(&SCENARIO.replace("  intent: i", "  intent: i\n  netwrok: {}")));
}

#[test]
fn missing_field_of_a_scenario() {
    insta::assert_snapshot!(rendered(&SCENARIO.replace("metadata: {name: x}\n", "")));
}

#[test]
fn wrong_types_and_words() {
    insta::assert_snapshot!(rendered(
        "apiVersion: v1\nkind: Service\nmetadata: {name: 5}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  \
         type: Nodeport\n---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec:\n  ports:\n  - port: \"80\"\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {labels: {a: b}}\n"
    ));
}

#[test]
fn duplicate_names() {
    insta::assert_snapshot!(rendered(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: other}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: default\n"
    ));
}

#[test]
fn kinds_that_are_ignored_with_a_warning() {
    insta::assert_snapshot!(rendered(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n---\napiVersion: batch/v1\nkind: CronJob\n"
    ));
}

#[test]
fn faults_of_fields_have_their_places() {
    insta::assert_snapshot!(rendered(
        &SCENARIO
            .replace("to: pod/a}", "to: pod/a//b, count: 0}")
            .replace("  intent: i", "  intent: i\n  proxyModes: [iptable]")
    ));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(apiVersion: v1\nkind: (Service|List|Pod)\n)?[ a-z:\\[\\]{}\n-]{0,60}") {
        rendered(&text);
    }
}
