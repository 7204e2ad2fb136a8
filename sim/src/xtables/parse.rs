//! Parses a command, like `do_parse` of iptables/xshared.c and `getopt_long`.
//!
//! Options may come in any order, but options of a match or target only after it. If several extensions have an option
//! of the same name, the extension named last gets it.

mod base;
mod rule;

pub(super) use rule::{ParsedRule, ParsedTarget};

use super::counters::Count;
use super::error::{Parse, Problem, RuleErrorKind};
use super::options::{self, Call, Found};
use super::recent_lists::RecentLists;
use super::value::{number, protocol, ranged};
use super::words::{Value, Word};
use crate::hook::Family;
use crate::ipset::Ipset;
use base::{Argument, Base, BaseOption, CommandOption, OPTIONS, RuleOption, SettingOption};
use rule::RuleReader;

/// The operation of a command.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command<'w> {
    Append(Value<'w>),
    Insert(Value<'w>, u32),
    Replace(Value<'w>, u32),
    Delete(Value<'w>),
    DeleteNumber(Value<'w>, u32),
    Check(Value<'w>),
    Flush(Option<Value<'w>>),
    Zero(Option<Value<'w>>, Option<u32>),
    NewChain(Value<'w>),
    DeleteChain(Option<Value<'w>>),
    Rename(Value<'w>, Value<'w>),
    Policy(Value<'w>, Value<'w>),
    ListRules(Option<Value<'w>>),
}

impl<'w> Command<'w> {
    /// The chain of the command's rule; `None` for commands without a rule.
    const fn rule_chain(&self) -> Option<Value<'w>> {
        match self {
            Self::Append(chain)
            | Self::Insert(chain, _)
            | Self::Replace(chain, _)
            | Self::Delete(chain)
            | Self::Check(chain) => Some(*chain),
            Self::DeleteNumber(..)
            | Self::Flush(_)
            | Self::Zero(..)
            | Self::NewChain(_)
            | Self::DeleteChain(_)
            | Self::Rename(..)
            | Self::Policy(..)
            | Self::ListRules(_) => None,
        }
    }
}

/// A parsed command.
#[derive(Debug)]
pub(super) struct Line<'w> {
    pub(super) command: Command<'w>,
    pub(super) table: Option<Value<'w>>,
    pub(super) counters: Option<Count>,
    /// The rule; empty for commands without one.
    pub(super) rule: ParsedRule<'w>,
    /// True for `-4` or `-6` of the other family: in restored text, the tool ignores the line.
    pub(super) is_for_other_family: bool,
}

/// The context of a command.
pub(super) struct CommandContext<'s> {
    pub(super) family: Family,
    /// True if the command is a line of restored text.
    pub(super) is_restore: bool,
    /// Lists that `recent` matches use.
    pub(super) lists: &'s mut RecentLists,
    /// Sets that rules use.
    pub(super) sets: &'s Ipset,
}

/// Parses the words of a command. `end` is the byte offset of the end of the line.
pub(super) fn parse<'w>(words: &'w [Word<'_>], end: usize, setting: CommandContext<'_>) -> Parse<Line<'w>> {
    let mut parser = Parser {
        words,
        next: 0,
        end,
        not: None,
        command: None,
        table: None,
        counters: None,
        rule_option: None,
        is_for_other_family: false,
        rule: RuleReader::new(setting.family),
        setting,
    };
    while parser.next < words.len() {
        parser.word()?;
    }
    parser.finish()
}

struct Parser<'w, 't, 's> {
    words: &'w [Word<'t>],
    next: usize,
    end: usize,
    /// Offset of a pending `!`.
    not: Option<usize>,
    command: Option<(Command<'w>, &'static str)>,
    table: Option<Value<'w>>,
    counters: Option<Count>,
    /// The first option that only rules have.
    rule_option: Option<Value<'w>>,
    is_for_other_family: bool,
    rule: RuleReader<'w>,
    setting: CommandContext<'s>,
}

/// An option as written.
#[derive(Clone, Copy)]
struct Written<'w> {
    /// Including its dashes.
    name: Value<'w>,
    /// The rest of its word, if it can be a value.
    attached: Option<Value<'w>>,
}

impl<'w> Parser<'w, '_, '_> {
    fn word(&mut self) -> Parse<()> {
        let value = Value::of(&self.words[self.next]);
        self.next += 1;
        let text = value.text;
        if text == "!" {
            if self.not.replace(value.at).is_some() {
                return Err(value.expected("an option after `!`"));
            }
            return Ok(());
        }
        if let Some(long) = text.strip_prefix("--").filter(|long| !long.is_empty()) {
            let (name, attached) = match long.split_once('=') {
                Some((name, attached)) => (name, Some(value.part(attached))),
                None => (long, None),
            };
            self.long(name, Written { name: value, attached })?;
        } else if text.len() > 1 && text.starts_with('-') && text != "--" {
            self.short_cluster(value)?;
        } else if text == "--" {
            // No option and nothing else may follow.
            return self.words.get(self.next).map_or(Ok(()), |word| Err(Value::of(word).expected("nothing")));
        } else {
            return Err(value.expected("an option"));
        }
        self.not = None;
        Ok(())
    }

    /// `-ptcp`, or several options without values in one word.
    fn short_cluster(&mut self, value: Value<'w>) -> Parse<()> {
        let mut rest = &value.text[1..];
        while let Some(letter) = rest.chars().next() {
            let name = value.part(rest);
            rest = &rest[letter.len_utf8()..];
            let option = BaseOption::by_letter(letter).ok_or_else(|| unknown_option(value))?;
            let takes_rest = option.argument != Argument::None && !rest.is_empty();
            let attached = takes_rest.then(|| value.part(rest));
            self.base(
                option,
                Written { name: if name.at == value.at + 1 { value } else { name }, attached },
            )?;
            if takes_rest {
                break;
            }
        }
        Ok(())
    }

    fn long(&mut self, name: &str, written: Written<'w>) -> Parse<()> {
        if let Some((extension, id)) = self.rule.option(name) {
            return self.extension(extension, id, written);
        }
        let base = OPTIONS.iter().enumerate().map(|(index, option)| (option.long, FoundOption::Base(index)));
        let extensions =
            self.rule.options().map(|(name, extension, id)| (name, FoundOption::Extension(extension, id)));
        match options::find(name, base.chain(extensions)) {
            Found::One(FoundOption::Base(index)) => self.base(&OPTIONS[index], written),
            Found::One(FoundOption::Extension(extension, id)) => self.extension(extension, id, written),
            // An unknown option loads the match of the protocol (`load_proto`).
            Found::None | Found::Ambiguous(..) if self.rule.load_protocol_match(self.setting.family) => {
                self.long(name, written)
            }
            Found::Ambiguous(first, second) => Err(written
                .name
                .expected("one option")
                .help(format!("it could be `--{first}` or `--{second}`"))),
            Found::None => Err(unknown_option(written.name)),
        }
    }

    fn extension(&mut self, extension: usize, id: u8, written: Written<'w>) -> Parse<()> {
        let (options, seen) = self.rule.extension_options(extension);
        let name = written.name.text.trim_start_matches('-');
        let name = name.split_once('=').map_or(name, |(name, _)| name);
        let option = options
            .iter()
            .find(|option| option.id == id && option.name == name)
            .or_else(|| options.iter().find(|option| option.id == id))
            .expect("the option was found by its number");
        options::check_use(options, option, seen, self.not.is_some(), self.not.unwrap_or(written.name.at))?;
        let value = if option.values > 0 { self.required(written)? } else { self.no_value(written)? };
        let second = if option.values > 1 {
            self.next_plain().ok_or_else(|| self.missing_value("a second value"))?
        } else {
            value
        };
        let call = Call {
            id,
            value,
            second,
            is_inverted: self.not.is_some(),
            protocol: self.rule.protocol(),
            family: self.setting.family,
            sets: self.setting.sets,
        };
        self.rule_option.get_or_insert(written.name);
        self.rule.set(extension, &call, option.bit(), self.setting.family)
    }

    fn base(&mut self, option: &BaseOption, written: Written<'w>) -> Parse<()> {
        match option.base {
            Base::Command(command) => self.command(command, option, written),
            Base::Rule(part) => self.rule_part(part, option, written),
            Base::Setting(setting) => self.setting(setting, option, written),
        }
    }

    fn command(&mut self, command: CommandOption, option: &BaseOption, written: Written<'w>) -> Parse<()> {
        self.refuse_not(option)?;
        if let Some((_, earlier)) = self.command {
            return Err(written.name.expected("one command").help(format!("`--{earlier}` precedes it")));
        }
        let chain = match option.argument {
            Argument::Required => Some(self.required(written)?),
            Argument::Attached | Argument::None => written.attached.or_else(|| self.next_plain()),
        };
        let required = || chain.ok_or_else(|| written.name.expected("a chain after it"));
        let command = match command {
            CommandOption::Append => Command::Append(required()?),
            CommandOption::Check => Command::Check(required()?),
            CommandOption::Delete => match self.next_plain() {
                Some(number) => Command::DeleteNumber(required()?, rule_number(number)?),
                None => Command::Delete(required()?),
            },
            CommandOption::Insert => {
                let number = self.next_plain().map_or(Ok(1), rule_number)?;
                Command::Insert(required()?, number)
            }
            CommandOption::Replace => {
                let number = self.next_plain().ok_or_else(|| self.missing_value("a rule number"))?;
                Command::Replace(required()?, rule_number(number)?)
            }
            CommandOption::Flush => Command::Flush(chain),
            CommandOption::Zero => Command::Zero(chain, self.next_plain().map(rule_number).transpose()?),
            CommandOption::NewChain => Command::NewChain(required()?),
            CommandOption::DeleteChain => Command::DeleteChain(chain),
            CommandOption::Rename => {
                let new = self.next_plain().ok_or_else(|| self.missing_value("the new name"))?;
                Command::Rename(required()?, new)
            }
            CommandOption::Policy => {
                let policy = self.next_plain().ok_or_else(|| self.missing_value("a policy"))?;
                Command::Policy(required()?, policy)
            }
            CommandOption::ListRules => Command::ListRules(chain),
            CommandOption::List => {
                let problem = written.name.expected("a supported command").help("use `--list-rules`");
                return Err(problem.kind(RuleErrorKind::Unsupported));
            }
        };
        self.command = Some((command, option.long));
        Ok(())
    }

    fn rule_part(&mut self, part: RuleOption, option: &BaseOption, written: Written<'w>) -> Parse<()> {
        self.rule_option.get_or_insert(written.name);
        let (at, is_inverted, family) = (written.name.at, self.not.is_some(), self.setting.family);
        match part {
            RuleOption::Fragment => self.rule.set_fragment(at, is_inverted, family),
            RuleOption::Source => {
                let value = self.next_word(written)?;
                self.rule.set_source(at, value, is_inverted)
            }
            RuleOption::Destination => {
                let value = self.next_word(written)?;
                self.rule.set_destination(at, value, is_inverted)
            }
            RuleOption::InDevice => {
                let value = self.next_word(written)?;
                self.rule.set_in_device(at, value, is_inverted)
            }
            RuleOption::OutDevice => {
                let value = self.next_word(written)?;
                self.rule.set_out_device(at, value, is_inverted)
            }
            RuleOption::Protocol => {
                let value = self.next_word(written)?;
                self.rule.set_protocol(at, protocol(value)?, value, is_inverted)
            }
            RuleOption::Match => {
                self.refuse_not(option)?;
                let value = self.required(written)?;
                self.rule.begin_match(value, family)
            }
            RuleOption::Jump | RuleOption::Goto => {
                self.refuse_not(option)?;
                let value = self.next_word(written)?;
                self.rule.begin_target(at, value, part == RuleOption::Goto, family)
            }
        }
    }

    /// The value of a part of a rule; iptables 1.8.9 takes the whole word `-ieth0` or `--source=10.0.0.1` as the value.
    fn next_word(&mut self, written: Written<'w>) -> Parse<Value<'w>> {
        if written.attached.is_some() {
            return Err(written.name.expected("a value as a separate word"));
        }
        self.required(written)
    }

    fn setting(&mut self, setting: SettingOption, option: &BaseOption, written: Written<'w>) -> Parse<()> {
        self.refuse_not(option)?;
        let is_restore = self.setting.is_restore;
        match setting {
            SettingOption::Table if is_restore => {
                return Err(written.name.expected("a rule without `--table`, which the text defines"));
            }
            SettingOption::Wait if is_restore => {
                return Err(written.name.expected("a rule without `--wait`"));
            }
            SettingOption::Table => self.table = Some(self.required(written)?),
            SettingOption::Wait => {
                if let Some(value) = written.attached.or_else(|| self.next_plain()) {
                    ranged(value, 0..=u32::MAX)?;
                }
            }
            SettingOption::Counters => self.counters = Some(self.set_counters(written)?),
            SettingOption::Ipv4 => self.is_for_other_family |= self.setting.family != Family::Ipv4,
            SettingOption::Ipv6 => self.is_for_other_family |= self.setting.family != Family::Ipv6,
            SettingOption::Modprobe => _ = self.required(written)?,
            SettingOption::Verbose => {}
            SettingOption::Help | SettingOption::Listing | SettingOption::Version => {
                return Err(written.name.expected("a command that changes or lists rules"));
            }
        }
        Ok(())
    }

    fn set_counters(&mut self, written: Written<'w>) -> Parse<Count> {
        let first = self.required(written)?;
        let (packets, bytes) = match first.text.split_once(',') {
            Some((packets, bytes)) => (first.part(packets), first.part(bytes)),
            None => (first, self.next_plain().ok_or_else(|| self.missing_value("a byte counter"))?),
        };
        let counter = |value: Value<'_>| number(value.text).ok_or_else(|| value.expected("a counter"));
        Ok(Count { packets: counter(packets)?, bytes: counter(bytes)? })
    }

    /// The next word, if it is not an option or `!` (`xs_has_arg`).
    fn next_plain(&mut self) -> Option<Value<'w>> {
        let value = Value::of(self.words.get(self.next)?);
        if value.text.starts_with(['-', '!']) {
            return None;
        }
        self.next += 1;
        Some(value)
    }

    /// The value of an option: the rest of its word, or the next word, whatever it is.
    fn required(&mut self, written: Written<'w>) -> Parse<Value<'w>> {
        if let Some(attached) = written.attached {
            return Ok(attached);
        }
        let word = self
            .words
            .get(self.next)
            .ok_or_else(|| self.missing_value(format!("a value of `{}`", written.name.text)))?;
        self.next += 1;
        Ok(Value::of(word))
    }

    fn no_value(&self, written: Written<'w>) -> Parse<Value<'w>> {
        written.attached.map_or(Ok(written.name), |value| Err(value.expected("an option without a value")))
    }

    fn missing_value(&self, expected: impl Into<std::borrow::Cow<'static, str>>) -> Box<Problem> {
        let (at, found) = match self.words.get(self.next) {
            Some(word) => (word.at, format!("`{}`", word.text)),
            None => (self.end, "the end of the line".to_owned()),
        };
        Problem::new(RuleErrorKind::Syntax, at, expected, found)
    }

    fn refuse_not(&self, option: &BaseOption) -> Parse<()> {
        self.not.map_or(Ok(()), |at| {
            Err(Problem::new(RuleErrorKind::Syntax, at, format!("`--{}` without `!`", option.long), "`!`"))
        })
    }

    fn finish(self) -> Parse<Line<'w>> {
        if let Some(at) = self.not {
            return Err(Problem::new(
                RuleErrorKind::Syntax,
                at,
                "an option after `!`",
                "the end of the line",
            ));
        }
        let (command, name) = self
            .command
            .ok_or_else(|| Problem::new(RuleErrorKind::Syntax, self.end, "a command such as `-A`", "none"))?;
        if let (None, Some(option)) = (command.rule_chain(), self.rule_option) {
            return Err(option.expected(format!("no part of a rule with `--{name}`")));
        }
        let rule = self.rule.finish(command.rule_chain(), self.setting.lists)?;
        Ok(Line {
            command,
            table: self.table,
            counters: self.counters,
            rule,
            is_for_other_family: self.is_for_other_family,
        })
    }
}

/// Where an option was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FoundOption {
    Base(usize),
    Extension(usize, u8),
}

fn rule_number(value: Value<'_>) -> Parse<u32> {
    ranged(value, 1..=0x7fff_ffff)
}

fn unknown_option(name: Value<'_>) -> Box<Problem> {
    let problem = name.expected("an option of iptables or of a preceding match or target");
    match name.text {
        "--dport" | "--sport" | "--destination-port" | "--source-port" => {
            problem.help("ports need `-p tcp`, `-p udp` or `-p sctp` before them")
        }
        "--dports" | "--sports" | "--ports" => problem.help("it belongs to `-m multiport`"),
        _ => problem,
    }
}
