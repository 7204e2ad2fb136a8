//! Differences between a real node and what kube-proxy would load there.

use std::fmt;

use thiserror::Error;

use crate::error::quoted;

/// All differences; empty if the node has what kube-proxy would load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// The differences, grouped by subject: the node first, then Services by name.
    pub findings: Vec<Finding>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Whom it concerns.
    pub subject: FindingSubject,
    /// The kind of difference.
    pub kind: FindingKind,
    /// The location: table and chain, set, virtual service or device.
    pub place: String,
    /// The effect on traffic, as text.
    pub words: String,
    /// The line of the dump, or the line that is missing there, if the finding is about one line.
    pub rule: Option<String>,
}

/// The subject of a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingSubject {
    /// Not specific to a Service.
    Node,
    /// A service port as named in its rules: `namespace/name:port`.
    Service(String),
    /// A chain whose name has the form of a Service's, but whose owner is unknown.
    Chain(String),
    /// A virtual service that no service port has.
    VirtualService(String),
}

/// The kind of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// Expected but not present.
    Missing,
    /// Present but not expected.
    Extra,
    /// Outdated: it belongs to a removed endpoint or Service.
    Stale,
    /// Present, but in the wrong position.
    Misplaced,
    /// Present, with other values.
    Different,
}

impl fmt::Display for FindingSubject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => formatter.write_str("node"),
            Self::Service(name) => formatter.write_str(name),
            Self::Chain(name) => write!(formatter, "chain {name}"),
            Self::VirtualService(name) => write!(formatter, "virtual service {name}"),
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Stale => "stale",
            Self::Misplaced => "misplaced",
            Self::Different => "different",
        })
    }
}

impl fmt::Display for Diff {
    /// One paragraph per subject, one line per finding, followed by the line that it is about.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for Finding { subject, kind, place, words, rule } in &self.findings {
            if last != Some(subject) {
                writeln!(formatter, "{subject}")?;
                last = Some(subject);
            }
            writeln!(formatter, "  {kind} in {place}: {words}")?;
            if let Some(rule) = rule {
                writeln!(formatter, "    {rule}")?;
            }
        }
        Ok(())
    }
}

/// Text that is not the output of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: expected {expected}, found {found}")]
pub struct DumpError {
    /// Line number, from 1; the line after the last if something is missing at the end.
    pub line: usize,
    /// The text of the line, quoted and truncated, or `the end of the text`.
    pub found: Box<str>,
    /// What would have been right.
    pub expected: Box<str>,
}

impl DumpError {
    pub(crate) fn in_line(index: usize, line: &str, expected: impl Into<Box<str>>) -> Self {
        Self { line: index + 1, found: quoted(line).into(), expected: expected.into() }
    }

    pub(crate) fn at_end(dump: &str, expected: impl Into<Box<str>>) -> Self {
        Self {
            line: dump.lines().count() + 1,
            found: "the end of the text".into(),
            expected: expected.into(),
        }
    }
}
