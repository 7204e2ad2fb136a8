//! Reads `spec.steps`.

mod named;
mod send;

use std::time::Duration;

use proxy_core::objects::{Kind, Protocol};
use sim::socket::Sizes;

use super::{FieldFault, NamedConnection, Reader, nearest};
use crate::scenario::document::{self, OneOrMany};
use crate::scenario::reference::{ObjectName, is_name};
use crate::scenario::{
    Action, Connect, Expectation, LinkState, Manifest, ObjectKey, PAYLOAD_MAX, Ping, RECEIVE_MIN, Resolve,
    ScriptConnection, Send, SendAgain, SetChange, SetChangeKind, Step, Target,
};
use crate::yaml::{Node, Value};

/// Default timeout: longer than neighbour resolution (3 s), so that an unreachable host is reported as such.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of connections in a step. Sufficient for any statistics; a larger number is probably a typo.
const COUNT_MAX: u32 = 100_000;

impl Reader {
    pub(super) fn steps(&mut self, raw: Vec<document::RawStep>, root: &Node) -> Vec<Step> {
        let steps = raw.into_iter().enumerate();
        steps.filter_map(|(index, step)| self.step(&format!("spec.steps[{index}]"), step, root)).collect()
    }

    fn step(&mut self, path: &str, mut raw: document::RawStep, root: &Node) -> Option<Step> {
        let expect = raw.expect.take().map(|expect| self.expectations(&format!("{path}.expect"), expect));
        let keywords = keywords(&raw);
        if keywords.len() > 1 {
            let message = format!("a step has one action, this one has {}", keywords.join(" and "));
            let help = "use one step for each, in order";
            self.fault(path, FieldFault::new(message).help(help));
        }
        let mut actions = self.actions(path, &mut raw, root);
        let action = match actions.pop() {
            Some(action) => action?,
            None if expect.is_some() => Action::Expect,
            None => {
                let fault = FieldFault::new("this step has no action").expected(
                    "one of connect, send, close, ping, resolve, apply, delete, set, sleep, or an expectation",
                );
                self.fault(path, fault);
                return None;
            }
        };
        self.only_for_flows(path, &action, expect.as_ref());
        let name = raw.name.unwrap_or_else(|| describe(&action));
        Some(Step { name, action, expect })
    }

    /// All actions of a step; `None` for an invalid one.
    fn actions(&mut self, path: &str, raw: &mut document::RawStep, root: &Node) -> Vec<Option<Action>> {
        let mut actions = Vec::new();
        if let Some(connect) = raw.connect.take() {
            actions.push(self.connect(&format!("{path}.connect"), &connect).map(Action::Connect));
        }
        if let Some(send) = raw.send.take() {
            actions.push(self.send(&format!("{path}.send"), &send));
        }
        if let Some(name) = raw.close.take() {
            actions.push(self.close(&format!("{path}.close"), name));
        }
        if let Some(ping) = raw.ping.take() {
            actions.push(self.ping(&format!("{path}.ping"), &ping).map(Action::Ping));
        }
        if let Some(resolve) = raw.resolve.take() {
            let from = self.reference(&format!("{path}.resolve.from"), &resolve.from);
            actions.push(from.map(|from| Action::Resolve(Resolve { from, name: resolve.name })));
        }
        if raw.apply.is_some() {
            actions.push(self.apply(&format!("{path}.apply"), root).map(Action::Apply));
        }
        if let Some(delete) = raw.delete.take() {
            let path = format!("{path}.delete");
            if delete == OneOrMany::Many(Vec::new()) {
                self.does_nothing(&path, "KIND/NAME, or a list of such names");
            }
            actions.push(Some(Action::Delete(self.delete(&path, delete))));
        }
        if let Some(set) = raw.set.take() {
            let path = format!("{path}.set");
            if set.is_empty() {
                self.does_nothing(&path, "settings by pod/NAME, node/NAME or host/NAME");
            }
            let settings =
                set.into_iter().flat_map(|(target, setting)| self.setting(&path, &target, setting)).collect();
            actions.push(Some(Action::Set(settings)));
        }
        if let Some(sleep) = raw.sleep.take() {
            actions.push(self.duration(&format!("{path}.sleep"), &sleep).map(Action::Sleep));
        }
        actions
    }

