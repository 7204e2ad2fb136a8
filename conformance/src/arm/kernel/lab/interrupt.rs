//! Tear-down on Ctrl-C and on being asked to end.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

use super::name::LabId;

/// Namespaces of the labs that this process has, so that the thread which waits for signals finds them.
static LABS: Mutex<BTreeMap<LabId, Vec<String>>> = Mutex::new(BTreeMap::new());

/// Signals that end the process, and the status that a shell then expects (128 and the signal's number).
const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// From here on, SIGINT, SIGTERM and SIGHUP delete the namespaces of every lab of this process before they end it.
///
/// To be called before the program starts any thread: a signal is taken by a thread that does not block it, and threads
/// block what the thread blocked that started them.
///
/// # Errors
/// If the thread that waits for signals cannot be started.
pub fn tear_down_on_signals() -> io::Result<()> {
    let signals = SIGNALS.into_iter().collect::<SigSet>();
    signals.thread_block()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        // It fails only for an empty set.
        let Ok(signal) = signals.wait() else { return };
        // The lock is kept until the end, so that no lab is made meanwhile.
        let labs = labs();
        super::delete(&labs.values().flatten().cloned().collect::<Vec<_>>());
        std::process::exit(128 + signal as i32);
    })?;
    Ok(())
}

fn labs() -> MutexGuard<'static, BTreeMap<LabId, Vec<String>>> {
    // A thread that panicked while it held the lock has left a map that is still right.
    LABS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes namespaces that are then known. A signal waits meanwhile, so that none is made after it has been answered.
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

/// The lab is gone.
pub(super) fn unregister(id: LabId) {
    labs().remove(&id);
}
