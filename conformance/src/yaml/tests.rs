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
    // (text, the invalid bytes, message)
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
    // (text, the invalid bytes, remaining documents)
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
fn aliases_and_merges_are_resolved() {
    let node = one("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}\nlist: [*b]\n");
    assert_eq!(node.at("own.x").and_then(Node::text), Some("1"));
    assert_eq!(node.at("own.y").and_then(Node::text), Some("3"));
    assert_eq!(node.at("list[0].y").and_then(Node::text), Some("2"));
    let node = one("{a: &a {x: 1}, b: &b {x: 2, y: 2}, own: {<<: [*a, *b], <<: {y: 3, z: 3}}}");
    let own = ["x", "y", "z"].map(|key| node.at("own").and_then(|own| own.get(key)).and_then(Node::text));
    assert_eq!(own, [Some("1"), Some("2"), Some("3")], "earlier sources of a merge override later ones");
}

#[test]
fn an_alias_shares_what_it_stands_for() {
    let node = one("a: &a [x, y]\nb: *a\nc: &c {k: v}\nd: *c\ne: &e long text\nf: *e\n");
    let value = |key: &str| &node.get(key).unwrap().value;
    let (Value::Sequence(a), Value::Sequence(b)) = (value("a"), value("b")) else { panic!() };
    assert!(Arc::ptr_eq(a, b));
    let (Value::Mapping(c), Value::Mapping(d)) = (value("c"), value("d")) else { panic!() };
    assert!(Arc::ptr_eq(c, d));
    let (Value::Scalar(e), Value::Scalar(f)) = (value("e"), value("f")) else { panic!() };
    assert!(Arc::ptr_eq(&e.text, &f.text));
}

/// The nodes of a document in memory: shared nodes count once.
fn nodes_in_memory(root: &Node) -> usize {
    let mut seen = std::collections::HashSet::new();
    let mut open = vec![root];
    let mut count = 0;
    while let Some(node) = open.pop() {
        count += 1;
        match &node.value {
            Value::Scalar(_) => {}
            Value::Sequence(items) if !seen.insert(items.as_ptr().cast::<()>()) => {}
            Value::Sequence(items) => open.extend(items.iter()),
            Value::Mapping(entries) if !seen.insert(Arc::as_ptr(entries).cast::<()>()) => {}
            Value::Mapping(entries) => open.extend(entries.values().map(|entry| &entry.value)),
        }
    }
    count
}

#[test]
fn nested_anchors_take_the_memory_of_their_text() {
    let items = vec!["x"; 1_000].join(", ");
    let anchors: String = (0..60).map(|level| format!("&a{level} [")).collect();
    let text = format!("{anchors}{items}{}", "]".repeat(60));
    assert_eq!(nodes_in_memory(&one(&text)), 60 + 1_000);
    // 100 aliases of 1,000 items add 100 nodes.
    let text = format!("- &a [{items}]\n{}", "- *a\n".repeat(100));
    assert_eq!(nodes_in_memory(&one(&text)), 1 + 1_001 + 100);
}

/// `a0: &a0 [x, …]`, `a1: &a1 [*a0, …]` and so on: each level has ten times as many nodes.
fn bomb(levels: usize) -> String {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..levels {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    bomb
}

#[test]
fn what_aliases_stand_for_is_bounded() {
    let too_much = "the aliases up to this one expand to more than 4 MiB of YAML";
    let too_deep = "this alias expands to more than 64 levels of nesting";
    let long = "y".repeat(1 << 20);
    let chain: String = (1..100).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)).collect();
    let cases = [
        (bomb(30), too_much, 1),
        (format!("- &s {long}\n{}", "- *s\n".repeat(5)), too_much, 1),
        (format!("a0: &a0 {{k: v}}\n{}", chain.replace('[', "{<<: ").replace(']', ", k: w}")), "", 0),
        (format!("a0: &a0 [x]\n{chain}"), too_deep, 1),
        // The limit is per text: splitting it into documents does not help.
        (vec![bomb(6); 10].join("---\n"), too_much, 9),
    ];
    for (text, message, faults) in cases {
        let stream = parse(&text);
        let head: String = text.chars().take(60).collect();
        assert_eq!(stream.faults.len(), faults, "{head}");
        for fault in &stream.faults {
            assert_eq!(fault.message, message, "{head}");
            assert!(text[fault.span.clone()].starts_with('*'), "{head}");
            assert!(!fault.help.is_empty());
        }
    }
    assert_eq!(parse(&bomb(5)).faults, [], "11,111 nodes are allowed");
}

