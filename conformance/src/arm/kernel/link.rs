//! Changes links: hairpin flags, delay, loss, MTU, and the state of their ends.
//!
//! Delay uses netem (tc-netem(8)). Loss uses nftables on ingress (`netdev` family): it needs no qdisc, and the frame is
//! still seen at its sender. Captures on the receiving device see lost frames as well.

use std::time::Duration;

use super::build::settle;
use super::lab::{Lab, LabError};
use super::requirement::{Requirement, require};
use super::tool::ToolError;
use super::wiring;
use crate::arm::ArmError;
use crate::netns::NetnsName;
use crate::prepare::LinkEnd;
use crate::scenario::{ObjectName, Share};
use crate::topology::{DownEnds, Topology, VethEndPlan, VethPlan};

/// The range of nftables' random numbers.
const PARTS: u64 = 1_000_000;

/// Prerequisite for loss.
pub(super) const LOSS: Requirement = Requirement::Program("nft");

/// Prerequisite for delay.
pub(super) const DELAY: Requirement = Requirement::Program("tc");

pub(super) fn set_hairpin(
    lab: &Lab,
    topology: &Topology,
    pod: &ObjectName,
    is_on: bool,
) -> Result<(), ArmError> {
    let VethPlan { port, .. } = topology.attachment(&NetnsName::Pod(pod.clone()));
    let value = if is_on { "on" } else { "off" };
    let args = ["link", "set", "dev", &port.device, "type", "bridge_slave", "hairpin", value];
    Ok(lab.netns(&port.netns.to_string()).run("ip", &args, b"").map(drop)?)
}

pub(super) fn set_link(
    lab: &Lab,
    topology: &Topology,
    netns: &NetnsName,
    latency: Option<Duration>,
    loss: Option<Share>,
) -> Result<(), ArmError> {
    let VethPlan { port, leaf, .. } = topology.attachment(netns);
    let wanted: Vec<Requirement> = loss.map(|_| LOSS).into_iter().chain(latency.map(|_| DELAY)).collect();
    require(&wanted)?;
    if let Some(loss) = loss {
        for end in [port, leaf] {
            let rules = loss_rules(&end.device, loss);
            lab.netns(&end.netns.to_string()).run("nft", &["-f", "-"], rules.as_bytes())?;
        }
    }
    if let Some(latency) = latency {
        for end in [port, leaf] {
            delay(lab, end, latency)?;
        }
    }
    Ok(())
}

/// Sets an end of a link up or down, as `down` says, and waits until both ends and all bridges have or lack a carrier.
pub(super) fn set_end(
    lab: &Lab,
    topology: &Topology,
    down: &DownEnds,
    netns: &NetnsName,
    end: LinkEnd,
) -> Result<(), ArmError> {
    let VethEndPlan { netns: holder, device, .. } = topology.link_end(netns, end);
    let state = if down.contains(&(netns.clone(), end)) { "down" } else { "up" };
    lab.netns(&holder.to_string()).run("ip", &["link", "set", "dev", device, state], b"")?;
    let is_running = !down.iter().any(|(known, _)| known == netns);
    for end in [LinkEnd::Device, LinkEnd::Port] {
        let VethEndPlan { netns: holder, device, .. } = topology.link_end(netns, end);
        wiring::wait_for_link(lab.netns(&holder.to_string()), device, is_running)?;
    }
    Ok(settle(lab, topology, down)?)
}

/// Sets the MTU of both ends of a link.
pub(super) fn set_mtu(
    lab: &Lab,
    topology: &Topology,
    netns: &NetnsName,
    mtu: Option<u16>,
) -> Result<(), ArmError> {
    let Some(mtu) = mtu.map(|mtu| mtu.to_string()) else { return Ok(()) };
    let VethPlan { port, leaf, .. } = topology.attachment(netns);
    for end in [port, leaf] {
        let args = ["link", "set", "dev", &end.device, "mtu", &mtu];
        lab.netns(&end.netns.to_string()).run("ip", &args, b"")?;
    }
    Ok(())
}

/// Rules that drop a share of the frames received on a device, replacing earlier ones.
fn loss_rules(device: &str, loss: Share) -> String {
    let threshold = u64::from(loss.numerator()) * PARTS / u64::from(loss.denominator());
    let table = format!("netdev hairpin-{device}");
    let fresh = format!("add table {table}\ndelete table {table}\n");
    if threshold == 0 {
        return fresh;
    }
    // nft rejects a comparison that is always true.
    let condition =
        if threshold < PARTS { format!("numgen random mod {PARTS} < {threshold} ") } else { String::new() };
    format!(
        "{fresh}add table {table}\n\
         add chain {table} ingress {{ type filter hook ingress device \"{device}\" priority 0; }}\n\
         add rule {table} ingress {condition}drop\n"
    )
}

fn delay(lab: &Lab, end: &VethEndPlan, latency: Duration) -> Result<(), ArmError> {
    let microseconds = format!("{}us", latency.as_micros());
    let args = ["qdisc", "replace", "dev", &end.device, "root", "netem", "delay", &microseconds];
    lab.netns(&end.netns.to_string()).run("tc", &args, b"").map(drop).map_err(|error| {
        let hint =
            "the kernel cannot delay frames: load the module `sch_netem` (Fedora: kernel-modules-extra)";
        if is_without_netem(&error) { ArmError::Missing(format!("{hint} ({error})")) } else { error.into() }
    })
}

/// True if tc reports that netem is missing, in the wording of current or older kernels.
fn is_without_netem(error: &LabError) -> bool {
    let LabError::Tool(ToolError::Failed { message, .. }) = error else { return false };
    ["qdisc kind is unknown", "No such file or directory"].iter().any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn only_tc_itself_says_that_there_is_no_netem() {
        let said = |message: &str| {
            let (command, message) = ("tc qdisc replace".to_owned(), message.to_owned());
            LabError::Tool(ToolError::Failed { command, status: ExitStatus::default(), message })
        };
        let not_found = || io::Error::from_raw_os_error(nix::libc::ENOENT);
        for (error, expected) in [
            (said("Error: Specified qdisc kind is unknown.\n"), true),
            (said("RTNETLINK answers: No such file or directory\n"), true),
            (said("Cannot find device \"eth7\"\n"), false),
            (LabError::Tool(ToolError::Io { program: "tc".to_owned(), source: not_found() }), false),
            (LabError::Netns { netns: "node-1".to_owned(), source: not_found() }, false),
        ] {
            assert_eq!(is_without_netem(&error), expected, "{error}");
        }
    }

    #[test]
    fn loss_is_a_threshold_of_a_random_number() {
        insta::assert_snapshot!(loss_rules("eth0", Share::parse("1/3").expect("a share")));
        assert!(!loss_rules("eth0", Share::ZERO).contains("drop"));
        assert!(loss_rules("eth0", Share::parse("1").expect("a share")).contains("ingress drop"));
    }
}
