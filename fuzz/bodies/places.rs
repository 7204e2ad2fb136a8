//! Diagnostics of an input.

use conformance::diagnostic::{Diagnostic, Source, Style, render};

/// Prints diagnostics, and checks that every location is within its text.
pub(crate) fn show(diagnostics: &[Diagnostic], sources: &[Source]) {
    for diagnostic in diagnostics {
        let related = diagnostic.related.iter().map(|(place, _)| place);
        for place in related.chain([&diagnostic.place]) {
            assert!(sources[place.source.0].text.get(place.span.clone()).is_some(), "{place:?}");
        }
        let position = diagnostic.position(sources);
        assert!(position.line >= 1 && position.column >= 1);
        assert!(!diagnostic.message.is_empty());
    }
    let printed = render(diagnostics, sources, Style::Plain);
    assert_eq!(printed.is_empty(), diagnostics.is_empty());
}
