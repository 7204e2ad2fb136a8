//! Scripts of raw packets in a namespace: a raw socket sends (raw(7)), a capture receives.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use super::capture::Capture;
use super::lab::LabNetns;
use super::quiet::wait_until_quiet;
use super::server::Servers;
use crate::arm::ArmError;
use crate::arm::script::{ScriptState, Silence, Wire, play, silencer};
use crate::backend::Backend;
use crate::frame::FrameDirection;
use crate::observation::Mismatch;
use crate::prepare::ScriptPlan;

/// The polling interval for frames; replies within a lab take a tenth of it.
const PAUSE: Duration = Duration::from_micros(500);

/// A connection that a later step may continue.
#[derive(Debug)]
pub(super) struct OpenScript {
    capture: Capture,
    socket: OwnedFd,
    state: ScriptState,
}

impl OpenScript {
    fn new(netns: &LabNetns) -> Result<Self, ArmError> {
        let capture = Capture::open(netns)?;
        let socket = netns.enter(open_socket)?.map_err(|errno| failed(netns, errno))?;
        Ok(Self { capture, socket, state: ScriptState::default() })
    }

    /// Keeps the frames that arrived since the last step.
    pub(super) fn drain(&mut self, netns: &LabNetns) -> Result<(), ArmError> {
        self.state.add_arrived(arrived(&mut self.capture, netns)?);
        Ok(())
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
            OpenScript::new(netns)?
        }
    };
    let OpenScript { capture, socket, state } = &mut open;
    let begun = Instant::now();
    let mut wire = KernelWire { netns, servers, capture, socket, since: begun, sent_at: Vec::new() };
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

/// The frames that arrived since the last call.
fn arrived(capture: &mut Capture, netns: &LabNetns) -> Result<Vec<Box<[u8]>>, ArmError> {
    let frames = capture.drain(netns)?.into_iter();
    Ok(frames.filter(|frame| frame.direction == FrameDirection::Received).map(|frame| frame.bytes).collect())
}

/// `IPPROTO_RAW` implies `IP_HDRINCL` (raw(7)), and receives nothing.
fn open_socket() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)
}

fn failed(netns: &LabNetns, errno: Errno) -> ArmError {
    ArmError::Failed(format!("{}: raw socket: {errno}", netns.name()))
}

struct KernelWire<'a> {
    netns: &'a LabNetns,
    servers: &'a Servers,
    capture: &'a mut Capture,
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
            let arrived = arrived(self.capture, self.netns)?;
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
