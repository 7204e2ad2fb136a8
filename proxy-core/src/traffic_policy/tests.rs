//! Endpoint categories, as a table.

use super::*;

/// Endpoints in short form: one word each, of flags `r`eady, `s`erving, `t`erminating, `l`ocal, then `/zone` and
/// `@node` hints. Results name endpoints by position: `a` is the first.
fn endpoints(text: &str) -> Vec<Endpoint> {
    let words = text.split_whitespace().enumerate();
    let parsed = words.map(|(index, word)| {
        let (rest, node) = word.split_once('@').unwrap_or((word, ""));
        let (flags, zone) = rest.split_once('/').unwrap_or((rest, ""));
        let hints = |text: &str| text.split(',').filter(|hint| !hint.is_empty()).map(Into::into).collect();
        let address = std::net::Ipv4Addr::new(10, 0, 0, u8::try_from(index).unwrap());
        Endpoint {
            address: address.into(),
            port: 80,
            text: format!("{address}:80").into(),
            is_local: flags.contains('l'),
            is_ready: flags.contains('r'),
            is_serving: flags.contains('s'),
            is_terminating: flags.contains('t'),
            zone_hints: hints(zone),
            node_hints: hints(node),
        }
    });
    parsed.collect()
}

fn shown(categories: &Categories) -> String {
    let letters = |indexes: &[u32]| -> String {
        indexes.iter().map(|index| char::from(b'a' + u8::try_from(*index).unwrap())).collect()
    };
    let Categories { cluster, local, all_reachable, has_any } = categories;
    let any = if *has_any { "any" } else { "none" };
    format!("cluster={} local={} all={} {any}", letters(cluster), letters(local), letters(all_reachable))
}

const BOTH: Question<'_> = Question {
    uses_cluster_endpoints: true,
    uses_local_endpoints: true,
    zone: Some("east"),
    node_for_hints: Some("me"),
};
const CLUSTER: Question<'_> = Question { uses_local_endpoints: false, ..BOTH };
const LOCAL: Question<'_> = Question { uses_cluster_endpoints: false, ..BOTH };

#[test]
fn endpoints_are_sorted_by_policy_readiness_and_hints() {
    let cases = [
        ("nothing", "", BOTH, "cluster= local= all= none"),
        ("ready", "rs rsl rs", CLUSTER, "cluster=abc local= all=abc any"),
        ("local endpoints are part of all", "rs rsl rs", BOTH, "cluster=abc local=b all=abc any"),
        ("local only", "rs rsl rs", LOCAL, "cluster= local=b all=b any"),
        ("none local, some elsewhere", "rs rs", LOCAL, "cluster= local= all= any"),
        ("not ready", "s sl", BOTH, "cluster= local= all= none"),
        ("terminating serves if none is ready", "st stl t", BOTH, "cluster=ab local=b all=ab any"),
        ("terminating does not serve if one is ready", "rs st", CLUSTER, "cluster=a local= all=a any"),
        ("local is decided per node", "rs stl", BOTH, "cluster=a local=b all=ab any"),
        ("terminating and not serving", "t tl", BOTH, "cluster= local= all= none"),
        (
            "ready although terminating, with publishNotReadyAddresses",
            "rt rtl",
            BOTH,
            "cluster=ab local=b all=ab any",
        ),
        (
            "ready takes precedence over terminating on this node",
            "rsl stl",
            BOTH,
            "cluster=a local=a all=a any",
        ),
        ("zone hints", "rs/east rs/west rs/west,east", CLUSTER, "cluster=ac local= all=ac any"),
        ("one without hint disables all", "rs/east rs", CLUSTER, "cluster=ab local= all=ab any"),
        (
            "hints of unready endpoints are ignored",
            "rs/east s rs/west",
            CLUSTER,
            "cluster=a local= all=a any",
        ),
        ("none for this zone", "rs/west rs/north", CLUSTER, "cluster=ab local= all=ab any"),
        (
            "hints of terminating endpoints are ignored",
            "st/west st/east",
            CLUSTER,
            "cluster=ab local= all=ab any",
        ),
        ("hints do not narrow local", "rsl/west rs/east", BOTH, "cluster=b local=a all=ab any"),
        ("node hints take precedence", "rs/east@me rs/east@other", CLUSTER, "cluster=a local= all=a any"),
        ("zone hints if no node hint matches", "rs/east@x rs/west@y", CLUSTER, "cluster=a local= all=a any"),
        ("one without node hint", "rs/east@me rs/east", CLUSTER, "cluster=ab local= all=ab any"),
        (
            "a node without zone",
            "rs/east rs/west",
            Question { zone: None, ..CLUSTER },
            "cluster=ab local= all=ab any",
        ),
        (
            "node hints are not supported",
            "rs/east@me rs/east@other",
            Question { node_for_hints: None, ..CLUSTER },
            "cluster=ab local= all=ab any",
        ),
    ];
    for (what, list, question, expected) in cases {
        assert_eq!(shown(&categorize(&endpoints(list), &question)), expected, "{what}");
    }
}
