//! Scenario files: whatever the text, it can be run or every mistake has a place that can be shown.

use crate::places::show;
use conformance::diagnostic::{Source, has_errors};
use conformance::manifest::load;
use conformance::prepare::prepare;

/// A file as a user might write it.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let prepared = || prepare(load(vec![Source { name: "input.yaml".to_owned(), text: text.to_owned() }]));
    match prepared() {
        Ok(one) => {
            show(&one.warnings, &one.sources);
            assert!(!has_errors(&one.warnings), "what is taken has warnings only");
            assert!(!one.modes.is_empty(), "a scenario runs in some mode");
            assert_eq!(prepared().as_ref(), Ok(&one), "the same text gives the same scenario");
        }
        Err(refused) => {
            assert!(has_errors(&refused.diagnostics), "what is refused has an error");
            show(&refused.diagnostics, &refused.sources);
        }
    }
}