#[test]
fn deep_nesting_is_a_fault() {
    for open in ["[", "- ", "{a: ", "? ", "[{a: "] {
        let faults = parse(&open.repeat(100_000)).faults;
        assert_eq!(faults.len(), 1, "{open}");
        assert_eq!(faults[0].message, "more than 64 levels of nested lists and mappings", "{open}");
    }
    let nested = |levels| (0..levels).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>();
    // Blocks and flow collections count together.
    let mixed = |blocks, flows| "- ".repeat(blocks) + &"[".repeat(flows) + &"]".repeat(flows);
    for (text, at) in
        [(nested(2_000), "a:\n"), (mixed(65, 0), "- "), (mixed(40, 25), "[]"), (mixed(0, 65), "[]")]
    {
        let faults = parse(&text).faults;
        assert_eq!(faults.len(), 1, "{text}");
        assert!(text[faults[0].span.start..].starts_with(at), "{text}: {:?}", faults[0].span);
    }
    for text in [nested(64), mixed(64, 0), mixed(40, 24), mixed(0, 64)] {
        assert_eq!(parse(&text).faults, [], "{text}");
    }
}

/// Texts that are long in one respect each, by the number of repetitions.
fn long_texts(count: usize) -> [(&'static str, String); 9] {
    let lines = |line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    [
        ("keys", lines(&|number| format!("key-{number}: v\n"))),
        ("keys in braces", format!("{{{}}}", lines(&|number| format!("key-{number}: v, ")))),
        ("items", lines(&|number| format!("- item {number}\n"))),
        ("documents", lines(&|number| format!("---\nname: x{number}\n"))),
        ("broken documents", lines(&|_| "---\na: [1\n".to_owned())),
        ("duplicate keys", lines(&|_| "---\na: 1\na: 2\n".to_owned())),
        ("anchors and aliases", lines(&|number| format!("- &a{number} v\n- *a{number}\n"))),
        ("merges", format!("b: &b {{k: v}}\nown: {{<<: [{}]}}\n", vec!["*b"; count].join(", "))),
        ("lines of text", format!("a: |\n{}", lines(&|number| format!("  line {number}\n")))),
    ]
}

#[test]
fn long_texts_are_read_in_linear_time() {
    for ((name, short), (_, long)) in long_texts(2_000).into_iter().zip(long_texts(32_000)) {
        let timed = |text: &str| {
            let started = std::time::Instant::now();
            let stream = parse(text);
            (started.elapsed(), stream.documents.len() + stream.faults.len())
        };
        let (short, some) = timed(&short);
        let (long, more) = timed(&long);
        assert!(some >= 1 && more >= some, "{name}");
        // 16 times as long; a quadratic algorithm would take 256 times as long. A busy machine may be slow for a
        // second.
        let most = short * 100 + std::time::Duration::from_secs(2);
        assert!(long < most, "{name}: {long:?} for 32,000 repetitions, and {short:?} for 2,000");
    }
}

#[test]
fn places_are_found_in_large_mappings() {
    let text: String = (0..50_000).map(|number| format!("key-{number}.example.com/x: v\n")).collect();
    let node = one(&text);
    let started = std::time::Instant::now();
    for number in 0..50_000 {
        let path = format!("key-{number}.example.com/x");
        let place = node.locate_key(&path);
        assert_eq!(text[place], path);
    }
    // 50,000 comparisons for each of them would take more than a minute.
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
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
        ("", "metadata"),
        (".", "metadata"),
        ("[0]", "metadata"),
    ];
    for (path, at) in cases {
        assert_eq!(&text[node.locate(path)], at, "{path}");
    }
    let node_with_empty_key = one("{a: 1, '': {'': 2}}");
    assert_eq!(node_with_empty_key.locate("spec"), node_with_empty_key.head());
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
