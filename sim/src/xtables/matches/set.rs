//! `set`: tests if a set contains the packet's address, port and so on (net/netfilter/xt_set.c,
//! extensions/libxt_set.c).

use crate::ipset::{CounterTest, Directions, PacketView, SetId, SetTest};
use crate::xtables::error::Parse;
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::number;
use crate::xtables::words::Value;
use std::fmt::Write as _;

const MATCH_SET: u8 = 0;
const RETURN_NOMATCH: u8 = 1;
const UPDATE_COUNTERS: u8 = 2;
const UPDATE_SUBCOUNTERS: u8 = 3;
const PACKETS_EQ: u8 = 4;
const PACKETS_LT: u8 = 5;
const PACKETS_GT: u8 = 6;
const BYTES_EQ: u8 = 7;
const BYTES_LT: u8 = 8;
const BYTES_GT: u8 = 9;
const PACKETS: u32 = 1 << PACKETS_EQ | 1 << PACKETS_LT | 1 << PACKETS_GT;
const BYTES: u32 = 1 << BYTES_EQ | 1 << BYTES_LT | 1 << BYTES_GT;

/// `-m set`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::xtables) struct SetMatch {
    set: Option<Named>,
    is_inverted: bool,
    question: SetTest,
}

/// A set that a rule references. A referenced set cannot be renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Named {
    pub(in crate::xtables) id: SetId,
    pub(in crate::xtables) name: Box<str>,
    pub(in crate::xtables) directions: Directions,
}

impl Named {
    /// Looks up a set, as the tool does while parsing the option (`get_set_byname`, extensions/libxt_set.h).
    pub(in crate::xtables) fn read(call: &Call<'_>) -> Parse<Self> {
        let expected = |value: Value<'_>, expected| Err(value.expected(expected));
        let Some(id) = call.sets.find(call.value.text) else {
            return expected(call.value, "the name of an existing set")
                .map_err(|problem: Box<_>| problem.kind(crate::xtables::RuleErrorKind::NoSuchSet));
        };
        if call.sets.family(id).is_some_and(|family| family != call.family) {
            return expected(call.value, "a set of the family of the rule");
        }
        let Some(directions) = Directions::read(call.second.text) else {
            return expected(call.second, "one to six of `src` and `dst`, separated by commas");
        };
        Ok(Self { id, name: call.value.text.into(), directions })
    }

    /// Appends name and directions.
    pub(in crate::xtables) fn print(&self, out: &mut String, option: &str) {
        _ = write!(out, " {option} {} ", self.name);
        self.directions.print(out);
    }
}

impl SetMatch {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::two_values("match-set", MATCH_SET).invertible().mandatory(),
        Opt::two_values("set", MATCH_SET).invertible(),
        Opt::flag("return-nomatch", RETURN_NOMATCH),
        Opt::flag("update-counters", UPDATE_COUNTERS).invertible(),
        Opt::flag("update-subcounters", UPDATE_SUBCOUNTERS).invertible(),
        Opt::value("packets-eq", PACKETS_EQ).invertible().excluding(PACKETS),
        Opt::value("packets-lt", PACKETS_LT).excluding(PACKETS),
        Opt::value("packets-gt", PACKETS_GT).excluding(PACKETS),
        Opt::value("bytes-eq", BYTES_EQ).invertible().excluding(BYTES),
        Opt::value("bytes-lt", BYTES_LT).excluding(BYTES),
        Opt::value("bytes-gt", BYTES_GT).excluding(BYTES),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        let question = &mut self.question;
        match call.id {
            MATCH_SET => {
                let named = Named::read(call)?;
                question.directions = named.directions;
                (self.set, self.is_inverted) = (Some(named), call.is_inverted);
            }
            RETURN_NOMATCH => question.returns_nomatch = true,
            UPDATE_COUNTERS => question.keeps_counters = call.is_inverted,
            UPDATE_SUBCOUNTERS => question.keeps_subcounters = call.is_inverted,
            PACKETS_EQ => question.packets = Some(equal(call)?),
            PACKETS_LT => question.packets = Some(CounterTest::Less(counter(call)?)),
            PACKETS_GT => question.packets = Some(CounterTest::Greater(counter(call)?)),
            BYTES_EQ => question.bytes = Some(equal(call)?),
            BYTES_LT => question.bytes = Some(CounterTest::Less(counter(call)?)),
            _ => question.bytes = Some(CounterTest::Greater(counter(call)?)),
        }
        Ok(())
    }

    fn named(&self) -> &Named {
        self.set.as_ref().expect("parsing is finished")
    }

    /// The set that it tests.
    pub(in crate::xtables) fn id(&self) -> SetId {
        self.named().id
    }

    // Linux user space: set_print_v4_matchinfo, extensions/libxt_set.c
    pub(super) fn print(&self, out: &mut String) {
        let question = &self.question;
        self.named().print(out, if self.is_inverted { "! --match-set" } else { "--match-set" });
        out.push_str(if question.returns_nomatch { " --return-nomatch" } else { "" });
        out.push_str(if question.keeps_counters { " ! --update-counters" } else { "" });
        out.push_str(if question.keeps_subcounters { " ! --update-subcounters" } else { "" });
        print_counter(out, "packets", question.packets);
        print_counter(out, "bytes", question.bytes);
    }

    // Linux: set_match_v4, net/netfilter/xt_set.c
    pub(super) fn holds(&self, look: &mut Look<'_, '_, '_>) -> bool {
        let now = look.ctx.cx.now;
        let (packet, headers, family) = (look.packet, look.headers, look.ctx.state.family);
        let shown = PacketView::of(family, headers, packet);
        look.ctx.ipset.matches(self.id(), &self.question, &shown, now) != self.is_inverted
    }
}

fn counter(call: &Call<'_>) -> Parse<u64> {
    number(call.value.text).ok_or_else(|| call.value.expected("a number of packets or bytes"))
}

fn equal(call: &Call<'_>) -> Parse<CounterTest> {
    let value = counter(call)?;
    Ok(if call.is_inverted { CounterTest::NotEqual(value) } else { CounterTest::Equal(value) })
}

fn print_counter(out: &mut String, what: &str, test: Option<CounterTest>) {
    _ = match test {
        None => Ok(()),
        Some(CounterTest::Equal(value)) => write!(out, " --{what}-eq {value}"),
        Some(CounterTest::NotEqual(value)) => write!(out, " ! --{what}-eq {value}"),
        Some(CounterTest::Less(value)) => write!(out, " --{what}-lt {value}"),
        Some(CounterTest::Greater(value)) => write!(out, " --{what}-gt {value}"),
    };
}
