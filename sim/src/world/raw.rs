//! Raw sockets with the sender's own IP header (raw(7), `IP_HDRINCL`), and capture of incoming frames (packet(7)).

use super::{RunLimit, World};
use crate::ids::{FlowId, NetnsId};
use crate::netns::{Tap, TapPlace};
use crate::packet::Origin;
use crate::route::RouteKind;
use crate::socket::SendError;
use crate::stack::{ip_output, transport};
use crate::time::Instant;
use crate::wire::ipv4::IPV4_HEADER_LEN;
use crate::wire::{ETHERNET_HEADER_LEN, Ipv4};
use std::net::Ipv4Addr;
use thiserror::Error;

/// Why a raw socket did not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RawSendError {
    /// `EINVAL`: no IPv4 header, or one longer than the packet.
    #[error("no IPv4 header")]
    InvalidHeader,
    /// `EMSGSIZE`: larger than the MTU of the device.
    #[error("larger than the MTU")]
    MessageSize,
    /// `EACCES`: a broadcast address without `SO_BROADCAST`.
    #[error("to a broadcast address")]
    Broadcast,
    /// Rejected by routing or by a rule.
    #[error("cannot be sent: {0:?}")]
    Refused(SendError),
}

impl World {
    /// A flow id for [`World::send_raw`].
    pub fn raw_flow(&mut self) -> FlowId {
        self.next_flow()
    }

    /// Sends a packet with its own IP header, as a raw socket of that netns does. The route depends only on the
    /// destination. The total length and the header checksum are always filled in, the source address if it is zero,
    /// and the identification if it is zero and DF is not set.
    ///
    /// Linux: `raw_sendmsg`, `raw_send_hdrinc`, net/ipv4/raw.c. A header length below five words is rejected here;
    /// Linux sends the bytes unchanged.
    ///
    /// # Errors
    /// See [`RawSendError`].
    pub fn send_raw(&mut self, netns: NetnsId, flow: FlowId, packet: &[u8]) -> Result<(), RawSendError> {
        let header_len = packet.first().map_or(0, |byte| usize::from(byte & 0x0f) * 4);
        let total_len = u16::try_from(packet.len()).map_err(|_| RawSendError::MessageSize)?;
        if packet.len() < IPV4_HEADER_LEN || header_len < IPV4_HEADER_LEN || header_len > packet.len() {
            return Err(RawSendError::InvalidHeader);
        }
        let mut bytes = vec![0; ETHERNET_HEADER_LEN];
        bytes.extend_from_slice(packet);
        self.with_netns(netns, |ns, cx| {
            let mut ip = Ipv4::new_unchecked(&mut bytes[ETHERNET_HEADER_LEN..]);
            let route = ip_output::ip_route_output(ns, cx, None, ip.dst());
            let route = route.map_err(|reason| RawSendError::Refused(transport::send_error(reason)))?;
            if route.kind == RouteKind::Broadcast {
                return Err(RawSendError::Broadcast);
            }
            if total_len > route.mtu(ns.devices.get(route.device).mtu) {
                return Err(RawSendError::MessageSize);
            }
            let source = if ip.src() == Ipv4Addr::UNSPECIFIED { route.ipv4_source() } else { ip.src() };
            // Linux: ip_select_ident_segs, include/net/ip.h.
            let needs_ident = ip.ident() == 0 && !ip.dont_fragment();
            let ident = if needs_ident { ip_output::ip_select_ident(cx) } else { ip.ident() };
            ip.finish(total_len, ident, source);
            let mut packet = cx.create(Origin::Injected, None, Some(flow), bytes);
            packet.meta.route = Some(route);
            let refused = ip_output::ip_local_out(ns, cx, packet).err().and_then(transport::output_error);
            refused.map_or(Ok(()), |error| Err(RawSendError::Refused(error)))
        })
    }

    /// Starts to capture what arrives in that netns. Discards frames captured earlier.
    pub fn open_tap(&mut self, netns: NetnsId, place: TapPlace) {
        self.netns_mut(netns).tap = Some(Tap { place, frames: Vec::new() });
    }

    /// The frames that arrived since the last call, in order; empty without a tap.
    pub fn take_tapped(&mut self, netns: NetnsId) -> Vec<Box<[u8]>> {
        self.netns_mut(netns).tap.as_mut().map(|tap| std::mem::take(&mut tap.frames)).unwrap_or_default()
    }

    /// Stops capturing.
    pub fn close_tap(&mut self, netns: NetnsId) {
        self.netns_mut(netns).tap = None;
    }

    /// Runs until a frame arrives at the tap of that netns, `until` is reached, or the event queue is empty.
    pub fn run_until_tapped(&mut self, netns: NetnsId, until: Instant) -> RunLimit {
        self.run(until, |world| world.netns(netns).tap.as_ref().is_some_and(|tap| !tap.frames.is_empty()))
    }
}
