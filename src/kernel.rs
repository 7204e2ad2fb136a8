//! This machine's kernel as an arm: what it needs, and what killed runs left behind.

use crate::cli::{Against, LabClean};
use crate::exit::{Exit, Stop};
use conformance::arm::kernel::KernelArm;
use conformance::arm::kernel::lab::{sweep, tear_down_on_signals};
use conformance::backend::Backend;
use std::io::Write;

/// Refuses options that say nothing without a kernel: each by its name, and whether it was given.
///
/// # Errors
/// The first of them that was given, with exit code 2.
pub(crate) fn refuse_without(against: Against, options: &[(&str, bool)]) -> Result<(), Stop> {
    match (against, options.iter().find(|(_, is_given)| *is_given)) {
        (Against::Sim, Some((option, _))) => Err(Stop::bad_input(format!(
            "error: {option} is about --against kernel\nhelp: add --against kernel, or leave out {option}"
        ))),
        (Against::Sim, None) | (Against::Kernel, _) => Ok(()),
    }
}

/// The back ends of iptables that were asked for: one by its name, or with `all` or nothing all that there are.
pub(crate) fn backends(asked: Option<&str>) -> Vec<Backend> {
    // `all` is no back end.
    asked.and_then(Backend::parse).map_or(Backend::ALL.to_vec(), |one| vec![one])
}

/// The back end of iptables that was asked for, or the first that this machine has. From here on, an interrupted run removes
/// its namespaces.
///
/// # Errors
/// What the machine lacks, with exit code 3.
pub(crate) fn ready(asked: Option<Backend>) -> Result<Backend, Stop> {
    tear_down()?;
    if let Some(backend) = asked {
        return has(backend).map(|()| backend);
    }
    match Backend::ALL.into_iter().find(|backend| KernelArm::lacks(*backend).is_empty()) {
        Some(backend) => Ok(backend),
        None => has(Backend::default()).map(|()| Backend::default()),
    }
}

/// All of these back ends are to be used. From here on, an interrupted run removes its namespaces.
///
/// # Errors
/// What the machine lacks, with exit code 3.
pub(crate) fn ready_for(backends: &[Backend]) -> Result<(), Stop> {
    tear_down()?;
    backends.iter().try_for_each(|backend| has(*backend))
}

fn has(backend: Backend) -> Result<(), Stop> {
    let lacks = KernelArm::lacks(backend);
    if lacks.is_empty() {
        return Ok(());
    }
    let lacks = lacks.join("\n  ");
    let message = format!("error: this machine cannot run scenarios on its kernel\n  {lacks}");
    Err(Stop::Told { exit: Exit::MachineLacks, message })
}

/// Before anything else: what the machine lacks is tried out in a namespace as well.
fn tear_down() -> Result<(), Stop> {
    tear_down_on_signals().map_err(|error| Stop::Told {
        exit: Exit::MachineLacks,
        message: format!("error: signals cannot be waited for: {error}"),
    })
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
