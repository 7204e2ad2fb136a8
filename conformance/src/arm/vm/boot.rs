//! One virtual machine: QEMU with an image, and the messages to its guest.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::GuestTime;
use super::agent::Agent;
use super::image::Image;
use super::message::{Request, Response, decode, encode};
use crate::arm::ArmError;

/// Time limits. An idle machine boots in a few seconds and answers most requests in as many; a busy one takes far longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) boot: Duration,
    pub(super) answer: Duration,
}

pub(super) const LIMITS: Limits =
    Limits { boot: Duration::from_secs(600), answer: Duration::from_secs(1_200) };

/// Memory of the guest, in MiB: the largest suite run needs less than half.
const MEMORY: &str = "1024";

/// Maximum size of the kept end of the guest's console.
const CONSOLE_MAX: usize = 4_096;

/// The kernel's parameters, except how to start the agent.
///
/// The clock is trusted without calibration, because the guest's time may be virtual; mitigations would only cost
/// instructions; a panic ends the machine at once.
const PARAMETERS: &str = "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off nokaslr \
                          random.trust_bootloader=off tsc=reliable no_timer_check";

/// A running virtual machine.
#[derive(Debug)]
pub(super) struct Machine {
    child: Child,
    requests: ChildStdin,
    responses: Receiver<io::Result<String>>,
    /// The end of what the guest's console and QEMU printed.
    console: Arc<Mutex<Vec<u8>>>,
    limits: Limits,
}

impl Machine {
    /// Boots, and waits until the guest is ready.
    ///
    /// # Errors
    /// [`ArmError::Failed`] with the end of the console, if it does not become ready.
    pub(super) fn boot(
        program: &Path,
        image: &Image,
        root: &File,
        agent: Agent,
        time: GuestTime,
        limits: Limits,
    ) -> Result<Self, ArmError> {
        let mut command = Command::new(program);
        command.args(arguments(image, root.as_raw_fd(), &agent.parameters(time), time));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let fault = |error| ArmError::Failed(format!("{}: {error}", program.display()));
        let mut child = command.spawn().map_err(fault)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(requests), Some(stdout), Some(stderr)) = pipes else {
            return Err(ArmError::Internal("a child without its pipes".to_owned()));
        };
        let console = Arc::new(Mutex::new(Vec::new()));
        let (send, responses) = channel();
        let kept = Arc::clone(&console);
        thread::spawn(move || keep_end(stderr, &kept));
        thread::spawn(move || {
            // Ends when nobody wants the lines any more.
            let _ = BufReader::new(stdout).lines().try_for_each(|line| send.send(line));
        });
        let mut machine = Self { child, requests, responses, console, limits };
        match machine.answer("boot", limits.boot)? {
            Response::Ready { .. } => Ok(machine),
            Response::Ran(_) | Response::Examined(_) | Response::Executed(_) => {
                Err(ArmError::Internal("an answer before a request".to_owned()))
            }
        }
    }

    /// Sends a request and waits for the answer. After an error, the machine must not be used again.
    ///
    /// # Errors
    /// [`ArmError::Failed`] with the end of the console, if the guest does not answer.
    pub(super) fn ask(&mut self, request: &Request) -> Result<Response, ArmError> {
        let line = encode(request)?;
        if self.requests.write_all(line.as_bytes()).and_then(|()| self.requests.flush()).is_err() {
            return Err(self.ended());
        }
        self.answer("answer", self.limits.answer)
    }

    fn answer(&mut self, what: &str, limit: Duration) -> Result<Response, ArmError> {
        match self.responses.recv_timeout(limit) {
            Ok(Ok(line)) => decode(&line),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
            Err(RecvTimeoutError::Timeout) => Err(ArmError::Failed(format!(
                "the virtual machine did not {what} within {limit:?}{}",
                self.last_words()
            ))),
        }
    }

    /// The machine has ended by itself: the guest's kernel panicked, or QEMU cannot run it.
    fn ended(&mut self) -> ArmError {
        // QEMU closes its output shortly before it ends, and the console is read by another thread.
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut status = String::new();
        while Instant::now() < deadline {
            if let Ok(Some(ended)) = self.child.try_wait() {
                status = format!(" ({ended})");
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(50));
        ArmError::Failed(format!("the virtual machine ended{status}{}", self.last_words()))
    }

    /// What the console said last, as lines to append to a message.
    fn last_words(&self) -> String {
        let console = self.console.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&console).into_owned();
        let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        lines.map(|line| format!("\n  {line}")).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The guest has nothing to save. Fails only if QEMU has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keep_end(mut from: impl Read, end: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let mut kept = end.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(CONSOLE_MAX);
        kept.drain(..surplus);
    }
}

/// Arguments of QEMU. Messages go through its standard input and output, the console to its standard error; the guest has
/// no disk and no network.
fn arguments(image: &Image, root: i32, agent: &str, time: GuestTime) -> Vec<String> {
    let clock: &[&str] = match time {
        // One instruction takes 2 ns, and an idle guest skips to its next timer (QEMU: docs/devel/tcg-icount.rst).
        GuestTime::Virtual => &["-icount", "shift=1,sleep=off", "-rtc", "base=2025-01-01T00:00:00,clock=vm"],
        GuestTime::WallClock => &[],
    };
    let kernel = image.kernel().display().to_string();
    let (root, parameters) = (format!("/proc/self/fd/{root}"), format!("{PARAMETERS} {agent}"));
    let fixed: &[&str] = &[
        "-machine",
        "pc",
        "-accel",
        "tcg",
        // Random numbers of the processor would differ between runs.
        "-cpu",
        "max,-rdrand,-rdseed",
        "-smp",
        "1",
        "-m",
        MEMORY,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-net",
        "none",
        "-serial",
        "file:/dev/stderr",
        "-device",
        "virtio-serial-pci",
        "-chardev",
        "stdio,id=agent,signal=off",
        "-device",
        "virtserialport,chardev=agent,name=hairpin",
        "-kernel",
        &kernel,
        "-initrd",
        &root,
        "-append",
        &parameters,
    ];
    clock.iter().chain(fixed).map(|argument| (*argument).to_owned()).collect()
}
