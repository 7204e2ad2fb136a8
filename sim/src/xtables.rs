//! Placeholder until the iptables engine lands: it accepts every text and does nothing.
#![allow(missing_docs, clippy::default_constructed_unit_structs)]
use crate::context::EvalCtx;
use crate::netfilter::{Family, Verdict};
use crate::packet::Packet;
#[derive(Clone, Debug, Default)]
pub struct Xtables {}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    Raw,
    Mangle,
    Nat,
    Filter,
    Security,
}
pub struct RestoreOptions {
    pub noflush: bool,
    pub counters: bool,
}
#[derive(Debug)]
pub struct RuleError;
#[derive(Debug)]
pub struct CommandOutcome;
impl Xtables {
    pub fn restore(&mut self, _f: Family, _s: &str, _t: &str, _o: RestoreOptions) -> Result<(), RuleError> {
        Ok(())
    }
    pub fn command(&mut self, _s: &str, _l: u32, _c: &str) -> Result<CommandOutcome, RuleError> {
        Ok(CommandOutcome)
    }
    pub fn has_table(&self, _f: Family, _t: TableKind) -> bool {
        false
    }
    pub fn uses_conntrack(&self, _f: Family) -> bool {
        true
    }
    pub fn eval(&mut self, _f: Family, _t: TableKind, _c: &mut EvalCtx, _p: &mut Packet) -> Verdict {
        Verdict::Accept
    }
}
