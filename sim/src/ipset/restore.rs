//! Executes `ipset restore` input, one command per line.
//!
//! Adjacent `add` (or `del`) lines of one set form a *run*: the real tool parses all of them before it sends them
//! together. A line with a syntax error therefore discards the run before it, and a run uses `-exist` only if its first
//! line was parsed with it. Once given, that option applies to the rest of the text.
//!
//! Linux user space: `restore`, lib/ipset.c, and `ipset_cmd`, lib/session.c.

use super::element::Spec;
use super::entry::{Additions, IpsetErrno};
use super::header::{Header, MAX_TIMEOUT, SetType, counter};
use super::list::{self, Added, MemberPlace, MemberSpec};
use super::set::{Elements, MAX_PER_LINE};
use super::words::{once, restore_words};
use super::{Ipset, SetId};
use crate::text::error::{Parse, Problem, RuleError, RuleErrorKind};
use crate::text::line::Line;
use crate::text::value::ranged;
use crate::text::words::{Value, Word};
use crate::time::Instant;
use std::sync::Arc;

/// The options of `ipset restore`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IpsetOptions {
    /// `-exist` or `-!`: creating or adding something that exists, or deleting something that does not, is not an
    /// error.
    pub exist: bool,
}

const TOOL: &str = "ipset restore";
/// `IPSET_MAXNAMELEN` without its terminator.
const MAX_NAME_LEN: usize = 31;
/// `IPSET_MAX_COMMENT_SIZE`.
const MAX_COMMENT_LEN: usize = 255;

pub(super) fn restore(
    ipset: &mut Ipset,
    now: Instant,
    file: &str,
    text: &str,
    options: IpsetOptions,
) -> Result<(), RuleError> {
    let sets: Vec<SetId> = ipset.ids().collect();
    sets.into_iter().for_each(|set| ipset.collect(set, now));
    let file: Arc<str> = file.into();
    let mut restorer = Restorer { ipset, now, exist: options.exist, run: None };
    let mut number = 0;
    for line in text.split_terminator('\n') {
        number += 1;
        restorer.line(line, number).map_err(|wrong| {
            let (number, line) = wrong.place.unwrap_or((number, line));
            wrong.problem.in_line(TOOL, &file, number, line)
        })?;
    }
    restorer.end_run().map_err(|wrong| {
        let (number, line) = wrong.place.unwrap_or((number, ""));
        wrong.problem.in_line(TOOL, &file, number, line)
    })
}

/// A problem of this line, or of an earlier one.
struct Wrong<'t> {
    problem: Box<Problem>,
    place: Option<(u32, &'t str)>,
}

impl From<Box<Problem>> for Wrong<'_> {
    fn from(problem: Box<Problem>) -> Self {
        Self { problem, place: None }
    }
}

struct Restorer<'r, 't> {
    ipset: &'r mut Ipset,
    now: Instant,
    exist: bool,
    run: Option<Run<'t>>,
}

/// Adjacent lines that add to one set, or delete from it.
struct Run<'t> {
    verb: Verb,
    set: SetId,
    exist: bool,
    lines: Vec<RunLine<'t>>,
}

/// The operation of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Add,
    Del,
}

/// A line of a run.
struct RunLine<'t> {
    element: Element,
    additions: Additions,
    number: u32,
    line: &'t str,
    /// Position and text of the element.
    at: usize,
    text: Box<str>,
}

/// The element to add or delete.
enum Element {
    Keyed(Spec),
    Member(MemberName),
}

/// A member of a list, with an optional neighbour. The kernel resolves the names.
struct MemberName {
    name: Box<str>,
    neighbour: Option<(Side, Box<str>)>,
}

/// The side of the neighbour on which a set is placed.
#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

