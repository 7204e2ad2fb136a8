use proptest::prelude::*;

use super::*;
use crate::diagnostic::{Style, render};

/// The runs of a small suite in two modes that match an expression.
fn meant(expression: &str) -> Vec<String> {
    let filter = Filter::parse(expression).unwrap_or_else(|fault| panic!("{expression}: {fault:?}"));
    let scenarios = [
        ("clusterip", "service.clusterip"),
        ("nodeport-local", "service.external-traffic-policy.local"),
        ("nodeport-local-no-endpoints", "service.external-traffic-policy.local"),
        ("hairpin-veth", "service.hairpin"),
    ];
    let mut meant = Vec::new();
    for (name, requirement) in scenarios {
        for mode in [ProxyMode::Iptables, ProxyMode::Nftables] {
            if filter.matches(&Candidate { name, requirements: &[requirement.to_owned()], mode }) {
                meant.push(format!("{name}/{mode}"));
            }
        }
    }
    meant
}

fn check(expression: &str, expected: &[&str]) {
    assert_eq!(meant(expression), expected, "{expression}");
}

#[test]
fn expressions_mean_what_they_say() {
    let both = ["hairpin-veth/iptables", "hairpin-veth/nftables"];
    check("hairpin", &both);
    check("name(hairpin)", &both);
    check(" name( hairpin ) ", &both);
    check("requirement(service.hairpin)", &both);
    check("requirement(=hairpin)", &[]);
    check("name(=nodeport-local) and mode(iptables)", &["nodeport-local/iptables"]);
    check("not (nodeport or clusterip)", &both);
    check("not nodeport and not clusterip", &both);
    check("name(no) and not name(local)", &[]);
    // `and` binds tighter than `or`.
    check(
        "hairpin or clusterip and mode(nftables)",
        &["clusterip/nftables", "hairpin-veth/iptables", "hairpin-veth/nftables"],
    );
    check("(hairpin or clusterip)and mode(nftables)", &["clusterip/nftables", "hairpin-veth/nftables"]);
    check("not not hairpin", &both);
    // In the parentheses of a term, operators are text.
    check("name(and)", &[]);
    assert_eq!(meant("name(not) or name(or)"), meant("nodeport"));
}

#[test]
fn mistakes_have_a_place_and_what_was_expected() {
    let deep = "(".repeat(100_000);
    let mut output = String::new();
    for expression in [
        "",
        "hairpin and",
        "hairpin clusterip",
        "and hairpin",
        "(hairpin or clusterip",
        "hairpin)",
        "nmae(hairpin)",
        "label(hairpin)",
        "name(hairpin",
        "name(hair(pin))",
        "name()",
        "requirement( = )",
        "mode(iptable)",
        "hairpin or mode()",
        "Über and ",
        &deep[..80],
    ] {
        let fault = Filter::parse(expression).expect_err(expression);
        output += &format!("{}\n", render(&[*fault], &[source(expression)], Style::Plain));
    }
    insta::assert_snapshot!(output);
    assert!(Filter::parse(&deep).is_err());
    assert!(Filter::parse(&"not ".repeat(100_000)).is_err());
    assert!(Filter::parse(&format!("a{}", " or a and b".repeat(100_000))).is_ok());
}

/// An expression as text, fully parenthesized.
fn written(filter: &Filter) -> String {
    let joined = |filters: &[Filter], word: &str| {
        format!("({})", filters.iter().map(written).collect::<Vec<_>>().join(word))
    };
    match filter {
        Filter::Name(Pattern::Contains(text)) => text.clone(),
        Filter::Name(Pattern::Is(text)) => format!("name(={text})"),
        Filter::Requirement(Pattern::Contains(text)) => format!("requirement({text})"),
        Filter::Requirement(Pattern::Is(text)) => format!("requirement( = {text} )"),
        Filter::Mode(mode) => format!("mode({mode})"),
        Filter::Not(filter) => format!("not {}", written(filter)),
        Filter::All(filters) => joined(filters, " and "),
        Filter::Any(filters) => joined(filters, " or "),
    }
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let text = "[b-m]{1,3}[.-]?[0-9]";
    let pattern = prop_oneof![text.prop_map(Pattern::Contains), text.prop_map(Pattern::Is)];
    let leaf = prop_oneof![
        pattern.clone().prop_map(Filter::Name),
        pattern.prop_map(Filter::Requirement),
        prop::sample::select(ProxyMode::ALL.to_vec()).prop_map(Filter::Mode),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
            several.clone().prop_map(Filter::All),
            several.prop_map(Filter::Any),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(filter in any_filter()) {
        prop_assert_eq!(Filter::parse(&written(&filter)), Ok(filter));
    }

    #[test]
    fn any_text_is_read_or_has_a_place_within_it(text in "(name|mode|not|and|or|[(]|[)]|=|a|ü| ){0,12}|.{0,20}") {
        if let Err(fault) = Filter::parse(&text) {
            prop_assert!(text.get(fault.place.span.clone()).is_some(), "{:?}", fault.place);
            render(&[*fault], &[source(&text)], Style::Plain);
        }
    }
}
