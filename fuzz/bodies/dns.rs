//! DNS messages: for any input, the server of a cluster sends a response that its clients can parse, or none.

use conformance::diagnostic::Source;
use conformance::dns::{Zone, candidates, is_name, query, read};
use conformance::manifest::load;
use conformance::prepare::settle;
use conformance::suite;
use std::sync::LazyLock;

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let scenario = suite::find("dns").expect("a built-in scenario");
    let source = Source { name: scenario.file(), text: scenario.text.to_owned() };
    let (cluster, ..) = settle(load(vec![source])).expect("a valid scenario");
    Zone::of(&cluster)
});

const IDENTITY: &str = "coredns 10.244.1.2:53";

/// The bytes of a UDP datagram, or a name.
pub(crate) fn run(bytes: &[u8]) {
    let _ = read(bytes);
    let answer = ZONE.answer(bytes, IDENTITY);
    if let Some(answer) = &answer {
        let (resolved, identity) = read(answer).expect("a client parses the response");
        assert_eq!(identity.trim_end(), IDENTITY);
        assert_eq!(ZONE.is_truncating(bytes), resolved.is_truncated);
        assert!(
            resolved.is_found || resolved.addresses.is_empty(),
            "a name that does not exist has no address"
        );
        assert_eq!(ZONE.answer(answer, IDENTITY), None, "a response is not a query");
    }
    if let Some(name) = std::str::from_utf8(bytes).ok().filter(|name| is_name(name)) {
        for candidate in candidates(name, Some("default")) {
            let query = query(7, &candidate).expect("any name can be queried");
            let answer = ZONE.answer(&query, IDENTITY).expect("a query is answered");
            read(&answer).expect("a client parses the response");
        }
    }
}