    fn does_nothing(&mut self, path: &str, expected: &str) {
        self.faults.push(FieldFault::new("this step has no action").expected(expected).at_key(path));
    }

    fn connect(&mut self, path: &str, raw: &document::RawConnect) -> Option<Connect> {
        let from = self.reference(&format!("{path}.from"), &raw.from);
        let to = self.reference(&format!("{path}.to"), &raw.to);
        let protocol = self.transport(path, raw.protocol.as_deref());
        let count = self.count(&format!("{path}.count"), raw.count);
        let timeout = self.timeout(&format!("{path}.timeout"), raw.timeout.as_ref(), TIMEOUT);
        self.source_port(path, raw.source_port);
        if raw.source_port.is_some() && count.is_some_and(|count| count > 1) {
            let fault = FieldFault::new("connections with the same source port are the same flow")
                .help("omit count, or omit sourcePort to give each connection its own");
            self.fault(&format!("{path}.count"), fault);
        }
        let send = self.payload(&format!("{path}.send"), raw.send, Sizes::SEND_MIN);
        let receive = self.payload(&format!("{path}.receive"), raw.receive, RECEIVE_MIN);
        if let Some(name) = &raw.keep {
            self.name_connection(&format!("{path}.keep"), name, NamedConnection::Kept);
        }
        let (from, to, protocol, count) = (from?, to?, protocol?, count?);
        let (source_port, timeout, keep) = (raw.source_port, timeout?, raw.keep.clone());
        let (send, receive) = (send?, receive?);
        if let Some(http) = &raw.http {
            let is_path = http.starts_with('/') && http.bytes().all(|byte| byte.is_ascii_graphic());
            if protocol != Protocol::Tcp || send.is_some() || receive.is_some() || !is_path {
                let fault = FieldFault::new("this is not a request over HTTP")
                    .expected("a path such as /healthz, with protocol tcp, without send and receive");
                self.faults.push(fault.at_key(format!("{path}.http")));
            }
        }
        let http = raw.http.clone();
        Some(Connect { from, to, protocol, count, source_port, timeout, send, receive, http, keep })
    }

    fn ping(&mut self, path: &str, raw: &document::RawPing) -> Option<Ping> {
        let from = self.reference(&format!("{path}.from"), &raw.from);
        let to = self.reference(&format!("{path}.to"), &raw.to);
        let count = self.count(&format!("{path}.count"), raw.count);
        let timeout = self.timeout(&format!("{path}.timeout"), raw.timeout.as_ref(), TIMEOUT);
        Some(Ping { from: from?, to: to?, count: count?, timeout: timeout? })
    }

    /// The length of a request or response, if the step selects one.
    fn payload(&mut self, path: &str, length: Option<u32>, min: u16) -> Option<Option<u16>> {
        let Some(length) = length else { return Some(None) };
        let valid = u16::try_from(length).ok().filter(|length| (min..=PAYLOAD_MAX).contains(length));
        let fault = || {
            FieldFault::new(format!("invalid length {length}"))
                .expected(format!("{min} to {PAYLOAD_MAX} bytes"))
        };
        self.field(path, valid.ok_or_else(fault)).map(Some)
    }

    fn count(&mut self, path: &str, count: Option<u32>) -> Option<u32> {
        let count = count.unwrap_or(1);
        let valid = (1..=COUNT_MAX).contains(&count);
        let fault =
            || FieldFault::new(format!("invalid count {count}")).expected(format!("1 to {COUNT_MAX}"));
        self.field(path, valid.then_some(count).ok_or_else(fault))
    }

