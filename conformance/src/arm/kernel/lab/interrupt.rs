//! Tears labs down on Ctrl-C and on termination signals.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use super::name::LabId;

/// Namespaces of all labs of this process, for the thread that waits for signals.
static LABS: Mutex<BTreeMap<LabId, Vec<String>>> = Mutex::new(BTreeMap::new());

/// Signals that end the process; the exit status is 128 plus the signal number, as shells expect.
const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// From here on, SIGINT, SIGTERM and SIGHUP delete the namespaces of every lab of this process before they end it.
///
/// Must be called before the program starts any thread: a signal is delivered to a thread that does not block it, and
/// threads inherit the mask of their parent.
///
/// # Errors
/// If the thread that waits for signals cannot be started.
pub fn tear_down_on_signals() -> io::Result<()> {
    let signals = SIGNALS.into_iter().collect::<SigSet>();
    signals.thread_block()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        // Fails only for an empty set.
        let Ok(signal) = signals.wait() else { return };
        // The lock is held until the end, so that no lab is created meanwhile.
        let labs = labs();
        super::delete(&labs.values().flatten().cloned().collect::<Vec<_>>());
        std::process::exit(128 + signal as i32);
    })?;
    Ok(())
}

fn labs() -> MutexGuard<'static, BTreeMap<LabId, Vec<String>>> {
    // A thread that panicked with the lock has left a valid map.
    LABS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Creates namespaces and registers them. Signals wait meanwhile, so that no namespace is created after one was
/// handled.
pub(super) fn make<T>(id: LabId, netns_names: &[String], make: impl FnOnce() -> T) -> T {
    let mut labs = labs();
    labs.entry(id).or_default().extend_from_slice(netns_names);
    make()
}

pub(super) fn forget(id: LabId, netns_name: &str) {
    if let Some(names) = labs().get_mut(&id) {
        names.retain(|name| name != netns_name);
    }
}

/// The namespaces of a lab.
pub(super) fn names(id: LabId) -> Vec<String> {
    labs().get(&id).cloned().unwrap_or_default()
}

/// Removes a deleted lab.
pub(super) fn unregister(id: LabId) {
    labs().remove(&id);
}
