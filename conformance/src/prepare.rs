//! Validates a scenario before it runs: resolves every reference, and computes every cluster state.
//!
//! All user errors are found here, with their position, before anything runs.

mod clock;
mod expectation;
mod kept;
mod name;
mod plan;
mod resolve;
mod rules;
mod script;
mod set;
mod step;
mod sysctl;

pub use expectation::{Addresses, ConntrackFilter, EndpointAddresses, PreparedExpectation};
pub(crate) use plan::REQUEST;
pub use plan::{FlowPlan, KeptAction, KeptPlan, LinkEnd, ResolvePlan, ScriptPlan, StateChange};
pub use step::{PreparedAction, PreparedStep};

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;

use crate::cluster::{Cluster, ClusterProblem};
use crate::diagnostic::{Diagnostic, Place, Severity, Source, SourceId, has_errors};
use crate::manifest::{Facts, LoadedObject, LoadedScenario, Manifests, SourceNode, expected_words};
use crate::scenario::{FieldFault, IpFamilies, ModeChoice, Network, ObjectKey, ProxyMode, Scenario};
use crate::topology::is_executed;

/// A validated scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The scenario.
    pub scenario: Scenario,
    /// Supported modes, in the order of [`ProxyMode::ALL`].
    pub modes: Vec<ProxyMode>,
    /// The initial cluster.
    pub cluster: Cluster,
    /// The steps.
    pub steps: Vec<PreparedStep>,
    /// Warnings for the author.
    pub warnings: Vec<Diagnostic>,
    /// The source texts, for [`crate::diagnostic::render`].
    pub sources: Vec<Source>,
}

/// Texts without a valid scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// All problems, in text order; at least one is an error.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts.
    pub sources: Vec<Source>,
}

/// A requested mode or family that this version or this scenario does not support.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// This version does not support the mode.
    #[error("proxy mode {0} is not available in this version; available: {available}", available = available_modes())]
    Mode(ProxyMode),
    /// This version does not support the mode that kube-proxy's configuration has.
    #[error("kube-proxy's configuration has mode {0:?}, which is not available in this version; available: {available}", available = available_modes())]
    Configured(String),
    /// This version does not support the family.
    #[error("address family {0} is not available in this version; available: ipv4")]
    IpFamilies(IpFamilies),
}

/// Validates a scenario.
///
/// # Errors
/// All problems of the scenario.
pub fn prepare(manifests: Manifests) -> Result<Prepared, Box<Refused>> {
    let Manifests { mut sources, scenarios, objects, facts, diagnostics } = manifests;
    if sources.is_empty() {
        sources.push(Source { name: "no file".to_owned(), text: String::new() });
    }
    let mut preparation = Preparation::new(&objects, diagnostics, sources);
    let prepared = preparation.run(scenarios, &facts, objects);
    let Preparation { mut diagnostics, sources, .. } = preparation;
    let Some((scenario, cluster, steps)) = prepared else {
        diagnostics.sort_by_key(|diagnostic| (diagnostic.place.source, diagnostic.place.span.start));
        return Err(Box::new(Refused { diagnostics, sources }));
    };
    let modes = ProxyMode::ALL.into_iter().filter(|mode| can_run(&scenario, *mode)).collect();
    Ok(Prepared { scenario, modes, cluster, steps, warnings: diagnostics, sources })
}

/// Ranges that override those of manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeOptions {
    /// The range of Pods' addresses.
    pub cluster_cidr: Option<Ipv4Net>,
    /// The range of ClusterIPs.
    pub service_cidr: Option<Ipv4Net>,
    /// The range of NodePorts.
    pub node_ports: Option<RangeInclusive<u16>>,
}

/// The cluster that results from manifests, with or without a scenario among them, and warnings.
///
/// # Errors
/// All problems of the manifests.
pub fn settle(manifests: Manifests) -> Result<(Cluster, Vec<Diagnostic>, Vec<Source>), Box<Refused>> {
    settle_with(manifests, &RangeOptions::default())
}