    fn transport(&mut self, path: &str, text: Option<&str>) -> Option<Protocol> {
        text.map_or(Some(Protocol::Tcp), |text| self.protocol(&format!("{path}.protocol"), text))
    }

    fn source_port(&mut self, path: &str, port: Option<u16>) {
        if port == Some(0) {
            let fault = FieldFault::new("invalid port 0").expected("a port from 1 to 65535");
            self.fault(&format!("{path}.sourcePort"), fault);
        }
    }

    fn timeout(
        &mut self,
        path: &str,
        text: Option<&document::ScalarText>,
        default: Duration,
    ) -> Option<Duration> {
        match text {
            None => Some(default),
            Some(text) => {
                let timeout = self.duration(path, text)?;
                let fault = || FieldFault::new("invalid timeout 0");
                self.field(path, (!timeout.is_zero()).then_some(timeout).ok_or_else(fault))
            }
        }
    }

    /// Manifests are one mapping or a list of mappings.
    fn apply(&mut self, path: &str, root: &Node) -> Option<Vec<Manifest>> {
        let node = root.at(path)?;
        let manifest = |node: &Node, path: String| match &node.value {
            Value::Mapping(_) => Ok(Manifest { node: node.clone(), path }),
            Value::Scalar(_) | Value::Sequence(_) => Err(FieldFault::new("this is not a manifest")
                .expected("a mapping with apiVersion, kind and metadata, or a list of such mappings")),
        };
        match node.items() {
            None => self.field(path, manifest(node, path.to_owned())).map(|one| vec![one]),
            Some(items) => {
                if items.is_empty() {
                    self.does_nothing(path, "a manifest, or a list of manifests");
                }
                let mut manifests = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    manifests.extend(self.field(&path, manifest(item, path.clone())));
                }
                Some(manifests)
            }
        }
    }

    fn delete(&mut self, path: &str, raw: OneOrMany) -> Vec<ObjectKey> {
        match raw {
            OneOrMany::One(text) => self.field(path, object_key(&text)).into_iter().collect(),
            OneOrMany::Many(texts) => {
                let mut references = Vec::new();
                for (index, text) in texts.iter().enumerate() {
                    references.extend(self.field(&format!("{path}[{index}]"), object_key(text)));
                }
                references
            }
        }
    }

    fn setting(&mut self, path: &str, key: &str, raw: document::RawSetChange) -> Vec<SetChange> {
        let path = format!("{path}.{key}");
        let Some(target) = self.key(&path, Target::parse(key)) else { return Vec::new() };
        let mut changes = Vec::new();
        if raw.is_empty() {
            self.changes_nothing(&path, "ready, hairpin, sysctl or link");
        }
        let is_pod = matches!(target, Target::Pod(_));
        for (field, change) in [
            ("ready", raw.ready.map(SetChangeKind::Ready)),
            ("hairpin", raw.hairpin.map(SetChangeKind::Hairpin)),
        ] {
            if change.is_some() && !is_pod {
                let fault = FieldFault::new(format!("{field:?} applies to Pods only")).expected("pod/NAME");
                self.faults.push(fault.at_key(&path));
            }
            changes.extend(change);
        }
        if let Some(sysctls) = raw.sysctl {
            if sysctls.is_empty() {
                self.changes_nothing(&format!("{path}.sysctl"), "sysctls by name");
            }
            changes.extend(
                sysctls.into_iter().map(|(name, value)| SetChangeKind::Sysctl { name, value: value.0 }),
            );
        }
        if let Some(link) = raw.link {
            let path = format!("{path}.link");
            if link.is_empty() {
                self.changes_nothing(&path, "latency, loss, mtu, device or port");
            }
            let latency = link.latency.and_then(|text| self.duration(&format!("{path}.latency"), &text));
            let loss = link.loss.and_then(|text| self.share(&format!("{path}.loss"), &text));
            let mtu = link.mtu.and_then(|mtu| self.mtu(&format!("{path}.mtu"), mtu));
            let mut state = |end, text: Option<String>| {
                text.and_then(|text| self.field(&format!("{path}.{end}"), link_state(&text)))
            };
            let (device, port) = (state("device", link.device), state("port", link.port));
            changes.push(SetChangeKind::Link { latency, loss, mtu, device, port });
        }
        if matches!(target, Target::Service(_) | Target::Address(_)) {
            let fault = FieldFault::new(format!("{target} has no settings"))
                .expected("pod/NAME, node/NAME or host/NAME");
            self.faults.push(fault.at_key(&path));
        }
        changes.into_iter().map(|change| SetChange { target: target.clone(), change }).collect()
    }

    fn changes_nothing(&mut self, path: &str, expected: &str) {
        self.faults.push(FieldFault::new("this has no effect").expected(expected).at_key(path));
    }

    /// Only steps with flows have outcomes, endpoints and sources.
    fn only_for_flows(
        &mut self,
        path: &str,
        action: &Action,
        expect: Option<&crate::scenario::Expectations>,
    ) {
        let asks_for = |is_part: fn(&Expectation) -> bool| {
            expect.is_some_and(|expect| expect.default.iter().chain(expect.by_mode.values()).any(is_part))
        };
        let asks_for_addresses = asks_for(|one| one.addresses.is_some());
        if asks_for_addresses && !matches!(action, Action::Resolve(_)) {
            let fault = FieldFault::new("this step resolves no name, so it has no addresses")
                .expected("addresses only with resolve");
            self.faults.push(fault.at_key(format!("{path}.expect")));
        }
        if asks_for(|one| one.source_seen.is_some()) && matches!(action, Action::Ping(_)) {
            let fault = FieldFault::new("echo replies do not report the source seen")
                .expected("sourceSeen only with connect");
            self.faults.push(fault.at_key(format!("{path}.expect")));
        }
        let is_http = matches!(action, Action::Connect(Connect { http: Some(_), .. }));
        if asks_for(|one| one.status.is_some()) && !is_http {
            let fault = FieldFault::new("only responses over HTTP have a status")
                .expected("status only with connect and its field http");
            self.faults.push(fault.at_key(format!("{path}.expect")));
        }
        if let Action::Close { .. } = action
            && asks_for(|one| {
                one.endpoints.is_some() || one.source_seen.is_some() || one.reply_from.is_some()
            })
        {
            let fault = FieldFault::new("nobody answers when a connection is closed")
                .expected("outcome, outcomes, dropped or conntrack")
                .help("a step with send checks who answers on a kept connection");
            self.faults.push(fault.at_key(format!("{path}.expect")));
        }
        let has_flows = matches!(
            action,
            Action::Connect(_)
                | Action::Ping(_)
                | Action::Resolve(_)
                | Action::SendAgain(_)
                | Action::Close { .. }
        );
        let Some(expect) = expect.filter(|_| !has_flows) else { return };
        let is_script = matches!(action, Action::Send(_));
        let asks_for_flows = expect.default.iter().chain(expect.by_mode.values()).any(|expectation| {
            expectation.outcome.is_some()
                || !expectation.outcomes.is_empty()
                || expectation.endpoints.is_some()
                || !expectation.sequence.is_empty()
                || expectation.source_seen.is_some()
                || expectation.reply_from.is_some()
                || expectation.status.is_some()
                || expectation.dropped.is_some() && !is_script
        });
        if asks_for_flows {
            let allowed = if is_script { "dropped and conntrack" } else { "only conntrack" };
            let fault =
                FieldFault::new("this step opens no connection, so it has no outcome, endpoint or source")
                    .expected(format!("{allowed}, or a step with connect or ping"));
            self.faults.push(fault.at_key(format!("{path}.expect")));
        }
    }
}

