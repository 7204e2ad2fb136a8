//! The command line. Names of subcommands and flags only ever grow.

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use conformance::backend::Backend;
use conformance::scenario::{Family, ProxyMode};
use conformance::suite::shard::Shard;
use proxy_core::version::KubeProxyVersion;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  hairpin list
      what can be run
  hairpin scenario nodeport-local
      a scenario by its name, its file in ./scenarios or any path
  hairpin scenario nodeport-local --trace | less -R
      every packet, with each hook, rule, translation and route that it met
  sudo hairpin scenario nodeport-local --against kernel
      the same on this machine's kernel: do they agree, frame by frame?
  hairpin scenario scenarios/*.yaml --format json
      a document for other programs
  hairpin conformance
      every scenario in every mode
  sudo hairpin fuzz --against kernel --runs 2000
      do they agree about clusters that nobody thought of?
  hairpin render cluster.yaml --node node-1
      the rules that node-1 would load for the objects in cluster.yaml
  kubectl get nodes,pods,services,endpointslices -A -o yaml | hairpin render - --out rules
      the rules of every node, in rules/NODE/, with a setup.sh that loads them
  ssh node-1 iptables-save | hairpin render cluster.yaml --node node-1 --diff -
      what node-1 lacks, and what it has too much

Exit codes:
  0    everything as expected
  1    an expectation failed, or two arms disagree
  2    the input or the command line is wrong
  3    this machine lacks what an arm needs
  141  the reader of the output went away before its end, as `head` does";

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
    /// Run scenarios
    Scenario(ScenarioArgs),
    /// Run every scenario in every mode
    Conformance(ConformanceArgs),
    /// Run random worlds, and make small what goes wrong
    Fuzz(FuzzArgs),
    /// Print the rules that a node would load
    Render(RenderArgs),
    /// List scenarios and the requirements that they cover
    List(ListArgs),
    /// Network namespaces in which scenarios run on this machine's kernel
    #[command(subcommand)]
    Lab(Lab),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Lab {
    /// Remove namespaces that killed runs left behind
    Clean(LabClean),
}

#[derive(Debug, Args)]
pub(crate) struct LabClean {
    /// Also those of runs that still go on
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ScenarioArgs {
    /// Scenarios by name (see `hairpin list`), by their file in ./scenarios, or by path
    #[arg(required = true, value_name = "NAME|FILE")]
    pub(crate) scenarios: Vec<String>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    /// Which iptables loads the rules on a kernel; the first that this machine has when left out
    #[arg(long, value_name = "BACKEND", value_parser = backends(&[]))]
    pub(crate) backend: Option<String>,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Also print what every packet met; a packet that went the way of an earlier one is named only, unless WHAT is `all`
    #[arg(long, value_name = "WHAT", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "distinct")]
    pub(crate) trace: Option<TraceShown>,
}

/// How scenarios are run.
#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// How kube-proxy implements Services; `all` is every way that each scenario is about
    #[arg(long, value_name = "MODE", value_parser = available_modes(&["all"]), default_value = "all")]
    pub(crate) mode: String,
    /// Address family
    #[arg(long, value_name = "FAMILY", value_parser = available_families(), default_value = "ipv4")]
    pub(crate) family: String,
    /// Seed of every random decision
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// What it is run on. `kernel`: network namespaces of this machine, as root, with the simulator beside them; every
    /// difference between the two is a failure
    #[arg(long, value_enum, default_value_t = Against::Sim)]
    pub(crate) against: Against,
}

const CONFORMANCE_EXAMPLES: &str = "\
Filters:
  hairpin                  scenarios with this text in their metadata.name; so does name(hairpin)
  name(=nodeport-local)    the scenario of exactly this name
  requirement(service.node-port)
                           scenarios that cover a requirement with this text in its name
  mode(iptables)           runs in this mode
  `not`, `and`, `or` and parentheses join them; `not` binds most tightly, then `and`

Examples:
  hairpin conformance
      all scenarios in all modes on the simulator
  hairpin conformance --filter 'requirement(service.hairpin) and not name(off)'
      some of them
  sudo hairpin conformance --against kernel --junit results.xml
      all on this machine's kernel, by both back ends of iptables, with results for a CI server
  sudo hairpin conformance --against kernel --shard 1/4
      every fourth run: the other three machines take 2/4, 3/4 and 4/4";

#[derive(Debug, Args)]
#[command(after_help = CONFORMANCE_EXAMPLES)]
pub(crate) struct ConformanceArgs {
    /// Scenarios to run: files, folders of files, or names; every built-in one when left out
    #[arg(value_name = "FILE|DIR|NAME")]
    pub(crate) scenarios: Vec<String>,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    /// Which iptables loads the rules on a kernel; `all` when left out
    #[arg(long, value_name = "BACKEND", value_parser = backends(&["all"]))]
    pub(crate) backend: Option<String>,
    /// Only the runs that the expression means, such as 'nodeport and not mode(ipvs)'
    #[arg(long, value_name = "EXPR")]
    pub(crate) filter: Option<String>,
    /// Only every N-th run, beginning with the K-th
    #[arg(long, value_name = "K/N")]
    pub(crate) shard: Option<Shard>,
    /// So many runs at a time; when left out, as many as there are processors, and on a kernel twice as many
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// On a kernel, run what does not pass again up to N times: a busy machine may be late. Told are the try on which a
    /// run passed, and what differed before. 0 when left out
    #[arg(long, value_name = "N")]
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
      a thousand worlds on the simulator: each runs without error, and twice the same
  sudo hairpin fuzz --against kernel --runs 2000
      does the simulator do what this machine's kernel does, whatever the cluster is like?
  sudo hairpin fuzz --against kernel --seed 7 --only 42
      one of them again

Whatever goes wrong is made as small as possible and written as a scenario file, which `hairpin scenario` runs.";

#[derive(Debug, Args)]
#[command(after_help = FUZZ_EXAMPLES)]
pub(crate) struct FuzzArgs {
    /// What worlds are run on. `sim`: the simulator, twice. `kernel`: network namespaces of this machine, as root, with the
    /// simulator beside them
    #[arg(long, value_enum, default_value_t = Against::Sim)]
    pub(crate) against: Against,
    /// Which iptables loads the rules on a kernel; `all`, which takes turns, when left out
    #[arg(long, value_name = "BACKEND", value_parser = backends(&["all"]))]
    pub(crate) backend: Option<String>,
    /// From which worlds are drawn: world K of a seed is always the same
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How many worlds
    #[arg(long, value_name = "M", default_value_t = 100)]
    pub(crate) runs: u64,
    /// Only the world of this number
    #[arg(long, value_name = "K", conflicts_with = "runs")]
    pub(crate) only: Option<u64>,
    /// So many worlds at a time; what this machine does best when left out
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Where to write scenario files of what goes wrong, as fuzz-SEED-K.yaml
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Stop after so many worlds that go wrong; those that a kernel was late for once do not count
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) max_failures: NonZeroU64,
    /// How many smaller worlds are tried for each that goes wrong; 0 leaves it as it is
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) shrink: usize,
}

/// What a scenario is run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Against {
    /// The simulator.
    Sim,
    /// This machine's kernel, and the simulator.
    Kernel,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: docs/report.schema.json.
    Json,
}

/// Which packets a trace shows in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceShown {
    /// The first of those that went the same way.
    Distinct,
    /// All of them.
    All,
}

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// Manifests: files, folders of files, names of scenarios, or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub(crate) inputs: Vec<String>,
    /// How kube-proxy implements Services
    #[arg(long, value_name = "MODE", value_parser = available_modes(&[]), default_value = "iptables")]
    pub(crate) mode: String,
    /// Of which node; of every node when left out
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Address family
    #[arg(long, value_enum, default_value_t = RenderFamily::Ipv4)]
    pub(crate) family: RenderFamily,
    /// The release of kube-proxy whose rules are meant, where releases differ
    #[arg(long, value_name = "RELEASE", value_enum, default_value_t = Release::Newest)]
    pub(crate) kube_proxy_version: Release,
    /// Compare with what a real node has, instead of printing: DUMP is its `iptables-save` (or `ip6tables-save`), `-` for
    /// standard input. Says what is missing, extra or stale, Service by Service; exit code 1 if anything is
    #[arg(long, value_name = "DUMP", requires = "node", conflicts_with = "out")]
    pub(crate) diff: Option<String>,
    /// Write DIR/NODE/ with the rules and a setup.sh that loads them, instead of printing
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Releases of kube-proxy that are told apart.
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

/// Back ends of iptables, and further words.
fn backends(also: &'static [&'static str]) -> PossibleValuesParser {
    PossibleValuesParser::new(Backend::ALL.map(Backend::name).iter().chain(also))
}

/// Modes that this version has, and further words.
fn available_modes(also: &'static [&'static str]) -> PossibleValuesParser {
    PossibleValuesParser::new(ProxyMode::AVAILABLE.map(ProxyMode::name).iter().chain(also))
}

/// Families that this version can run.
fn available_families() -> PossibleValuesParser {
    let available = Family::ALL.into_iter().filter(|family| family.is_available());
    PossibleValuesParser::new(available.map(Family::name))
}

#[test]
fn arguments_are_consistent() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}
