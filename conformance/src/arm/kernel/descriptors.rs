//! Room for descriptors: a lab has a capture and a file for each of its namespaces, and a socket for each of its ports.

use std::sync::Once;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Lets this process have as many descriptors as it may (`RLIMIT_NOFILE`, getrlimit(2)); the limit up to which a process may
/// raise it by itself is often hundreds of times the one that it starts with. Tools take the limit over.
pub(super) fn raise_limit() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        // A lab that fits into the old limit can run all the same; one that does not says so when it opens something.
        let _ = getrlimit(Resource::RLIMIT_NOFILE)
            .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_highest_that_may_be() {
        raise_limit();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        assert_eq!(soft, hard);
    }
}
