//! Manifests: any text either parses or gives errors whose locations are valid.

use crate::places::show;
use conformance::diagnostic::{Source, has_errors};
use conformance::manifest::load;
use conformance::prepare::settle;

/// A file as a user might write it.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match settle(load(vec![Source { name: "input.yaml".to_owned(), text: text.to_owned() }])) {
        Ok((_, warnings, sources)) => show(&warnings, &sources),
        Err(refused) => {
            assert!(has_errors(&refused.diagnostics), "a rejected file has an error");
            show(&refused.diagnostics, &refused.sources);
        }
    }
}
