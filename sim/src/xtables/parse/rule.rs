//! Builds a rule from its options.

use crate::hook::Family;
use crate::xtables::chain::ChainId;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::matches::Match;
use crate::xtables::options::{Call, Opt, check_complete};
use crate::xtables::recent_lists::RecentLists;
use crate::xtables::rule::{IpPart, RuleSpec};
use crate::xtables::targets::Target;
use crate::xtables::value::{AddrMask, DeviceMatch, addr_mask, device_name};
use crate::xtables::words::Value;
use smallvec::SmallVec;

/// The target of a rule, before chains are looked up.
#[derive(Debug)]
pub(in crate::xtables) enum ParsedTarget<'w> {
    Target(Target, usize),
    Chain { name: Value<'w>, is_goto: bool },
}

/// A rule as written; address lists expand to several rules.
#[derive(Debug)]
pub(in crate::xtables) struct ParsedRule<'w> {
    pub(in crate::xtables) ip: IpPart,
    pub(in crate::xtables) sources: SmallVec<[AddrMask; 1]>,
    pub(in crate::xtables) destinations: SmallVec<[AddrMask; 1]>,
    pub(in crate::xtables) matches: Vec<Match>,
    pub(in crate::xtables) target: ParsedTarget<'w>,
}

impl ParsedRule<'_> {
    /// The rules that it expands to, in order: every source with every destination.
    ///
    /// Linux user space: `append_entry`, iptables/iptables.c.
    pub(in crate::xtables) fn specs(mut self, target: Target) -> Vec<RuleSpec> {
        let matches = std::mem::take(&mut self.matches).into_boxed_slice();
        if let ([_], [_]) = (&*self.sources, &*self.destinations) {
            let src = self.sources.pop().unwrap_or(AddrMask::Any);
            let dst = self.destinations.pop().unwrap_or(AddrMask::Any);
            return vec![RuleSpec { ip: IpPart { src, dst, ..self.ip }, matches, target }];
        }
        let mut specs = Vec::with_capacity(self.sources.len() * self.destinations.len());
        for src in &self.sources {
            for dst in &self.destinations {
                let ip = IpPart { src: src.clone(), dst: dst.clone(), ..self.ip.clone() };
                specs.push(RuleSpec { ip, matches: matches.clone(), target: target.clone() });
            }
        }
        specs
    }
}

/// A match or target during parsing.
#[derive(Debug)]
struct Reading<T> {
    one: T,
    /// Where it was named.
    at: usize,
    /// Bits of the options read so far.
    seen: u32,
}

/// Collects the parts of a rule.
pub(super) struct RuleReader<'w> {
    family: Family,
    ip: IpPart,
    source: Option<Value<'w>>,
    destination: Option<Value<'w>>,
    has_protocol: Option<Value<'w>>,
    has_loaded_protocol: bool,
    matches: SmallVec<[Reading<Match>; 4]>,
    target: Option<Reading<Target>>,
    chain: Option<(Value<'w>, bool)>,
    in_device_at: Option<usize>,
    out_device_at: Option<usize>,
}

impl<'w> RuleReader<'w> {
    pub(super) fn new(family: Family) -> Self {
        Self {
            family,
            ip: IpPart::default(),
            source: None,
            destination: None,
            has_protocol: None,
            has_loaded_protocol: false,
            matches: SmallVec::new(),
            target: None,
            chain: None,
            in_device_at: None,
            out_device_at: None,
        }
    }

    /// The option with exactly that name in the extension named last: extension and number.
    pub(super) fn option(&self, name: &str) -> Option<(usize, u8)> {
        let has = |options: &'static [Opt]| options.iter().find(|option| option.name == name);
        let target =
            self.target.as_ref().and_then(|target| Some((target.at, TARGET, has(target.one.options())?.id)));
        let mut matches = self.matches.iter().enumerate().rev();
        let latest =
            matches.find_map(|(index, reading)| Some((reading.at, index, has(reading.one.options())?.id)));
        [target, latest].into_iter().flatten().max().map(|(_, extension, id)| (extension, id))
    }

    /// The options of matches and target: name, extension, number.
    pub(super) fn options(&self) -> impl Iterator<Item = (&'static str, usize, u8)> {
        let target = self.target.as_ref().map(|target| (TARGET, target.one.options()));
        let matches = self.matches.iter().enumerate().map(|(index, reading)| (index, reading.one.options()));
        matches.chain(target).flat_map(|(extension, options)| {
            options.iter().map(move |option| (option.name, extension, option.id))
        })
    }

