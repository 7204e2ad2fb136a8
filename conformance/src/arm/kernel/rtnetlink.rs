//! Devices, addresses and routes through rtnetlink(7), like `ip` but without a process.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;

use ipnet::IpNet;
use netlink_packet_core::{
    ErrorBuffer, ErrorMessage, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST,
    NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator, Parseable,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkHeader, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::net::if_::if_nametoindex;
use sim::wire::MacAddr;

/// `NLMSGERR_ATTR_MSG` (include/uapi/linux/netlink.h): the kernel's error message, if any.
const ERROR_TEXT: u16 = 1;

/// Length of a netlink message header (`struct nlmsghdr`), which an error message repeats.
const HEADER_BYTES: usize = 16;

/// A device to be created in the namespace of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewDevice<'a> {
    pub(super) name: &'a str,
    pub(super) mac: MacAddr,
    pub(super) netns: RawFd,
}

/// A change within one namespace. Displayed as an `ip` command.
#[derive(Debug, Clone)]
pub(super) enum IpCommand {
    Up {
        device: String,
    },
    Master {
        port: String,
        bridge: String,
    },
    Hairpin {
        port: String,
        is_on: bool,
    },
    Mtu {
        device: String,
        mtu: u16,
    },
    /// Segments of TCP leave one by one, as a device without segmentation offload gets them.
    NoSegmentation {
        device: String,
    },
    Address {
        device: String,
        net: IpNet,
    },
    Route {
        to: IpNet,
        via: Option<IpAddr>,
        device: String,
    },
    RemoveRoute {
        to: IpNet,
        via: Option<IpAddr>,
        device: String,
    },
}

/// A netlink socket; it stays in the namespace in which it was opened.
pub(super) struct Rtnetlink {
    socket: Socket,
}