/// The same, with ranges that override those of the manifests.
///
/// # Errors
/// All problems of the manifests.
pub fn settle_with(
    manifests: Manifests,
    options: &RangeOptions,
) -> Result<(Cluster, Vec<Diagnostic>, Vec<Source>), Box<Refused>> {
    let Manifests { sources, scenarios, objects, mut facts, diagnostics } = manifests;
    let mut preparation = Preparation::new(&objects, diagnostics, sources);
    let mut network = match scenarios.into_iter().next() {
        Some(LoadedScenario { scenario, origin }) => {
            preparation.scenario = Some(origin);
            scenario.network
        }
        None => Network::default(),
    };
    let RangeOptions { cluster_cidr, service_cidr, node_ports } = options.clone();
    facts.proxy_yields |= cluster_cidr.is_some();
    network.cluster_cidr = cluster_cidr.or(network.cluster_cidr);
    network.service_cidr = service_cidr.or(network.service_cidr);
    network.node_ports = node_ports.or(network.node_ports);
    let mut cluster = None;
    if !has_errors(&preparation.diagnostics) {
        let objects = objects.into_iter().map(|loaded| loaded.object).collect();
        cluster = preparation.settled(Cluster::new(&network, &facts, objects));
        preparation.check_for_nodes(cluster.as_ref(), Severity::Warning);
    }
    let Preparation { mut diagnostics, sources, .. } = preparation;
    match cluster {
        Some(cluster) => Ok((cluster, diagnostics, sources)),
        None => {
            diagnostics.sort_by_key(|diagnostic| (diagnostic.place.source, diagnostic.place.span.start));
            Err(Box::new(Refused { diagnostics, sources }))
        }
    }
}

impl Prepared {
    /// The modes to run. The list is empty if the scenario does not support the requested mode.
    ///
    /// # Errors
    /// The mode is not available in this version.
    pub fn modes_for(&self, choice: ModeChoice) -> Result<Vec<ProxyMode>, Unavailable> {
        match choice {
            ModeChoice::One(mode) if !mode.is_available() => Err(Unavailable::Mode(mode)),
            ModeChoice::Named if self.scenario.proxy_modes.is_empty() => {
                let mode = configured_mode(&self.cluster)?;
                Ok(self.modes.iter().copied().filter(|one| *one == mode).collect())
            }
            ModeChoice::One(_) | ModeChoice::All | ModeChoice::Named => {
                Ok(self.modes.iter().copied().filter(|mode| self.is_meant(choice, *mode)).collect())
            }
        }
    }

    /// True if a choice means this mode of the scenario.
    pub fn is_meant(&self, choice: ModeChoice, mode: ProxyMode) -> bool {
        match choice {
            ModeChoice::All => true,
            ModeChoice::One(one) => one == mode,
            ModeChoice::Named => {
                !self.scenario.proxy_modes.is_empty() || configured_mode(&self.cluster) == Ok(mode)
            }
        }
    }
}

/// The mode that kube-proxy's configuration selects; iptables by default.
///
/// # Errors
/// A mode that this version does not run.
pub fn configured_mode(cluster: &Cluster) -> Result<ProxyMode, Unavailable> {
    let name = cluster.kube_proxy_configuration().mode;
    if name.is_empty() {
        return Ok(ProxyMode::Iptables);
    }
    ProxyMode::parse(&name).filter(|mode| mode.is_available()).ok_or(Unavailable::Configured(name))
}

fn can_run(scenario: &Scenario, mode: ProxyMode) -> bool {
    mode.is_available() && (scenario.proxy_modes.is_empty() || scenario.proxy_modes.contains(&mode))
}

fn available_modes() -> String {
    ProxyMode::available().map(ProxyMode::name).collect::<Vec<_>>().join(", ")
}

