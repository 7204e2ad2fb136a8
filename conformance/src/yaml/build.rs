//! From parser events to trees.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span as EventSpan, Tag};

use super::{Entry, Fault, Node, Scalar, Span, Stream, Value};

/// Nodes that aliases may add to a document; a bound on "billion laughs".
const ALIASED_NODES_MAX: usize = 100_000;

/// Depth of nesting. Kubernetes manifests stay below 20.
const DEPTH_MAX: usize = 64;

/// Reads a text of any number of YAML documents.
///
/// A fault ends its document, and the next document is read. Text that is no YAML at all is one fault.
pub fn parse(text: &str) -> Stream {
    let options = granit_parser::options! { flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut stream = Stream::default();
    let mut document = Document::default();
    loop {
        let event = match parser.next_event() {
            None => break,
            Some(Ok((event, span))) => document.take(event, &bytes(&span)),
            Some(Err(error)) => Err(syntax_fault(text, &error)),
        };
        match event {
            Ok(None) => {}
            Ok(Some(root)) => stream.documents.extend((!is_empty(&root)).then_some(root)),
            Err(fault) => {
                stream.faults.push(fault);
                document = Document::default();
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    stream
}

fn bytes(span: &EventSpan) -> Span {
    span.byte_range().unwrap_or_default()
}

fn is_empty(root: &Node) -> bool {
    matches!(&root.value, Value::Scalar(scalar) if scalar.is_null())
}

fn syntax_fault(text: &str, error: &granit_parser::ScanError) -> Fault {
    let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let end = text[at..].chars().next().filter(|next| *next != '\n').map_or(at, |next| at + next.len_utf8());
    Fault { span: at..end, message: format!("this is not YAML: {}", error.info()), first: None }
}

/// A document that is being read.
#[derive(Default)]
struct Document {
    /// Collections that have begun and not ended, the outermost first.
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    aliased_nodes: usize,
}

/// A collection that has begun.
struct Open {
    start: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, key: Option<(String, Span)> },
}

impl Document {
    /// Takes the next event; gives the root when it is complete.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum is open")]
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<Option<Node>, Fault> {
        match event {
            Event::DocumentStart(..) => {
                *self = Self::default();
                Ok(None)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && !is_string_tag(tag.as_ref());
                let scalar = Scalar { text: text.into_owned(), is_plain };
                self.complete(anchor, Node { span: span.clone(), value: Value::Scalar(scalar) })
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(span.start, anchor, Content::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(span.start, anchor, Content::Mapping { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { start, anchor, content }) = self.open.pop() else { return Ok(None) };
                let value = match content {
                    Content::Sequence(items) => Value::Sequence(items),
                    Content::Mapping { entries, .. } => Value::Mapping(merged(entries)?),
                };
                self.complete(anchor, Node { span: start..span.end.max(start), value })
            }
            Event::Alias(anchor) => {
                let node = self.alias(anchor, span)?;
                self.complete(0, node)
            }
            // What is left opens and closes the stream, or is off by the options.
            _ => Ok(None),
        }
    }

    fn open(&mut self, start: usize, anchor: usize, content: Content) -> Result<Option<Node>, Fault> {
        self.open.push(Open { start, anchor, content });
        Ok(None)
    }

    fn alias(&mut self, anchor: usize, span: &Span) -> Result<Node, Fault> {
        let fault = |message: &str| Fault { span: span.clone(), message: message.to_owned(), first: None };
        let node = self.anchors.get(&anchor).ok_or_else(|| fault("this alias is inside its own anchor"))?;
        self.aliased_nodes += count(node);
        if self.aliased_nodes > ALIASED_NODES_MAX {
            return Err(fault(&format!(
                "the aliases of this document stand for more than {ALIASED_NODES_MAX} nodes"
            )));
        }
        Ok(Node { span: span.clone(), value: node.value.clone() })
    }

    /// Puts a complete node where it belongs: it is a key, a value, an item, or the root.
    fn complete(&mut self, anchor: usize, node: Node) -> Result<Option<Node>, Fault> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else { return Ok(Some(node)) };
        match &mut parent.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { entries, key } => match key.take() {
                None => *key = Some(as_key(node, entries)?),
                Some((key, key_span)) => entries.push(Entry { key, key_span, value: node }),
            },
        }
        Ok(None)
    }
}

fn is_string_tag(tag: Option<&Cow<'_, Tag>>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"))
}

fn as_key(node: Node, entries: &[Entry]) -> Result<(String, Span), Fault> {
    let fault = |span: &Range<usize>, message: String, first| Fault { span: span.clone(), message, first };
    let Value::Scalar(Scalar { text, .. }) = node.value else {
        return Err(fault(&node.span, "a key must be a string, not a list or a mapping".into(), None));
    };
    match entries.iter().find(|entry| entry.key == text && text != MERGE) {
        Some(entry) => {
            let message = format!("the key {text:?} is in this mapping twice");
            Err(fault(&node.span, message, Some(entry.key_span.clone())))
        }
        None => Ok((text, node.span)),
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(_) => 0,
        Value::Sequence(items) => items.iter().map(count).sum(),
        Value::Mapping(entries) => entries.iter().map(|entry| 1 + count(&entry.value)).sum(),
    }
}

const MERGE: &str = "<<";

/// Resolves merge keys: what they hold counts where the mapping itself has no such key
/// (<https://yaml.org/type/merge.html>; earlier ones override later ones).
fn merged(entries: Vec<Entry>) -> Result<Vec<Entry>, Fault> {
    if !entries.iter().any(|entry| entry.key == MERGE) {
        return Ok(entries);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.key == MERGE);
    for merge in merges {
        let sources = match merge.value.value {
            Value::Mapping(_) => vec![merge.value],
            Value::Sequence(items) => items,
            Value::Scalar(_) => vec![merge.value],
        };
        for source in sources {
            let Value::Mapping(source_entries) = source.value else {
                let message = "the merge key << takes a mapping or a list of mappings".to_owned();
                return Err(Fault { span: source.span, message, first: None });
            };
            for entry in source_entries {
                if own.iter().all(|held| held.key != entry.key) {
                    own.push(entry);
                }
            }
        }
    }
    Ok(own)
}
