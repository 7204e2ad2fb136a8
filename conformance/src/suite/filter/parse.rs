//! Parses filter expressions by recursive descent, with one function per precedence level.

use super::{Filter, Pattern};
use crate::diagnostic::{Diagnostic, Place, SourceId};
use crate::scenario::{ProxyMode, nearest};

/// Terms with arguments.
const FUNCTIONS: [&str; 3] = ["name", "requirement", "mode"];

/// Operators; inside the parentheses of a term they are plain text.
const OPERATORS: [&str; 3] = ["and", "or", "not"];

/// What may start a term.
const TERM: &str = "part of a scenario's name, name(…), requirement(…), mode(…), `not` or `(`";

/// Maximum nesting of parentheses and `not`, which bounds the stack.
const DEPTH_MAX: usize = 64;

pub(super) fn parse(text: &str) -> Result<Filter, Box<Diagnostic>> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    if parser.peek().is_empty() {
        // The source of an empty text is not displayed, so expectations go into the help.
        let fault = parser.fault("the expression is empty", TERM);
        return Err(Box::new(fault.help(format!("expected {TERM}"))));
    }
    let filter = parser.any()?;
    match parser.peek() {
        "" => Ok(filter),
        ")" => Err(parser.fault("unmatched closing parenthesis", "`and`, `or` or the end")),
        found => Err(parser.fault(format!("unexpected `{found}`"), "`and`, `or` or the end")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// The current position in bytes.
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Filter, Box<Diagnostic>> {
        let mut filters = vec![self.all()?];
        while self.take("or") {
            filters.push(self.all()?);
        }
        Ok(alone_or(filters, Filter::Any))
    }

    fn all(&mut self) -> Result<Filter, Box<Diagnostic>> {
        let mut filters = vec![self.term()?];
        while self.take("and") {
            filters.push(self.term()?);
        }
        Ok(alone_or(filters, Filter::All))
    }

    fn term(&mut self) -> Result<Filter, Box<Diagnostic>> {
        let token = self.peek();
        if matches!(token, "not" | "(") {
            if self.depth == DEPTH_MAX {
                let expected = format!("at most {DEPTH_MAX} nested `not` and `(`");
                return Err(self.fault("this is nested too deeply", expected));
            }
            self.depth += 1;
            let filter = if token == "not" { self.negated() } else { self.group() };
            self.depth -= 1;
            return filter;
        }
        if token.is_empty() || token == ")" || OPERATORS.contains(&token) {
            let found = if token.is_empty() { "the end".to_owned() } else { format!("`{token}`") };
            return Err(self.fault(format!("missing term before {found}"), TERM));
        }
        if self.text[self.at + token.len()..].starts_with('(') {
            return self.function(token);
        }
        self.at += token.len();
        Ok(Filter::Name(Pattern::Contains(token.to_owned())))
    }

    fn negated(&mut self) -> Result<Filter, Box<Diagnostic>> {
        self.take("not");
        Ok(Filter::Not(Box::new(self.term()?)))
    }

    fn group(&mut self) -> Result<Filter, Box<Diagnostic>> {
        let open = self.at;
        self.take("(");
        let filter = self.any()?;
        if self.peek() == ")" {
            self.at += 1;
            return Ok(filter);
        }
        let fault = self.fault("unclosed parenthesis", "`and`, `or` or `)`");
        Err(Box::new(fault.related(self.place(open, 1), "opened here")))
    }

    /// Parses `NAME(TEXT)`; the next bytes are the name and the opening parenthesis.
    fn function(&mut self, name: &str) -> Result<Filter, Box<Diagnostic>> {
        if !FUNCTIONS.contains(&name) {
            let fault = self.fault(format!("unknown term `{name}(…)`"), "name(…), requirement(…) or mode(…)");
            let help = nearest(name, &FUNCTIONS).map(|meant| format!("did you mean `{meant}(…)`?"));
            return Err(Box::new(help.into_iter().fold(*fault, Diagnostic::help)));
        }
        let open = self.at + name.len();
        let inside = &self.text[open + 1..];
        let length = inside.find(['(', ')']).filter(|end| inside[*end..].starts_with(')'));
        let Some(length) = length else {
            self.at = open + 1 + inside.find('(').unwrap_or(inside.len());
            let fault = self.fault("unclosed parenthesis", "`)`");
            return Err(Box::new(fault.related(self.place(open, 1), "opened here")));
        };
        let content = inside[..length].trim();
        self.at = open + 1 + (length - inside[..length].trim_start().len());
        let filter = self.argument(name, content)?;
        self.at = open + 1 + length + 1;
        Ok(filter)
    }

    /// The argument of a term; it starts at the current position.
    fn argument(&self, name: &str, content: &str) -> Result<Filter, Box<Diagnostic>> {
        let modes = ProxyMode::ALL.map(ProxyMode::name);
        if name == "mode" {
            return ProxyMode::parse(content).map(Filter::Mode).ok_or_else(|| {
                let message = format!("unknown proxy mode `{content}`");
                let fault = self.fault_at(content.len(), message, format!("one of {}", modes.join(", ")));
                let help = nearest(content, &modes).map(|meant| format!("did you mean `{meant}`?"));
                Box::new(help.into_iter().fold(*fault, Diagnostic::help))
            });
        }
        let pattern = match content.strip_prefix('=').map(str::trim_start) {
            Some(whole) => Pattern::Is(whole.to_owned()),
            None => Pattern::Contains(content.to_owned()),
        };
        if matches!(&pattern, Pattern::Is(text) | Pattern::Contains(text) if text.is_empty()) {
            let expected = format!("part of a {name}, or `=` and the complete one");
            return Err(self.fault_at(content.len(), "empty argument".to_owned(), expected));
        }
        Ok(if name == "name" { Filter::Name(pattern) } else { Filter::Requirement(pattern) })
    }

    /// The next token: a parenthesis, or the text up to the next space or parenthesis; empty at the end.
    fn peek(&mut self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        let is_end = |char: char| char.is_whitespace() || matches!(char, '(' | ')');
        match rest.find(is_end) {
            Some(0) => &rest[..1],
            Some(end) => &rest[..end],
            None => rest,
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let is_next = self.peek() == token;
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    /// An error at the next token.
    fn fault(&mut self, message: impl Into<String>, expected: impl Into<String>) -> Box<Diagnostic> {
        let length = self.peek().len();
        self.fault_at(length, message.into(), expected.into())
    }

    /// An error in the next bytes.
    fn fault_at(&self, length: usize, message: String, expected: String) -> Box<Diagnostic> {
        Box::new(
            Diagnostic::error(self.place(self.at, length), message).expected(format!("expected {expected}")),
        )
    }

    fn place(&self, start: usize, length: usize) -> Place {
        Place { source: SourceId(0), span: start..start + length }
    }
}

fn alone_or(mut filters: Vec<Filter>, joined: fn(Vec<Filter>) -> Filter) -> Filter {
    match filters.pop() {
        Some(filter) if filters.is_empty() => filter,
        last => {
            filters.extend(last);
            joined(filters)
        }
    }
}