fn origins(objects: &[LoadedObject]) -> BTreeMap<ObjectKey, SourceNode> {
    objects.iter().map(|loaded| (ObjectKey::of(&loaded.object), loaded.origin.clone())).collect()
}

/// The state of [`prepare`]: collects diagnostics and finds positions.
struct Preparation {
    /// The position of each object seen so far.
    origins: BTreeMap<ObjectKey, SourceNode>,
    scenario: Option<SourceNode>,
    diagnostics: Vec<Diagnostic>,
    /// The source texts.
    sources: Vec<Source>,
    /// Connections of scripts that later steps continue.
    open_scripts: Vec<script::OpenScript>,
    /// Connections that steps keep open, by name.
    kept: BTreeMap<String, kept::KeptFlows>,
    /// The last step that uses each connection of a script.
    last_uses: BTreeMap<String, usize>,
}

impl Preparation {
    fn new(objects: &[LoadedObject], diagnostics: Vec<Diagnostic>, sources: Vec<Source>) -> Self {
        Self {
            origins: origins(objects),
            scenario: None,
            diagnostics,
            sources,
            open_scripts: Vec::new(),
            kept: BTreeMap::new(),
            last_uses: BTreeMap::new(),
        }
    }

    fn run(
        &mut self,
        scenarios: Vec<LoadedScenario>,
        facts: &Facts,
        objects: Vec<LoadedObject>,
    ) -> Option<(Scenario, Cluster, Vec<PreparedStep>)> {
        let scenario = self.only_one(scenarios)?;
        self.check_modes(&scenario);
        if scenario.steps.is_empty() {
            self.scenario_fault(&FieldFault::new("no steps").expected("at least one step").at("spec.steps"));
        }
        if scenario.network.cni.is_some_and(|cni| !is_executed(cni)) {
            let fault = FieldFault::new("the CNI vxlan is not implemented yet").expected("bridge or ptp");
            self.scenario_fault(&fault.at("spec.network.cni"));
        }
        if has_errors(&self.diagnostics) {
            return None;
        }
        let objects = objects.into_iter().map(|loaded| loaded.object).collect();
        let cluster = self.settled(Cluster::new(&scenario.network, facts, objects));
        self.check_for_nodes(cluster.as_ref(), Severity::Error);
        let cluster = cluster?;
        self.check_node_sysctls(&cluster);
        self.check_nodes(&cluster);
        self.check_listening_pods(&cluster);
        let steps = self.steps(&scenario, &cluster);
        (!has_errors(&self.diagnostics)).then_some((scenario, cluster, steps))
    }

    /// The scenario; there must be exactly one.
    fn only_one(&mut self, scenarios: Vec<LoadedScenario>) -> Option<Scenario> {
        let mut scenarios = scenarios.into_iter();
        let Some(LoadedScenario { scenario, origin }) = scenarios.next() else {
            // An invalid Scenario document has been reported already.
            if !has_errors(&self.diagnostics) {
                let start = Place { source: SourceId(0), span: 0..0 };
                self.diagnostics.push(Diagnostic::error(start, "no Scenario document").help(
                    "add a document with `apiVersion: hairpin/v1` and `kind: Scenario`, or use `hairpin render` \
                     for manifests alone",
                ));
            }
            return None;
        };
        for other in scenarios {
            let diagnostic = Diagnostic::error(other.origin.value("kind"), "duplicate Scenario document")
                .related(origin.value("kind"), "first here")
                .help("use one file per scenario");
            self.diagnostics.push(diagnostic);
        }
        self.scenario = Some(origin);
        Some(scenario)
    }

    fn check_modes(&mut self, scenario: &Scenario) {
        if scenario.proxy_modes.is_empty() || scenario.proxy_modes.iter().any(|mode| mode.is_available()) {
            return;
        }
        let names: Vec<_> = scenario.proxy_modes.iter().map(|mode| mode.name()).collect();
        let fault =
            FieldFault::new(format!("proxy mode {} is not available in this version", names.join(", ")))
                .expected(available_modes());
        self.scenario_fault(&fault.at("spec.proxyModes"));
    }

