//! Problems of an input with their positions, for the author to fix.

use serde::{Deserialize, Serialize};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::yaml::Span;

/// A text and the name under which its author knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// A path, or the name of a built-in scenario, or `<stdin>`.
    pub name: String,
    /// The text.
    pub text: String,
}

/// Index of a [`Source`] in the list that was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub usize);

/// Whether the input is usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It is not.
    Error,
    /// It is, but probably not what its author intended.
    Warning,
}

/// A place in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The source.
    pub source: SourceId,
    /// A byte range; empty at the end of the text, or where something is missing.
    pub span: Span,
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The problem, in one sentence without a full stop.
    pub message: String,
    /// The position.
    pub place: Place,
    /// What was expected there; empty if the message says so.
    pub expected: String,
    /// Related places, and their relation.
    pub related: Vec<(Place, String)>,
    /// How to fix it.
    pub help: Vec<String>,
}

/// Line and column of a place, as in editors: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// Output style of diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Plain text.
    Plain,
    /// With terminal escape sequences. The caller decides whether there is a terminal.
    Coloured,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            place,
            expected: String::new(),
            related: Vec::new(),
            help: Vec::new(),
        }
    }

    /// A warning about a place.
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }

    /// Adds what was expected there.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    /// Adds a related place, and its relation.
    #[must_use]
    pub fn related(mut self, place: Place, why: impl Into<String>) -> Self {
        self.related.push((place, why.into()));
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Line and column of the place.
    pub fn position(&self, sources: &[Source]) -> Position {
        Position::of(&sources[self.place.source.0].text, self.place.span.start)
    }
}

impl Position {
    /// The position of a byte of a text.
    pub fn of(text: &str, byte: usize) -> Self {
        let before = &text[..text.floor_char_boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Self {
            line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// True if there is an error among them.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// Maximum number of diagnostics printed. More are usually one mistake repeated.
const PRINTED_MAX: usize = 50;

/// Renders diagnostics with their source lines, separated by blank lines. Beyond the maximum, only the number of the
/// remaining ones is printed.
pub fn render(diagnostics: &[Diagnostic], sources: &[Source], style: Style) -> String {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Coloured => Renderer::styled(),
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut output = String::new();
    for diagnostic in diagnostics.iter().take(PRINTED_MAX) {
        if !output.is_empty() {
            output.push('\n');
        }
        output.push_str(&renderer.render(&[group(diagnostic, sources)]));
        output.push('\n');
    }
    if let Some(more @ 1..) = diagnostics.len().checked_sub(PRINTED_MAX) {
        output.push_str(&format!("\nand {more} more\n"));
    }
    output
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a [Source]) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let at = diagnostic.place.source;
    let mut group = level.primary_title(diagnostic.message.as_str()).elements(main_part(diagnostic, sources));
    // A place in another file needs its own snippet.
    for (place, why) in diagnostic.related.iter().filter(|(place, _)| place.source != at) {
        let annotation = AnnotationKind::Context.span(shown(place, sources)).label(why.as_str());
        group = group.element(snippet(place.source, sources).annotation(annotation));
    }
    group.elements(diagnostic.help.iter().map(|help| Level::HELP.message(help.as_str())))
}

/// The source lines of the place, with related places in the same file. For an empty text, only its name.
fn main_part<'a>(diagnostic: &'a Diagnostic, sources: &'a [Source]) -> Vec<annotate_snippets::Element<'a>> {
    let place = &diagnostic.place;
    let source = &sources[place.source.0];
    if source.text.trim().is_empty() {
        return vec![Origin::path(source.name.as_str()).line(1).char_column(1).into()];
    }
    let expected = (!diagnostic.expected.is_empty()).then_some(diagnostic.expected.as_str());
    let primary = AnnotationKind::Primary.span(shown(place, sources)).label(expected);
    let related = diagnostic.related.iter().filter(|(other, _)| other.source == place.source);
    let context =
        related.map(|(other, why)| AnnotationKind::Context.span(shown(other, sources)).label(why.as_str()));
    vec![snippet(place.source, sources).annotation(primary).annotations(context).into()]
}

fn snippet<'a>(source: SourceId, sources: &'a [Source]) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let Source { name, text } = &sources[source.0];
    Snippet::source(text.as_str()).path(name.as_str())
}

/// The underlined part: the first line of the span, because the rest of a block adds nothing.
fn shown(place: &Place, sources: &[Source]) -> Span {
    let text = &sources[place.source.0].text;
    let start = text.floor_char_boundary(place.span.start);
    let end = text.ceil_char_boundary(place.span.end).max(start);
    let line_end = text[start..end].find('\n').map_or(end, |length| start + length);
    start..line_end
}

#[cfg(test)]
mod tests;
