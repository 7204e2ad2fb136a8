//! Whether a scenario can run, and with what: every reference resolved, every state of the cluster known beforehand.
//!
//! What a user can get wrong is found here, with its place, before anything runs.

mod clock;
mod expectation;
mod name;
mod plan;
mod resolve;
mod script;
mod set;
mod step;
mod sysctl;

pub use expectation::{Addresses, ConntrackFilter, EndpointAddresses, PreparedExpectation};
pub(crate) use plan::REQUEST;
pub use plan::{FlowPlan, ResolvePlan, ScriptPlan, StateChange};
pub use step::{PreparedAction, PreparedStep};

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Problem};
use crate::diagnostic::{Diagnostic, Place, Severity, Source, SourceId, has_errors};
use crate::manifest::{LoadedObject, LoadedScenario, Manifests, ObjectKey, SourceNode, expected_words};
use crate::scenario::{FieldFault, IpFamilies, Network, ProxyMode, Scenario};
use crate::topology::is_executed;

/// A scenario that can run.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The scenario.
    pub scenario: Scenario,
    /// Modes in which it can run, in the order of [`ProxyMode::ALL`].
    pub modes: Vec<ProxyMode>,
    /// The cluster at its beginning.
    pub cluster: Cluster,
    /// Its steps.
    pub steps: Vec<PreparedStep>,
    /// What its author should know.
    pub warnings: Vec<Diagnostic>,
    /// The texts that it was read from, for [`crate::diagnostic::render`].
    pub sources: Vec<Source>,
}

/// Texts that hold no scenario that can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Everything that is wrong, in the order of the text; at least one is an error.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts.
    pub sources: Vec<Source>,
}

/// A mode or family that was asked for and that this version or this scenario does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// This version has no such mode.
    #[error("proxy mode {0} is not available in this version; available: {available}", available = available_modes())]
    Mode(ProxyMode),
    /// This version has no such family.
    #[error("address family {0} is not available in this version; available: ipv4")]
    IpFamilies(IpFamilies),
}

/// Makes a scenario ready to run.
///
/// # Errors
/// Everything that is wrong with it.
pub fn prepare(manifests: Manifests) -> Result<Prepared, Box<Refused>> {
    let Manifests { mut sources, scenarios, objects, diagnostics } = manifests;
    if sources.is_empty() {
        sources.push(Source { name: "no file".to_owned(), text: String::new() });
    }
    let mut preparation = Preparation { origins: origins(&objects), scenario: None, diagnostics };
    let Some((scenario, cluster, steps)) = preparation.run(scenarios, objects) else {
        let mut diagnostics = preparation.diagnostics;
        diagnostics.sort_by_key(|diagnostic| (diagnostic.place.source, diagnostic.place.span.start));
        return Err(Box::new(Refused { diagnostics, sources }));
    };
    let modes = ProxyMode::ALL.into_iter().filter(|mode| can_run(&scenario, *mode)).collect();
    Ok(Prepared { scenario, modes, cluster, steps, warnings: preparation.diagnostics, sources })
}

/// The cluster that manifests come to, whether or not a scenario is among them, with what their author should know.
///
/// # Errors
/// Everything that is wrong with them.
pub fn settle(manifests: Manifests) -> Result<(Cluster, Vec<Diagnostic>, Vec<Source>), Box<Refused>> {
    let Manifests { sources, scenarios, objects, diagnostics } = manifests;
    let mut preparation = Preparation { origins: origins(&objects), scenario: None, diagnostics };
    let network = match scenarios.into_iter().next() {
        Some(LoadedScenario { scenario, origin }) => {
            preparation.scenario = Some(origin);
            scenario.network
        }
        None => Network::default(),
    };
    let mut cluster = None;
    if !has_errors(&preparation.diagnostics) {
        let objects = objects.into_iter().map(|loaded| loaded.object).collect();
        cluster = preparation.settled(Cluster::new(&network, objects));
    }
    let mut diagnostics = preparation.diagnostics;
    match cluster {
        Some(cluster) => Ok((cluster, diagnostics, sources)),
        None => {
            diagnostics.sort_by_key(|diagnostic| (diagnostic.place.source, diagnostic.place.span.start));
            Err(Box::new(Refused { diagnostics, sources }))
        }
    }
}

