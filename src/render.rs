//! `hairpin render`.

mod diff;
mod setup;

use crate::cli::{RenderArgs, RenderFamily};
use crate::exit::{Exit, Stop};
use crate::input;
use conformance::cluster::{Cluster, ClusterNode};
use conformance::diagnostic::render as render_diagnostics;
use conformance::manifest;
use conformance::prepare::{self, RangeOptions};
use conformance::proxy::Planner;
use conformance::scenario::ProxyMode;
use proxy_core::ObjectError;
use proxy_core::load::{Load, Tool};
use proxy_core::objects::IpFamily;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

/// A node and its lists, by family.
type NodeLoad<'a> = (&'a str, Vec<Vec<Load>>);

pub(crate) fn run(args: &RenderArgs, out: &mut dyn Write) -> Result<Exit, Stop> {
    refuse_stdin_twice(args)?;
    let cluster = cluster(args)?;
    let planner = Planner::new(&cluster).map_err(|error| Stop::bad_input(format!("error: {error}")))?;
    let mode = mode(args.mode.as_deref(), &cluster)?;
    let Some(generator) = mode.generator() else {
        return Err(Stop::bad_input(format!("error: this version has no proxy mode {mode}")));
    };
    if let (false, Some(name)) = (args.diff.is_empty(), &args.node) {
        let plans = nodes_of(&cluster, Some(name))?.iter().map(|node| {
            let plan = planner.plan(node, diff::family(args.family)?, args.kube_proxy_version.into());
            plan.map_err(|error| would_not_start(node, &error))
        });
        return diff::run(generator, name, &plans.collect::<Result<Vec<_>, _>>()?, &args.diff, out);
    }
    let mut nodes: Vec<NodeLoad<'_>> = Vec::new();
    for node in nodes_of(&cluster, args.node.as_deref())? {
        let load = |family: &IpFamily| {
            let plan = planner.plan(node, *family, args.kube_proxy_version.into());
            plan.map(|plan| generator.load(&plan)).map_err(|error| would_not_start(node, &error))
        };
        nodes.push((&node.name, families(args.family).iter().map(load).collect::<Result<_, _>>()?));
    }
    match &args.out {
        Some(folder) => write_folders(folder, mode.name(), &nodes, out)?,
        None => print(&nodes, out)?,
    }
    Ok(Exit::AsExpected)
}

/// The mode that the command line names, or else that of kube-proxy's configuration.
pub(crate) fn mode(named: Option<&str>, cluster: &Cluster) -> Result<ProxyMode, Stop> {
    match named {
        Some(name) => ProxyMode::parse(name)
            .ok_or_else(|| Stop::bad_input(format!("error: this version has no proxy mode {name}"))),
        None => prepare::configured_mode(cluster)
            .map_err(|error| Stop::bad_input(format!("error: {error}\nhelp: choose another one by --mode"))),
    }
}

/// Standard input can be read only once.
fn refuse_stdin_twice(args: &RenderArgs) -> Result<(), Stop> {
    let readers = args.inputs.iter().chain(&args.diff).filter(|input| *input == "-").count();
    if readers > 1 {
        let message = "error: standard input can be read once, and `-` is given twice\n\
                       help: write one of the texts to a file and name the file";
        return Err(Stop::bad_input(message));
    }
    Ok(())
}

fn would_not_start(node: &ClusterNode, error: &ObjectError) -> Stop {
    Stop::bad_input(format!("error: kube-proxy would not start on {}: {error}", node.name))
}

/// Reads manifests. Warnings go to standard error; errors end the command.
fn cluster(args: &RenderArgs) -> Result<Cluster, Stop> {
    let manifests = manifest::load(input::sources(&args.inputs)?);
    let style = input::diagnostic_style();
    let options = RangeOptions {
        cluster_cidr: args.cluster_cidr.map(|cidr| cidr.trunc()),
        service_cidr: args.service_cidr.map(|cidr| cidr.trunc()),
        node_ports: args.node_port_range.clone(),
    };
    match prepare::settle_with(manifests, &options) {
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

fn nodes_of<'a>(cluster: &'a Cluster, wanted: Option<&str>) -> Result<&'a [ClusterNode], Stop> {
    let Some(wanted) = wanted else { return Ok(cluster.nodes()) };
    match cluster.node(wanted) {
        Some(node) => Ok(std::slice::from_ref(node)),
        None => {
            let names: Vec<&str> = cluster.nodes().iter().map(|node| node.name.as_str()).collect();
            let names = names.join(", ");
            Err(Stop::bad_input(format!("error: no node {wanted}\nhelp: the manifests define {names}")))
        }
    }
}

/// The texts of a node, each with its file name. Both families have one text for each tool.
fn files(families: &[Vec<Load>]) -> Vec<(&'static str, String)> {
    let mut files = BTreeMap::<Tool, String>::new();
    for load in families.iter().flatten() {
        match load {
            Load::Text { tool, text } => files.entry(*tool).or_default().push_str(text),
            Load::Sysctl { .. } | Load::Ensure(_) => {}
        }
    }
    files.into_iter().map(|(tool, text)| (tool.file(), text)).collect()
}

/// Prints the rules of all nodes. Lines that begin with `#` are comments to iptables-restore.
fn print(nodes: &[NodeLoad<'_>], out: &mut dyn Write) -> Result<(), Stop> {
    for (name, families) in nodes {
        for (file, text) in files(families) {
            writeln!(out, "# {name}/{file}")?;
            out.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}

fn write_folders(folder: &Path, mode: &str, nodes: &[NodeLoad<'_>], out: &mut dyn Write) -> Result<(), Stop> {
    for (name, families) in nodes {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
        let setup = setup::script(name, mode, families);
        for (file, text) in files(families).into_iter().chain([("setup.sh", setup)]) {
            let path = folder.join(file);
            fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
            writeln!(out, "{}", path.display())?;
        }
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Stop {
    Stop::bad_input(format!("error: cannot write {}: {error}", path.display()))
}
