//! `ipvs`: the virtual service to which a packet belongs (net/netfilter/xt_ipvs.c).
//!
//! Only packets that IPVS has already handled match, such as those that it sends to a server, in OUTPUT and POSTROUTING. All
//! options but `--ipvs` alone look for the connection from the client to the server: a reply never matches them.

use crate::ct::PacketCt;
use crate::ipvs::{FlowKey, Forward, Protocol};
use crate::tuple::Direction;
use crate::wire::protocol as number;
use crate::xtables::error::{Parse, Problem, RuleErrorKind};
use crate::xtables::look::Look;
use crate::xtables::options::{Call, Opt};
use crate::xtables::value::{AddrMask, print_mask, protocol, uncut_addr_mask};
use crate::xtables::words::Value;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

const PROPERTY: u8 = 0;
const PROTO: u8 = 1;
const ADDR: u8 = 2;
const PORT: u8 = 3;
const DIR: u8 = 4;
const METHOD: u8 = 5;
const CONTROL_PORT: u8 = 6;

/// `-m ipvs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::xtables) struct Ipvs {
    /// Bits of the options that were used, and of those that were inverted. `--vdir REPLY` counts as inverted.
    used: u8,
    inverted: u8,
    proto: u8,
    addr: AddrMask,
    port: u16,
    method: Forward,
    control_port: u16,
}

impl Default for Ipvs {
    fn default() -> Self {
        Self {
            used: 0,
            inverted: 0,
            proto: 0,
            addr: AddrMask::Any,
            port: 0,
            method: Forward::Masquerade,
            control_port: 0,
        }
    }
}

impl Ipvs {
    pub(super) const OPTIONS: &'static [Opt] = &[
        Opt::flag("ipvs", PROPERTY).invertible(),
        Opt::value("vproto", PROTO).invertible(),
        Opt::value("vaddr", ADDR).invertible(),
        Opt::value("vport", PORT).invertible(),
        Opt::value("vdir", DIR),
        Opt::value("vmethod", METHOD).invertible(),
        Opt::value("vportctl", CONTROL_PORT).invertible(),
    ];

    pub(super) fn set(&mut self, call: &Call<'_>) -> Parse<()> {
        let mut is_inverted = call.is_inverted;
        match call.id {
            PROTO => self.proto = protocol(call.value)?,
            ADDR => self.addr = uncut_addr_mask(call.family, call.value)?,
            PORT => self.port = crate::text::value::port(call.value)?,
            DIR => is_inverted = is_reply(call.value)?,
            METHOD => self.method = method(call.value)?,
            CONTROL_PORT => self.control_port = crate::text::value::port(call.value)?,
            _ => {}
        }
        self.used |= 1 << call.id;
        self.inverted |= u8::from(is_inverted) << call.id;
        Ok(())
    }

    pub(super) fn finish(self: Box<Self>, seen: u32, at: usize) -> Parse<Box<Self>> {
        if seen == 0 {
            return Err(Problem::new(RuleErrorKind::Syntax, at, "an option of `ipvs`", "none"));
        }
        Ok(self)
    }

    const fn uses(&self, id: u8) -> bool {
        self.used & 1 << id != 0
    }

    const fn inverts(&self, id: u8) -> bool {
        self.inverted & 1 << id != 0
    }

    pub(super) fn print(&self, out: &mut String) {
        let not = |id| if id != DIR && self.inverts(id) { " !" } else { "" };
        if self.used == 1 << PROPERTY {
            _ = write!(out, "{} --ipvs", not(PROPERTY));
        }
        if self.uses(PROTO) {
            _ = write!(out, "{} --vproto {}", not(PROTO), self.proto);
        }
        if self.uses(ADDR) {
            _ = write!(out, "{} --vaddr ", not(ADDR));
            print_mask(out, &self.addr);
        }
        if self.uses(PORT) {
            _ = write!(out, "{} --vport {}", not(PORT), self.port);
        }
        if self.uses(DIR) {
            out.push_str(if self.inverts(DIR) { " --vdir REPLY" } else { " --vdir ORIGINAL" });
        }
        if self.uses(METHOD) {
            _ = write!(out, "{} --vmethod {}", not(METHOD), method_name(self.method));
        }
        if self.uses(CONTROL_PORT) {
            _ = write!(out, "{} --vportctl {}", not(CONTROL_PORT), self.control_port);
        }
    }

    // Linux: ipvs_mt.
    pub(super) fn holds(&self, look: &Look<'_, '_, '_>) -> bool {
        let is_ipvs = look.packet.meta.is_ipvs;
        if self.used == 1 << PROPERTY {
            return is_ipvs != self.inverts(PROPERTY);
        }
        let fails = |id: u8, fact: bool| self.uses(id) && fact == self.inverts(id);
        let headers = look.headers;
        if !is_ipvs || fails(PROTO, headers.protocol == self.proto) {
            return false;
        }
        let ports = headers.l4.ports();
        let (Some(protocol), Some((src, dst))) = (protocol_of(headers.protocol), ports) else { return false };
        let flow = FlowKey {
            protocol: Some(protocol),
            client: SocketAddr::new(headers.src, src),
            peer: SocketAddr::new(headers.dst, dst),
        };
        let connections = look.ctx.ipvs.connections();
        let Some(found) = connections.to_server(&flow) else { return false };
        let control_port = connections.template_of(found).map(|template| template.flow.peer.port());
        !fails(PORT, found.flow.peer.port() == self.port)
            && !fails(CONTROL_PORT, control_port == Some(self.control_port))
            && (!self.uses(DIR) || is_reply_packet(look) == Some(self.inverts(DIR)))
            && !fails(METHOD, found.forward == self.method)
            && !fails(ADDR, self.contains(found.flow.peer.ip()))
    }

    fn contains(&self, addr: IpAddr) -> bool {
        self.addr.contains(addr)
    }
}

/// The direction of a packet; `None` for one without conntrack entry.
fn is_reply_packet(look: &Look<'_, '_, '_>) -> Option<bool> {
    match look.packet.meta.ct {
        PacketCt::Entry { info, .. } => Some(info.direction() == Direction::Reply),
        PacketCt::None | PacketCt::Untracked => None,
    }
}

const fn protocol_of(protocol: u8) -> Option<Protocol> {
    match protocol {
        number::TCP => Some(Protocol::Tcp),
        number::UDP => Some(Protocol::Udp),
        number::SCTP => Some(Protocol::Sctp),
        _ => None,
    }
}

fn is_reply(value: Value<'_>) -> Parse<bool> {
    if value.text.eq_ignore_ascii_case("ORIGINAL") {
        Ok(false)
    } else if value.text.eq_ignore_ascii_case("REPLY") {
        Ok(true)
    } else {
        Err(value.expected("ORIGINAL or REPLY"))
    }
}

fn method(value: Value<'_>) -> Parse<Forward> {
    let all = [Forward::Route, Forward::Tunnel, Forward::Masquerade];
    all.into_iter()
        .find(|method| value.text.eq_ignore_ascii_case(method_name(*method)))
        .ok_or_else(|| value.expected("GATE, IPIP or MASQ"))
}

const fn method_name(method: Forward) -> &'static str {
    match method {
        Forward::Route => "GATE",
        Forward::Tunnel => "IPIP",
        Forward::Masquerade => "MASQ",
    }
}