    /// The options of an extension, and the bits of those read so far.
    pub(super) fn extension_options(&self, extension: usize) -> (&'static [Opt], u32) {
        if extension == TARGET {
            self.target.as_ref().map_or((&[], 0), |reading| (reading.one.options(), reading.seen))
        } else {
            let reading = &self.matches[extension];
            (reading.one.options(), reading.seen)
        }
    }

    /// Passes an option to its extension.
    pub(super) fn set(&mut self, extension: usize, call: &Call<'_>, bit: u32, family: Family) -> Parse<()> {
        if extension == TARGET {
            let reading = self.target.as_mut().expect("its option was found");
            reading.seen |= bit;
            return reading.one.set(call, family);
        }
        let reading = &mut self.matches[extension];
        reading.seen |= bit;
        reading.one.set(call)
    }

    /// Number of the protocol read so far, and true if inverted.
    pub(super) const fn protocol(&self) -> (u8, bool) {
        (self.ip.protocol, self.ip.protocol_inverted)
    }

    pub(super) fn set_fragment(&mut self, at: usize, is_inverted: bool, family: Family) -> Parse<()> {
        if family != Family::Ipv4 {
            return Err(Problem::new(RuleErrorKind::Syntax, at, "no `-f` in a rule for IPv6", "`-f`"));
        }
        once(at, "-f", self.ip.fragment.is_some())?;
        self.ip.fragment = Some(is_inverted);
        Ok(())
    }

    pub(super) fn set_source(&mut self, at: usize, value: Value<'w>, is_inverted: bool) -> Parse<()> {
        once(at, "-s", self.source.is_some())?;
        (self.source, self.ip.src_inverted) = (Some(value), is_inverted);
        Ok(())
    }

    pub(super) fn set_destination(&mut self, at: usize, value: Value<'w>, is_inverted: bool) -> Parse<()> {
        once(at, "-d", self.destination.is_some())?;
        (self.destination, self.ip.dst_inverted) = (Some(value), is_inverted);
        Ok(())
    }

    pub(super) fn set_in_device(&mut self, at: usize, value: Value<'w>, is_inverted: bool) -> Parse<()> {
        once(at, "-i", self.in_device_at.replace(at).is_some())?;
        self.ip.in_device = device(value, is_inverted)?;
        Ok(())
    }

    pub(super) fn set_out_device(&mut self, at: usize, value: Value<'w>, is_inverted: bool) -> Parse<()> {
        once(at, "-o", self.out_device_at.replace(at).is_some())?;
        self.ip.out_device = device(value, is_inverted)?;
        Ok(())
    }

    pub(super) fn set_protocol(
        &mut self,
        at: usize,
        number: u8,
        value: Value<'w>,
        is_inverted: bool,
    ) -> Parse<()> {
        once(at, "-p", self.has_protocol.is_some())?;
        if number == 0 && is_inverted {
            return Err(value.expected("a protocol other than all: inverted, it never matches"));
        }
        self.has_protocol = Some(value);
        (self.ip.protocol, self.ip.protocol_inverted) = (number, is_inverted);
        Ok(())
    }

    pub(super) fn begin_match(&mut self, name: Value<'w>, family: Family) -> Parse<()> {
        self.matches.push(Reading { one: Match::begin(name, family)?, at: name.at, seen: 0 });
        Ok(())
    }

    /// Loads the match of the protocol, at most once; true if it did.
    pub(super) fn load_protocol_match(&mut self, family: Family) -> bool {
        let Some(value) = self.has_protocol else { return false };
        if self.has_loaded_protocol {
            return false;
        }
        self.has_loaded_protocol = true;
        let Some(one) = Match::of_protocol(self.ip.protocol, family) else { return false };
        self.matches.push(Reading { one, at: value.at, seen: 0 });
        true
    }