/// The actions present in a step.
fn keywords(raw: &document::RawStep) -> Vec<&'static str> {
    let actions = [
        ("connect", raw.connect.is_some()),
        ("send", raw.send.is_some()),
        ("close", raw.close.is_some()),
        ("ping", raw.ping.is_some()),
        ("resolve", raw.resolve.is_some()),
        ("apply", raw.apply.is_some()),
        ("delete", raw.delete.is_some()),
        ("set", raw.set.is_some()),
        ("sleep", raw.sleep.is_some()),
    ];
    actions.into_iter().filter(|(_, is_there)| *is_there).map(|(keyword, _)| keyword).collect()
}

fn link_state(text: &str) -> Result<LinkState, FieldFault> {
    match text {
        "up" => Ok(LinkState::Up),
        "down" => Ok(LinkState::Down),
        _ => Err(FieldFault::new(format!("invalid state {text:?}")).expected("up or down")),
    }
}

/// `KIND/[NAMESPACE/]NAME`, with kinds in lower case as in kubectl.
fn object_key(text: &str) -> Result<ObjectKey, FieldFault> {
    let kinds: Vec<(String, Kind)> = Kind::all()
        .filter(|kind| !matches!(kind, Kind::KubeProxyConfiguration))
        .map(|kind| (kind.name().to_ascii_lowercase(), kind))
        .collect();
    let parts: Vec<&str> = text.split('/').collect();
    let expected = "KIND/[NAMESPACE/]NAME, such as service/web or pod/prod/web-0";
    let fault = || FieldFault::new(format!("{text:?} is not a valid object reference")).expected(expected);
    let [word, names @ ..] = &parts[..] else { return Err(fault()) };
    if names.is_empty() || names.len() > 2 || !names.iter().all(|name| is_name(name)) {
        return Err(fault());
    }
    let Some((_, kind)) = kinds.iter().find(|(name, _)| name == word) else {
        let known: Vec<&str> = kinds.iter().map(|(name, _)| name.as_str()).collect();
        let fault = FieldFault::new(format!("unknown kind {word:?}")).expected(expected);
        return Err(match nearest(word, &known) {
            Some(nearest) => fault.help(format!("did you mean {nearest:?}?")),
            None => fault,
        });
    };
    Ok(ObjectKey { kind: *kind, name: ObjectName::of(names) })
}

