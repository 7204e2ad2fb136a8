//! Flows: connections and requests that a scenario step starts.

use super::World;
use crate::ids::{FlowId, NetnsId, SocketId};
use crate::route::RouteKind;
use crate::socket::{
    AddressInUse, ClientProtocol, ClientSpec, ConnectError, FlowResult, Request, SendAgainError, SendError,
    Server,
};
use crate::stack::{ip_output, transport};
use crate::time::Duration;
use crate::trace::Outcome;
use std::net::{IpAddr, Ipv4Addr};

/// A connection or request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectSpec {
    /// Protocol.
    pub protocol: ClientProtocol,
    /// Source port, if fixed.
    pub src_port: Option<u16>,
    /// Destination address.
    pub dst: IpAddr,
    /// Destination port; unused for ICMP.
    pub dst_port: u16,
    /// Payload of the request.
    pub request: Vec<u8>,
    /// Timeout.
    pub deadline: Duration,
    /// Keeps the socket open for [`World::send_again`].
    pub is_kept_open: bool,
    /// UDP and ICMP may go to broadcast addresses (`SO_BROADCAST`).
    pub may_broadcast: bool,
}

impl World {
    /// Starts a flow from a socket of `netns` (`connect(2)`). Run the world to get its result.
    ///
    /// # Errors
    /// If no source port is available, or the destination is an IPv6 address.
    pub fn connect(&mut self, netns: NetnsId, spec: ConnectSpec) -> Result<FlowId, ConnectError> {
        let IpAddr::V4(dst) = spec.dst else { return Err(ConnectError::Ipv6NotExecuted) };
        let flow = self.next_flow();
        let opened = self.with_netns(netns, |ns, cx| {
            // Without a route, connect(2) fails at once.
            let route = ip_output::ip_route_connect(ns, cx, dst);
            let client = ClientSpec {
                protocol: spec.protocol,
                src: route.map_or(Ipv4Addr::UNSPECIFIED.into(), |route| route.source),
                src_port: spec.src_port,
                dst: route.map_or(spec.dst, |route| route.destination(spec.dst)),
                dst_port: spec.dst_port,
                request: Request { flow, bytes: spec.request, deadline: spec.deadline },
                is_kept_open: spec.is_kept_open,
            };
            let routed = route.map_err(transport::send_error);
            let allowed = routed.and_then(|route| may_connect(spec.protocol, route.kind, spec.may_broadcast));
            transport::with_sockets(ns, cx, |sockets, io| match allowed {
                Ok(()) => sockets.connect(io, client).map(drop),
                Err(error) => {
                    sockets.connect_failed(io, client, error);
                    Ok(())
                }
            })
        });
        opened?;
        self.flows.insert(flow, netns);
        Ok(flow)
    }

    /// Sends another request on a socket that an earlier flow kept open ([`FlowResult::socket`]). The exchange is a new
    /// flow.
    ///
    /// # Errors
    /// [`SendAgainError::Pending`] if the socket still waits for a reply, [`SendAgainError::Closed`] if it is closed.
    pub fn send_again(
        &mut self,
        netns: NetnsId,
        socket: SocketId,
        request: Vec<u8>,
        deadline: Duration,
    ) -> Result<FlowId, SendAgainError> {
        let flow = self.next_flow();
        let request = Request { flow, bytes: request, deadline };
        self.with_netns(netns, |ns, cx| {
            transport::with_sockets(ns, cx, |sockets, io| sockets.send_again(io, socket, request))
        })?;
        self.flows.insert(flow, netns);
        Ok(flow)
    }

    /// Closes a socket that an earlier flow kept open (`close(2)`). The packets that close it are a new flow, whose outcome is
    /// connected: it was open until now.
    ///
    /// # Errors
    /// As for [`World::send_again`].
    pub fn close(&mut self, netns: NetnsId, socket: SocketId) -> Result<FlowId, SendAgainError> {
        let flow = self.next_flow();
        self.with_netns(netns, |ns, cx| {
            transport::with_sockets(ns, cx, |sockets, io| sockets.close_kept(io, socket, flow))
        })?;
        self.flows.insert(flow, netns);
        Ok(flow)
    }

    /// How a connection ended that an earlier flow kept open; see [`crate::socket::Sockets::ended`].
    pub fn ended(&self, netns: NetnsId, socket: SocketId) -> Option<Outcome> {
        self.netns(netns).sockets.ended(socket)
    }

    pub(super) fn next_flow(&mut self) -> FlowId {
        let flow = FlowId(self.flow_count);
        self.flow_count += 1;
        flow
    }

    /// The result of a flow; `None` until it is finished, and after it was taken.
    pub fn flow_result(&self, flow: FlowId) -> Option<&FlowResult> {
        self.netns(*self.flows.get(&flow)?).sockets.flow_result(flow)
    }

    /// Like [`World::flow_result`], and removes the flow.
    pub fn take_flow_result(&mut self, flow: FlowId) -> Option<FlowResult> {
        let netns = *self.flows.get(&flow)?;
        let result = self.netns_mut(netns).sockets.take_flow_result(flow)?;
        self.flows.remove(&flow);
        Some(result)
    }

    /// Opens a TCP server (`listen(2)`). Without `addr`, it listens on every address of the netns.
    pub fn tcp_listen(
        &mut self,
        netns: NetnsId,
        addr: Option<IpAddr>,
        port: u16,
        server: Server,
    ) -> Result<SocketId, AddressInUse> {
        let netns = self.netns_mut(netns);
        netns.sockets.tcp_listen(addr, port, server, netns.sysctls.tcp_rmem.default)
    }

    /// Opens a UDP server (`bind(2)`).
    pub fn udp_bind(
        &mut self,
        netns: NetnsId,
        addr: Option<IpAddr>,
        port: u16,
        server: Server,
    ) -> Result<SocketId, AddressInUse> {
        self.netns_mut(netns).sockets.udp_bind(addr, port, server)
    }

    /// Ends the process of a server: its socket and its connections are closed ([`crate::socket::Sockets::exit`]).
    pub fn exit(&mut self, netns: NetnsId, socket: SocketId) {
        self.with_netns(netns, |ns, cx| {
            transport::with_sockets(ns, cx, |sockets, io| sockets.exit(io, socket));
        });
    }
}

/// True if connect(2) accepts a destination with this route. A TCP connection has exactly two ends, so broadcast and
/// multicast are rejected.
///
/// Linux: `tcp_v4_connect`, net/ipv4/tcp_ipv4.c; `__ip4_datagram_connect`, net/ipv4/datagram.c.
const fn may_connect(
    protocol: ClientProtocol,
    kind: RouteKind,
    may_broadcast: bool,
) -> Result<(), SendError> {
    match (protocol, kind) {
        (ClientProtocol::Tcp, RouteKind::Broadcast | RouteKind::Multicast) => {
            Err(SendError::NetworkUnreachable)
        }
        (ClientProtocol::Udp | ClientProtocol::IcmpEcho, RouteKind::Broadcast) if !may_broadcast => {
            Err(SendError::NotPermitted)
        }
        (ClientProtocol::Udp | ClientProtocol::IcmpEcho, RouteKind::Broadcast | RouteKind::Multicast)
        | (
            _,
            RouteKind::Unicast
            | RouteKind::Local
            | RouteKind::Unreachable
            | RouteKind::Prohibit
            | RouteKind::Blackhole,
        ) => Ok(()),
    }
}
