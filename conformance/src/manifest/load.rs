//! Reads documents by kind.

use proxy_core::objects::{Kind, Object, TypeMeta};

use super::facts::{DumpedProxy, best};
use super::fields::unknown_fields;
use super::kinds;
use super::{LoadedObject, LoadedScenario, Manifests, SourceNode, expected_words};
use crate::diagnostic::{Diagnostic, Place, Source, SourceId};
use crate::scenario::{self, ObjectKey, ReadError};
use crate::yaml::{self, DecodeError, DecodeFault, Node, SyntaxFault, Value};

/// Reads every document of every text. Errors in one do not hide errors in others.
pub fn load(sources: Vec<Source>) -> Manifests {
    let mut manifests = Manifests::default();
    let mut proxies = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let source_id = SourceId(index);
        let stream = yaml::parse(&source.text);
        manifests.diagnostics.extend(stream.faults.into_iter().map(|fault| yaml_fault(source_id, fault)));
        for node in stream.documents {
            manifests.take(SourceNode { source: source_id, node }, &mut proxies);
        }
    }
    manifests.take_dumped_proxy(proxies);
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
    /// A kind that is passed over, with a warning or not.
    Ignored(Option<&'static str>),
}

impl Manifests {
    /// kube-proxy's configuration is its own document, or else that of a dump.
    fn take_dumped_proxy(&mut self, proxies: Vec<DumpedProxy>) {
        if !self.objects.iter().any(|loaded| loaded.object.kind() == Kind::KubeProxyConfiguration)
            && let Some(proxy) = best(proxies)
        {
            self.facts.proxy_yields = true;
            self.objects.push(proxy);
        }
    }

    fn take(&mut self, origin: SourceNode, proxies: &mut Vec<DumpedProxy>) {
        if let Err(diagnostic) = self.try_take(origin, None, proxies) {
            self.diagnostics.push(*diagnostic);
        }
    }

    fn try_take(
        &mut self,
        origin: SourceNode,
        default_type: Option<&TypeMeta>,
        proxies: &mut Vec<DumpedProxy>,
    ) -> Result<(), Box<Diagnostic>> {
        proxies.extend(self.facts.read(&origin, default_type)?);
        match what_it_is(&origin, default_type)? {
            Document::Scenario => match scenario::read(&origin.node) {
                Ok(scenario) => self.scenarios.push(LoadedScenario { scenario, origin }),
                Err(ReadError::Shape(error)) => return Err(Box::new(decode_error(&origin, &error))),
                Err(ReadError::Fields(faults)) => {
                    self.diagnostics.extend(faults.iter().map(|fault| origin.fault(fault)));
                }
            },
            Document::List { item_type } => {
                // What has no items is an empty list, or an object of a kind whose name ends so.
                let items = origin.node.get("items").and_then(Node::items).unwrap_or_default();
                for item in items {
                    let origin = SourceNode { source: origin.source, node: item.clone() };
                    if let Err(diagnostic) = self.try_take(origin, item_type.as_ref(), proxies) {
                        self.diagnostics.push(*diagnostic);
                    }
                }
            }
            Document::Object(kind) => {
                let object = object(kind, &origin)?;
                self.diagnostics.extend(unknown_fields(kind, &origin));
                self.objects.push(LoadedObject { object, origin });
            }
            Document::Ignored(None) => {}
            Document::Ignored(Some(warning)) => {
                let kind = origin.node.get("kind").and_then(Node::text).unwrap_or_default();
                let message = format!("{kind} is ignored: {warning}");
                // A cluster may have hundreds of them.
                if !self.diagnostics.iter().any(|before| before.message == message) {
                    self.diagnostics.push(Diagnostic::warning(origin.value("kind"), message));
                }
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
    if let Some(item) = kind.strip_suffix("List") {
        let item_type = TypeMeta { api_version: api_version.clone(), kind: item.to_owned() };
        return Ok(Document::List { item_type: Some(item_type) });
    }
    let group = kinds::group_of(api_version);
    if kinds::is_built_in(group) {
        check_built_in(origin, api_version, kind)?;
    }
    Ok(Document::Ignored(kinds::warning(group, kind)))
}

/// Refuses what is probably meant as a kind that hairpin models, and what no API server serves: such a kind in another
/// version or another group of Kubernetes.
fn check_built_in(origin: &SourceNode, api_version: &str, kind: &str) -> Result<(), Box<Diagnostic>> {
    let no_matches = |field: &str| {
        let message = format!("no matches for kind {kind:?} in version {api_version:?}");
        Diagnostic::error(origin.value(field), message)
    };
    if let Some(known) = Kind::all().find(|known| known.name() == kind) {
        let expected = format!("expected apiVersion {}", known.api_version());
        return Err(no_matches("apiVersion").expected(expected).into());
    }
    let of_version = Kind::all().filter(|known| known.api_version() == api_version);
    let known: Vec<&str> = of_version.map(Kind::name).collect();
    match scenario::nearest(kind, &known) {
        Some(nearest) => Err(no_matches("kind").help(format!("did you mean {nearest:?}?")).into()),
        None => Ok(()),
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
