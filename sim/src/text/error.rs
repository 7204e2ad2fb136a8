//! What a wrong text gets for an answer.

use std::borrow::Cow;
use std::sync::Arc;

/// Why a rule text or a command was refused, as far as callers must tell the reasons apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleErrorKind {
    /// The text is not what the tool's grammar says.
    Syntax,
    /// The tool knows it, this simulator does not execute it.
    Unsupported,
    /// There is no such table.
    NoSuchTable,
    /// There is no chain, target or match of that name.
    NoSuchChain,
    /// `-N` on a chain that exists; the real tool says "Chain already exists." and exits with 1.
    ChainExists,
    /// `-X` on a chain that has rules.
    ChainNotEmpty,
    /// `-X` on a chain to which rules jump.
    ChainInUse,
    /// `-C` or `-D` on a rule that does not exist, or a rule number past the end.
    NoSuchRule,
    /// There is no set of that name.
    NoSuchSet,
    /// `create` or `rename` to the name of a set that exists.
    SetExists,
    /// `destroy` or `rename` of a set that a rule or another set names.
    SetInUse,
    /// `add` of an element that the set has.
    ElementExists,
    /// `del` of an element that the set has not.
    NoSuchElement,
    /// The rules are well formed, but the kernel does not take them: a target in the wrong table or chain, a loop.
    Refused,
}

/// A rule text or command that was refused. Nothing has changed then, in the table that it concerned.
///
/// Lines and columns count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {tool}: expected {expected}, found {found}{}", self.help_text())]
pub struct RuleError {
    /// Why, for callers.
    pub kind: RuleErrorKind,
    /// The tool that would have refused it.
    pub tool: &'static str,
    /// Name of the file or other place from which the text came.
    pub file: Arc<str>,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// What could have stood there.
    pub expected: Cow<'static, str>,
    /// What stood there, in quotation marks, or words such as "the end of the line".
    pub found: Box<str>,
    /// What to do about it.
    pub help: Option<Cow<'static, str>>,
}

impl RuleError {
    fn help_text(&self) -> String {
        self.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default()
    }
}

/// A problem in one line, before file and line are known.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: RuleErrorKind,
    /// Byte offset in the line.
    pub(crate) at: usize,
    pub(crate) expected: Cow<'static, str>,
    pub(crate) found: Box<str>,
    pub(crate) help: Option<Cow<'static, str>>,
}

/// Boxed, because results are returned from every small parser and problems are rare.
pub(crate) type Parse<T> = Result<T, Box<Problem>>;

impl Problem {
    pub(crate) fn new(
        kind: RuleErrorKind,
        at: usize,
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<Box<str>>,
    ) -> Box<Self> {
        Box::new(Self { kind, at, expected: expected.into(), found: found.into(), help: None })
    }

    pub(crate) fn help(mut self: Box<Self>, help: impl Into<Cow<'static, str>>) -> Box<Self> {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn kind(mut self: Box<Self>, kind: RuleErrorKind) -> Box<Self> {
        self.kind = kind;
        self
    }

    /// Says where the line stands.
    pub(crate) fn in_line(self, tool: &'static str, file: &Arc<str>, number: u32, line: &str) -> RuleError {
        let before = line.get(..self.at).unwrap_or(line).chars().count();
        RuleError {
            kind: self.kind,
            tool,
            file: Arc::clone(file),
            line: number,
            column: u32::try_from(before).unwrap_or(u32::MAX - 1) + 1,
            expected: self.expected,
            found: self.found,
            help: self.help,
        }
    }
}
