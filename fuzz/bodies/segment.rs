//! Lines of `send` steps: any text either is a line that survives printing and parsing, or gives an error.

use conformance::scenario::segment::parse_line;

/// Lines as a user might write them.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for text in text.lines() {
        match parse_line(text) {
            Ok(line) => {
                let printed = line.to_string();
                assert_eq!(parse_line(&printed), Ok(line), "{text:?} is printed as {printed:?}");
            }
            Err(fault) => assert!(!fault.message.is_empty(), "{text:?}"),
        }
    }
}
