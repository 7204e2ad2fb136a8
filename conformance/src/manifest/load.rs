//! Reads documents by kind.

use proxy_core::objects::{Kind, Object, TypeMeta};

use super::kinds::IGNORED_KINDS;
use super::{LoadedObject, LoadedScenario, Manifests, SourceNode, expected_words};
use crate::diagnostic::{Diagnostic, Place, Source, SourceId};
use crate::scenario::{self, ObjectKey, ReadError};
use crate::yaml::{self, DecodeError, DecodeFault, Node, SyntaxFault, Value};

/// Reads every document of every text. Errors in one do not hide errors in others.
pub fn load(sources: Vec<Source>) -> Manifests {
    let mut manifests = Manifests::default();
    for (index, source) in sources.iter().enumerate() {
        let source_id = SourceId(index);
        let stream = yaml::parse(&source.text);
        manifests.diagnostics.extend(stream.faults.into_iter().map(|fault| yaml_fault(source_id, fault)));
        for node in stream.documents {
            manifests.take(SourceNode { source: source_id, node });
        }
    }
    manifests.sources = sources;
    manifests.diagnostics.extend(duplicates(&manifests.objects));
    manifests.diagnostics.sort_by_key(|diagnostic| (diagnostic.place.source, diagnostic.place.span.start));
    manifests
}

/// Reads one manifest, for example inside a step. `None` for ignored kinds.
///
/// # Errors
/// The problem of the manifest.
pub fn read_object(origin: &SourceNode) -> Result<Option<Object>, Box<Diagnostic>> {
    match what_it_is(origin, None)? {
        Document::Object(kind) => object(kind, origin).map(Some),
        Document::Ignored(_) => Ok(None),
        Document::List { .. } | Document::Scenario => {
            let diagnostic = Diagnostic::error(origin.value("kind"), "a step cannot apply this");
            Err(diagnostic.help("use a YAML list of Kubernetes manifests").into())
        }
    }
}

/// The type of a document, by its `apiVersion` and `kind`.
enum Document {
    Scenario,
    /// `kind: List`, or a typed list whose items may omit their type.
    List {
        item_type: Option<TypeMeta>,
    },
    Object(Kind),
    Ignored(&'static str),
}

impl Manifests {
    fn take(&mut self, origin: SourceNode) {
        if let Err(diagnostic) = self.try_take(origin, None) {
            self.diagnostics.push(*diagnostic);
        }
    }

    fn try_take(
        &mut self,
        origin: SourceNode,
        default_type: Option<&TypeMeta>,
    ) -> Result<(), Box<Diagnostic>> {
        match what_it_is(&origin, default_type)? {
            Document::Scenario => match scenario::read(&origin.node) {
                Ok(scenario) => self.scenarios.push(LoadedScenario { scenario, origin }),
                Err(ReadError::Shape(error)) => return Err(Box::new(decode_error(&origin, &error))),
                Err(ReadError::Fields(faults)) => {
                    self.diagnostics.extend(faults.iter().map(|fault| origin.fault(fault)));
                }
            },
            Document::List { item_type } => {
                let items = origin.node.get("items").and_then(Node::items).ok_or_else(|| {
                    Box::new(
                        Diagnostic::error(origin.value("items"), "this List has no items")
                            .expected("expected `items`, a list"),
                    )
                })?;
                for item in items {
                    let origin = SourceNode { source: origin.source, node: item.clone() };
                    if let Err(diagnostic) = self.try_take(origin, item_type.as_ref()) {
                        self.diagnostics.push(*diagnostic);
                    }
                }
            }
            Document::Object(kind) => {
                let object = object(kind, &origin)?;
                self.objects.push(LoadedObject { object, origin });
            }
            Document::Ignored("") => {}
            Document::Ignored(warning) => {
                let kind = origin.node.get("kind").and_then(Node::text).unwrap_or_default();
                let message = format!("{kind} is ignored: {warning}");
                self.diagnostics.push(Diagnostic::warning(origin.value("kind"), message));
            }
        }
        Ok(())
    }
}

fn what_it_is(origin: &SourceNode, default_type: Option<&TypeMeta>) -> Result<Document, Box<Diagnostic>> {
    if !matches!(origin.node.value, Value::Mapping(_)) {
        return Err(Diagnostic::error(origin.head(), "this is not a manifest")
            .expected("expected a mapping with apiVersion, kind and metadata")
            .into());
    }
    let type_meta = type_meta(origin, default_type)?;
    let TypeMeta { api_version, kind } = &type_meta;
    if api_version == "hairpin" || api_version.starts_with("hairpin/") {
        return hairpin_kind(origin, &type_meta);
    }
    if let Some(kind) = Kind::of(&type_meta) {
        return Ok(Document::Object(kind));
    }
    if kind == "List" {
        return Ok(Document::List { item_type: None });
    }
    if let Some(known) = Kind::all().find(|known| known.name() == kind) {
        let message = format!("the apiVersion of a {kind} is {}, not {api_version}", known.api_version());
        return Err(Diagnostic::error(origin.value("apiVersion"), message).into());
    }
    if let Some(item) = kind.strip_suffix("List") {
        let item_type = TypeMeta { api_version: api_version.clone(), kind: item.to_owned() };
        if Kind::of(&item_type).is_some() {
            return Ok(Document::List { item_type: Some(item_type) });
        }
    }
    match IGNORED_KINDS.iter().find(|ignored| ignored.name == kind) {
        Some(ignored) => Ok(Document::Ignored(ignored.warning)),
        None => Err(unknown_kind(origin, kind).into()),
    }
}

fn type_meta(origin: &SourceNode, default_type: Option<&TypeMeta>) -> Result<TypeMeta, Box<Diagnostic>> {
    let field = |name: &str, default: Option<&str>| {
        match (origin.node.get(name), default) {
        (Some(node), _) => yaml::decode::<String>(node).map_err(|error| Box::new(decode_error(origin, &error))),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Diagnostic::error(origin.head(), format!("this document has no {name}"))
            .help("every document begins with apiVersion and kind, such as `apiVersion: v1` and `kind: Service`").into()),
    }
    };
    Ok(TypeMeta {
        api_version: field("apiVersion", default_type.map(|default| default.api_version.as_str()))?,
        kind: field("kind", default_type.map(|default| default.kind.as_str()))?,
    })
}

