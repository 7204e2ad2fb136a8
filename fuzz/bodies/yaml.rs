//! YAML: for any text, every location is within it, and traversing its documents is bounded.

use conformance::yaml::{Node, Span, Value, parse};

/// Maximum expanded size of aliases in [`parse`], in bytes.
const ALIASED_BYTES_MAX: usize = 4 << 20;

/// A file as a user might write it.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let stream = parse(text);
    assert_eq!(parse(text), stream, "the same text gives the same documents");
    let inside = |span: &Span| assert!(text.get(span.clone()).is_some(), "{span:?} lies within the text");
    for fault in &stream.faults {
        inside(&fault.span);
        fault.first.iter().for_each(inside);
        assert!(!fault.message.is_empty());
    }
    let mut nodes = 0;
    let mut open: Vec<(&Node, usize)> = stream.documents.iter().map(|node| (node, 0)).collect();
    while let Some((node, depth)) = open.pop() {
        nodes += 1;
        inside(&node.span);
        inside(&node.head());
        assert!(depth <= 64, "nesting is bounded");
        match &node.value {
            Value::Scalar(_) => {}
            Value::Sequence(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Mapping(entries) => {
                for (key, entry) in &**entries {
                    inside(&entry.key_span);
                    assert_eq!(node.get(key), Some(&entry.value), "a key is found");
                    open.push((&entry.value, depth + 1));
                }
            }
        }
    }
    // A byte of the text adds at most one node, and a missing value after it.
    assert!(nodes <= 2 * text.len() + ALIASED_BYTES_MAX + 1, "{nodes} nodes");
}
