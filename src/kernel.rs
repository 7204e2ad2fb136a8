//! This machine's kernel as an arm: prerequisites, and cleanup after killed runs.

use crate::cli::{Against, LabClean};
use crate::exit::{Exit, Stop};
use conformance::arm::kernel::KernelArm;
use conformance::arm::kernel::lab::{sweep, tear_down_on_signals};
use conformance::backend::Backend;
use conformance::scenario::ProxyMode;
use std::io::Write;

/// Options that have no effect on some arms: name, whether it is present, and the arms on which it has an effect.
pub(crate) type Limited<'a> = (&'a str, bool, &'a [Against]);

/// Arms with a kernel.
pub(crate) const WITH_KERNEL: &[Against] = &[Against::Kernel, Against::Vm];

/// Rejects options that have no effect.
///
/// # Errors
/// The first option that is present on another arm, with exit code 2.
pub(crate) fn refuse_without(against: Against, options: &[Limited<'_>]) -> Result<(), Stop> {
    let is_useless = |(_, is_given, arms): &&Limited<'_>| *is_given && !arms.contains(&against);
    let Some((option, _, arms)) = options.iter().find(is_useless) else { return Ok(()) };
    let arms: Vec<String> = arms.iter().map(|arm| format!("--against {}", arm.name())).collect();
    let arms = arms.join(" or ");
    Err(Stop::bad_input(format!("error: {option} requires {arms}\nhelp: add {arms}, or omit {option}")))
}

/// The requested back ends of iptables: one by name, or all of them for `all` and by default.
pub(crate) fn backends(asked: Option<&str>) -> Vec<Backend> {
    // `all` is not a back end.
    asked.and_then(Backend::parse).map_or(Backend::ALL.to_vec(), |one| vec![one])
}

/// The requested back ends of iptables, or the first one installed, for runs in these modes. From here on, an interrupted
/// run removes its namespaces.
///
/// # Errors
/// A missing prerequisite, with exit code 3.
pub(crate) fn ready(
    asked: Option<&str>,
    modes: impl IntoIterator<Item = ProxyMode>,
) -> Result<Vec<Backend>, Stop> {
    if asked.is_some() {
        let backends = backends(asked);
        return ready_for(&backends, modes).map(|()| backends);
    }
    tear_down()?;
    let installed = Backend::ALL.into_iter().find(|backend| KernelArm::lacks(*backend).is_empty());
    let backend = installed.unwrap_or_default();
    ready_for(&[backend], modes).map(|()| vec![backend])
}

/// Checks that all of these back ends are available, and what these modes need. From here on, an interrupted run removes
/// its namespaces.
///
/// # Errors
/// A missing prerequisite, with exit code 3.
pub(crate) fn ready_for(
    backends: &[Backend],
    modes: impl IntoIterator<Item = ProxyMode>,
) -> Result<(), Stop> {
    tear_down()?;
    backends.iter().try_for_each(|backend| has(*backend))?;
    modes.into_iter().try_for_each(|mode| match lacks_for(mode) {
        lacks if lacks.is_empty() => Ok(()),
        lacks => Err(Stop::Told {
            exit: Exit::MachineLacks,
            message: format!(
                "error: this machine's kernel cannot run scenarios in mode {mode}\n  {}\nhelp: the kernel of \
                 `hairpin lab vm prepare` can: --against vm",
                lacks.join("\n  ")
            ),
        }),
    })
}

/// What this machine lacks for a mode, besides back ends.
pub(crate) fn lacks_for(mode: ProxyMode) -> Vec<String> {
    mode.generator().map_or_else(Vec::new, KernelArm::lacks_for)
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

/// Must come first: checking the prerequisites creates a namespace as well.
fn tear_down() -> Result<(), Stop> {
    tear_down_on_signals().map_err(|error| Stop::Told {
        exit: Exit::MachineLacks,
        message: format!("error: cannot wait for signals: {error}"),
    })
}

/// `hairpin lab clean`.
pub(crate) fn clean(args: &LabClean, out: &mut dyn Write) -> Result<Exit, Stop> {
    let leftovers = sweep(args.force).map_err(|error| Stop::Told {
        exit: Exit::MachineLacks,
        message: format!("error: cannot remove network namespaces: {error}"),
    })?;
    for leftover in &leftovers {
        let killed = match leftover.killed.len() {
            0 => String::new(),
            count => format!(", and killed {count} processes in it"),
        };
        writeln!(out, "removed {}{killed}", leftover.netns_name)?;
    }
    if leftovers.is_empty() {
        writeln!(out, "nothing to remove")?;
    }
    Ok(Exit::AsExpected)
}
