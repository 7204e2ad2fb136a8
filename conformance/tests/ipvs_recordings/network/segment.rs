//! Packets of silent clients and servers, whose TCP numbers conntrack accepts.

use super::Side;
use crate::lab::flags;
use sim::wire::build::{self, Ipv4Fields};
use sim::wire::{TcpFlags, protocol};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The client of most recordings.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);
const TCP_VIP: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 1), 80);
const UDP_VIP: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 2), 53);
/// The payload of data segments and datagrams.
const DATA: &[u8] = b"data";
/// The first sequence number of each side.
const FIRST: [u32; 2] = [1_000, 5_000];

/// The next sequence numbers of both sides of each connection, by the client's port.
#[derive(Debug, Default)]
pub(crate) struct Flows(BTreeMap<u16, [u32; 2]>);

/// What a packet may have besides its ends and flags.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) ttl: u8,
    pub(crate) dont_fragment: bool,
    pub(crate) payload: Option<&'a [u8]>,
    /// The port of the service that the client contacts, if it is another.
    pub(crate) service_port: Option<u16>,
    /// The port of the server, if it is another.
    pub(crate) server_port: Option<u16>,
    /// The address to which the server answers, if it is not the client's.
    pub(crate) to: Option<Ipv4Addr>,
}

impl Shape<'_> {
    pub(crate) const PLAIN: Self = Shape {
        ttl: 64,
        dont_fragment: true,
        payload: None,
        service_port: None,
        server_port: None,
        to: None,
    };
}

impl Flows {
    /// `c S`, `s SA`, `c udp`, … of the client with this port and the server 10.244.0.SERVER.
    pub(super) fn packet(&mut self, port: u16, server: u8, packet: &str) -> (Side, Vec<u8>) {
        self.shaped(port, server, packet, Shape::PLAIN)
    }

    pub(crate) fn shaped(
        &mut self,
        port: u16,
        server: u8,
        packet: &str,
        shape: Shape<'_>,
    ) -> (Side, Vec<u8>) {
        let (side, kind) = packet.split_once(' ').expect("c or s, a space, flags");
        let side = if side == "c" { Side::Client } else { Side::Server };
        let server = Ipv4Addr::new(10, 244, 0, server);
        let (service, server) = match kind {
            "udp" => (UDP_VIP, (server, 5_353)),
            _ => (TCP_VIP, (server, 8_080)),
        };
        let service = (service.0, shape.service_port.unwrap_or(service.1));
        let server = (server.0, shape.server_port.unwrap_or(server.1));
        let (src, dst) = match side {
            Side::Client => ((CLIENT, port), service),
            Side::Server => (server, (shape.to.unwrap_or(CLIENT), port)),
        };
        let l4 = match kind {
            "udp" => build::udp(src, dst, shape.payload.unwrap_or(DATA)),
            kind => self.segment(port, side, src, dst, flags(kind), shape.payload),
        };
        let number = if kind == "udp" { protocol::UDP } else { protocol::TCP };
        (side, ipv4(src.0, dst.0, number, shape, &l4))
    }

    fn segment(
        &mut self,
        flow: u16,
        side: Side,
        src: (Ipv4Addr, u16),
        dst: (Ipv4Addr, u16),
        flags: TcpFlags,
        payload: Option<&[u8]>,
    ) -> Vec<u8> {
        let (own, other) = if side == Side::Client { (0, 1) } else { (1, 0) };
        let next = self.0.entry(flow).or_insert(FIRST);
        if flags.contains(TcpFlags::SYN) {
            next[own] = FIRST[own];
        }
        let data = if flags.contains(TcpFlags::PSH) { payload.unwrap_or(DATA) } else { &[] };
        let mut l4 = Vec::new();
        l4.extend_from_slice(&src.1.to_be_bytes());
        l4.extend_from_slice(&dst.1.to_be_bytes());
        l4.extend_from_slice(&next[own].to_be_bytes());
        let ack = if flags.contains(TcpFlags::ACK) { next[other] } else { 0 };
        l4.extend_from_slice(&ack.to_be_bytes());
        l4.extend_from_slice(&[0x50, flags.0, 0xff, 0xff, 0, 0, 0, 0]);
        l4.extend_from_slice(data);
        build::finish_transport_checksum(src.0, dst.0, protocol::TCP, &mut l4);
        let counted = flags.contains(TcpFlags::SYN) || flags.contains(TcpFlags::FIN);
        next[own] += u32::from(counted) + u32::try_from(data.len()).unwrap();
        l4
    }
}

/// A datagram, as a packet behind 14 bytes for the Ethernet header.
pub(crate) fn datagram(src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16), shape: Shape<'_>) -> Vec<u8> {
    let l4 = build::udp(src, dst, shape.payload.unwrap_or(DATA));
    ipv4(src.0, dst.0, protocol::UDP, shape, &l4)
}

/// A packet behind 14 bytes for the Ethernet header.
pub(crate) fn ipv4(src: Ipv4Addr, dst: Ipv4Addr, number: u8, shape: Shape<'_>, l4: &[u8]) -> Vec<u8> {
    let Shape { ttl, dont_fragment, .. } = shape;
    let fields = Ipv4Fields { src, dst, protocol: number, ttl, tos: 0, ident: 1, dont_fragment };
    build::ipv4(fields, l4)
}