    pub(super) fn begin_target(
        &mut self,
        at: usize,
        name: Value<'w>,
        is_goto: bool,
        family: Family,
    ) -> Parse<()> {
        once(at, "-j or -g", self.target.is_some() || self.chain.is_some())?;
        match Target::begin(name, family)? {
            Some(_) if is_goto => {
                return Err(name.expected("a chain of this table").kind(RuleErrorKind::NoSuchChain));
            }
            Some(one) => self.target = Some(Reading { one, at: name.at, seen: 0 }),
            None => self.chain = Some((name, is_goto)),
        }
        Ok(())
    }

    /// Finishes the rule of a command on `chain`.
    pub(super) fn finish(
        mut self,
        chain: Option<Value<'_>>,
        lists: &mut RecentLists,
    ) -> Parse<ParsedRule<'w>> {
        self.check_devices(chain)?;
        let protocol = self.protocol();
        let mut matches = Vec::with_capacity(self.matches.len());
        for Reading { one, at, seen } in std::mem::take(&mut self.matches) {
            check_complete(one.options(), seen, at)?;
            matches.push(one.finish(seen, at, protocol, lists)?);
        }
        let target = match (self.target.take(), self.chain) {
            (Some(Reading { one, at, seen }), _) => {
                check_complete(one.options(), seen, at)?;
                one.check(seen, at, protocol)?;
                one.check_matches(at, &matches)?;
                ParsedTarget::Target(one, at)
            }
            (None, Some((name, is_goto))) => ParsedTarget::Chain { name, is_goto },
            (None, None) => ParsedTarget::Target(Target::None, 0),
        };
        let sources = self.addrs(self.source, self.ip.src_inverted)?;
        let destinations = self.addrs(self.destination, self.ip.dst_inverted)?;
        Ok(ParsedRule { ip: self.ip, sources, destinations, matches, target })
    }

    fn addrs(&self, value: Option<Value<'w>>, is_inverted: bool) -> Parse<SmallVec<[AddrMask; 1]>> {
        let Some(value) = value else { return Ok(SmallVec::from_elem(AddrMask::Any, 1)) };
        let addrs: SmallVec<_> =
            value.split_commas().map(|part| addr_mask(self.family, part)).collect::<Parse<_>>()?;
        if is_inverted && addrs.len() > 1 {
            return Err(value.expected("one address after `!`"));
        }
        Ok(addrs)
    }

    /// Linux user space: the end of `do_parse`, iptables/xshared.c.
    fn check_devices(&self, chain: Option<Value<'_>>) -> Parse<()> {
        let refused = match chain.map(|chain| chain.text) {
            Some("PREROUTING" | "INPUT") => self.out_device_at.map(|at| (at, "-o")),
            Some("POSTROUTING" | "OUTPUT") => self.in_device_at.map(|at| (at, "-i")),
            Some(_) | None => None,
        };
        refused.map_or(Ok(()), |(at, option)| {
            let chain = chain.map_or("", |chain| chain.text);
            Err(Problem::new(
                RuleErrorKind::Syntax,
                at,
                format!("no `{option}` in a rule of {chain}"),
                format!("`{option}`"),
            ))
        })
    }
}

/// Stands for the target among the indices of matches.
const TARGET: usize = usize::MAX;

fn once(at: usize, option: &str, is_second: bool) -> Parse<()> {
    if is_second {
        return Err(Problem::new(RuleErrorKind::Syntax, at, format!("`{option}` once"), "a duplicate"));
    }
    Ok(())
}

/// The condition on a device; `+` alone matches any device.
fn device(value: Value<'_>, is_inverted: bool) -> Parse<Option<Box<DeviceMatch>>> {
    let name = device_name(value)?;
    Ok((name != "+" || is_inverted).then(|| Box::new(DeviceMatch { name: name.into(), is_inverted })))
}

/// A rule's target; `find` resolves jumps.
impl ParsedTarget<'_> {
    pub(in crate::xtables) fn resolve(&self, find: impl Fn(&str) -> Option<ChainId>) -> Parse<Target> {
        match self {
            Self::Target(target, _) => Ok(target.clone()),
            Self::Chain { name, is_goto } => {
                let chain = find(name.text).ok_or_else(|| {
                    let expected =
                        if *is_goto { "a chain of this table" } else { "a target, or a chain of this table" };
                    name.expected(expected)
                        .kind(RuleErrorKind::NoSuchChain)
                        .help("a chain must be declared before the rule that jumps to it")
                })?;
                Ok(if *is_goto { Target::Goto(chain) } else { Target::Jump(chain) })
            }
        }
    }
}
