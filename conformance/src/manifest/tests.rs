use super::*;
use crate::diagnostic::{Style, render};

/// The diagnostics of one text, as they are printed.
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
    let expected = [(Kind::Pod, "default", "a"), (Kind::Node, "default", "n"), (Kind::Service, "p", "s")];
    assert_eq!(keys, expected.map(|(kind, ns, name)| ObjectKey { kind, name: ObjectName::new(ns, name) }));
    let node = &manifests.objects[1].origin;
    assert_eq!(&manifests.sources[0].text[node.value("metadata.name").span], "n");
}

#[test]
fn not_yaml() {
    insta::assert_snapshot!(rendered("apiVersion: v1\nkind: [Service\n---\nkind: x: y\n"));
}

#[test]
fn the_same_key_twice() {
    insta::assert_snapshot!(rendered("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  name: b\n"));
}

#[test]
fn unknown_kinds() {
    insta::assert_snapshot!(rendered(
        "apiVersion: v1\nkind: Servce\n---\napiVersion: example.org/v1\nkind: Widget\n---\napiVersion: hairpin/v1\nkind: Scene\n\
         ---\napiVersion: hairpin/v2\nkind: Scenario\n---\napiVersion: apps/v1\nkind: Service\n---\nkind: Service\n---\n- a\n"
    ));
}

#[test]
fn unknown_field_of_a_scenario() {
    insta::assert_snapshot!(rendered(&SCENARIO.replace("  intent: i", "  intent: i\n  netwrok: {}")));
}

#[test]
fn missing_field_of_a_scenario() {
    insta::assert_snapshot!(rendered(&SCENARIO.replace("  intent: i\n", "")));
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
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n---\napiVersion: apps/v1\nkind: DaemonSet\n"
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
