//! The answer as terminal text.

use super::{Answer, AnswerCourse, AnswerHop, Decision};
use crate::outcome::{outcome_text, outcome_tone};
use crate::palette::{Palette, Tone};
use crate::share;
use std::fmt::{self, Display, Formatter};

/// An answer, ready to print.
#[derive(Clone, Copy, Debug)]
pub struct AnswerText<'a> {
    answer: &'a Answer,
    palette: Palette,
}

impl<'a> AnswerText<'a> {
    /// Prepares an answer for printing.
    pub const fn new(answer: &'a Answer, palette: Palette) -> Self {
        Self { answer, palette }
    }

    fn paint<T: Display>(&self, tone: Tone, text: T) -> String {
        let style = self.palette.style(tone);
        format!("{style}{text}{style:#}")
    }

    fn course(&self, f: &mut Formatter<'_>, course: &AnswerCourse) -> fmt::Result {
        let AnswerCourse { weight, flow, lost, hops, reply_hops, decisions, .. } = course;
        let share = weight.as_ref().map_or_else(
            || "next".to_owned(),
            |weight| share::simplest(weight).map_or_else(|| share::decimal(weight), share::fraction_text),
        );
        let outcome = self.paint(outcome_tone(flow.outcome), outcome_text(flow.outcome));
        write!(f, "{}  {outcome}", self.paint(Tone::Heading, share))?;
        if let Some(endpoint) = &flow.endpoint {
            write!(f, " to {endpoint}")?;
        }
        if let Some(source) = flow.source_seen {
            write!(f, ", which sees {source}")?;
        }
        if let Some(source) = flow.reply_from {
            write!(f, "; the reply comes from {source}")?;
        }
        writeln!(f)?;
        if let Some(AnswerHop { netns, end, .. }) = lost {
            writeln!(f, "  after packets that ended on {netns}: {}", end.as_deref().unwrap_or("forwarded"))?;
        }
        self.hops(f, hops)?;
        if !reply_hops.is_empty() {
            writeln!(f, "  then")?;
            self.hops(f, reply_hops)?;
        }
        for decision in decisions {
            writeln!(f, "  decided on {}", DecisionText(decision))?;
        }
        Ok(())
    }

    fn hops(&self, f: &mut Formatter<'_>, hops: &[AnswerHop]) -> fmt::Result {
        let width = hops.iter().map(|hop| hop.netns.len()).max().unwrap_or_default();
        for AnswerHop { netns, in_dev, out_dev, changes, end } in hops {
            let ways = [
                in_dev.as_ref().map(|device| format!("in {device}")),
                out_dev.as_ref().map(|device| format!("out {device}")),
            ];
            let words = ways.into_iter().flatten().chain(changes.iter().cloned()).chain(end.clone());
            let words: Vec<String> = words.collect();
            let padding = width - netns.len();
            writeln!(f, "    {}{:padding$}  {}", self.paint(Tone::Netns, netns), "", words.join(", "))?;
        }
        Ok(())
    }
}

impl Display for AnswerText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, course) in self.answer.courses.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.course(f, course)?;
        }
        Ok(())
    }
}

/// `node-1 in FORWARD filter: KUBE-PROXY-FIREWALL drops, iptables.rules line 8: -A KUBE-…`.
struct DecisionText<'a>(&'a Decision);

impl Display for DecisionText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Decision { netns, place, effect, chain, file, line, rule } = self.0;
        write!(f, "{netns}")?;
        if !place.is_empty() {
            write!(f, " in {place}")?;
        }
        f.write_str(": ")?;
        if let Some(chain) = chain {
            write!(f, "{chain} ")?;
        }
        write!(f, "{effect}")?;
        if let (Some(file), Some(line), Some(rule)) = (file, line, rule) {
            write!(f, ", {file} line {line}: {}", rule.trim())?;
        }
        Ok(())
    }
}
