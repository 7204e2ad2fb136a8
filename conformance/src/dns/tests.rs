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
    let zone =
        Zone(BTreeMap::from([("web.default.svc.cluster.local".to_owned(), Records::Addresses(vec![a, b]))]));
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
        assert_eq!(
            read(&answer),
            Some((
                Resolved { is_found, aliases: Vec::new(), addresses, is_truncated: false },
                line.to_owned()
            )),
            "{name}"
        );
        // Queries are not parsed as responses, nor responses as queries.
        assert_eq!(read(&query), None);
        assert_eq!(zone.answer(&answer, line), None);
    }
    assert_eq!(zone.answer(b"hairpin\n", line), None);
    assert_eq!(read(line.as_bytes()), None);
}

const HEADLESS: &str = "db.data.svc.cluster.local";

fn addresses(count: u32) -> Vec<Ipv4Addr> {
    (0..count).map(|number| Ipv4Addr::from(0x0af4_0100 + number)).collect()
}

/// A zone in which that name has `count` addresses.
fn zone(count: u32) -> Zone {
    Zone(BTreeMap::from([(HEADLESS.to_owned(), Records::Addresses(addresses(count)))]))
}

#[test]
fn an_answer_is_cut_where_a_datagram_ends() {
    // Header, name and rest of the question, and as many addresses as fit into 512 bytes.
    let question = 12 + HEADLESS.len() + 2 + 4;
    let fitting = u32::try_from((512 - question) / 16).expect("some");
    assert_eq!(fitting, 29);
    let line = "kube-system/coredns-0 10.244.1.2:40000 10.244.1.3:53\n";
    // Type, class, TTL and length of the identity record, its name, and its string with length byte.
    let identity = 10 + IDENTITY.len() + 2 + 1 + line.trim_end().len();
    let query = query(7, HEADLESS).expect("a name");
    for (count, told, is_truncated) in [
        (1, 1, false),
        (fitting - 1, fitting - 1, false),
        (fitting, fitting, false),
        (fitting + 1, fitting, true),
        (250, fitting, true),
        (5_000, fitting, true),
    ] {
        assert_eq!(zone(count).is_truncating(&query), is_truncated, "{count}");
        let answer = zone(count).answer(&query, line).expect("an answer");
        assert_eq!(answer.len(), question + 16 * told as usize + identity, "{count}");
        let (resolved, by) = read(&answer).expect("an answer");
        let addresses = addresses(told);
        assert_eq!(
            resolved,
            Resolved { is_found: true, aliases: Vec::new(), addresses, is_truncated },
            "{count}"
        );
        assert_eq!(by, line);
        assert_eq!(resolved.to_string().contains("would retry over TCP"), is_truncated, "{resolved}");
    }
}

#[test]
fn whoever_answers_is_named_whatever_the_length_of_the_name() {
    // 63 and 253 characters are the limits of Kubernetes.
    let query = query(7, HEADLESS).expect("a name");
    for length in [2, 200, 204, 205, 206, 207, 253, 253 + 1 + 63] {
        let line = format!(
            "{}/{} 10.244.111.122:40000 10.244.111.123:53\n",
            "n".repeat(length / 2),
            "p".repeat(length - length / 2)
        );
        for count in [1, 1_000] {
            let answer = zone(count).answer(&query, &line).expect("an answer");
            let (resolved, by) = read(&answer).expect("one that can be read");
            assert_eq!(
                (resolved.addresses.len(), by),
                (if count == 1 { 1 } else { 29 }, line.clone()),
                "{length}"
            );
        }
    }
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

#[test]
fn an_external_name_is_an_alias() {
    let web = Ipv4Addr::from([10, 96, 0, 1]);
    let records = [
        ("a.default.svc.cluster.local", Records::Alias("b.default.svc.cluster.local".to_owned())),
        ("b.default.svc.cluster.local", Records::Alias("web.default.svc.cluster.local".to_owned())),
        ("web.default.svc.cluster.local", Records::Addresses(vec![web])),
        ("out.default.svc.cluster.local", Records::Alias("example.com".to_owned())),
        ("loop.default.svc.cluster.local", Records::Alias("loop.default.svc.cluster.local".to_owned())),
    ];
    let zone = Zone(records.into_iter().map(|(name, records)| (name.to_owned(), records)).collect());
    let answered = |name: &str| {
        let query = query(1, name).expect("a name");
        read(&zone.answer(&query, "dns 10.244.1.2:1 10.244.1.3:53\n").expect("an answer"))
            .expect("records")
            .0
            .to_string()
    };
    assert_eq!(
        answered("a.default.svc.cluster.local"),
        "CNAME b.default.svc.cluster.local, CNAME web.default.svc.cluster.local, 10.96.0.1"
    );
    assert_eq!(answered("out.default.svc.cluster.local"), "CNAME example.com, no address");
    assert_eq!(answered("none.default.svc.cluster.local"), "no such name");
    assert!(answered("loop.default.svc.cluster.local").ends_with("no address"));
}
