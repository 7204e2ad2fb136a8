//! Scripts of raw packets in a namespace: a raw socket sends (raw(7)), a capture receives; on a node, other raw sockets do.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, socket,
};

use sim::wire::{ETHERNET_HEADER_LEN, EtherType, Ethernet, MacAddr};

use super::capture::Capture;
use super::lab::LabNetns;
use super::quiet::wait_until_quiet;
use super::server::Servers;
use crate::arm::ArmError;
use crate::arm::script::{ScriptState, Silence, Wire, play, silencer};
use crate::backend::Backend;
use crate::frame::{Frame, FrameDirection};
use crate::observation::{Mismatch, Transport};
use crate::prepare::ScriptPlan;

/// The polling interval for frames; replies within a lab take a tenth of it.
const PAUSE: Duration = Duration::from_micros(500);

/// A connection that a later step may continue.
#[derive(Debug)]
pub(super) struct OpenScript {
    receiver: Receiver,
    socket: OwnedFd,
    state: ScriptState,
    /// Keeps the port of a node's script, so that its UDP does not answer.
    _port_keeper: Option<UdpSocket>,
}

/// Where a script receives.
#[derive(Debug)]
enum Receiver {
    /// From the devices: what hosts and Pods receive is translated nowhere.
    Devices(Box<Capture>),
    /// From raw sockets, which get what is delivered locally.
    LocalDelivery([OwnedFd; 2]),
}

impl OpenScript {
    fn new(netns: &LabNetns, plan: &ScriptPlan) -> Result<Self, ArmError> {
        let raw = |protocol, flags| {
            let opened = netns.enter(|| socket(AddressFamily::Inet, SockType::Raw, flags, protocol))?;
            opened.map_err(|errno| failed(netns, errno))
        };
        let receiver = if plan.is_from_node() {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            Receiver::LocalDelivery([raw(SockProtocol::Udp, flags)?, raw(SockProtocol::Icmp, flags)?])
        } else {
            Receiver::Devices(Box::new(Capture::open(netns)?))
        };
        // `IPPROTO_RAW` implies `IP_HDRINCL` (raw(7)), and receives nothing.
        let socket = raw(SockProtocol::Raw, SockFlag::SOCK_CLOEXEC)?;
        let port_keeper = port_keeper(netns, plan)?;
        Ok(Self { receiver, socket, state: ScriptState::default(), _port_keeper: port_keeper })
    }

    /// Keeps the frames that arrived since the last step.
    pub(super) fn drain(&mut self, netns: &LabNetns) -> Result<(), ArmError> {
        self.state.add_arrived(self.receiver.arrived(netns)?);
        Ok(())
    }
}

/// A socket on the port of a node's script over UDP.
fn port_keeper(netns: &LabNetns, plan: &ScriptPlan) -> Result<Option<UdpSocket>, ArmError> {
    if !plan.is_from_node() || plan.transport != Transport::Udp {
        return Ok(None);
    }
    let bound = netns.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, plan.source_port)))?;
    bound.map(Some).map_err(|error| {
        ArmError::Refused(format!("{} cannot use port {}: {error}", plan.from_text, plan.source_port))
    })
}

impl Receiver {
    /// The frames that arrived since the last call.
    fn arrived(&mut self, netns: &LabNetns) -> Result<Vec<Box<[u8]>>, ArmError> {
        match self {
            Self::Devices(capture) => {
                let frames = capture.drain(netns)?.into_iter();
                let is_received = |frame: &Frame| frame.direction == FrameDirection::Received;
                Ok(frames.filter(is_received).map(|frame| frame.bytes).collect())
            }
            Self::LocalDelivery(sockets) => {
                let mut packets = Vec::new();
                for socket in sockets {
                    while let Some(packet) = receive(socket).map_err(|errno| failed(netns, errno))? {
                        packets.push(packet);
                    }
                }
                Ok(packets)
            }
        }
    }
}

