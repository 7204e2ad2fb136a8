use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

fn one(text: &str) -> Node {
    let mut stream = parse(text);
    assert_eq!(stream.faults, [], "{text}");
    assert_eq!(stream.documents.len(), 1, "{text}");
    stream.documents.remove(0)
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    #[serde(default)]
    name: String,
    port: Option<u16>,
    #[serde(default)]
    list: Vec<i32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    word: Word,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
enum Word {
    #[default]
    Aye,
    Nay,
}

#[test]
fn typed_values_are_read() {
    let node = one("name: a\nport: 0x50\nlist: [1, -2]\nlabels: {k: \"1\", \"2\": v}\nword: Nay\n");
    let labels = BTreeMap::from([("k".into(), "1".into()), ("2".into(), "v".into())]);
    let expected = Sample { name: "a".into(), port: Some(80), list: vec![1, -2], labels, word: Word::Nay };
    assert_eq!(decode::<Sample>(&node), Ok(expected));
}

#[test]
fn errors_have_the_place_of_their_cause() {
    // (text, the bytes that are at fault, message)
    let cases = [
        ("name: 80", "80", "expected a string, found integer `80`"),
        ("name: yes\nport: \"80\"", "\"80\"", "expected a number from 0 to 65535, found string \"80\""),
        ("port: 70000", "70000", "expected a number from 0 to 65535, found integer `70000`"),
        ("port: 1.5", "1.5", "expected a number from 0 to 65535, found floating point `1.5`"),
        ("list: [1, x]", "x", "expected an integer, found string \"x\""),
        ("list: {a: 1}", "a", "expected a list, found a mapping"),
        ("labels: {a: true}", "true", "expected a string, found boolean `true`"),
        ("prot: 1", "prot", "unknown field `prot`"),
        ("word: Maybe", "Maybe", "unknown value `Maybe`"),
        ("word: [Aye]", "Aye", "expected a word, found a list"),
        ("[]", "[]", "expected a mapping, found a list"),
    ];
    for (text, at, message) in cases {
        let error = decode::<Sample>(&one(text)).unwrap_err();
        assert_eq!((&text[error.span.clone().unwrap()], error.to_string().as_str()), (at, message), "{text}");
    }
}

#[test]
fn scalars_follow_the_core_schema() {
    let numbers = ["0", "-1", "+7", "0o17", "0xff", "1e3", ".5", "1.", "99999999999999999999"];
    let texts = [
        "1.2.3.4",
        "1.10.0",
        "yes",
        "on",
        "0b1",
        "1_000",
        "-a",
        "1-2",
        "10.0.0.0/8",
        "0x",
        ".inf",
        "e3",
        "1/3",
    ];
    for (list, is_text) in [(&numbers[..], false), (&texts[..], true)] {
        for text in list {
            let Value::Scalar(scalar) = one(&format!("k: {text}")).get("k").unwrap().value.clone() else {
                panic!()
            };
            assert_eq!(matches!(scalar.meaning(), scalar::Meaning::Text(_)), is_text, "{text}");
        }
    }
    let forced = one("k: !!str 5");
    assert_eq!(decode::<BTreeMap<String, String>>(&forced).unwrap()["k"], "5");
}

#[test]
fn a_fault_has_its_place_and_does_not_hide_the_next_document() {
    // (text, the bytes that are at fault, documents that are left)
    let cases = [
        ("a: [1\n---\nb: 1\n", "[", 1),
        ("a: 1\na: 2\n---\nb: 1\n", "a", 1),
        ("b: 1\n---\n{a: {x: 1, x: 2}}\n", "x", 1),
        ("? [a]\n: 1\n", "[a]", 0),
        ("a: *nowhere\n", "*", 0),
        ("a: &x [*x]\n", "*x", 0),
        ("a: 1\n<<: 5\n", "5", 0),
        ("a: b: c\n", ":", 0),
        ("a: \"open\n", "", 0),
    ];
    for (text, at, left) in cases {
        let stream = parse(text);
        assert_eq!(stream.faults.len(), 1, "{text}: {stream:?}");
        assert_eq!(
            (&text[stream.faults[0].span.clone()], stream.documents.len()),
            (at, left),
            "{text}: {stream:?}"
        );
    }
}

#[test]
fn aliases_and_merges_are_resolved_within_bounds() {
    let node = one("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\nlist: [*b]\n");
    assert_eq!(node.at("own.x").and_then(Node::text), Some("1"));
    assert_eq!(node.at("own.y").and_then(Node::text), Some("3"));
    assert_eq!(node.at("list[0].y").and_then(Node::text), Some("2"));

    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(parse(&bomb).faults[0].message.contains("more than 100000 nodes"));
    assert_eq!(parse(&"[".repeat(10_000)).faults.len(), 1);
}

#[test]
fn ports_need_no_quotes() {
    let node = one("{to: node/node-1:30080, endpoints: {10.0.0.1:80: 1/3}}");
    assert_eq!(node.at("to").and_then(Node::text), Some("node/node-1:30080"));
    assert_eq!(node.at("endpoints.10.0.0.1:80").and_then(Node::text), Some("1/3"));
}

#[test]
fn empty_documents_are_none() {
    for text in ["", "---\n", "# only a comment\n", "---\n---\n# x\n---\nnull\n", "\u{feff}"] {
        assert_eq!(parse(text), Stream::default(), "{text:?}");
    }
}

#[test]
fn paths_find_the_deepest_part_that_exists() {
    let text = "metadata:\n  labels: {app.kubernetes.io/name: web, app: x}\nspec:\n  ports:\n  - port: 80\n";
    let node = one(text);
    let cases = [
        ("spec.ports[0].port", "80"),
        ("spec.ports[0].nodePort", "port"),
        ("spec.ports[7].port", "port"),
        ("metadata.labels.app.kubernetes.io/name", "web"),
        ("metadata.labels.app", "x"),
        ("status", "metadata"),
    ];
    for (path, at) in cases {
        assert_eq!(&text[node.locate(path)], at, "{path}");
    }
    assert_eq!(&text[node.locate_key("metadata.labels.app.kubernetes.io/name")], "app.kubernetes.io/name");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ \\-:a-c\\[\\]{}\"'#&*!|>%\n\t?<,.0-9~\u{feff}\u{e9}]{0,80}") {
        let stream = parse(&text);
        for fault in &stream.faults {
            prop_assert!(text.get(fault.span.clone()).is_some());
        }
        for document in &stream.documents {
            let _ = decode::<Sample>(document);
            prop_assert!(text.get(document.head()).is_some());
        }
    }

    #[test]
    fn no_unicode_makes_it_panic(text in any::<String>()) {
        parse(&text);
    }
}
