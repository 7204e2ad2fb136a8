//! As much of Rust's grammar as the checks need: code without comments and strings, and the paths that it names.

/// The code with every comment and the content of every string and character blanked out; lines keep their numbers.
pub(crate) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => find(&chars, at, |rest| rest[0] == '\n', 0),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment(&chars, at),
            '"' => string(&chars, at),
            'r' if is_raw_string(&chars, at) => raw_string(&chars, at),
            '\'' if is_char_literal(&chars, at) => char_literal(&chars, at),
            _ => {
                code.push(chars[at]);
                at += 1;
                continue;
            }
        };
        code.extend(chars[at..end].iter().map(|&char| if char == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    code
}

/// The first place from `at` on where `is_end` holds, plus `width`; the end of the text if there is none.
fn find(chars: &[char], at: usize, is_end: impl Fn(&[char]) -> bool, width: usize) -> usize {
    (at..chars.len()).find(|&at| is_end(&chars[at..])).map_or(chars.len(), |at| at + width)
}

fn block_comment(chars: &[char], at: usize) -> usize {
    let (mut depth, mut at) = (0_usize, at);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(chars: &[char], at: usize) -> usize {
    let mut at = at + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn is_raw_string(chars: &[char], at: usize) -> bool {
    let is_own_token =
        at == 0 || !(chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') || chars[at - 1] == 'b';
    let quote = chars[at + 1..].iter().find(|&&char| char != '#');
    is_own_token && quote == Some(&'"')
}

fn raw_string(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&char| char == '#').count();
    let closes = |rest: &[char]| {
        rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|&char| char == '#')
    };
    find(chars, at + hashes + 2, closes, hashes + 1)
}

/// `'a'` and `'\n'`, not the lifetime `'a`.
fn is_char_literal(chars: &[char], at: usize) -> bool {
    chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'')
}

fn char_literal(chars: &[char], at: usize) -> usize {
    // The character after a backslash may be a quote itself.
    let content = if chars.get(at + 1) == Some(&'\\') { at + 3 } else { at + 2 };
    find(chars, content, |rest| rest[0] == '\'', 1)
}

/// Every path of the code with its line: those of `use` trees in full, and those written out in expressions and types.
pub(crate) fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut rest = code;
    let mut line = 1;
    while let Some(at) = rest.find(|char: char| char.is_alphabetic() || char == '_') {
        line += rest[..at].matches('\n').count();
        rest = &rest[at..];
        let len = path_len(rest);
        let path = &rest[..len];
        if path == "use" {
            let end = rest.find(';').unwrap_or(rest.len());
            let tree: String =
                rest[len..end].chars().filter(|char| !char.is_whitespace() || *char == ' ').collect();
            found.extend(use_tree("", &tree).into_iter().map(|path| (line, path)));
            line += rest[..end].matches('\n').count();
            rest = &rest[end..];
        } else {
            if path.contains("::") {
                found.push((line, path.to_owned()));
            }
            rest = &rest[len..];
        }
    }
    found
}

fn path_len(text: &str) -> usize {
    text.find(|char: char| !(char.is_alphanumeric() || char == '_' || char == ':')).unwrap_or(text.len())
}

/// `std::{fs, net::{IpAddr, TcpStream}}` as `std::fs`, `std::net::IpAddr`, `std::net::TcpStream`.
fn use_tree(prefix: &str, tree: &str) -> Vec<String> {
    let tree = tree.trim().trim_start_matches("::");
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        return vec![format!("{prefix}{path}")];
    };
    let inner = tree[open + 1..].strip_suffix('}').unwrap_or(&tree[open + 1..]);
    let prefix = format!("{prefix}{}", &tree[..open]);
    split_list(inner).into_iter().flat_map(|item| use_tree(&prefix, item)).collect()
}

/// Splits at the commas that no brace encloses.
fn split_list(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0_usize, 0, Vec::new());
    for (at, char) in list.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&list[start..]);
    items.retain(|item| !item.trim().is_empty());
    items
}

#[test]
fn comments_and_strings_are_no_code() {
    for (text, words) in [
        ("a // std::fs\nb", "a b"),
        ("a /* x /* y */ z */ b", "a b"),
        (r#"f("std::\"fs") b"#, "f( ) b"),
        (r##"f(r#"a"b"#) c"##, "f( ) c"),
        ("fn f<'a>(c: &'a str) { '\\'' }", "fn f<'a>(c: &'a str) { }"),
        ("let c = '\"'; d", "let c = ; d"),
    ] {
        let code = code_of(text);
        assert_eq!(code.len(), text.len(), "columns stay: {text}");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), words);
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let code =
        "use std::{fs, net::{IpAddr, TcpStream as S}};\npub use sim::trace;\nfn f() { std::env::var() }\n";
    let expected = [
        (1, "std::fs"),
        (1, "std::net::IpAddr"),
        (1, "std::net::TcpStream"),
        (2, "sim::trace"),
        (3, "std::env::var"),
    ];
    assert_eq!(paths(code), expected.map(|(line, path)| (line, path.to_owned())));
}