fn hairpin_kind(origin: &SourceNode, type_meta: &TypeMeta) -> Result<Document, Box<Diagnostic>> {
    if type_meta.api_version != scenario::API_VERSION {
        return Err(Diagnostic::error(
            origin.value("apiVersion"),
            format!("unknown version {:?} of hairpin's documents", type_meta.api_version),
        )
        .expected(expected_words(scenario::API_VERSION))
        .into());
    }
    if type_meta.kind != scenario::KIND {
        return Err(Diagnostic::error(
            origin.value("kind"),
            format!("unknown kind {:?} of hairpin", type_meta.kind),
        )
        .expected(expected_words(scenario::KIND))
        .into());
    }
    Ok(Document::Scenario)
}

fn unknown_kind(origin: &SourceNode, kind: &str) -> Diagnostic {
    let known: Vec<&str> = Kind::all().map(Kind::name).chain([scenario::KIND]).collect();
    let diagnostic = Diagnostic::error(origin.value("kind"), format!("unknown kind {kind:?}"))
        .expected(format!("expected one of {}", known.join(", ")));
    let ignored = IGNORED_KINDS.iter().map(|ignored| ignored.name);
    let candidates: Vec<&str> = known.iter().copied().chain(ignored).collect();
    match scenario::nearest(kind, &candidates) {
        Some(nearest) => diagnostic.help(format!("did you mean {nearest:?}?")),
        None => diagnostic.help("remove this document; hairpin reads only kinds that affect packets"),
    }
}

fn object(kind: Kind, origin: &SourceNode) -> Result<Object, Box<Diagnostic>> {
    let object =
        Object::deserialize_as(kind, &origin.node).map_err(|error| Box::new(decode_error(origin, &error)))?;
    match object.metadata() {
        Some(metadata) if metadata.name.is_empty() => {
            let place = origin.key("metadata");
            Err(Diagnostic::error(place, format!("this {} has no name", kind.name()))
                .expected("expected metadata.name")
                .into())
        }
        Some(_) | None => Ok(object),
    }
}

fn decode_error(origin: &SourceNode, error: &DecodeError) -> Diagnostic {
    let span = error.span.clone().unwrap_or_else(|| origin.node.head());
    let place = Place { source: origin.source, span };
    let diagnostic = Diagnostic::error(place, error.to_string());
    match &error.fault {
        DecodeFault::UnknownField { field, known } => suggest(diagnostic, field, known),
        DecodeFault::UnknownVariant { variant, known } => suggest(diagnostic, variant, known),
        DecodeFault::Type { found, expected } if expected.contains("string") && !found.starts_with("a ") => {
            diagnostic.help("quote it if it is meant as text")
        }
        DecodeFault::Type { .. } | DecodeFault::MissingField { .. } | DecodeFault::Other(_) => diagnostic,
    }
}

/// Adds the known alternatives, and the nearest one as a suggestion.
fn suggest(diagnostic: Diagnostic, word: &str, known: &[&str]) -> Diagnostic {
    let diagnostic = diagnostic.expected(expected_words(&format!("one of {}", known.join(", "))));
    match scenario::nearest(word, known) {
        Some(nearest) => diagnostic.help(format!("did you mean `{nearest}`?")),
        None => diagnostic,
    }
}

fn yaml_fault(source: SourceId, fault: SyntaxFault) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(Place { source, span: fault.span }, fault.message);
    if !fault.help.is_empty() {
        diagnostic = diagnostic.help(fault.help);
    }
    match fault.first {
        Some(span) => diagnostic.related(Place { source, span }, "first here"),
        None => diagnostic,
    }
}

/// Reports duplicate objects.
fn duplicates(objects: &[LoadedObject]) -> Vec<Diagnostic> {
    let mut first = std::collections::BTreeMap::new();
    let mut diagnostics = Vec::new();
    for LoadedObject { object, origin } in objects {
        let key = ObjectKey::of(object);
        let (place, what) = match object.metadata() {
            Some(_) => {
                let what = format!("duplicate object {} {}", key.kind.name(), key.name);
                (origin.value("metadata.name"), what)
            }
            None => (origin.value("kind"), format!("duplicate document of kind {}", key.kind.name())),
        };
        match first.get(&key) {
            Some(before) => {
                diagnostics.push(Diagnostic::error(place, what).related(Place::clone(before), "first here"));
            }
            None => {
                first.insert(key, place);
            }
        }
    }
    diagnostics
}
