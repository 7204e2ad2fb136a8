//! The command line. Names of subcommands and flags are stable.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use conformance::backend::Backend;
use conformance::manifest::port_range;
use conformance::scenario::{IpFamilies, ModeChoice, ProxyMode};
use conformance::suite::shard::Shard;
use ipnet::Ipv4Net;
use proxy_core::version::KubeProxyVersion;
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hairpin list
      all scenarios and requirements
  hairpin trace cluster.yaml --from web-0 --to shop:80
      what happens to a connection from Pod web-0 to Service shop, and which rule decides
  hairpin scenario nodeport-local
      one scenario, by name, by file name in ./scenarios, or by path
  hairpin scenario nodeport-local --trace | less -R
      the path of every packet: hooks, rules, translations and routes
  sudo hairpin scenario nodeport-local --against kernel
      compare with this machine's kernel, frame by frame
  hairpin scenario nodeport-local --against vm
      the same with a distribution's kernel in a virtual machine, without root (after `hairpin lab vm prepare`)
  hairpin scenario scenarios/*.yaml --format json
      one JSON document for other programs
  hairpin conformance
      every scenario
  hairpin conformance --mode all
      every scenario in every mode that it supports
  sudo hairpin fuzz --against kernel --runs 2000
      compare simulator and kernel on random clusters
  hairpin render cluster.yaml --node node-1
      the rules of kube-proxy on node-1 for the objects in cluster.yaml
  kubectl get nodes,pods,services,endpointslices,endpoints,configmaps -A -o yaml |
    hairpin render - --out rules
      the rules of every node, in rules/NODE/, with a setup.sh that loads them
  ssh node-1 iptables-save | hairpin render cluster.yaml --node node-1 --diff -
      missing and surplus rules of node-1
  ssh node-1 'iptables-save; ipset save; ipvsadm -Sn; ip addr' |
    hairpin render cluster.yaml --mode ipvs --node node-1 --diff -
      the same in mode ipvs, with sets, virtual services and addresses

Exit codes:
  0    all expectations held
  1    an expectation failed, or simulator and kernel differ
  2    invalid input or command line
  3    a prerequisite is missing on this machine
  70   an internal error: a bug in hairpin
  141  the reader of the output closed it early, as `head` does: the results are unknown";

/// Simulate Kubernetes Service networking packet by packet, using the rule text that a kernel would load
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Parses the arguments. Invalid ones end the process with exit code 2, `--help` and `--version` with 0.
    pub(crate) fn read() -> Self {
        Self::parse()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer one question about a cluster: what happens to a connection from here to there?
    Trace(TraceArgs),
    /// Run scenarios
    Scenario(ScenarioArgs),
    /// Run every scenario
    Conformance(ConformanceArgs),
    /// Fuzz with random clusters and shrink failures
    Fuzz(FuzzArgs),
    /// Print the rules that kube-proxy would load on a node
    Render(RenderArgs),
    /// List scenarios and the requirements that they cover
    List(ListArgs),
    /// Manage the network namespaces and virtual machines in which scenarios run on a kernel
    #[command(subcommand)]
    Lab(LabCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Remove namespaces left behind by killed runs
    Clean(LabClean),
    /// Manage the image of the virtual machine
    #[command(subcommand)]
    Vm(VmCommand),
}

const PREPARE_EXAMPLES: &str = "\
Examples:
  hairpin lab vm prepare
      the kernel for virtual machines of this machine's distribution
  hairpin lab vm prepare --kernel linux-image-6.12-cloud-amd64
      another kernel package of this machine's package sources
  hairpin lab vm prepare --kernel ./linux-image-6.12_amd64.deb
      a package file

Needs apt and dpkg (Debian or Ubuntu), downloads about 45 MB, and takes half a minute. Nothing is installed; no root
privileges are needed.";

#[derive(Debug, Subcommand)]
pub(crate) enum VmCommand {
    /// Make the image, unless it exists: a kernel and network tools from this machine's package sources
    Prepare(VmPrepare),
    /// Print the kernel and the packages of the image
    Info,
    /// Remove the image
    Remove,
    /// Run a program in a new virtual machine, with the input of this command. Exit code 1 if it fails
    Exec(VmExec),
    /// Serve requests as the first process of a virtual machine
    #[command(hide = true)]
    Guest(VmGuest),
}

const EXEC_EXAMPLES: &str = "\
Examples:
  hairpin lab vm exec ipvsadm -A -t 10.96.0.1:80 -s wrr
      one command of the image: busybox and the network tools
  hairpin lab vm exec sh < script.sh
      several commands";

#[derive(Debug, Args)]
#[command(after_help = EXEC_EXAMPLES)]
pub(crate) struct VmExec {
    /// Time is not virtual
    #[arg(long)]
    pub(crate) wall_clock: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct VmGuest {
    /// Time is not virtual
    #[arg(long)]
    pub(crate) wall_clock: bool,
}

#[derive(Debug, Args)]
#[command(after_help = PREPARE_EXAMPLES)]
pub(crate) struct VmPrepare {
    /// The kernel: a package of this machine's sources, or a package file. Replaces an image with another kernel [default:
    /// the kernel of the existing image, else linux-image-cloud-amd64]
    #[arg(long, value_name = "PACKAGE|FILE.deb")]
    pub(crate) kernel: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LabClean {
    /// Also remove those of runs that are still active
    #[arg(long)]
    pub(crate) force: bool,
}

const TRACE_EXAMPLES: &str = "\
Examples:
  kubectl get nodes,pods,services,endpointslices,endpoints,configmaps -A -o yaml |
    hairpin trace - --from shop/web-0 --to api.backend:8080
      from a Pod to a Service, by namespace and name
  hairpin trace cluster.yaml --from 192.168.0.100 --to node-1:30080
      from a client outside the cluster to a NodePort
  hairpin trace cluster.yaml --from node-1 --to 10.96.0.10:53 --protocol udp
      from a node to an address
  hairpin trace cluster.yaml --from web-0 --to shop --detail | less -R
      every packet of every outcome

Names:
  web-0, shop/web-0, pod/web-0        a Pod, in the only namespace that has it, or in namespace shop
  node-1, node/node-1                 a node
  192.168.0.100                       whoever has this address; a free one of the nodes' network is a client outside
  shop, shop.prod, service/prod/shop  a Service (--to), also by its DNS name; its port may be left out if it has one";

/// The protocol of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceProtocol {
    /// A TCP connection
    Tcp,
    /// A datagram and its response
    Udp,
    /// An echo request, as ping sends
    Icmp,
}

#[derive(Debug, Args)]
#[command(after_help = TRACE_EXAMPLES)]
pub(crate) struct TraceArgs {
    /// Manifests: files, folders, scenario names, or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR|NAME|-")]
    pub(crate) inputs: Vec<String>,
    /// The client
    #[arg(long, value_name = "WHO")]
    pub(crate) from: String,
    /// The destination
    #[arg(long, value_name = "WHAT[:PORT]")]
    pub(crate) to: String,
    /// The protocol
    #[arg(long, value_enum, default_value_t = TraceProtocol::Tcp)]
    pub(crate) protocol: TraceProtocol,
    /// Proxy mode [default: that of kube-proxy's configuration, else iptables]
    #[arg(long, value_name = "MODE", value_parser = available_modes(&[]))]
    pub(crate) mode: Option<String>,
    /// The node that a client outside the cluster has as its gateway [default: the first one]
    #[arg(long, value_name = "NODE")]
    pub(crate) via: Option<String>,
    /// Also print the path of every packet
    #[arg(long)]
    pub(crate) detail: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ScenarioArgs {
    /// Scenarios: by name (see `hairpin list`), by file name in ./scenarios, or by path
    #[arg(required = true, value_name = "NAME|FILE")]
    pub(crate) scenarios: Vec<String>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    /// Which iptables loads the rules on a kernel [default: the first one installed; in a virtual machine: legacy]
    #[arg(long, value_name = "BACKEND", value_parser = backends(&["all"]))]
    pub(crate) backend: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Also print the path of every packet; a packet that repeats an earlier one is only named, unless WHAT is `all`
    #[arg(long, value_name = "WHAT", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "distinct")]
    pub(crate) trace: Option<TraceShown>,
}

/// How scenarios are run.
#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// Proxy mode: how kube-proxy implements Services; `all` runs every mode that each scenario supports [default: the modes
    /// that a scenario names in `proxyModes`, else iptables]
    #[arg(long, value_name = "MODE", value_parser = available_modes(&[ModeChoice::ALL]))]
    mode: Option<String>,
    /// Address family
    #[arg(long, value_name = "FAMILY", value_parser = available_families(), default_value = "ipv4")]
    pub(crate) family: String,
    /// Seed for all random decisions
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number::<u64>(0, u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Where to run. `kernel`: in network namespaces of this machine, as root, beside the simulator; every difference
    /// between the two is a failure. `vm`: the same in a virtual machine, without root; see `hairpin lab vm prepare`
    #[arg(long, value_enum, default_value_t = Against::Sim)]
    pub(crate) against: Against,
    /// In a virtual machine, let time pass as on this machine. Otherwise it is virtual: waiting costs nothing, and nothing
    /// is late
    #[arg(long)]
    pub(crate) wall_clock: bool,
}

impl HowArgs {
    /// The chosen proxy modes.
    pub(crate) fn mode(&self) -> ModeChoice {
        ModeChoice::parse(self.mode.as_deref()).unwrap_or_default()
    }
}

const CONFORMANCE_EXAMPLES: &str = "\
Filters:
  hairpin                  scenarios whose metadata.name contains this text; same as name(hairpin)
  name(=nodeport-local)    the scenario with exactly this name
  requirement(service.node-port)
                           scenarios that cover a requirement whose name contains this text
  mode(iptables)           runs in this mode
  combine with `not`, `and`, `or` and parentheses; `not` binds tightest, then `and`

Examples:
  hairpin conformance --mode all
      all scenarios in all modes on the simulator
  hairpin conformance --filter 'requirement(service.hairpin) and not name(off)'
      scenarios selected by a filter
  sudo hairpin conformance --against kernel --junit results.xml
      all scenarios on this machine's kernel, with both back ends of iptables and JUnit results for CI
  hairpin conformance --against vm --mode ipvs
      all scenarios in IPVS mode in virtual machines, without root
  sudo hairpin conformance --against kernel --shard 1/4
      every fourth run; three other machines take 2/4, 3/4 and 4/4";

#[derive(Debug, Args)]
#[command(after_help = CONFORMANCE_EXAMPLES)]
pub(crate) struct ConformanceArgs {
    /// Scenarios to run: files, folders, or names [default: all built-in scenarios]
    #[arg(value_name = "FILE|DIR|NAME")]
    pub(crate) scenarios: Vec<String>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    /// Which iptables loads the rules on a kernel [default: all]
    #[arg(long, value_name = "BACKEND", value_parser = backends(&["all"]))]
    pub(crate) backend: Option<String>,
    /// Only runs that match EXPR, such as 'nodeport and not mode(ipvs)'
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    /// Only every N-th run, starting with the K-th
    #[arg(long, value_name = "K/N")]
    pub(crate) shard: Option<Shard>,
    /// Number of parallel runs [default: number of processors; on this machine's kernel, twice that]
    #[arg(long, value_name = "N", value_parser = jobs(), allow_negative_numbers = true)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// On this machine's kernel, rerun failures up to N times, since a busy machine may respond late. Reports the try that passed
    /// and what differed before [default: 0]
    #[arg(long, value_name = "N", value_parser = number::<usize>(0, 1_000), allow_negative_numbers = true)]
    pub(crate) retries: Option<usize>,
    /// Also write results as JUnit XML; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<String>,
    /// Also write results as JSON (docs/report.schema.json); `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<String>,
}

const FUZZ_EXAMPLES: &str = "\
Examples:
  hairpin fuzz --runs 1000
      1000 clusters on the simulator: each must run without error, and twice with the same result
  sudo hairpin fuzz --against kernel --runs 2000
      compare the simulator with this machine's kernel on random clusters
  sudo hairpin fuzz --against kernel --seed 7 --only 42
      rerun one cluster
  hairpin fuzz --against vm --mode ipvs
      compare with IPVS in the kernel of a virtual machine, without root

Failures are shrunk and written as scenario files, which `hairpin scenario` runs.";

#[derive(Debug, Args)]
#[command(after_help = FUZZ_EXAMPLES)]
pub(crate) struct FuzzArgs {
    /// Where to run. `sim`: on the simulator, twice. `kernel`: in network namespaces of this machine, as root, beside
    /// the simulator. `vm`: the same in virtual machines, without root; see `hairpin lab vm prepare`
    #[arg(long, value_enum, default_value_t = Against::Sim)]
    pub(crate) against: Against,
    /// In a virtual machine, let time pass as on this machine. Otherwise it is virtual: waiting costs nothing, and nothing
    /// is late
    #[arg(long)]
    pub(crate) wall_clock: bool,
    /// Which iptables loads the rules on a kernel [default: all, in turn]
    #[arg(long, value_name = "BACKEND", value_parser = backends(&["all"]))]
    pub(crate) backend: Option<String>,
    /// Proxy mode: how kube-proxy implements Services
    #[arg(long, value_name = "MODE", value_parser = available_modes(&[]), default_value = "iptables")]
    pub(crate) mode: String,
    /// Seed of the random clusters: cluster K of a seed is always the same
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number::<u64>(0, u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Number of clusters
    #[arg(long, value_name = "M", default_value_t = 100, value_parser = number::<u64>(0, u64::MAX), allow_negative_numbers = true)]
    pub(crate) runs: u64,
    /// Only the cluster with this number
    #[arg(long, value_name = "K", conflicts_with = "runs", value_parser = number::<u64>(0, u64::MAX - 1), allow_negative_numbers = true)]
    pub(crate) only: Option<u64>,
    /// Number of parallel runs [default: chosen for this machine]
    #[arg(long, value_name = "N", value_parser = jobs(), allow_negative_numbers = true)]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Folder for the scenario files of failures, named fuzz-SEED-K.yaml
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Stop after N failures; failures that do not recur because the machine was late do not count
    #[arg(long, value_name = "N", default_value = "10", value_parser = number::<NonZeroU64>(1, u64::MAX), allow_negative_numbers = true)]
    pub(crate) max_failures: NonZeroU64,
    /// Maximum number of smaller clusters to try for each failure; 0 disables shrinking
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = number::<usize>(0, 1_000_000), allow_negative_numbers = true)]
    pub(crate) shrink: usize,
}

/// Where a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Against {
    /// The simulator
    Sim,
    /// This machine's kernel, beside the simulator
    Kernel,
    /// The kernel of a virtual machine, beside the simulator
    Vm,
}

impl Against {
    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Kernel => "kernel",
            Self::Vm => "vm",
        }
    }
}

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text for people
    Text,
    /// JSON for programs (docs/report.schema.json)
    Json,
}

/// Which packets a trace shows in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceShown {
    /// The first of those that took the same path
    Distinct,
    /// All packets
    All,
}

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// Manifests: files, folders, scenario names, or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) inputs: Vec<String>,
    /// Proxy mode: how kube-proxy implements Services [default: that of kube-proxy's configuration, else iptables]
    #[arg(long, value_name = "MODE", value_parser = rendered_modes())]
    pub(crate) mode: Option<String>,
    /// The range of Pods' addresses, by which kube-proxy recognizes local traffic [default: as the manifests tell]
    #[arg(long, value_name = "CIDR")]
    pub(crate) cluster_cidr: Option<Ipv4Net>,
    /// The range of ClusterIPs [default: as the manifests tell]
    #[arg(long, value_name = "CIDR")]
    pub(crate) service_cidr: Option<Ipv4Net>,
    /// The range of NodePorts, such as 30000-32767 [default: as the manifests tell]
    #[arg(long, value_name = "FIRST-LAST", value_parser = node_ports)]
    pub(crate) node_port_range: Option<RangeInclusive<u16>>,
    /// Only this node [default: all nodes]
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Address family
    #[arg(long, value_enum, default_value_t = RenderFamily::Ipv4)]
    pub(crate) family: RenderFamily,
    /// kube-proxy release to reproduce, where releases differ
    #[arg(long, value_name = "RELEASE", value_enum, default_value_t = Release::Newest)]
    pub(crate) kube_proxy_version: Release,
    /// Compare with a real node instead of printing. DUMP is its `iptables-save` or `ip6tables-save` output; in mode ipvs
    /// also that of `ipset save`, `ipvsadm -Sn` and `ip addr`, in one file or, with one `--diff` for each, in several.
    /// `-` is standard input. Reports what is missing, surplus and stale, by Service; exit code 1 if there is anything
    #[arg(long, value_name = "DUMP", requires = "node", conflicts_with = "out")]
    pub(crate) diff: Vec<String>,
    /// Write DIR/NODE/ with the rules and a setup.sh that loads them, instead of printing
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

fn node_ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    port_range(text).ok_or_else(|| "the first and the last port, such as 30000-32767".to_owned())
}

/// kube-proxy releases with different rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Release {
    #[value(name = "1.31")]
    V1_31,
    Newest,
}

impl From<Release> for KubeProxyVersion {
    fn from(release: Release) -> Self {
        match release {
            Release::V1_31 => Self::V1_31,
            Release::Newest => Self::Newest,
        }
    }
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

/// Back ends of iptables, and additional values.
fn backends(also: &'static [&'static str]) -> PossibleValuesParser {
    PossibleValuesParser::new(Backend::ALL.map(Backend::name).iter().chain(also))
}

/// Modes whose rules this version can print. It does not run scenarios in all of them.
fn rendered_modes() -> PossibleValuesParser {
    let rendered = ProxyMode::ALL.into_iter().filter(|mode| mode.generator().is_some());
    PossibleValuesParser::new(rendered.map(ProxyMode::name))
}

/// Modes in which this version runs scenarios, and additional values.
fn available_modes(also: &'static [&'static str]) -> PossibleValuesParser {
    PossibleValuesParser::new(ProxyMode::available().map(ProxyMode::name).chain(also.iter().copied()))
}

/// Families that this version can run.
fn available_families() -> PossibleValuesParser {
    let available = IpFamilies::ALL.into_iter().filter(|family| family.is_available());
    PossibleValuesParser::new(available.map(IpFamilies::name))
}

/// Upper limit of `--jobs`. Each run has its own thread, and on a kernel its own namespaces and processes.
const JOBS_MAX: u64 = 1_024;

/// A number of parallel runs.
fn jobs() -> impl TypedValueParser<Value = NonZeroUsize> {
    number::<usize>(1, JOBS_MAX).try_map(NonZeroUsize::try_from)
}

/// A whole number from `least` to `most`.
fn number<T>(least: u64, most: u64) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: TryFrom<u64> + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        let value = number.and_then(|number| T::try_from(number).ok());
        value.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
    }
}

#[test]
fn arguments_are_consistent() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}
