//! How a cluster tracks its objects: which Services a change affects.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test stops at the first surprise")]

#[path = "support/manifests.rs"]
mod manifests;

use proxy_core::objects::Object;
use proxy_core::service_store::ServiceStore;

fn service(name: &str, spec: &str) -> Object {
    let yaml = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: 10.96.0.1, {spec}}}\n"
    );
    manifests::read(&yaml).remove(0)
}

fn slice(service: &str, rest: &str) -> Object {
    let yaml = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s, labels: {{kubernetes.io/service-name: {service}}}}}\n\
         addressType: IPv4\nports: [{{name: '', port: 80}}]\n{rest}\n"
    );
    manifests::read(&yaml).remove(0)
}

#[test]
fn changes_name_the_services_they_concern() {
    let mut store = ServiceStore::default();
    let steps: [(&str, Object, &[&str]); 10] = [
        ("a Service is added", service("a", "ports: [{port: 80}]"), &["default/a"]),
        ("it is applied again", service("a", "ports: [{port: 80}]"), &[]),
        ("its port changes", service("a", "ports: [{port: 81}]"), &["default/a"]),
        (
            "a field without effect on rules changes",
            service("a", "ports: [{port: 81, targetPort: 8080}]"),
            &[],
        ),
        ("a slice is added", slice("a", "endpoints: [{addresses: [10.0.0.1]}]"), &["default/a"]),
        ("it is applied again", slice("a", "endpoints: [{addresses: [10.0.0.1]}]"), &[]),
        ("an endpoint changes", slice("a", "endpoints: [{addresses: [10.0.0.2]}]"), &["default/a"]),
        (
            "it moves to another Service",
            slice("b", "endpoints: [{addresses: [10.0.0.2]}]"),
            &["default/a", "default/b"],
        ),
        ("a Service becomes an alias", service("a", "type: ExternalName"), &["default/a"]),
        ("an alias stays an alias", service("a", "type: ExternalName"), &[]),
    ];
    for (what, object, expected) in steps {
        let changed = store.apply(&object).unwrap();
        let names: Vec<_> = changed.iter().map(|name| name.as_str()).collect();
        assert_eq!(names, expected, "{what}");
    }
    let slice = slice("b", "");
    assert_eq!(store.delete(slice.kind(), slice.metadata().unwrap())[0].name(), "b");
    assert_eq!(store.delete(slice.kind(), slice.metadata().unwrap()), []);
    assert_eq!(store, ServiceStore::default(), "nothing remains");
}

#[test]
fn a_bad_object_changes_nothing() {
    let mut store = ServiceStore::new(&[service("a", "ports: [{port: 80}]")]).unwrap();
    let before = store.clone();
    store.apply(&service("a", "ports: [{port: 0}]")).unwrap_err();
    store.apply(&slice("a", "endpoints: [{addresses: [x]}]")).unwrap_err();
    assert_eq!(store, before);
}
