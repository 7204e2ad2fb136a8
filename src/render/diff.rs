//! `render --diff`: a node's dumps compared with what kube-proxy would load.

use crate::cli::RenderFamily;
use crate::exit::{Exit, Stop};
use crate::input;
use conformance::diagnostic::Source;
use proxy_core::finding::Diff;
use proxy_core::generator::Generator;
use proxy_core::ipvs::diff::Dump;
use proxy_core::objects::IpFamily;
use proxy_core::plan::Plan;
use proxy_core::{iptables, ipvs};
use std::io::Write;

/// The family to compare.
pub(super) fn family(family: RenderFamily) -> Result<IpFamily, Stop> {
    match family {
        RenderFamily::Ipv4 => Ok(IpFamily::V4),
        RenderFamily::Ipv6 => Ok(IpFamily::V6),
        RenderFamily::Dual => {
            let message = "error: a dump has one address family\nhelp: use --family ipv4 or --family ipv6";
            Err(Stop::bad_input(message))
        }
    }
}

/// Compares the plans of the node `name` with its dumps.
pub(super) fn run(
    generator: Generator,
    name: &str,
    plans: &[Plan],
    dumps: &[String],
    out: &mut dyn Write,
) -> Result<Exit, Stop> {
    let sources: Vec<Source> = dumps.iter().map(|dump| input::text(dump)).collect::<Result<_, _>>()?;
    let mut findings = Vec::new();
    let mut compared = "rules";
    for plan in plans {
        let diff = match generator {
            Generator::Iptables => of_iptables(plan, &sources)?,
            Generator::Ipvs => {
                let dumps: Vec<_> =
                    sources.iter().map(|Source { name, text }| Dump { source: name, text }).collect();
                let comparison = ipvs::diff::compare(plan, &dumps).map_err(|fault| {
                    let help = "give the complete output of iptables-save, ipset save, ipvsadm -Sn and, to compare \
                                addresses, ip addr, run as root on the node; in one text or several";
                    Stop::bad_input(format!("error: {fault}\nhelp: {help}"))
                })?;
                compared = if comparison.has_addresses {
                    "rules, sets, virtual services and addresses"
                } else {
                    "rules, sets and virtual services; addresses were not compared, without output of ip addr"
                };
                comparison.diff
            }
        };
        findings.extend(diff.findings);
    }
    if findings.is_empty() {
        writeln!(out, "{name} has the expected {compared}")?;
        return Ok(Exit::AsExpected);
    }
    write!(out, "{}", Diff { findings })?;
    Ok(Exit::NotAsExpected)
}

fn of_iptables(plan: &Plan, sources: &[Source]) -> Result<Diff, Stop> {
    let [source] = sources else {
        let message = "error: in mode iptables, one dump has everything: the output of iptables-save\n\
                       help: use --diff once, or --mode ipvs";
        return Err(Stop::bad_input(message));
    };
    iptables::diff::compare(plan, &source.text).map_err(|error| {
        let help = "use the complete output of iptables-save (or ip6tables-save) on the node, run as root";
        Stop::bad_input(format!("error: {}: {error}\nhelp: {help}", source.name))
    })
}
