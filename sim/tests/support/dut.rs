//! A host that exists twice, in the simulator and in the kernel, and is compared by its incoming and outgoing frames.
//!
//! It has three devices: `ethN` has 10.N.0.1/24, and 10.N.0.2 to 10.N.0.9 are permanent neighbours there. It forwards.
//! The other end of each device has no host: the case creates the frames and the comparison reads them.
//!
//! A case is a list of lines:
//!
//! ```text
//! iptables …, ip addr|link|route|neigh …, bridge link …, sysctl -w NAME=VALUE     commands, run on both sides
//! eth0 < udp 10.0.0.2:4000 10.1.0.2:53 len=4     a frame comes in (support/dut/frame.rs has the words)
//! listen udp 10.0.0.1:53                         a socket that answers `dut PEER LOCAL`
//! send udp 4000 10.1.0.2:53                      a socket of the host sends
//! sleep 2                                        seconds
//! iptables-save -c -t filter                     rules with their counters
//! conntrack -S                                   what conntrack has counted
//! conntrack -L                                   the table; timeouts may differ by what the machine's slowness costs
//! conntrack -L use                               the same, and how many hold each entry
//! ```
//!
//! The transcript repeats each line with what came of it. Both sides must write the same.
#![allow(
    clippy::disallowed_types,
    reason = "only tests ask the kernel, and they must start processes and threads for it"
)]

#[path = "dut/frame.rs"]
pub(crate) mod frame;
#[path = "dut/kernel.rs"]
mod kernel;
#[path = "dut/show.rs"]
mod show;
#[path = "dut/simulated.rs"]
mod simulated;

use std::fmt::Write as _;
use std::net::SocketAddrV4;

pub(crate) const DEVICES: [&str; 3] = ["eth0", "eth1", "eth2"];

/// The `iptables` back end of the kernel side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Legacy,
    Nft,
}

impl Backend {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Nft => "nft",
        }
    }
}

/// One line of a case.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A command of `ip`, `bridge`, `sysctl` or `iptables`.
    Command(Vec<String>),
    /// A frame arrives on a device.
    Frame { device: String, bytes: Vec<u8>, mark: u32 },
    /// A UDP socket of the host that replies.
    Listen(SocketAddrV4),
    /// A UDP socket of the host sends this many bytes.
    Send { port: u16, to: SocketAddrV4, len: usize },
    /// Milliseconds.
    Sleep(u64),
    /// Rules of a table with their counters.
    Counters(String),
    /// The conntrack table, optionally with reference counts.
    Conntrack { has_use: bool },
    /// Counters of conntrack.
    Statistics,
}

impl Step {
    /// The IP identification of the incoming packet.
    fn ident(&self) -> Option<u16> {
        let Self::Frame { bytes, .. } = self else { return None };
        Some(u16::from_be_bytes([bytes[18], bytes[19]]))
    }
}

/// The result of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) lines: Vec<String>,
}

fn step(line: &str) -> Step {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [device, "<", ..] => {
            let (bytes, mark) = frame::parse(device, &words[2..]);
            Step::Frame { device: device.to_owned(), bytes, mark }
        }
        ["listen", "udp", at] => Step::Listen(at.parse().unwrap()),
        ["send", "udp", port, to, ref options @ ..] => Step::Send {
            port: port.parse().unwrap(),
            to: to.parse().unwrap(),
            len: options.first().map_or(5, |option| option.strip_prefix("len=").unwrap().parse().unwrap()),
        },
        ["sleep", seconds] => {
            let (whole, tenths) = seconds.split_once('.').unwrap_or((seconds, "0"));
            Step::Sleep(whole.parse::<u64>().unwrap() * 1000 + tenths.parse::<u64>().unwrap() * 100)
        }
        ["iptables-save", "-c", "-t", table] => Step::Counters(table.to_owned()),
        ["conntrack", "-L"] => Step::Conntrack { has_use: false },
        ["conntrack", "-L", "use"] => Step::Conntrack { has_use: true },
        ["conntrack", "-S"] => Step::Statistics,
        ["iptables" | "ip" | "bridge" | "sysctl", ..] => Step::Command(words_of(line)),
        _ => panic!("invalid line {line:?}"),
    }
}

