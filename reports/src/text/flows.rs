//! Connections, grouped by identical result.

use crate::outcome::{outcome_text, outcome_tone};
use crate::palette::Palette;
use conformance::observation::FlowObservation;
use std::fmt::{self, Formatter};

/// Groups connections that no observation distinguishes, with their count, in order of first appearance.
pub(super) fn grouped(flows: &[FlowObservation]) -> Vec<(usize, &FlowObservation)> {
    let mut groups: Vec<(usize, &FlowObservation)> = Vec::new();
    for flow in flows {
        match groups.iter_mut().find(|(_, first)| *first == flow) {
            Some((count, _)) => *count += 1,
            None => groups.push((1, flow)),
        }
    }
    groups
}

pub(super) fn write(f: &mut Formatter<'_>, palette: Palette, flows: &[FlowObservation]) -> fmt::Result {
    let groups = grouped(flows);
    let width = groups.iter().map(|(count, _)| count.to_string().len()).max().unwrap_or_default();
    for (count, flow) in groups {
        let FlowObservation { from, to, protocol, .. } = flow;
        let style = palette.style(outcome_tone(flow.outcome));
        let outcome = format_args!("{style}{}{style:#}", outcome_text(flow.outcome));
        let kept = flow.connection.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        writeln!(
            f,
            "  {count:>width$} x {} {from} -> {to}{kept}: {outcome}{}",
            protocol.name(),
            details(flow)
        )?;
    }
    Ok(())
}

/// ` to pod/web-0 via node-1, source seen 192.168.0.100, reply from 192.168.0.11`, as far as known.
fn details(flow: &FlowObservation) -> String {
    let mut text = String::new();
    if let Some(endpoint) = &flow.endpoint {
        text.push_str(&format!(" to {endpoint}"));
    }
    if let Some(node) = &flow.via {
        text.push_str(&format!(" via {node}"));
    }
    if let Some(source) = flow.source_seen {
        text.push_str(&format!(", source seen {source}"));
    }
    if let Some(source) = flow.reply_from {
        text.push_str(&format!(", reply from {source}"));
    }
    if let Some(answered) = &flow.answered {
        text.push_str(&format!(": {answered}"));
    }
    text
}
