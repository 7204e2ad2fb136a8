//! `hairpin render`.

mod setup;

use crate::cli::{RenderArgs, RenderFamily};
use crate::exit::{Exit, Stop};
use crate::input;
use conformance::cluster::Cluster;
use conformance::diagnostic::render as render_diagnostics;
use conformance::manifest;
use conformance::node_rules::{NodeRules, node_rules};
use conformance::prepare;
use proxy_core::objects::IpFamily;
use std::fs;
use std::io::Write;
use std::path::Path;

pub(crate) fn run(args: &RenderArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    let cluster = cluster(&args.inputs)?;
    let families = families(args.family);
    let mut nodes = Vec::new();
    for name in node_names(&cluster, args.node.as_deref())? {
        let rules = node_rules(&cluster, name, families).map_err(|error| {
            Stop::bad_input(format!("error: kube-proxy would not start on {name}: {error}"))
        })?;
        nodes.push((name, rules));
    }
    match &args.out {
        Some(folder) => write_folders(folder, &nodes, out)?,
        None => print(&nodes, out)?,
    }
    Ok(Exit::AsExpected)
}

/// Reads manifests. Warnings go to standard error; errors end the command.
fn cluster(inputs: &[String]) -> Result<Cluster, Stop> {
    let manifests = manifest::load(input::sources(inputs)?);
    let style = input::diagnostic_style();
    match prepare::settle(manifests) {
        Ok((cluster, warnings, sources)) => {
            input::warn(&render_diagnostics(&warnings, &sources, style));
            Ok(cluster)
        }
        Err(refused) => {
            Err(Stop::bad_input(render_diagnostics(&refused.diagnostics, &refused.sources, style)))
        }
    }
}

const fn families(family: RenderFamily) -> &'static [IpFamily] {
    match family {
        RenderFamily::Ipv4 => &[IpFamily::V4],
        RenderFamily::Ipv6 => &[IpFamily::V6],
        RenderFamily::Dual => &[IpFamily::V4, IpFamily::V6],
    }
}

fn node_names<'a>(cluster: &'a Cluster, wanted: Option<&str>) -> Result<Vec<&'a str>, Stop> {
    let all: Vec<&str> = cluster.nodes().iter().map(|node| node.name.as_str()).collect();
    let Some(wanted) = wanted else { return Ok(all) };
    match all.iter().find(|name| **name == wanted) {
        Some(name) => Ok(vec![*name]),
        None => Err(Stop::bad_input(format!(
            "error: there is no node {wanted}\nhelp: the manifests have {}",
            if all.is_empty() { "no Node at all".to_owned() } else { all.join(", ") }
        ))),
    }
}

/// Rules one after the other. Lines that begin with `#` are comments to iptables-restore.
fn print(nodes: &[(&str, NodeRules)], out: &mut dyn Write) -> Result<(), Stop> {
    for (name, rules) in nodes {
        for (family, text) in &rules.families {
            writeln!(out, "# {name}/{}", setup::file_name(*family))?;
            out.write_all(text.restore.as_bytes())?;
        }
    }
    Ok(())
}

fn write_folders(folder: &Path, nodes: &[(&str, NodeRules)], out: &mut dyn Write) -> Result<(), Stop> {
    for (name, rules) in nodes {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
        let rule_files =
            rules.families.iter().map(|(family, text)| (setup::file_name(*family), text.restore.clone()));
        for (file, text) in rule_files.chain([("setup.sh", setup::script(name, rules))]) {
            let path = folder.join(file);
            fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
            writeln!(out, "{}", path.display())?;
        }
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Stop {
    Stop::bad_input(format!("error: {} cannot be written: {error}", path.display()))
}
