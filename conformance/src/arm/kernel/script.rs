//! Scripts of raw packets in a namespace: a raw socket sends (raw(7)), a capture receives.

use std::collections::VecDeque;
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
use crate::arm::ArmError;
use crate::arm::script::{Silence, Wire, play, silencer};
use crate::backend::Backend;
use crate::frame::FrameDirection;
use crate::observation::Mismatch;
use crate::prepare::ScriptPlan;

/// The polling interval for frames; replies within a lab take a tenth of it.
const PAUSE: Duration = Duration::from_micros(500);

/// Plays a script from within a namespace.
///
/// # Errors
/// If the namespace cannot be entered, or a socket or rule is rejected.
pub(super) fn run_script(
    netns: &LabNetns,
    backend: Backend,
    plan: &ScriptPlan,
) -> Result<Option<Mismatch>, ArmError> {
    backend.restore(netns, &silencer(plan, Silence::Begins), false)?;
    let capture = Capture::open(netns)?;
    let socket = netns.enter(open_socket)?.map_err(|errno| failed(netns, errno))?;
    let mut wire = KernelWire { netns, capture, socket, arrived: VecDeque::new(), since: Instant::now() };
    let mismatch = play(plan, &mut wire)?;
    backend.restore(netns, &silencer(plan, Silence::Ends), false)?;
    Ok(mismatch)
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
    capture: Capture,
    socket: OwnedFd,
    /// Captured frames that were not consumed yet.
    arrived: VecDeque<Box<[u8]>>,
    since: Instant,
}

impl Wire for KernelWire<'_> {
    fn send(&mut self, packet: &[u8], to: Ipv4Addr) -> Result<bool, ArmError> {
        let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
        match sendto(self.socket.as_raw_fd(), packet, &to, MsgFlags::empty()) {
            Ok(_) => Ok(true),
            Err(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EPERM | Errno::EACCES | Errno::EINVAL) => {
                Ok(false)
            }
            Err(errno) => Err(failed(self.netns, errno)),
        }
    }

    fn receive(&mut self, within: Duration) -> Result<Option<Box<[u8]>>, ArmError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(frame) = self.arrived.pop_front() {
                return Ok(Some(frame));
            }
            let frames = self.capture.drain(self.netns)?.into_iter();
            let arrived = frames.filter(|frame| frame.direction == FrameDirection::Received);
            self.arrived.extend(arrived.map(|frame| frame.bytes));
            if self.arrived.is_empty() {
                if Instant::now() >= deadline {
                    return Ok(None);
                }
                thread::sleep(PAUSE);
            }
        }
    }

    fn wait(&mut self, duration: Duration) -> Result<(), ArmError> {
        thread::sleep(duration);
        Ok(())
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }
}