impl Rtnetlink {
    /// Opens a socket in the namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_ROUTE)?;
        // Requests error messages as text, and without a copy of the request.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket })
    }

    /// Creates a bridge without multicast snooping.
    pub(super) fn add_bridge(&self, device: NewDevice<'_>) -> io::Result<()> {
        let settings = vec![InfoBridge::MulticastSnooping(false)];
        self.add_link(device, InfoKind::Bridge, InfoData::Bridge(settings))
    }

    /// Creates a veth pair.
    pub(super) fn add_veth(&self, device: NewDevice<'_>, peer: NewDevice<'_>) -> io::Result<()> {
        self.add_link(device, InfoKind::Veth, InfoData::Veth(InfoVeth::Peer(new_link(peer))))
    }

    fn add_link(&self, device: NewDevice<'_>, kind: InfoKind, data: InfoData) -> io::Result<()> {
        let mut link = new_link(device);
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
        self.make(RouteNetlinkMessage::NewLink(link))
    }

    /// Applies a change.
    pub(super) fn carry_out(&self, order: &IpCommand) -> io::Result<()> {
        match order {
            IpCommand::Up { device } => {
                let mut link = known_link(device)?;
                link.header.flags = LinkFlags::Up;
                link.header.change_mask = LinkFlags::Up;
                self.change(link)
            }
            IpCommand::Master { port, bridge } => {
                let mut link = known_link(port)?;
                link.attributes.push(LinkAttribute::Controller(index_of(bridge)?));
                self.change(link)
            }
            IpCommand::Hairpin { port, is_on } => {
                let mut link = known_link(port)?;
                let settings = InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(*is_on)]);
                let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(settings)];
                link.attributes.push(LinkAttribute::LinkInfo(info));
                self.change(link)
            }
            IpCommand::Mtu { device, mtu } => {
                let mut link = known_link(device)?;
                link.attributes.push(LinkAttribute::Mtu((*mtu).into()));
                self.change(link)
            }
            IpCommand::NoSegmentation { device } => {
                let mut link = known_link(device)?;
                link.attributes.push(LinkAttribute::GsoMaxSegs(1));
                self.change(link)
            }
            IpCommand::Address { device, net } => {
                self.make(RouteNetlinkMessage::NewAddress(address(device, *net)?))
            }
            IpCommand::Route { to, via, device } => {
                self.make(RouteNetlinkMessage::NewRoute(route(*to, *via, device)?))
            }
            // Succeeds if there is no such route.
            IpCommand::RemoveRoute { to, via, device } => {
                let message = RouteNetlinkMessage::DelRoute(route(*to, *via, device)?);
                match self.ask(message, NLM_F_ACK) {
                    Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
                    result => result.map(drop),
                }
            }
        }
    }

    /// True if a device has a carrier.
    pub(super) fn is_running(&self, device: &str) -> io::Result<bool> {
        let reply = self.ask(RouteNetlinkMessage::GetLink(known_link(device)?), 0)?;
        let header = LinkHeader::parse(&reply).map_err(io::Error::other)?;
        Ok(header.flags.contains(LinkFlags::Running))
    }

    /// Creates an object that must not exist yet.
    fn make(&self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.ask(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    fn change(&self, link: LinkMessage) -> io::Result<()> {
        self.ask(RouteNetlinkMessage::NewLink(link), NLM_F_ACK).map(drop)
    }

    /// Sends a request and returns the kernel's reply; empty for a plain acknowledgment.
    fn ask(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<u8>> {
        let mut request = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
        request.header.flags = NLM_F_REQUEST | flags;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        // The kernel replies before send returns (`netlink_rcv_skb`, net/netlink/af_netlink.c).
        let (reply, _) = self.socket.recv_from_full()?;
        let reply = NetlinkBuffer::new_checked(&reply).map_err(io::Error::other)?;
        if reply.message_type() != NLMSG_ERROR {
            return Ok(reply.payload().to_vec());
        }
        let payload = reply.payload();
        let payload = ErrorBuffer::new_checked(&payload).map_err(io::Error::other)?;
        let error = ErrorMessage::parse(&payload).map_err(io::Error::other)?;
        match error.code {
            None => Ok(Vec::new()),
            Some(_) => Err(in_words(&error, reply.flags() & NLM_F_ACK_TLVS != 0)),
        }
    }
}

/// The error with the kernel's message, if any.
fn in_words(error: &ErrorMessage, has_words: bool) -> io::Error {
    let plain = error.to_io();
    let attributes = error.header.get(HEADER_BYTES..).filter(|_| has_words).unwrap_or_default();
    let text = NlasIterator::new(attributes)
        .flatten()
        .find(|attribute| attribute.kind() == ERROR_TEXT)
        .map(|attribute| String::from_utf8_lossy(attribute.value()).trim_end_matches('\0').to_owned());
    text.map_or_else(|| error.to_io(), |text| io::Error::new(plain.kind(), format!("{text} ({plain})")))
}

fn new_link(device: NewDevice<'_>) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(device.name.to_owned()),
        LinkAttribute::Address(device.mac.0.to_vec()),
        LinkAttribute::NetNsFd(device.netns),
        LinkAttribute::GsoMaxSegs(1),
    ];
    link
}

fn known_link(device: &str) -> io::Result<LinkMessage> {
    let mut link = LinkMessage::default();
    link.header.index = index_of(device)?;
    Ok(link)
}

fn index_of(device: &str) -> io::Result<u32> {
    if_nametoindex(device).map_err(|errno| {
        io::Error::new(io::ErrorKind::NotFound, format!("Cannot find device \"{device}\" ({errno})"))
    })
}

const fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

const fn route_address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

fn address(device: &str, net: IpNet) -> io::Result<AddressMessage> {
    let mut message = AddressMessage::default();
    message.header.family = family(net.addr());
    message.header.prefix_len = net.prefix_len();
    message.header.scope = if net.addr().is_loopback() { AddressScope::Host } else { AddressScope::Universe };
    message.header.index = index_of(device)?;
    message.attributes = vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
    Ok(message)
}

fn route(to: IpNet, via: Option<IpAddr>, device: &str) -> io::Result<RouteMessage> {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(to.addr()),
        destination_prefix_length: to.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: if via.is_some() { RouteScope::Universe } else { RouteScope::Link },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes =
        vec![RouteAttribute::Destination(route_address(to.addr())), RouteAttribute::Oif(index_of(device)?)];
    message.attributes.extend(via.map(|hop| RouteAttribute::Gateway(route_address(hop))));
    Ok(message)
}

impl fmt::Display for IpCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { device } => write!(formatter, "ip link set dev {device} up"),
            Self::Master { port, bridge } => write!(formatter, "ip link set dev {port} master {bridge}"),
            Self::Hairpin { port, is_on } => {
                let value = if *is_on { "on" } else { "off" };
                write!(formatter, "ip link set dev {port} type bridge_slave hairpin {value}")
            }
            Self::Mtu { device, mtu } => write!(formatter, "ip link set dev {device} mtu {mtu}"),
            Self::NoSegmentation { device } => write!(formatter, "ip link set dev {device} gso_max_segs 1"),
            Self::Address { device, net } => write!(formatter, "ip address add {net} dev {device}"),
            Self::Route { to, via: Some(hop), device } => {
                write!(formatter, "ip route add {to} via {hop} dev {device}")
            }
            Self::Route { to, via: None, device } => write!(formatter, "ip route add {to} dev {device}"),
            Self::RemoveRoute { to, device, .. } => write!(formatter, "ip route del {to} dev {device}"),
        }
    }
}
