//! Manifests and scenarios: whatever the text, it is read or every mistake has a place that can be shown.

use conformance::diagnostic::{Diagnostic, Source, Style, has_errors, render};
use conformance::manifest::load;
use conformance::prepare::{prepare, settle};

/// A file as a user might write it.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let sources = || vec![Source { name: "input.yaml".to_owned(), text: text.to_owned() }];
    match settle(load(sources())) {
        Ok((_, warnings, sources)) => show(&warnings, &sources),
        Err(refused) => {
            assert!(has_errors(&refused.diagnostics), "what is refused has an error");
            show(&refused.diagnostics, &refused.sources);
        }
    }
    match prepare(load(sources())) {
        Ok(prepared) => show(&prepared.warnings, &prepared.sources),
        Err(refused) => {
            assert!(has_errors(&refused.diagnostics), "what is refused has an error");
            show(&refused.diagnostics, &refused.sources);
        }
    }
}

/// Every place lies within its text.
fn show(diagnostics: &[Diagnostic], sources: &[Source]) {
    for diagnostic in diagnostics {
        let position = diagnostic.position(sources);
        assert!(position.line >= 1 && position.column >= 1);
    }
    let _ = render(diagnostics, sources, Style::Plain);
}
