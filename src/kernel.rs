//! This machine's kernel as an arm: what it needs, and what killed runs left behind.

use crate::cli::LabClean;
use crate::exit::{Exit, Stop};
use conformance::arm::kernel::lab::{sweep, tear_down_on_signals};
use conformance::arm::kernel::{Backend, KernelArm};
use std::io::Write;

/// The first back end of iptables that this machine has. From here on, an interrupted run removes its namespaces.
///
/// # Errors
/// What the machine lacks, with exit code 3.
pub(crate) fn ready() -> Result<Backend, Stop> {
    let Some(backend) = Backend::ALL.into_iter().find(|backend| KernelArm::lacks(*backend).is_empty()) else {
        let lacks = KernelArm::lacks(Backend::default()).join("\n  ");
        let message = format!("error: this machine cannot run scenarios on its kernel\n  {lacks}");
        return Err(Stop::Told { exit: Exit::MachineLacks, message });
    };
    let told = |error| Stop::Told {
        exit: Exit::MachineLacks,
        message: format!("error: signals cannot be waited for: {error}"),
    };
    tear_down_on_signals().map_err(told)?;
    Ok(backend)
}

/// `hairpin lab clean`.
pub(crate) fn clean(args: &LabClean, out: &mut dyn Write) -> Result<Exit, Stop> {
    let leftovers = sweep(args.force).map_err(|error| Stop::Told {
        exit: Exit::MachineLacks,
        message: format!("error: network namespaces cannot be removed: {error}"),
    })?;
    for leftover in &leftovers {
        let killed = match leftover.killed.len() {
            0 => String::new(),
            count => format!(", with {count} processes inside"),
        };
        writeln!(out, "removed {}{killed}", leftover.netns_name)?;
    }
    if leftovers.is_empty() {
        writeln!(out, "nothing was left behind")?;
    }
    Ok(Exit::AsExpected)
}
