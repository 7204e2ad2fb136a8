//! Filter expressions: any text either parses or gives an error whose location is valid.

use conformance::diagnostic::{Style, render};
use conformance::scenario::ProxyMode;
use conformance::suite::filter::{Candidate, Filter, source};

/// An expression as a user might type it.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Filter::parse(text) {
        Ok(filter) => {
            let requirements = ["service.hairpin".to_owned()];
            let subject =
                Candidate { name: "hairpin-off", requirements: &requirements, mode: ProxyMode::Iptables };
            let negated = Filter::Not(Box::new(filter.clone()));
            assert_ne!(filter.matches(&subject), negated.matches(&subject));
        }
        Err(fault) => {
            assert!(text.get(fault.place.span.clone()).is_some(), "the location is within the text");
            let _ = render(&[*fault], &[source(text)], Style::Plain);
        }
    }
}
