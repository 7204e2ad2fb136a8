//! Builds trees from parser events.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span as EventSpan, Tag};
use indexmap::map::Entry as Slot;

use super::{MapEntry, Mapping, Node, Scalar, Span, Stream, SyntaxFault, Value};

/// Maximum expanded size of the aliases of a text, in bytes. It protects traversals ("billion laughs"); the tree itself
/// shares the anchors.
pub(super) const ALIASED_BYTES_MAX: usize = 4 << 20;

/// Maximum nesting depth, including aliases. Kubernetes manifests stay below 20.
pub(super) const DEPTH_MAX: usize = 64;

/// Parses a text with any number of YAML documents, in time and memory linear in its length.
///
/// A fault ends its document; parsing continues with the next one. Text that is not YAML at all is one fault.
pub fn parse(text: &str) -> Stream {
    let options = granit_parser::options! { flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut stream = Stream::default();
    let mut builder = Builder::default();
    loop {
        let event = match parser.next_event() {
            None => break,
            Some(Ok((event, span))) => builder.take(event, &bytes(&span)),
            Some(Err(error)) => Err(syntax_fault(text, &error)),
        };
        match event {
            Ok(None) => {}
            Ok(Some(root)) => stream.documents.extend((!is_empty(&root)).then_some(root)),
            Err(fault) => {
                stream.faults.push(fault);
                builder.start_document();
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

fn syntax_fault(text: &str, error: &granit_parser::ScanError) -> SyntaxFault {
    let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let end = text[at..].chars().next().filter(|next| *next != '\n').map_or(at, |next| at + next.len_utf8());
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        return too_deep(at..end);
    }
    fault(at..end, format!("this is not YAML: {}", error.info()))
}

fn too_deep(span: Span) -> SyntaxFault {
    let help = "Kubernetes manifests have fewer than 20 levels";
    SyntaxFault { help, ..fault(span, format!("more than {DEPTH_MAX} levels of nested lists and mappings")) }
}

fn fault(span: Span, message: impl Into<String>) -> SyntaxFault {
    SyntaxFault { span, message: message.into(), first: None, help: "" }
}

/// The text being parsed.
#[derive(Default)]
struct Builder {
    /// Open collections of the document, the outermost first.
    open: Vec<Open>,
    /// The document's anchors, by the parser's number.
    anchors: HashMap<usize, Complete>,
    /// Expanded size of the aliases of all documents so far.
    aliased_bytes: usize,
}

/// An open collection.
struct Open {
    start: usize,
    anchor: usize,
    extent: Extent,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping { entries: Mapping, merges: Vec<Node>, key: Option<(Arc<str>, Span)> },
}

impl Content {
    /// The extent of a node as a child: entries of a merge key become the mapping's own, without further nesting.
    fn as_child(&self, node: &Node, extent: Extent) -> Extent {
        let levels_gone = match (self, &node.value) {
            (Self::Mapping { key: Some((key, _)), .. }, Value::Mapping(_)) if &**key == MERGE => 1,
            (Self::Mapping { key: Some((key, _)), .. }, Value::Sequence(_)) if &**key == MERGE => 2,
            (Self::Mapping { .. } | Self::Sequence(_), _) => 0,
        };
        Extent { depth: extent.depth.saturating_sub(levels_gone), ..extent }
    }
}

/// A node with its contents.
#[derive(Clone)]
struct Complete {
    node: Node,
    extent: Extent,
}

/// The size of a node in a traversal.
#[derive(Clone, Copy, Default)]
struct Extent {
    /// Bytes of the node with all aliases expanded.
    bytes: usize,
    /// Nesting depth of collections; 0 for a scalar.
    depth: usize,
}

impl Extent {
    /// Adds a child.
    fn add(&mut self, child: Self) {
        self.bytes = self.bytes.saturating_add(child.bytes);
        self.depth = self.depth.max(child.depth + 1);
    }
}

impl Builder {
    fn start_document(&mut self) {
        self.open.clear();
        self.anchors.clear();
    }

    /// Processes the next event; returns the root when it is complete.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum is open")]
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<Option<Node>, SyntaxFault> {
        match event {
            Event::DocumentStart(..) => {
                self.start_document();
                Ok(None)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && !is_string_tag(tag.as_ref());
                // At least 1: an empty scalar is a node too.
                let extent = Extent { bytes: text.len() + 1, depth: 0 };
                let value = Value::Scalar(Scalar { text: text.into(), is_plain });
                self.complete(anchor, Complete { node: Node { span: span.clone(), value }, extent })
            }
            Event::SequenceStart(_, anchor, _) => self.open(span, anchor, Content::Sequence(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Mapping { entries: Mapping::new(), merges: Vec::new(), key: None };
                self.open(span, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { start, anchor, extent, content }) = self.open.pop() else { return Ok(None) };
                let value = match content {
                    Content::Sequence(items) => Value::Sequence(items.into()),
                    Content::Mapping { entries, merges, .. } => {
                        Value::Mapping(merged(entries, merges)?.into())
                    }
                };
                let node = Node { span: start..span.end.max(start), value };
                self.complete(anchor, Complete { node, extent })
            }
            Event::Alias(anchor) => {
                let target = self.alias(anchor, span)?;
                self.complete(0, target)
            }
            // The remaining events open and close the stream, or are disabled by the options.
            _ => Ok(None),
        }
    }

    fn open(&mut self, span: &Span, anchor: usize, content: Content) -> Result<Option<Node>, SyntaxFault> {
        // The parser limits blocks and flow collections each for itself.
        if self.open.len() == DEPTH_MAX {
            return Err(too_deep(span.start..span.end.max(span.start)));
        }
        let extent = Extent { bytes: 1, depth: 1 };
        self.open.push(Open { start: span.start, anchor, extent, content });
        Ok(None)
    }

    /// The node of an alias, at the position of the alias.
    fn alias(&mut self, anchor: usize, span: &Span) -> Result<Complete, SyntaxFault> {
        let Some(Complete { node, extent }) = self.anchors.get(&anchor) else {
            return Err(fault(span.clone(), "this alias is within its own anchor"));
        };
        if self.open.len() + extent.depth > DEPTH_MAX {
            let message = format!("this alias expands to more than {DEPTH_MAX} levels of nesting");
            let help = "expand the alias, with fewer nested lists and mappings";
            return Err(SyntaxFault { help, ..fault(span.clone(), message) });
        }
        let aliased_bytes = self.aliased_bytes.saturating_add(extent.bytes);
        if aliased_bytes > ALIASED_BYTES_MAX {
            let message = format!(
                "the aliases up to this one expand to more than {} MiB of YAML",
                ALIASED_BYTES_MAX >> 20
            );
            let help = "use fewer aliases, or aliases of smaller anchors, or split the file";
            return Err(SyntaxFault { help, ..fault(span.clone(), message) });
        }
        self.aliased_bytes = aliased_bytes;
        Ok(Complete { node: Node { span: span.clone(), value: node.value.clone() }, extent: *extent })
    }

    /// Adds a complete node to its parent as a key, a value or an item, or returns it as the root.
    fn complete(&mut self, anchor: usize, complete: Complete) -> Result<Option<Node>, SyntaxFault> {
        if anchor != 0 {
            self.anchors.insert(anchor, complete.clone());
        }
        let Complete { node, extent } = complete;
        let Some(parent) = self.open.last_mut() else { return Ok(Some(node)) };
        parent.extent.add(parent.content.as_child(&node, extent));
        match &mut parent.content {
            Content::Sequence(items) => items.push(node),
            Content::Mapping { entries, merges, key } => match key.take() {
                None => *key = Some(as_key(node, entries)?),
                Some((key, _)) if &*key == MERGE => merges.push(node),
                Some((key, key_span)) => {
                    entries.insert(key, MapEntry { key_span, value: node });
                }
            },
        }
        Ok(None)
    }
}

fn is_string_tag(tag: Option<&Cow<'_, Tag>>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"))
}

fn as_key(node: Node, entries: &Mapping) -> Result<(Arc<str>, Span), SyntaxFault> {
    let Value::Scalar(Scalar { text, .. }) = node.value else {
        return Err(fault(node.span, "a key must be a string, not a list or a mapping"));
    };
    match entries.get(&text) {
        Some(entry) => {
            let message = format!("duplicate key {text:?}");
            Err(SyntaxFault { first: Some(entry.key_span.clone()), ..fault(node.span, message) })
        }
        None => Ok((text, node.span)),
    }
}

const MERGE: &str = "<<";

/// Resolves merge keys: merged entries apply unless the mapping has the same key itself
/// (<https://yaml.org/type/merge.html>; earlier ones override later ones).
fn merged(mut own: Mapping, merges: Vec<Node>) -> Result<Mapping, SyntaxFault> {
    for merge in merges {
        let sources = match &merge.value {
            Value::Sequence(items) => items,
            Value::Mapping(_) | Value::Scalar(_) => std::slice::from_ref(&merge),
        };
        for source in sources {
            let Value::Mapping(entries) = &source.value else {
                return Err(fault(
                    source.span.clone(),
                    "the merge key << requires a mapping or a list of mappings",
                ));
            };
            for (key, entry) in &**entries {
                if let Slot::Vacant(slot) = own.entry(Arc::clone(key)) {
                    slot.insert(entry.clone());
                }
            }
        }
    }
    Ok(own)
}