/// The next packet of a raw socket, as a frame: behind an Ethernet header without addresses.
fn receive(socket: &OwnedFd) -> Result<Option<Box<[u8]>>, Errno> {
    let mut buffer = vec![0; ETHERNET_HEADER_LEN + usize::from(u16::MAX)];
    match recv(socket.as_raw_fd(), &mut buffer[ETHERNET_HEADER_LEN..], MsgFlags::MSG_DONTWAIT) {
        Ok(count) => {
            buffer.truncate(ETHERNET_HEADER_LEN + count);
            if let Some(mut ethernet) = Ethernet::new_checked(&mut buffer[..]) {
                ethernet.set(MacAddr::ZERO, MacAddr::ZERO, EtherType::Ipv4);
            }
            Ok(Some(buffer.into()))
        }
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// How a script went.
#[derive(Debug)]
pub(super) struct Played {
    /// The first line that did not go as written.
    pub(super) mismatch: Option<Mismatch>,
    /// The connection, if a later step continues it.
    pub(super) open: Option<OpenScript>,
    /// When the first line began.
    pub(super) begun: Instant,
    /// When each line that sends was about to send.
    pub(super) sent_at: Vec<Instant>,
}

/// Plays the script of a step from within a namespace of the lab with these servers. `open` is the connection that it
/// continues.
///
/// # Errors
/// If the namespace cannot be entered, or a socket or rule is rejected.
pub(super) fn run_script(
    netns: &LabNetns,
    servers: &Servers,
    backend: Backend,
    plan: &ScriptPlan,
    open: Option<OpenScript>,
) -> Result<Played, ArmError> {
    let mut open = match open {
        Some(open) => open,
        None => {
            silence(netns, backend, plan, Silence::Begins)?;
            OpenScript::new(netns, plan)?
        }
    };
    let OpenScript { receiver, socket, state, _port_keeper: _ } = &mut open;
    let begun = Instant::now();
    let mut wire = KernelWire { netns, servers, receiver, socket, since: begun, sent_at: Vec::new() };
    let mismatch = play(plan, state, &mut wire)?;
    let sent_at = wire.sent_at;
    if plan.stays_open {
        return Ok(Played { mismatch, open: Some(open), begun, sent_at });
    }
    silence(netns, backend, plan, Silence::Ends)?;
    Ok(Played { mismatch, open: None, begun, sent_at })
}

fn silence(netns: &LabNetns, backend: Backend, plan: &ScriptPlan, action: Silence) -> Result<(), ArmError> {
    if let Some(rules) = silencer(plan, action) {
        backend.restore(netns, &rules, false)?;
    }
    Ok(())
}

fn failed(netns: &LabNetns, errno: Errno) -> ArmError {
    ArmError::Failed(format!("{}: raw socket: {errno}", netns.name()))
}

struct KernelWire<'a> {
    netns: &'a LabNetns,
    servers: &'a Servers,
    receiver: &'a mut Receiver,
    socket: &'a OwnedFd,
    since: Instant,
    sent_at: Vec<Instant>,
}

impl Wire for KernelWire<'_> {
    fn send(&mut self, packet: &[u8], to: Ipv4Addr) -> Result<bool, ArmError> {
        let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
        match sendto(self.socket.as_raw_fd(), packet, &to, MsgFlags::empty()) {
            Ok(_) => Ok(true),
            Err(
                Errno::ENETUNREACH
                | Errno::EHOSTUNREACH
                | Errno::EPERM
                | Errno::EACCES
                | Errno::EINVAL
                | Errno::EMSGSIZE,
            ) => Ok(false),
            Err(errno) => Err(failed(self.netns, errno)),
        }
    }

    fn receive(&mut self, within: Duration) -> Result<Vec<Box<[u8]>>, ArmError> {
        let deadline = Instant::now() + within;
        loop {
            let arrived = self.receiver.arrived(self.netns)?;
            if !arrived.is_empty() || Instant::now() >= deadline {
                return Ok(arrived);
            }
            thread::sleep(PAUSE);
        }
    }

    fn wait_to_send(&mut self, delay: Duration) -> Result<(), ArmError> {
        thread::sleep(delay);
        wait_until_quiet(self.servers);
        self.sent_at.push(Instant::now());
        Ok(())
    }

    fn wait(&mut self, duration: Duration) -> Result<(), ArmError> {
        thread::sleep(duration);
        Ok(())
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }
}