impl Prepared {
    /// The modes to run: the one that was asked for, if it can run at all, or else all that can. A mode that the
    /// scenario does not list gives an empty list.
    ///
    /// # Errors
    /// The mode is not available in this version.
    pub fn modes_for(&self, asked: Option<ProxyMode>) -> Result<Vec<ProxyMode>, Unavailable> {
        match asked {
            Some(mode) if !mode.is_available() => Err(Unavailable::Mode(mode)),
            Some(mode) => Ok(self.modes.iter().copied().filter(|one| *one == mode).collect()),
            None => Ok(self.modes.clone()),
        }
    }
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

/// The work of [`prepare`]: diagnostics are collected, and places found.
struct Preparation {
    /// Where each object stands that has been seen so far.
    origins: BTreeMap<ObjectKey, SourceNode>,
    scenario: Option<SourceNode>,
    diagnostics: Vec<Diagnostic>,
}

impl Preparation {
    fn run(
        &mut self,
        scenarios: Vec<LoadedScenario>,
        objects: Vec<LoadedObject>,
    ) -> Option<(Scenario, Cluster, Vec<PreparedStep>)> {
        let scenario = self.only_one(scenarios)?;
        self.check_modes(&scenario);
        if !is_executed(scenario.network.cni) {
            let fault = FieldFault::new("the CNI vxlan is not yet executed").expected("bridge or ptp");
            self.scenario_fault(&fault.at("spec.network.cni"));
        }
        if has_errors(&self.diagnostics) {
            return None;
        }
        let objects = objects.into_iter().map(|loaded| loaded.object).collect();
        let cluster = self.settled(Cluster::new(&scenario.network, objects))?;
        self.check_node_sysctls(&cluster);
        let steps = self.steps(&scenario, &cluster);
        (!has_errors(&self.diagnostics)).then_some((scenario, cluster, steps))
    }

    /// The one scenario that there must be.
    fn only_one(&mut self, scenarios: Vec<LoadedScenario>) -> Option<Scenario> {
        let mut scenarios = scenarios.into_iter();
        let Some(LoadedScenario { scenario, origin }) = scenarios.next() else {
            // A Scenario document that is at fault has been spoken of.
            if !has_errors(&self.diagnostics) {
                let start = Place { source: SourceId(0), span: 0..0 };
                self.diagnostics.push(Diagnostic::error(start, "there is no Scenario document").help(
                    "add a document with `apiVersion: hairpin/v1` and `kind: Scenario`, or use `hairpin render` \
                     for manifests alone",
                ));
            }
            return None;
        };
        for other in scenarios {
            let diagnostic =
                Diagnostic::error(other.origin.value("kind"), "there are two Scenario documents")
                    .related(origin.value("kind"), "the first one")
                    .help("write one file for each scenario");
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

    /// The cluster, if it is sound; problems become diagnostics either way.
    fn settled(&mut self, settled: crate::cluster::Settled) -> Option<Cluster> {
        let (cluster, problems) = match settled {
            Ok((cluster, problems)) => (Some(cluster), problems),
            Err(problems) => (None, problems),
        };
        for problem in &problems {
            let diagnostic = self.diagnostic(problem);
            // A warning about a state is one about every state that follows.
            if !self.diagnostics.contains(&diagnostic) {
                self.diagnostics.push(diagnostic);
            }
        }
        cluster
    }

    fn diagnostic(&self, problem: &Problem) -> Diagnostic {
        let origin = match &problem.object {
            None => self.scenario.as_ref(),
            Some(key) => self.origins.get(key),
        };
        let mut diagnostic = match origin {
            Some(origin) => origin.fault(&problem.fault),
            // An object that no manifest holds, such as a derived slice, or no scenario.
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
            // Objects have no order, but their documents have: the later one is at fault.
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

    fn scenario_fault(&mut self, fault: &FieldFault) {
        self.diagnostics.extend(self.scenario.as_ref().map(|origin| origin.fault(fault)));
    }

    /// What does not keep the scenario from running.
    fn scenario_warning(&mut self, fault: &FieldFault) {
        let warning = |origin: &SourceNode| Diagnostic { severity: Severity::Warning, ..origin.fault(fault) };
        self.diagnostics.extend(self.scenario.as_ref().map(warning));
    }
}

#[cfg(test)]
mod tests;
