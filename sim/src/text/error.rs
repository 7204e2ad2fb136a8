//! Errors of rule texts and commands.

use std::borrow::Cow;
use std::sync::Arc;

/// Why a rule text or command was rejected, as far as callers distinguish reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleErrorKind {
    /// The text violates the tool's grammar.
    Syntax,
    /// The real tool supports it, this simulator does not.
    Unsupported,
    /// There is no such table.
    NoSuchTable,
    /// There is no chain, target or match with that name.
    NoSuchChain,
    /// `-N` on a chain that exists; the real tool says "Chain already exists." and exits with 1.
    ChainExists,
    /// `-X` on a chain with rules.
    ChainNotEmpty,
    /// `-X` on a chain that rules jump to.
    ChainInUse,
    /// `-C` or `-D` on a rule that does not exist, or a rule number past the end.
    NoSuchRule,
    /// There is no set with that name.
    NoSuchSet,
    /// `create` or `rename` with the name of an existing set.
    SetExists,
    /// `destroy` or `rename` of a set that a rule or another set refers to.
    SetInUse,
    /// `add` of an existing element.
    ElementExists,
    /// `del` of an element that does not exist.
    NoSuchElement,
    /// `link add` of a device that exists.
    DeviceExists,
    /// The rules are well-formed, but the kernel rejects them: a target in the wrong table or chain, a loop.
    Refused,
}

/// A rejected rule text or command. The table concerned is unchanged.
///
/// Lines and columns count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {tool}: expected {expected}, found {found}{}", self.help_text())]
pub struct RuleError {
    /// The reason, for callers.
    pub kind: RuleErrorKind,
    /// The tool that would have rejected it.
    pub tool: &'static str,
    /// Name of the file or other source of the text.
    pub file: Arc<str>,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// What was expected there.
    pub expected: Cow<'static, str>,
    /// What was found, in quotation marks, or words such as "the end of the line".
    pub found: Box<str>,
    /// How to fix it.
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
    /// Byte offset within the line.
    pub(crate) at: usize,
    pub(crate) expected: Cow<'static, str>,
    pub(crate) found: Box<str>,
    pub(crate) help: Option<Cow<'static, str>>,
}

/// Boxed, because every small parser returns a result and problems are rare.
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

    /// Adds file and line.
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