/// The words of a command; quoted text is one word.
fn words_of(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// A simulated host that sends to itself and counts what one rule matches.
pub(crate) struct Counted(simulated::Host);

impl Counted {
    pub(crate) fn new(command: &str) -> Self {
        let mut host = simulated::Host::new();
        host.run(&step(command));
        Self(host)
    }

    /// Sends datagrams to a closed port; returns how many the rule matched.
    pub(crate) fn send(&mut self, count: u32) -> u32 {
        for _ in 0..count {
            self.0.run(&Step::Send { port: 0, to: "127.0.0.1:9".parse().unwrap(), len: 1 });
        }
        let saved = self.0.run(&Step::Counters("filter".to_owned()));
        let line = saved.lines.iter().find(|line| line.starts_with('[')).expect("there is a rule");
        line[1..line.find(':').unwrap()].parse().unwrap()
    }
}

/// A case as run by the simulator: each line, with its result after `|`.
pub(crate) struct Case {
    lines: Vec<(String, Step)>,
}

impl Case {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Self { lines: lines.map(|line| (line.to_owned(), step(line))).collect() }
    }

    pub(crate) fn simulate(&self) -> Vec<Outcome> {
        let mut host = simulated::Host::new();
        self.lines.iter().map(|(_, step)| host.run(step)).collect()
    }

    pub(crate) fn transcript(&self, outcomes: &[Outcome]) -> String {
        let mut text = String::new();
        for ((line, _), outcome) in self.lines.iter().zip(outcomes) {
            _ = writeln!(text, "{line}");
            for line in &outcome.lines {
                _ = writeln!(text, "    {line}");
            }
        }
        text
    }

    /// Runs the case in the kernel. The error shows where it differs from `ours`.
    pub(crate) fn judge(&self, backend: Backend, ours: &[Outcome]) -> Result<(), String> {
        let steps: Vec<Step> = self.lines.iter().map(|(_, step)| step.clone()).collect();
        let expected: Vec<usize> = ours.iter().map(|outcome| outcome.lines.len()).collect();
        let kernels = kernel::run(steps, expected, backend);
        let mut report = String::new();
        let mut differs = false;
        for (((line, step), ours), kernels) in self.lines.iter().zip(ours).zip(&kernels) {
            _ = writeln!(report, "{line}");
            let is_same = match step {
                Step::Counters(_) if backend == Backend::Nft => counters(ours) == counters(kernels),
                Step::Counters(_)
                | Step::Command(_)
                | Step::Frame { .. }
                | Step::Listen(_)
                | Step::Send { .. }
                | Step::Sleep(_)
                | Step::Conntrack { .. }
                | Step::Statistics => are_same(ours, kernels),
            };
            if !is_same {
                differs = true;
                _ = writeln!(report, "!   ours:   {}", ours.lines.join("\n!           "));
                _ = writeln!(report, "!   kernel: {}", kernels.lines.join("\n!           "));
            }
        }
        if differs { Err(report) } else { Ok(()) }
    }

    /// Number of frames of a run, in and out.
    pub(crate) fn frames(&self, outcomes: &[Outcome]) -> usize {
        let of = |((_, step), outcome): (&(String, Step), &Outcome)| match step {
            Step::Frame { .. } => 1 + outcome.lines.len(),
            Step::Send { .. } | Step::Sleep(_) | Step::Command(_) => outcome.lines.len(),
            Step::Listen(_) | Step::Counters(_) | Step::Conntrack { .. } | Step::Statistics => 0,
        };
        self.lines.iter().zip(outcomes).map(of).sum()
    }
}

/// Only the counters: the rule format of `iptables-nft` is tested elsewhere.
fn counters(outcome: &Outcome) -> Vec<&str> {
    let counter = |line: &str| line.split(']').next().map_or(0, str::len);
    outcome.lines.iter().filter(|line| line.starts_with('[')).map(|line| &line[..counter(line)]).collect()
}

/// Equal, except for timeouts, which continue to run on a slow machine.
fn are_same(ours: &Outcome, kernels: &Outcome) -> bool {
    let is_same_word = |(ours, kernel): (&str, &str)| {
        let seconds = |word: &str| word.strip_prefix("timeout=").and_then(|text| text.parse::<u64>().ok());
        ours == kernel
            || matches!((seconds(ours), seconds(kernel)), (Some(ours), Some(kernel)) if kernel <= ours && ours <= kernel + 4)
    };
    let is_same_line = |(ours, kernel): (&String, &String)| {
        let (ours, kernel): (Vec<_>, Vec<_>) = (ours.split(' ').collect(), kernel.split(' ').collect());
        ours.len() == kernel.len() && ours.into_iter().zip(kernel).all(is_same_word)
    };
    ours.lines.len() == kernels.lines.len() && ours.lines.iter().zip(&kernels.lines).all(is_same_line)
}
