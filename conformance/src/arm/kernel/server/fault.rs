//! What keeps servers from their work.

use nix::errno::Errno;
use thiserror::Error;

/// Why a server, or all of them, went out of service.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{who} cannot {what}: {errno}{}", remedy(*errno))]
pub struct Fault {
    /// Who cannot go on.
    pub who: String,
    /// What it was about to do.
    pub what: &'static str,
    /// Why.
    pub errno: Errno,
}

/// What can be done about an error.
const REMEDIES: [(Errno, &str); 2] = [
    (
        Errno::EMFILE,
        "; raise the limit of open files (`ulimit -n`, LimitNOFILE=), or run fewer scenarios at once (--jobs)",
    ),
    (Errno::ENFILE, "; raise fs.file-max, or run fewer scenarios at once (--jobs)"),
];

fn remedy(errno: Errno) -> &'static str {
    REMEDIES.into_iter().find(|(known, _)| *known == errno).map_or("", |(_, remedy)| remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_is_said() {
        for (errno, expected) in [
            (Errno::EMFILE, "the server web cannot accept a connection: EMFILE: Too many open files; raise"),
            (Errno::ENFILE, "; raise fs.file-max"),
            (Errno::ENOBUFS, "ENOBUFS: No buffer space available"),
        ] {
            let fault = Fault { who: "the server web".to_owned(), what: "accept a connection", errno };
            assert!(fault.to_string().contains(expected), "{fault}");
        }
    }
}
