//! Prerequisites for running scenarios on the machine's kernel, and how to install them.

use std::fmt;
use std::path::Path;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use nix::unistd::geteuid;
use proxy_core::generator::Generator;

use super::lab::{Lab, LabError};
use super::tool::find;
use crate::arm::ArmError;

/// A prerequisite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requirement {
    /// Root privileges.
    Root,
    /// A program.
    Program(&'static str),
    /// Permission to create network namespaces.
    Netns,
    /// Devices of this kind (`ip link add … type KIND`).
    Device(&'static str),
    /// A file below `/proc/sys` in a new namespace, which exists if the kernel has the feature.
    Sysctl(&'static str),
    /// Packet sockets, to capture frames (packet(7)).
    PacketSocket,
}

/// A missing prerequisite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The prerequisite.
    pub requirement: Requirement,
    /// The machine's error message, if any.
    pub detail: Option<String>,
}

/// Programs and their packages; one name if Debian and Fedora agree, else both.
const PROGRAMS: [(&str, &str); 13] = [
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
    ("ipset", "ipset"),
    ("ipvsadm", "ipvsadm"),
];

/// Kernel features by the sysctl that indicates them, with the module that provides each.
const FEATURES: [(&str, &str); 3] = [
    ("net/bridge/bridge-nf-call-iptables", "br_netfilter"),
    ("net/netfilter/nf_conntrack_max", "nf_conntrack"),
    ("net/ipv4/vs/conntrack", "ip_vs"),
];

/// The missing ones among the wanted prerequisites, in order.
///
/// Namespaces, devices and sysctls are probed in a temporary namespace.
pub fn missing(wanted: &[Requirement]) -> Vec<Missing> {
    let mut probe = Probe::default();
    wanted.iter().filter_map(|requirement| probe.check(*requirement)).collect()
}

/// Checks that the machine meets all of these prerequisites.
///
/// # Errors
/// [`ArmError::Missing`] with the missing ones, one per line.
pub fn require(wanted: &[Requirement]) -> Result<(), ArmError> {
    let lacks: Vec<String> = missing(wanted).iter().map(ToString::to_string).collect();
    if lacks.is_empty() { Ok(()) } else { Err(ArmError::Missing(lacks.join("\n"))) }
}

/// Prerequisites of every scenario, in any proxy mode.
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

/// Further prerequisites of a proxy mode, by the generator of its rules.
pub const fn of_generator(generator: Generator) -> &'static [Requirement] {
    match generator {
        Generator::Iptables => &[],
        Generator::Ipvs => &[
            Requirement::Program("ipset"),
            Requirement::Program("ipvsadm"),
            Requirement::Device("dummy"),
            Requirement::Sysctl("net/ipv4/vs/conntrack"),
        ],
    }
}

/// Holds the namespace used for probing.
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
        // Without namespaces devices cannot be probed, and the missing namespaces are reported already.
        let Ok(lab) = self.lab() else { return Ok(()) };
        let args = ["link", "add", &format!("probe-{kind}"), "type", kind];
        lab.netns("probe").run("ip", &args, b"").map(drop).map_err(|error| Some(error.to_string()))
    }

    fn sysctl(&mut self, path: &str) -> Result<(), Option<String>> {
        let Ok(lab) = self.lab() else { return Ok(()) };
        let exists = lab.netns("probe").enter(|| Path::new("/proc/sys").join(path).exists());
        if exists.is_ok_and(|exists| !exists) { Err(None) } else { Ok(()) }
    }

    /// Not in the machine's own namespace, whose frames must not be read.
    fn packet_socket(&mut self) -> Result<(), String> {
        let Ok(lab) = self.lab() else { return Ok(()) };
        let open =
            || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
        let opened = lab.netns("probe").enter(open).map_err(|error| error.to_string())?;
        opened.map(drop).map_err(|errno| errno.to_string())
    }
}

impl fmt::Display for Missing {
    /// One line: what is missing, and how to fix it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |table: &[(&str, &'static str)], key: &str| {
            table.iter().find(|(name, _)| *name == key).map_or("", |(_, remedy)| *remedy)
        };
        match self.requirement {
            Requirement::Root => formatter.write_str("root privileges are missing: run with sudo"),
            Requirement::Program(name) => {
                write!(formatter, "`{name}` is missing: install the package {}", row(&PROGRAMS, name))
            }
            Requirement::Netns => formatter.write_str(
                "cannot create network namespaces: the kernel needs CONFIG_NET_NS, and a container needs CAP_SYS_ADMIN",
            ),
            Requirement::Device(kind) => {
                write!(formatter, "the kernel cannot create {kind} devices: load the module `{kind}`")
            }
            Requirement::Sysctl(path) => {
                let module = row(&FEATURES, path);
                write!(formatter, "the kernel has no `{module}` (no /proc/sys/{path}): load the module with `modprobe {module}`")
            }
            Requirement::PacketSocket => {
                formatter.write_str("cannot capture frames: the kernel needs CONFIG_PACKET, and a container CAP_NET_RAW")
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
                missing(Requirement::Sysctl("net/ipv4/vs/conntrack"), None),
                missing(Requirement::PacketSocket, Some("EAFNOSUPPORT")),
            ]
            .join("\n")
        );
    }

    #[test]
    fn the_programs_that_can_be_required_are_those_that_have_a_package() {
        let back_ends = Backend::ALL.into_iter().flat_map(Backend::requirements);
        let of_ipvs = of_generator(Generator::Ipvs).iter().copied();
        let wanted = always().into_iter().chain(back_ends).chain([link::LOSS, link::DELAY]).chain(of_ipvs);
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