impl<'t> Restorer<'_, 't> {
    fn line(&mut self, line: &'t str, number: u32) -> Result<(), Wrong<'t>> {
        let trimmed = line.trim_ascii();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return Ok(());
        }
        if line.starts_with("COMMIT") {
            return self.end_run();
        }
        let mut words = restore_words(line)?;
        self.take_options(&mut words)?;
        let mut rest = Line::new(&words, line.trim_ascii_end().len());
        let command = rest.required("a command")?;
        match command.text {
            "create" | "--create" | "-N" => self.create(&mut rest),
            "add" | "--add" | "-A" => self.add_or_del(Verb::Add, &mut rest, line, number),
            "del" | "--del" | "-D" => self.add_or_del(Verb::Del, &mut rest, line, number),
            "flush" | "--flush" | "-F" => self.flush(&mut rest),
            "destroy" | "--destroy" | "-X" => self.destroy(&mut rest),
            "rename" | "--rename" | "-E" => self.rename(&mut rest),
            "swap" | "--swap" | "-W" => self.swap(&mut rest),
            // The real tool reads nothing after a successful test.
            "test" | "--test" | "-T" | "list" | "--list" | "-L" | "save" | "--save" | "-S" | "quit" => {
                let problem = command.expected("a command that changes sets");
                Err(problem.kind(RuleErrorKind::Unsupported).into())
            }
            _ => {
                Err(command.expected("`create`, `add`, `del`, `flush`, `destroy`, `rename` or `swap`").into())
            }
        }
    }

    /// Removes the tool's options, at any position.
    fn take_options(&mut self, words: &mut Vec<Word<'_>>) -> Parse<()> {
        let mut unsupported = None;
        words.retain(|word| match &*word.text {
            "-!" | "-exist" | "--exist" => {
                self.exist = true;
                false
            }
            "-q" | "-quiet" | "--quiet" | "-s" | "-sorted" | "--sorted" => false,
            "-o" | "-output" | "-r" | "-resolve" | "-n" | "-name" | "-t" | "-terse" | "-f" | "-file" => {
                unsupported.get_or_insert_with(|| {
                    Value::of(word)
                        .expected("an option of `create`, `add` or `del`, or `-exist`")
                        .kind(RuleErrorKind::Unsupported)
                });
                true
            }
            _ => true,
        });
        unsupported.map_or(Ok(()), Err)
    }

    fn create(&mut self, line: &mut Line<'_>) -> Result<(), Wrong<'t>> {
        let name = line.required("the name of a set")?;
        check_name(name)?;
        let header = Header::read(line)?;
        self.end_run()?;
        match self.ipset.find(name.text) {
            None => self.ipset.create(name.text, header, self.now),
            Some(known) if self.exist && self.ipset.set(known).header.is_same(&header) => {}
            Some(_) => {
                return Err(name.expected("the name of a new set").kind(RuleErrorKind::SetExists).into());
            }
        }
        Ok(())
    }

    fn add_or_del(
        &mut self,
        verb: Verb,
        rest: &mut Line<'_>,
        line: &'t str,
        number: u32,
    ) -> Result<(), Wrong<'t>> {
        let name = rest.required("the name of a set")?;
        let set = self.known(name)?;
        let value = rest.required("an element")?;
        let set_type = self.ipset.set(set).header.set_type;
        let mut additions = Additions::default();
        let neighbour = Self::options(verb, set_type, rest, &mut additions)?;
        let element = match set_type {
            SetType::ListSet => Element::Member(MemberName { name: value.text.into(), neighbour }),
            SetType::BitmapIp
            | SetType::BitmapPort
            | SetType::HashIp
            | SetType::HashNet
            | SetType::HashIpPort
            | SetType::HashIpPortIp
            | SetType::HashIpPortNet
            | SetType::HashNetPort => Element::Keyed(Spec::read(&self.ipset.set(set).header, value)?),
        };
        if !self.run.as_ref().is_some_and(|run| (run.verb, run.set) == (verb, set)) {
            self.end_run()?;
        }
        let exist = self.exist;
        let run = self.run.get_or_insert_with(|| Run { verb, set, exist, lines: Vec::new() });
        run.lines.push(RunLine { element, additions, number, line, at: value.at, text: value.text.into() });
        Ok(())
    }

    /// Parses the options after the element of an `add` or `del`.
    fn options(
        verb: Verb,
        set_type: SetType,
        line: &mut Line<'_>,
        additions: &mut Additions,
    ) -> Parse<Option<(Side, Box<str>)>> {
        let mut neighbour = None;
        while let Some(name) = line.next() {
            match (name.text, verb) {
                ("timeout", Verb::Add) => {
                    once(name, &mut additions.timeout, ranged(line.value(name)?, 0..=MAX_TIMEOUT)?)?;
                }
                ("packets", Verb::Add) => once(name, &mut additions.packets, counter(line.value(name)?)?)?,
                ("bytes", Verb::Add) => once(name, &mut additions.bytes, counter(line.value(name)?)?)?,
                ("comment", Verb::Add) => {
                    once(name, &mut additions.comment, comment(line.value(name)?)?)?;
                }
                ("nomatch", Verb::Add) if set_type.has_networks() => additions.is_exception = true,
                ("skbmark" | "skbprio" | "skbqueue", Verb::Add) => {
                    return Err(name.expected("a supported option").kind(RuleErrorKind::Unsupported));
                }
                ("before" | "after", _) if set_type == SetType::ListSet => {
                    let side = if name.text == "before" { Side::Before } else { Side::After };
                    once(name, &mut neighbour, (side, line.value(name)?.text.into()))?;
                }
                (_, Verb::Add) => {
                    return Err(name.expected(format!("an option of `add` with type {}", set_type.name())));
                }
                (_, Verb::Del) => return Err(name.expected("the end of the line")),
            }
        }
        Ok(neighbour)
    }

    /// Linux: `list_set_uadt`, net/netfilter/ipset/ip_set_list_set.c.
    fn place(&self, member: &MemberName) -> Result<MemberSpec, IpsetErrno> {
        let set = self.ipset.find(&member.name).ok_or(IpsetErrno::NoSuchSet)?;
        if self.ipset.set(set).header.set_type == SetType::ListSet {
            return Err(IpsetErrno::IsList);
        }
        let neighbour = match &member.neighbour {
            None => None,
            Some((side, name)) => {
                let other = self.ipset.find(name).ok_or(IpsetErrno::NoNeighbour)?;
                Some(match side {
                    Side::Before => MemberPlace::Before(other),
                    Side::After => MemberPlace::After(other),
                })
            }
        };
        Ok(MemberSpec { set, neighbour })
    }

    /// Sends the pending run.
    fn end_run(&mut self) -> Result<(), Wrong<'t>> {
        let Some(run) = self.run.take() else { return Ok(()) };
        for line in &run.lines {
            let RunLine { element, additions, .. } = line;
            let result = match (run.verb, element) {
                (Verb::Add, Element::Keyed(spec)) => {
                    self.ipset.set_mut(run.set).add(spec, additions, run.exist, self.now)
                }
                (Verb::Del, Element::Keyed(spec)) => {
                    self.ipset.set_mut(run.set).del(spec, run.exist, self.now)
                }
                (Verb::Add, Element::Member(member)) => {
                    self.place(member).and_then(|place| self.add_member(&run, place, additions))
                }
                (Verb::Del, Element::Member(member)) => {
                    self.place(member).and_then(|place| self.del_member(&run, place))
                }
            };
            result.map_err(|failure| Wrong {
                problem: refusal(failure, line.at, &line.text),
                place: Some((line.number, line.line)),
            })?;
        }
        Ok(())
    }

    fn add_member(
        &mut self,
        run: &Run<'_>,
        place: MemberSpec,
        additions: &Additions,
    ) -> Result<(), IpsetErrno> {
        self.ipset.remove_expired(run.set, self.now);
        let now = self.now;
        let set = self.ipset.set_mut(run.set);
        set.check(additions)?;
        let extensions = set.header.extensions;
        let Elements::List(members) = &mut set.elements else { return Ok(()) };
        let added = list::add(members, place, run.exist, |entry| entry.renew(additions, &extensions, now))?;
        match added {
            Added::New => self.ipset.hold(place.set),
            Added::Again => {}
        }
        Ok(())
    }

    fn del_member(&mut self, run: &Run<'_>, place: MemberSpec) -> Result<(), IpsetErrno> {
        self.ipset.remove_expired(run.set, self.now);
        let Elements::List(members) = &mut self.ipset.set_mut(run.set).elements else { return Ok(()) };
        match list::del(members, place) {
            Ok(()) => {
                self.ipset.release(place.set);
                Ok(())
            }
            Err(IpsetErrno::Missing) if run.exist => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    fn flush(&mut self, line: &mut Line<'_>) -> Result<(), Wrong<'t>> {
        let set = line.next().map(|name| self.known(name)).transpose()?;
        line.nothing_more()?;
        self.end_run()?;
        let sets = set.map_or_else(|| self.ipset.ids().collect(), |set| vec![set]);
        for set in sets {
            self.ipset.flush(set);
        }
        Ok(())
    }

    // Linux: ip_set_destroy
    fn destroy(&mut self, line: &mut Line<'_>) -> Result<(), Wrong<'t>> {
        let name = line.next();
        let set = name.map(|name| self.known(name)).transpose()?;
        line.nothing_more()?;
        self.end_run()?;
        let sets: Vec<SetId> = set.map_or_else(|| self.ipset.ids().collect(), |set| vec![set]);
        if let Some(used) = sets.iter().find(|set| self.ipset.slot(**set).references > 0) {
            let problem = Problem::new(
                RuleErrorKind::SetInUse,
                name.map_or(0, |name| name.at),
                "sets that no rule or list refers to",
                format!("`{}`, which is referenced", self.ipset.name(*used)),
            );
            return Err(problem.into());
        }
        for set in sets {
            self.ipset.destroy(set);
        }
        Ok(())
    }

    // Linux: ip_set_rename
    fn rename(&mut self, line: &mut Line<'_>) -> Result<(), Wrong<'t>> {
        let (old, new) = (line.required("the name of a set")?, line.required("the new name")?);
        check_name(new)?;
        line.nothing_more()?;
        self.end_run()?;
        let set = self.known(old)?;
        if self.ipset.slot(set).references > 0 {
            let problem = old.expected("a set that no rule or list refers to");
            return Err(problem.kind(RuleErrorKind::SetInUse).into());
        }
        if self.ipset.find(new.text).is_some() {
            return Err(new.expected("an unused set name").kind(RuleErrorKind::SetExists).into());
        }
        self.ipset.slot_mut(set).name = new.text.into();
        Ok(())
    }

    // Linux: ip_set_swap
    fn swap(&mut self, line: &mut Line<'_>) -> Result<(), Wrong<'t>> {
        let (one, other) = (line.required("the name of a set")?, line.required("the name of another set")?);
        line.nothing_more()?;
        self.end_run()?;
        let (first, second) = (self.known(one)?, self.known(other)?);
        let what = |set| {
            let header = &self.ipset.set(set).header;
            (header.set_type.contents(), header.family())
        };
        if what(first) != what(second) {
            let expected = format!("a set of the type and family of {}", one.text);
            return Err(other.expected(expected).kind(RuleErrorKind::Refused).into());
        }
        self.ipset.swap(first, second);
        Ok(())
    }

    fn known(&self, name: Value<'_>) -> Parse<SetId> {
        self.ipset
            .find(name.text)
            .ok_or_else(|| name.expected("the name of a set that exists").kind(RuleErrorKind::NoSuchSet))
    }
}

fn check_name(name: Value<'_>) -> Parse<()> {
    if name.text.len() > MAX_NAME_LEN || name.text.contains(|letter: char| letter.is_ascii_whitespace()) {
        return Err(name.expected("a name of 1 to 31 bytes without blanks"));
    }
    Ok(())
}

fn comment(value: Value<'_>) -> Parse<Box<str>> {
    if value.text.len() > MAX_COMMENT_LEN {
        return Err(value.expected("a comment of 255 bytes at most"));
    }
    Ok(value.text.into())
}

/// Converts the kernel's rejection of an element into a message.
fn refusal(failure: IpsetErrno, at: usize, text: &str) -> Box<Problem> {
    let (kind, expected) = match failure {
        IpsetErrno::Exists => (RuleErrorKind::ElementExists, "an element that is not in the set".into()),
        IpsetErrno::Missing => (RuleErrorKind::NoSuchElement, "an element of the set".into()),
        IpsetErrno::Full => (RuleErrorKind::Refused, "no more elements than `maxelem`".into()),
        IpsetErrno::ZeroAddress => (RuleErrorKind::Refused, "an address that is not zero".into()),
        IpsetErrno::Everything => {
            (RuleErrorKind::Refused, "a prefix length above 0, such as two networks of length 1".into())
        }
        IpsetErrno::NoSuchSet => (RuleErrorKind::NoSuchSet, "the name of a set that exists".into()),
        IpsetErrno::IsList => (RuleErrorKind::Refused, "a set that is not a list".into()),
        IpsetErrno::OutOfRange => (RuleErrorKind::Refused, "an element in the `range` of the set".into()),
        IpsetErrno::NoExtension(name) => {
            (RuleErrorKind::Refused, format!("no `{name}`, as the set was created without it"))
        }
        IpsetErrno::NoNeighbour => {
            (RuleErrorKind::Refused, "the set after `before` or `after` in its place in the list".into())
        }
        IpsetErrno::TooMany => {
            (RuleErrorKind::Unsupported, format!("at most {MAX_PER_LINE} elements per line"))
        }
    };
    Problem::new(kind, at, expected, format!("`{text}`"))
}
