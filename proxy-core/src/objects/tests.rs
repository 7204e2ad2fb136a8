//! What deserialization accepts and rejects.

use serde::Deserialize as _;

use super::*;

fn read(kind: Kind, yaml: &str) -> Result<Object, serde_saphyr::Error> {
    serde_saphyr::with_deserializer_from_str(yaml, |deserializer| Object::deserialize_as(kind, deserializer))
}

#[test]
fn null_and_absent_are_the_zero_value() {
    let absent = read(Kind::Service, "metadata: {name: a}").unwrap();
    let null = read(
        Kind::Service,
        "metadata: {name: a, labels: null, namespace: null, creationTimestamp: null}\nspec: null\nstatus: {loadBalancer: null}",
    )
    .unwrap();
    assert_eq!(absent, null);
}

#[test]
fn unknown_fields_are_accepted() {
    let node =
        read(Kind::Node, "metadata: {name: a, uid: x}\nstatus: {nodeInfo: {architecture: amd64}}").unwrap();
    assert_eq!(node.metadata().unwrap().name, "a");
}

#[test]
fn target_port_is_a_number_or_a_name() {
    let yaml = "spec: {ports: [{port: 1, targetPort: 8080}, {port: 2, targetPort: web}, {port: 3}]}";
    let Object::Service(service) = read(Kind::Service, yaml).unwrap() else { panic!("a Service") };
    let targets: Vec<_> = service.spec.ports.into_iter().map(|port| port.target_port).collect();
    assert_eq!(targets, [Some(IntOrString::Int(8080)), Some(IntOrString::String("web".into())), None]);
}

#[test]
fn wrong_types_and_variants_are_errors_with_a_position() {
    let cases = [
        (Kind::Service, "spec:\n  ports:\n  - port: eighty\n", 3),
        (Kind::Service, "spec:\n  ports:\n  - port: 80\n    protocol: ICMP\n", 4),
        (Kind::Service, "spec:\n  type: Cluster\n", 2),
        (Kind::Service, "spec:\n  ports:\n  - port: 80\n    targetPort: 99999999999\n", 4),
        (Kind::EndpointSlice, "endpoints: []\n", 1),
    ];
    for (kind, yaml, line) in cases {
        let error = read(kind, yaml).unwrap_err();
        assert_eq!(error.location().map(|location| location.line()), Some(line), "{yaml}: {error}");
    }
}

#[test]
fn kinds_are_found_by_type_meta_and_by_row() {
    for kind in Kind::all() {
        let type_meta = TypeMeta { api_version: kind.api_version().into(), kind: kind.name().into() };
        assert_eq!(Kind::of(&type_meta), Some(kind));
    }
    assert_eq!(Kind::of(&TypeMeta { api_version: "v2".into(), kind: "Service".into() }), None);
    let read =
        TypeMeta::deserialize(serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": 1}));
    assert_eq!(Kind::of(&read.unwrap()), Some(Kind::Deployment));
}

#[test]
fn what_is_written_can_be_read_back() {
    let yaml = "metadata: {name: web, namespace: prod}
spec: {type: NodePort, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ipFamilies: [IPv4], externalIPs: [198.51.100.1],
  ports: [{name: http, port: 80, targetPort: http, nodePort: 30080, protocol: SCTP}], sessionAffinity: ClientIP,
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}, externalTrafficPolicy: Local}
status: {loadBalancer: {ingress: [{ip: 192.0.2.1, ipMode: VIP}]}}";
    let object = read(Kind::Service, yaml).unwrap();
    let json = serde_json::to_value(&object).unwrap();
    assert_eq!(json["apiVersion"], "v1");
    assert_eq!(json["kind"], "Service");
    assert_eq!(Object::deserialize_as(Kind::Service, json).unwrap(), object);
}