/// The default name of a step.
fn describe(action: &Action) -> String {
    match action {
        Action::Connect(Connect { from, to, protocol, .. }) => {
            format!("{from} connects to {to} ({})", protocol.lower())
        }
        Action::Send(Send { connection: ScriptConnection::New { from, to, .. }, .. }) => {
            format!("{from} sends segments to {to}")
        }
        Action::Send(Send { connection: ScriptConnection::Continued(name), .. }) => {
            format!("connection {name} continues")
        }
        Action::SendAgain(SendAgain { name, .. }) => format!("another request on {name}"),
        Action::Close { name } => format!("close {name}"),
        Action::Ping(Ping { from, to, .. }) => format!("{from} pings {to}"),
        Action::Resolve(Resolve { from, name }) => format!("{from} resolves {name}"),
        Action::Apply(manifests) => match manifests.len() {
            1 => "apply a manifest".to_owned(),
            count => format!("apply {count} manifests"),
        },
        Action::Delete(objects) => {
            let names: Vec<_> = objects
                .iter()
                .map(|object| format!("{}/{}", object.kind.name().to_ascii_lowercase(), object.name))
                .collect();
            format!("delete {}", names.join(", "))
        }
        Action::Set(settings) => {
            let mut targets: Vec<_> = settings.iter().map(|setting| setting.target.to_string()).collect();
            targets.dedup();
            format!("change {}", targets.join(", "))
        }
        Action::Sleep(duration) => format!("sleep {duration:?}"),
        Action::Expect => "check the current state".to_owned(),
    }
}
