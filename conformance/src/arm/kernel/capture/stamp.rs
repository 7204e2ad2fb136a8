//! Ensures that the kernel stamps frames when they are received, not when they are read.
//!
//! The kernel stamps received frames only while some socket requests it, and starts shortly after the first such
//! request (`net_enable_timestamp` defers it to a work queue, net/core/dev.c). A frame without stamp gets the time at
//! which it is read, which would order it after everything else.

use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use super::{CaptureError, FrameDirection, open_socket, receive};
use crate::arm::kernel::lab::Lab;

/// A socket that keeps time stamping enabled for the lifetime of the process.
static KEEPER: Mutex<Option<OwnedFd>> = Mutex::new(None);

const ATTEMPTS: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(1);

/// Returns when received frames are stamped. Tested once per process, in a separate namespace.
///
/// # Errors
/// If that namespace cannot be created, or stamping does not start within a second.
pub(super) fn ensure() -> Result<(), CaptureError> {
    let mut keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    if keeper.is_none() {
        let lab = Lab::create(["stamps"])?;
        let netns = lab.netns("stamps");
        netns.run("ip", &["link", "set", "dev", "lo", "up"], b"")?;
        let fault = |source| CaptureError::Io { netns: "stamps".to_owned(), source };
        let stamped = netns.enter(wait_until_stamped)?;
        *keeper = Some(stamped.map_err(fault)?);
    }
    Ok(())
}

fn wait_until_stamped() -> io::Result<OwnedFd> {
    let capture = open_socket()?;
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    let mut buffer = [0; 2048];
    for _ in 0..ATTEMPTS {
        // Delivered immediately, through the loopback device.
        socket.send_to(b"?", socket.local_addr()?)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        while let Some(frame) = receive(&capture, &mut buffer)? {
            if frame.direction == FrameDirection::Received && frame.at < now {
                return Ok(capture);
            }
        }
        thread::sleep(PAUSE);
    }
    Err(Errno::ETIME.into())
}
