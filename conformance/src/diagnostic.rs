//! What is wrong with an input, and where, said so that its author can mend it.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::yaml::Span;

/// A text and the name under which its author knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A path, or the name of a built-in scenario, or `<stdin>`.
    pub name: String,
    /// The text.
    pub text: String,
}

/// Index of a [`Source`] in the list that was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub usize);

/// Whether the input can be used in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but its author probably meant something else.
    Warning,
}

/// A place in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The source.
    pub source: SourceId,
    /// The bytes; empty at the end of the text, or where something is missing.
    pub span: Span,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it is an error.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// Where.
    pub place: Place,
    /// What was expected there; empty if the message says it.
    pub expected: String,
    /// Other places that matter, and why.
    pub related: Vec<(Place, String)>,
    /// What to do about it.
    pub help: Vec<String>,
}

/// Line and column of a place, as editors count them: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// How diagnostics look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With escape sequences for a terminal. Whether there is one the caller knows.
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

    /// With what was expected there.
    #[must_use]
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = expected.into();
        self
    }

    /// With one more place that matters, and why.
    #[must_use]
    pub fn related(mut self, place: Place, why: impl Into<String>) -> Self {
        self.related.push((place, why.into()));
        self
    }

    /// With one more piece of advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Line and column of its place.
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

/// Whether one of them is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// Diagnostics that are printed at once. Who has more of them has made one mistake many times.
const PRINTED_MAX: usize = 50;

/// Prints diagnostics, each with its lines of the source, one blank line between two. After so many it says how many
/// more there are.
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
    // A place in another file needs a snippet of its own.
    for (place, why) in diagnostic.related.iter().filter(|(place, _)| place.source != at) {
        let annotation = AnnotationKind::Context.span(shown(place, sources)).label(why.as_str());
        group = group.element(snippet(place.source, sources).annotation(annotation));
    }
    group.elements(diagnostic.help.iter().map(|help| Level::HELP.message(help.as_str())))
}

/// The lines of the place itself, with the related places of the same file. A text without lines has a name only.
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

/// What is underlined: the first line of the span, because the rest of a block helps nobody.
fn shown(place: &Place, sources: &[Source]) -> Span {
    let text = &sources[place.source.0].text;
    let start = text.floor_char_boundary(place.span.start);
    let end = text.ceil_char_boundary(place.span.end).max(start);
    let line_end = text[start..end].find('\n').map_or(end, |length| start + length);
    start..line_end
}

#[cfg(test)]
mod tests;
