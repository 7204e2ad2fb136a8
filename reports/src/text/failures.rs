//! Failed expectations, and where to look.

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

/// Which part of the packet walk explains a failure.
const fn where_to_look(subject: Subject) -> &'static str {
    match subject {
        Subject::Outcome => {
            "the last step of the first packet that is dropped, reset or answered with an ICMP error"
        }
        Subject::Endpoints => "the matching rules between KUBE-SERVICES and DNAT, and their probabilities",
        Subject::SourceSeen => "which packets reach KUBE-MARK-MASQ, and how POSTROUTING nat treats the mark",
        Subject::ReplyFrom => {
            "the reply path: the reply must match the conntrack entry for its source to be restored"
        }
        Subject::Status => "the endpoints of the Service on this node, which its health check counts",
        Subject::Addresses => "the DNS queries, and the existing Services and endpoints",
        Subject::Dropped => {
            "the packets that end in `dropped`, their netns, and the rule or decision before the drop"
        }
        Subject::Conntrack => "the `confirmed` lines, and packets dropped before confirmation",
        Subject::Segments => "the packets that the script sends, and the fate of their replies",
    }
}
