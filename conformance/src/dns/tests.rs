use super::*;

#[test]
fn resolvers_search_as_glibc_does() {
    let cases: [(&str, Option<&str>, &[&str]); 5] = [
        (
            "web",
            Some("prod"),
            &["web.prod.svc.cluster.local", "web.svc.cluster.local", "web.cluster.local", "web"],
        ),
        (
            "web.prod",
            Some("default"),
            &[
                "web.prod.default.svc.cluster.local",
                "web.prod.svc.cluster.local",
                "web.prod.cluster.local",
                "web.prod",
            ],
        ),
        (
            "a.b.c.d.e.f",
            Some("default"),
            &[
                "a.b.c.d.e.f",
                "a.b.c.d.e.f.default.svc.cluster.local",
                "a.b.c.d.e.f.svc.cluster.local",
                "a.b.c.d.e.f.cluster.local",
            ],
        ),
        ("web.prod.svc.cluster.local.", Some("default"), &["web.prod.svc.cluster.local"]),
        ("web", None, &["web"]),
    ];
    for (name, namespace, expected) in cases {
        assert_eq!(candidates(name, namespace), expected, "{name}");
    }
}

#[test]
fn a_server_answers_from_its_zone() {
    let [a, b] = [[10, 96, 0, 1], [10, 96, 0, 2]].map(Ipv4Addr::from);
    let zone = Zone(BTreeMap::from([("web.default.svc.cluster.local".to_owned(), vec![a, b])]));
    let line = "kube-system/coredns-0 10.244.1.2:40000 10.244.1.3:53\n";
    for (name, is_found) in [
        ("web.default.svc.cluster.local", true),
        ("WEB.default.svc.cluster.local", true),
        ("web.default.svc.cluster", false),
    ] {
        let query = query(0x1234, name).expect("a name");
        let answer = zone.answer(&query, line).expect("an answer");
        assert_eq!(answer[..2], [0x12, 0x34]);
        let addresses = if is_found { vec![a, b] } else { Vec::new() };
        assert_eq!(read(&answer), Some((Resolved { is_found, addresses }, line.to_owned())), "{name}");
        // Neither end takes the one for the other.
        assert_eq!(read(&query), None);
        assert_eq!(zone.answer(&answer, line), None);
    }
    assert_eq!(zone.answer(b"hairpin\n", line), None);
    assert_eq!(read(line.as_bytes()), None);
}

#[test]
fn what_can_be_asked_for() {
    for (name, expected) in [
        ("web", true),
        ("web.default.svc.cluster.local.", true),
        ("", false),
        (".", false),
        ("a..b", false),
        ("-a", false),
        (&"a".repeat(64), false),
        (&"a.".repeat(90), false),
    ] {
        assert_eq!(is_name(name), expected, "{name:?}");
    }
}
