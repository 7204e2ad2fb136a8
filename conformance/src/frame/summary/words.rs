//! Summaries as text, in the notation of traces and scripts: addresses and ports as in tcpdump, TCP as in packetdrill.

use std::fmt;
use std::net::Ipv4Addr;

use sim::wire::arp::ArpOperation;
use sim::wire::icmpv4::{icmp_type, unreachable_code};

use super::{
    Body, FragmentSummary, FrameSummary, IcmpRest, IpSummary, PayloadSummary, SeqSummary, TcpSummary,
};
use crate::frame::FrameDirection;

impl fmt::Display for FrameSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.direction {
            FrameDirection::Received => "in ",
            FrameDirection::Transmitted => "out",
        };
        write!(formatter, "{way} {} > {} {}", self.src, self.dst, self.body)
    }
}

impl fmt::Display for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp(arp) => match arp.operation {
                ArpOperation::Request => {
                    write!(formatter, "ARP, Request who-has {} tell {}", arp.target_ip, arp.sender_ip)
                }
                ArpOperation::Reply => {
                    write!(formatter, "ARP, Reply {} is-at {}", arp.sender_ip, arp.sender_mac)
                }
            },
            Self::Ipv4(ip) => ip.fmt(formatter),
            Self::Other { ethertype } => write!(formatter, "ethertype {ethertype:#06x}"),
        }
    }
}

impl fmt::Display for IpSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |port: Option<u16>| port.map(|port| format!(".{port}")).unwrap_or_default();
        let ports = self.payload.ports();
        write!(
            formatter,
            "{}{} > {}{}: {}, ttl {}",
            self.src,
            name(ports.map(|(src, _)| src)),
            self.dst,
            name(ports.map(|(_, dst)| dst)),
            self.payload,
            self.ttl
        )?;
        if self.tos != 0 {
            write!(formatter, ", tos {:#04x}", self.tos)?;
        }
        if self.dont_fragment {
            formatter.write_str(", DF")?;
        }
        if let Some(FragmentSummary { size, offset, has_more }) = self.fragment {
            write!(formatter, ", frag {size}@{offset}{}", if has_more { "+" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for PayloadSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(tcp) => tcp.fmt(formatter),
            Self::Udp { len, .. } => write!(formatter, "UDP, length {len}"),
            Self::Icmp { icmp_type, code, rest } => {
                write!(formatter, "ICMP type {icmp_type} code {code}")?;
                rest.fmt_for(*icmp_type, *code, formatter)
            }
            Self::Ports { protocol, .. } => write!(formatter, "protocol {protocol}, cut off"),
            Self::Other { protocol, len } => write!(formatter, "protocol {protocol}, length {len}"),
        }
    }
}

impl IcmpRest {
    fn fmt_for(&self, icmp_type: u8, code: u8, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, quote) = match self {
            Self::Query { id, sequence } => return write!(formatter, " id {id} seq {sequence}"),
            Self::Error { word, quote } => (*word, quote),
        };
        match (icmp_type, code, word) {
            (icmp_type::DEST_UNREACHABLE, unreachable_code::FRAGMENTATION_NEEDED, [0, 0, a, b]) => {
                write!(formatter, " mtu {}", u16::from_be_bytes([a, b]))?;
            }
            (icmp_type::REDIRECT, _, gateway) => write!(formatter, " to {}", Ipv4Addr::from(gateway))?,
            (_, _, [0, 0, 0, 0]) => {}
            (_, _, [a, b, c, d]) => write!(formatter, " with {a:02x} {b:02x} {c:02x} {d:02x}")?,
        }
        quote.as_ref().map_or(Ok(()), |quote| write!(formatter, " about ({quote})"))
    }
}

impl fmt::Display for TcpSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.flags, self.seq)?;
        if let SeqSummary::FromInitial(first) = self.seq {
            write!(formatter, ":{}", first.wrapping_add(u32::try_from(self.len).unwrap_or(u32::MAX)))?;
        }
        write!(formatter, "({})", self.len)?;
        if let Some(ack) = self.ack {
            write!(formatter, " ack {ack}")?;
        }
        if !self.options.is_empty() {
            let words: Vec<_> = self.options.iter().map(ToString::to_string).collect();
            write!(formatter, " <{}>", words.join(","))?;
        }
        Ok(())
    }
}

impl fmt::Display for SeqSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromInitial(distance) => write!(formatter, "{distance}"),
            Self::Plain(seq) => write!(formatter, "={seq}"),
        }
    }
}
