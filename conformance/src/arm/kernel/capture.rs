//! Capture of every frame on every device of a namespace.
//!
//! One packet socket per namespace, not bound to a device (packet(7)): the kernel itself orders the frames of all
//! devices in both directions, stamps them, and counts losses. pnet's datalink channels have one socket per device, and
//! neither time stamps nor directions. Promiscuous mode stays off: on a bridge it makes the kernel deliver frames twice
//! that br_netfilter redirected.

mod stamp;

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::net::if_::if_nameindex;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;
use thiserror::Error;

use super::lab::{LabError, LabNetns};
use crate::frame::{Frame, FrameDirection};

/// Room for unread frames. Frames are read after every connection, so the longest interval is one connection with all
/// its retransmissions.
const BUFFER_BYTES: usize = 16 << 20;

/// The largest frame: segmentation offload may pass 64 KiB of payload to a device at once.
const FRAME_BYTES: usize = 66 * 1024;

/// `PACKET_OUTGOING` (include/uapi/linux/if_packet.h).
const PACKET_OUTGOING: u8 = 4;

/// Frames of one namespace.
#[derive(Debug)]
pub struct Capture {
    netns: String,
    socket: OwnedFd,
    /// Device names by index, for frames seen so far.
    devices: BTreeMap<usize, String>,
    buffer: Vec<u8>,
    lost: u32,
}

/// Why frames could not be captured.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The socket failed.
    #[error("capture in {netns}: {source}")]
    Io {
        /// The node's name.
        netns: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel dropped frames for lack of room.
    #[error("capture in {netns}: the kernel lost {count} frames")]
    Lost {
        /// The node's name.
        netns: String,
        /// The number of frames.
        count: u32,
    },
}

impl Capture {
    /// Starts capturing.
    ///
    /// # Errors
    /// If the namespace cannot be entered or the socket cannot be created.
    pub fn open(netns: &LabNetns) -> Result<Self, CaptureError> {
        stamp::ensure()?;
        let name = netns.name().to_owned();
        let fault = |errno: Errno| CaptureError::Io { netns: name.clone(), source: errno.into() };
        let socket = netns.enter(open_socket)?.map_err(fault)?;
        Ok(Self { netns: name, socket, devices: BTreeMap::new(), buffer: vec![0; FRAME_BYTES], lost: 0 })
    }

    /// Returns the frames captured since the last call.
    ///
    /// # Errors
    /// If the socket fails, or the kernel lost frames.
    pub fn drain(&mut self, netns: &LabNetns) -> Result<Vec<Frame>, CaptureError> {
        let mut frames = Vec::new();
        while let Some(received) =
            receive(&self.socket, &mut self.buffer).map_err(|errno| self.fault(errno))?
        {
            self.lost = self.lost.max(received.lost);
            let device = self.device_name(netns, received.device_index)?;
            frames.push(Frame {
                at: received.at,
                netns: self.netns.clone(),
                device,
                direction: received.direction,
                bytes: received.bytes.into(),
            });
        }
        if self.lost > 0 {
            return Err(CaptureError::Lost { netns: self.netns.clone(), count: self.lost });
        }
        Ok(frames)
    }

    fn fault(&self, errno: Errno) -> CaptureError {
        CaptureError::Io { netns: self.netns.clone(), source: errno.into() }
    }

    fn device_name(&mut self, netns: &LabNetns, index: usize) -> Result<String, CaptureError> {
        if !self.devices.contains_key(&index) {
            self.devices = netns.enter(device_names)?.map_err(|errno| self.fault(errno))?;
        }
        // A device may be deleted before its last frames are read.
        Ok(self.devices.get(&index).cloned().unwrap_or_else(|| format!("#{index}")))
    }
}

struct Received {
    at: Duration,
    device_index: usize,
    direction: FrameDirection,
    bytes: Vec<u8>,
    /// Frames lost since the socket was opened, as far as reported.
    lost: u32,
}

/// Reads one frame, if available.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Result<Option<Received>, Errno> {
    let mut control = nix::cmsg_space!(TimeSpec, u32);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = match recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
        Ok(message) => message,
        Err(Errno::EAGAIN) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let address = message.address.ok_or(Errno::EAFNOSUPPORT)?;
    let (mut at, mut lost) = (Duration::ZERO, 0);
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmTimestampns(time) = control {
            at = time.into();
        } else if let ControlMessageOwned::RxqOvfl(count) = control {
            lost = count;
        }
    }
    let is_outgoing = address.pkttype() == PACKET_OUTGOING;
    let direction = if is_outgoing { FrameDirection::Transmitted } else { FrameDirection::Received };
    let (device_index, len) = (address.ifindex(), message.bytes);
    Ok(Some(Received { at, device_index, direction, bytes: buffer[..len].to_vec(), lost }))
}

fn open_socket() -> Result<OwnedFd, Errno> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::EthAll,
    )?;
    setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    Ok(socket)
}

fn device_names() -> Result<BTreeMap<usize, String>, Errno> {
    let devices = if_nameindex()?;
    let name = |interface: &nix::net::if_::Interface| interface.name().to_string_lossy().into_owned();
    Ok(devices.iter().map(|device| (device.index() as usize, name(device))).collect())
}

/// Merges the frames of several namespaces. Within a namespace the kernel's order is kept; between namespaces, time
/// stamps decide.
pub fn merge(captures: Vec<Vec<Frame>>) -> Vec<Frame> {
    let mut queues: Vec<_> = captures.into_iter().map(|frames| frames.into_iter().peekable()).collect();
    let mut merged = Vec::new();
    loop {
        let next = queues
            .iter_mut()
            .enumerate()
            .filter_map(|(index, queue)| queue.peek().map(|frame| (frame.at, index)))
            .min();
        match next.and_then(|(_, index)| queues[index].next()) {
            Some(frame) => merged.push(frame),
            None => return merged,
        }
    }
}

#[cfg(test)]
mod tests;
