//! What a machine must have to run scenarios on its kernel, and what to install where it has not.

use std::fmt;
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::unistd::geteuid;

use super::lab::{Lab, LabError};
use super::tool::find;
use crate::arm::ArmError;

/// Something that scenarios need of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requirement {
    /// To be root.
    Root,
    /// A program.
    Program(&'static str),
    /// To be allowed to make network namespaces.
    Netns,
    /// Devices of that kind (`ip link add … type KIND`).
    Device(&'static str),
    /// A file below `/proc/sys` in a new namespace, which is there when the kernel has the feature.
    Sysctl(&'static str),
    /// Packet sockets, to capture frames (packet(7)).
    PacketSocket,
}

/// A requirement that the machine does not meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub requirement: Requirement,
    /// What the machine said about it, if it said something.
    pub detail: Option<String>,
}

/// Programs, and the packages that bring them; Debian and Fedora agree on these names, or else both are given.
const PROGRAMS: [(&str, &str); 11] = [
    ("ip", "iproute2"),
    ("sh", "dash or bash"),
    ("iptables-legacy", "iptables (Fedora: iptables-legacy)"),
    ("iptables-legacy-restore", "iptables (Fedora: iptables-legacy)"),
    ("iptables-legacy-save", "iptables (Fedora: iptables-legacy)"),
    ("iptables-nft", "iptables (Fedora: iptables-nft)"),
    ("iptables-nft-restore", "iptables (Fedora: iptables-nft)"),
    ("iptables-nft-save", "iptables (Fedora: iptables-nft)"),
    ("nft", "nftables"),
    ("conntrack", "conntrack (Fedora: conntrack-tools)"),
    ("tc", "iproute2 (Fedora: iproute-tc)"),
];

/// Kernel features by the sysctl that shows them, with the module that brings each.
const FEATURES: [(&str, &str); 2] = [
    ("net/bridge/bridge-nf-call-iptables", "br_netfilter"),
    ("net/netfilter/nf_conntrack_max", "nf_conntrack"),
];

/// Those of the wanted requirements that this machine does not meet, in the order in which they are wanted.
///
/// Namespaces, devices and sysctls are tried out in a namespace of their own, which is gone afterwards.
pub fn missing(wanted: &[Requirement]) -> Vec<Missing> {
    let mut probe = Probe::default();
    wanted.iter().filter_map(|requirement| probe.check(*requirement)).collect()
}

/// Whether the machine meets all of these requirements.
///
/// # Errors
/// [`ArmError::Missing`] with those that it does not meet, one a line.
pub fn require(wanted: &[Requirement]) -> Result<(), ArmError> {
    let lacks: Vec<String> = missing(wanted).iter().map(ToString::to_string).collect();
    if lacks.is_empty() { Ok(()) } else { Err(ArmError::Missing(lacks.join("\n"))) }
}

/// What every scenario needs, whatever the proxy mode.
pub fn always() -> Vec<Requirement> {
    vec![
        Requirement::Root,
        Requirement::Program("ip"),
        Requirement::Program("sh"),
        Requirement::Program("conntrack"),
        Requirement::Netns,
        Requirement::Device("veth"),
        Requirement::Device("bridge"),
        Requirement::Sysctl("net/bridge/bridge-nf-call-iptables"),
        Requirement::Sysctl("net/netfilter/nf_conntrack_max"),
        Requirement::PacketSocket,
    ]
}

/// Keeps the namespace in which things are tried out.
#[derive(Default)]
struct Probe {
    lab: Option<Result<Lab, LabError>>,
}

impl Probe {
    fn check(&mut self, requirement: Requirement) -> Option<Missing> {
        let detail = match requirement {
            Requirement::Root => (!geteuid().is_root()).then_some(None),
            Requirement::Program(name) => find(name).is_none().then_some(None),
            Requirement::Netns => self.lab().err().map(Some),
            Requirement::Device(kind) => self.device(kind).err(),
            Requirement::Sysctl(path) => self.sysctl(path).err(),
            Requirement::PacketSocket => self.packet_socket().err().map(Some),
        };
        detail.map(|detail| Missing { requirement, detail })
    }

    fn lab(&mut self) -> Result<&Lab, String> {
        let lab = self.lab.get_or_insert_with(|| Lab::create(["probe"]));
        lab.as_ref().map_err(ToString::to_string)
    }

    fn device(&mut self, kind: &str) -> Result<(), Option<String>> {
        // Without namespaces nothing can be said about devices, and that is reported already.
        let Ok(lab) = self.lab() else { return Ok(()) };
        let args = ["link", "add", &format!("probe-{kind}"), "type", kind];
        lab.netns("probe").run("ip", &args, b"").map(drop).map_err(|error| Some(error.to_string()))
    }

    fn sysctl(&mut self, path: &str) -> Result<(), Option<String>> {
        let Ok(lab) = self.lab() else { return Ok(()) };
        let exists = lab.netns("probe").enter(|| Path::new("/proc/sys").join(path).exists());
        if exists.is_ok_and(|exists| !exists) { Err(None) } else { Ok(()) }
    }

    /// Not in the machine's own namespace, whose frames are none of our business.
    fn packet_socket(&mut self) -> Result<(), String> {
        let Ok(lab) = self.lab() else { return Ok(()) };
        let open =
            || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
        let opened = lab.netns("probe").enter(open).map_err(|error| error.to_string())?;
        opened.map(drop).map_err(|errno| errno.to_string())
    }
}

impl fmt::Display for Missing {
    /// One line: what is missing, and what to do about it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |table: &[(&str, &'static str)], key: &str| {
            table.iter().find(|(name, _)| *name == key).map_or("", |(_, remedy)| *remedy)
        };
        match self.requirement {
            Requirement::Root => formatter.write_str("root is needed: run it with sudo"),
            Requirement::Program(name) => {
                write!(formatter, "`{name}` is missing: install the package {}", row(&PROGRAMS, name))
            }
            Requirement::Netns => formatter.write_str(
                "network namespaces cannot be made: the kernel needs CONFIG_NET_NS, and a container needs CAP_SYS_ADMIN",
            ),
            Requirement::Device(kind) => {
                write!(formatter, "the kernel makes no {kind} device: load the module `{kind}`")
            }
            Requirement::Sysctl(path) => {
                let module = row(&FEATURES, path);
                write!(formatter, "the kernel has no `{module}` (no /proc/sys/{path}): load the module with `modprobe {module}`")
            }
            Requirement::PacketSocket => {
                formatter.write_str("frames cannot be captured: the kernel needs CONFIG_PACKET, and a container CAP_NET_RAW")
            }
        }?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(formatter, " ({})", detail.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::arm::kernel::link;
    use crate::backend::Backend;

    #[test]
    fn what_is_missing_is_said_with_its_remedy() {
        let missing = |requirement, detail: Option<&str>| {
            Missing { requirement, detail: detail.map(ToOwned::to_owned) }.to_string()
        };
        insta::assert_snapshot!(
            [
                missing(Requirement::Root, None),
                missing(Requirement::Program("iptables-nft-restore"), None),
                missing(Requirement::Program("conntrack"), None),
                missing(Requirement::Netns, Some("Operation not permitted\n")),
                missing(Requirement::Device("bridge"), Some("Error: Unknown device type.")),
                missing(Requirement::Sysctl("net/bridge/bridge-nf-call-iptables"), None),
                missing(Requirement::PacketSocket, Some("EAFNOSUPPORT")),
            ]
            .join("\n")
        );
    }

    #[test]
    fn the_programs_that_can_be_required_are_those_that_have_a_package() {
        let back_ends = Backend::ALL.into_iter().flat_map(Backend::requirements);
        let wanted = always().into_iter().chain(back_ends).chain([link::LOSS, link::DELAY]);
        let program = |requirement| match requirement {
            Requirement::Program(name) => Some(name),
            Requirement::Root
            | Requirement::Netns
            | Requirement::Device(_)
            | Requirement::Sysctl(_)
            | Requirement::PacketSocket => None,
        };
        let wanted: BTreeSet<&str> = wanted.filter_map(program).collect();
        assert_eq!(wanted, PROGRAMS.into_iter().map(|(name, _)| name).collect());
    }

    #[test]
    fn a_program_that_does_not_exist_is_missing() {
        let wanted = [Requirement::Program("hairpin-no-such-program"), Requirement::Program("sh")];
        assert_eq!(missing(&wanted), [Missing { requirement: wanted[0], detail: None }]);
        assert_eq!(require(&wanted[1..]), Ok(()));
        let told = require(&[Requirement::Program("hairpin-no-such-program"), Requirement::Root]);
        let Err(ArmError::Missing(lines)) = told else { panic!("{told:?}") };
        assert!(lines.starts_with("`hairpin-no-such-program` is missing: "), "{lines}");
    }
}
