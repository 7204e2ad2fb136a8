//! The command line. Names of subcommands and flags only ever grow.

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use conformance::scenario::ProxyMode;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hairpin list
      what can be run
  hairpin render cluster.yaml --node node-1
      the rules that node-1 would load for the objects in cluster.yaml
  kubectl get nodes,pods,services,endpointslices -A -o yaml | hairpin render - --out rules
      the rules of every node, in rules/NODE/, with a setup.sh that loads them

Exit codes:
  0  everything as expected
  1  an expectation failed, or two arms disagree
  2  the input or the command line is wrong
  3  this machine lacks what an arm needs";

/// Simulates Kubernetes Service networking packet by packet, with the rule text that a kernel would load.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads the arguments. Wrong ones end the process with exit code 2, `--help` and `--version` with 0.
    pub(crate) fn read() -> Self {
        Self::parse()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the rules that a node would load
    Render(RenderArgs),
    /// List scenarios and the requirements that they cover
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// Manifests: files, folders of files, names of scenarios, or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) inputs: Vec<String>,
    /// How kube-proxy implements Services
    #[arg(long, value_name = "MODE", value_parser = available_modes(), default_value = "iptables")]
    pub(crate) mode: String,
    /// Of which node; of every node when left out
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Address family
    #[arg(long, value_enum, default_value_t = RenderFamily::Ipv4)]
    pub(crate) family: RenderFamily,
    /// Write DIR/NODE/ with the rules and a setup.sh that loads them, instead of printing
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Families for which rules can be rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RenderFamily {
    Ipv4,
    Ipv6,
    Dual,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {}

/// Modes that this version has.
fn available_modes() -> PossibleValuesParser {
    PossibleValuesParser::new(ProxyMode::AVAILABLE.map(ProxyMode::name))
}

#[test]
fn arguments_are_consistent() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}
