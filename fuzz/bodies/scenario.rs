//! Scenario files: any text either is a valid scenario or gives errors whose locations are valid.

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
            assert!(!has_errors(&one.warnings), "a valid scenario has only warnings");
            assert!(!one.modes.is_empty(), "a scenario supports some mode");
            assert_eq!(prepared().as_ref(), Ok(&one), "the same text gives the same scenario");
        }
        Err(refused) => {
            assert!(has_errors(&refused.diagnostics), "a rejected file has an error");
            show(&refused.diagnostics, &refused.sources);
        }
    }
}