    /// The cluster, if it is valid; problems are added to the diagnostics either way.
    fn settled(&mut self, settled: crate::cluster::Settled) -> Option<Cluster> {
        let (cluster, problems) = match settled {
            Ok((cluster, problems)) => (Some(cluster), problems),
            Err(problems) => (None, problems),
        };
        for problem in &problems {
            let diagnostic = self.diagnostic(problem);
            // A warning about one state would repeat for every later state.
            if !self.diagnostics.contains(&diagnostic) {
                self.diagnostics.push(diagnostic);
            }
        }
        cluster
    }

    fn diagnostic(&self, problem: &ClusterProblem) -> Diagnostic {
        let origin = match &problem.object {
            None => self.scenario.as_ref(),
            Some(key) => self.origins.get(key),
        };
        let mut diagnostic = match origin {
            Some(origin) => origin.fault(&problem.fault),
            // An object that is not in the manifests, such as a derived slice, or the scenario.
            None => {
                let place = self
                    .scenario
                    .as_ref()
                    .map_or(Place { source: SourceId(0), span: 0..0 }, SourceNode::head);
                let fault = &problem.fault;
                let text = if fault.path.is_empty() { fault.message.clone() } else { fault.to_string() };
                Diagnostic::error(place, text).expected(expected_words(&fault.expected))
            }
        };
        if let Some((key, path, why)) = &problem.related
            && let Some(origin) = self.origins.get(key)
        {
            // Objects are unordered, but documents are not: report the later one.
            let other = origin.value(path);
            let is_later =
                |one: &Place, other: &Place| (one.source, one.span.start) > (other.source, other.span.start);
            let (at_fault, earlier) = if is_later(&other, &diagnostic.place) {
                (other, diagnostic.place.clone())
            } else {
                (diagnostic.place.clone(), other)
            };
            diagnostic.place = at_fault;
            diagnostic = diagnostic.related(earlier, why.as_str());
        }
        match problem.severity {
            Severity::Error => diagnostic,
            Severity::Warning => Diagnostic { severity: Severity::Warning, ..diagnostic },
        }
    }

    /// Ports of a Pod that is not there yet may be meant for later.
    fn check_listening_pods(&mut self, cluster: &Cluster) {
        let missing = cluster.network().pods.keys().filter(|name| cluster.pod(name).is_none());
        for name in missing.cloned().collect::<Vec<_>>() {
            let fault = FieldFault::new(format!("no Pod {name} at the start"));
            self.scenario_warning(&fault.at_key(format!("spec.network.pods.{name}")));
        }
    }

    /// Without a Node, nothing can run, and there are no rules.
    fn check_for_nodes(&mut self, cluster: Option<&Cluster>, severity: Severity) {
        if cluster.is_some_and(|cluster| cluster.nodes().is_empty()) {
            let start = Place { source: SourceId(0), span: 0..0 };
            let place = self.scenario.as_ref().map_or(start, SourceNode::head);
            let diagnostic = Diagnostic::error(place, "no Node found");
            let diagnostic = diagnostic.help("add a manifest of kind Node for every node");
            self.diagnostics.push(Diagnostic { severity, ..diagnostic });
        }
    }

    fn scenario_fault(&mut self, fault: &FieldFault) {
        self.diagnostics.extend(self.scenario.as_ref().map(|origin| origin.fault(fault)));
    }

    /// Adds a warning about the scenario.
    fn scenario_warning(&mut self, fault: &FieldFault) {
        let warning = |origin: &SourceNode| Diagnostic { severity: Severity::Warning, ..origin.fault(fault) };
        self.diagnostics.extend(self.scenario.as_ref().map(warning));
    }
}

#[cfg(test)]
mod tests;
