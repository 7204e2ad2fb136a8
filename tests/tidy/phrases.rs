//! Plain English: phrases that make text hard to read, and what to write instead.

use crate::project::{File, Finding};

/// Where a phrase is bad.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    /// At the beginning of a doc comment's line.
    Start,
    /// "Is no …", unless it is part of "there is no …", "is no longer …" and the like.
    Negation,
}

use Place::{Anywhere, Negation, Start};

/// Phrases in lower case, where they are bad, and what to write instead. `*` stands for any one word.
const PHRASES: [(&str, Place, &str); 21] = [
    ("is no", Negation, "is not a …, or: invalid …"),
    ("are no", Negation, "are not …, or: invalid …"),
    ("so many * at a time", Anywhere, "the number of parallel …"),
    ("is told", Anywhere, "gets, receives or is notified"),
    ("are told", Anywhere, "get, receive or are notified"),
    ("nobody hears", Anywhere, "is ignored, or: has no listener"),
    ("nothing is said about", Anywhere, "… is unknown"),
    ("in no mode's words", Anywhere, "independent of the proxy mode"),
    ("what it has too much", Anywhere, "surplus …"),
    ("what it wishes", Anywhere, "its effects"),
    ("not yet executed", Anywhere, "not implemented yet"),
    ("is at fault", Anywhere, "is invalid"),
    ("by what", Start, "how …, or a noun"),
    ("to where", Start, "the destination of …"),
    ("to whom", Start, "the recipient of …"),
    ("of what", Start, "a noun"),
    ("for what", Start, "the purpose of …"),
    ("so often", Start, "the number of …"),
    ("so many", Start, "the number of …"),
    ("so long", Start, "the duration of …"),
    ("what becomes of", Start, "the result of …"),
];

/// Bad phrases in text that people read: code and its messages, documentation, scenarios, and examples of output.
pub(crate) fn plain_english(files: &[File]) -> Vec<Finding> {
    let is_prose =
        |file: &&File| [".rs", ".md", ".yaml", ".trycmd"].iter().any(|end| file.path.ends_with(end));
    let mut findings = Vec::new();
    for file in files.iter().filter(is_prose).filter(|file| file.path != "tests/tidy/phrases.rs") {
        for (number, line) in file.lines() {
            let line = line.to_lowercase();
            let words: Vec<&str> = line.split_whitespace().collect();
            let bad = PHRASES.iter().find(|(phrase, place, _)| has(&words, phrase, *place));
            findings.extend(bad.map(|(phrase, _, instead)| {
                file.found(number, format!("`{phrase}` is hard to read; write: {instead}"))
            }));
        }
    }
    findings
}

fn has(words: &[&str], phrase: &str, place: Place) -> bool {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words.windows(phrase.len()).enumerate().any(|(at, here)| {
        let before = at.checked_sub(1).map_or("", |before| words[before].trim_start_matches(QUOTES));
        let after = words.get(at + phrase.len()).copied().unwrap_or_default();
        let is_allowed_here = match place {
            Anywhere => true,
            Start => matches!(before, "///" | "//!"),
            Negation => !matches!(before, "there" | "where") && !is_comparison(after),
        };
        is_allowed_here && phrase.iter().zip(here).all(|(wanted, word)| fits(wanted, word))
    })
}

/// What may be in front of a word.
const QUOTES: [char; 3] = ['"', '(', '`'];

/// A word of a phrase may follow a quotation mark or bracket, but not end a sentence.
fn fits(wanted: &str, word: &str) -> bool {
    wanted == "*" || wanted == word.trim_start_matches(QUOTES)
}

fn is_comparison(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ',', ';', ':', ')', '"']);
    matches!(
        word,
        "longer" | "more" | "less" | "fewer" | "later" | "earlier" | "better" | "worse" | "different"
    )
}

#[test]
fn every_phrase_is_found() {
    for (phrase, ..) in PHRASES {
        let text = format!("fn a() {{}}\n/// {} port 80\n", phrase.replace('*', "runs"));
        let findings = plain_english(&[File::new("a/src/x.rs", &text)]);
        let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(matches!(&found[..], [one] if one.starts_with("a/src/x.rs:2: ")), "{phrase}: {found:?}");
    }
    let message = r#"format!("{count} is no count")"#;
    assert_eq!(plain_english(&[File::new("src/x.rs", message)]).len(), 1);
}

#[test]
fn good_english_is_not_found() {
    for text in [
        "/// If there is no endpoint, the packet is dropped.",
        "/// There are no endpoints.",
        "/// The entry is no longer valid, and is no more than 8 bytes long.",
        "/// The port is no. 80.",
        "/// Counts packets by what they match.",
        "/// Takes so many bytes at once.",
        "fn who_is_told(is_no: bool) {}",
    ] {
        assert!(plain_english(&[File::new("a/src/x.rs", text)]).is_empty(), "{text}");
    }
    assert!(plain_english(&[File::new("sim/recordings/a.txt", "is no file")]).is_empty());
}
