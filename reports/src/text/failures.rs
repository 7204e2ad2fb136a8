//! Expectations that did not hold, in words, and where to look.

use crate::palette::{Palette, Tone};
use conformance::result::{StepResult, Subject};
use std::fmt::{self, Formatter};

pub(crate) fn write(f: &mut Formatter<'_>, palette: Palette, steps: &[StepResult]) -> fmt::Result {
    let bad = palette.style(Tone::Bad);
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| !step.passed()) {
        writeln!(f, "\n{bad}step {} failed{bad:#}: {}", index + 1, step.name)?;
        for failure in &step.failures {
            writeln!(f, "  {}", failure.subject.name())?;
            writeln!(f, "    expected  {}", failure.expected)?;
            writeln!(f, "    found     {}", failure.found)?;
            writeln!(f, "    look at   {}", where_to_look(failure.subject))?;
        }
    }
    Ok(())
}

/// What in the packet walk decides it.
const fn where_to_look(subject: Subject) -> &'static str {
    match subject {
        Subject::Outcome => {
            "the last step of the first packet that is dropped, or is answered with a reset or an ICMP error"
        }
        Subject::Endpoints => {
            "the rules that match between KUBE-SERVICES and the DNAT, and the probabilities in them"
        }
        Subject::SourceSeen => {
            "which packets meet KUBE-MARK-MASQ, and what POSTROUTING nat makes of the mark"
        }
        Subject::ReplyFrom => {
            "the way back: conntrack must find the entry for the answer to get its old source again"
        }
        Subject::Addresses => {
            "which name was asked for, by its queries, and which Services and endpoints there are"
        }
        Subject::Dropped => {
            "the packets that end in `dropped`, in which netns, and the rule or decision before it"
        }
        Subject::Conntrack => "the `confirmed` lines, and packets that are dropped before they are confirmed",
        Subject::Segments => "the packets that the script sends, and what becomes of the answers to them",
    }
}
