//! Converts errors of the machine to errors of a run.

use std::error::Error;
use std::io;
use std::iter::successors;

use nix::errno::Errno;

use super::capture::CaptureError;
use super::clocks::ClockMoved;
use super::lab::LabError;
use super::server::ServerError;
use crate::arm::ArmError;

/// Remedies for errors that are due to the machine, not to the operation.
const REMEDIES: [(Errno, &str); 2] = [
    (
        Errno::EMFILE,
        "raise the limit of open files (`ulimit -n`, LimitNOFILE=), or run fewer labs at once (--jobs)",
    ),
    (Errno::ENFILE, "raise the sysctl fs.file-max, or run fewer labs at once (--jobs)"),
];

/// An unexpected failure.
pub(super) fn failed(error: &(dyn Error + 'static)) -> ArmError {
    let remedy = remedy(error).map(|remedy| format!("; {remedy}")).unwrap_or_default();
    ArmError::Failed(format!("{error}{remedy}"))
}

/// User input was rejected, described by `text`; but a machine that is out of resources rejects everything.
pub(super) fn refused(text: String, error: &(dyn Error + 'static)) -> ArmError {
    if remedy(error).is_some() { failed(error) } else { ArmError::Refused(text) }
}

fn remedy(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let errno = successors(Some(error), |error| (*error).source()).find_map(|error| {
        let of_io = || error.downcast_ref::<io::Error>()?.raw_os_error().map(Errno::from_raw);
        error.downcast_ref::<Errno>().copied().or_else(of_io)
    })?;
    REMEDIES.into_iter().find(|(known, _)| *known == errno).map(|(_, remedy)| remedy)
}

/// Errors of the machine, which end a run.
trait MachineError: Error + 'static {}

impl MachineError for LabError {}
impl MachineError for CaptureError {}
impl MachineError for ServerError {}
impl MachineError for ClockMoved {}

impl<E: MachineError> From<E> for ArmError {
    fn from(error: E) -> Self {
        failed(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arm::kernel::server::ServerFault;
    use crate::arm::kernel::tool::ToolError;

    fn io(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno as i32)
    }

    /// The same errno as reported by different parts of this arm.
    fn errors(errno: Errno) -> [(Box<dyn Error>, &'static str); 4] {
        let tool = LabError::Tool(ToolError::Io { program: "ip".to_owned(), source: io(errno) });
        let netns = LabError::Netns { netns: "node-1".to_owned(), source: io(errno) };
        let server = ServerFault { who: "the server web".to_owned(), what: "accept a connection", errno };
        [
            (Box::new(io(errno)), ""),
            (Box::new(tool), "ip: "),
            (Box::new(netns), "network namespace node-1: "),
            (Box::new(ServerError::from(server)), "the server web cannot accept a connection: "),
        ]
    }

    #[test]
    fn a_machine_that_has_run_out_of_descriptors_says_what_to_do() {
        for (errno, remedy) in [
            (Errno::EMFILE, Some("; raise the limit of open files (")),
            (Errno::ENFILE, Some("; raise the sysctl fs.file-max")),
            (Errno::EADDRINUSE, None),
        ] {
            for (error, begin) in errors(errno) {
                let ArmError::Failed(told) = failed(&*error) else { panic!("{error}") };
                assert!(told.starts_with(begin), "{told}");
                assert_eq!(told.contains("; "), remedy.is_some(), "{told}");
                assert!(told.contains(remedy.unwrap_or_default()), "{told}");
                let by_user = refused("port 80".to_owned(), &*error);
                assert_eq!(matches!(by_user, ArmError::Refused(_)), remedy.is_none(), "{by_user}");
            }
        }
    }
}
