//! Threads that run before every ordinary program: clients and servers act as soon as the kernel wakes them, as on an
//! idle machine.
//!
//! Virtual time has no busy machine. A client that reads an answer 50 ms late acknowledges it with a segment of its own
//! before it closes, and a server that writes late starts its timers late.

use std::fs;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::tool::ToolCommand;

/// Work for a thread.
type Work = Box<dyn FnOnce() + Send>;

/// A prompt thread that runs one piece of work after another. It ends on drop.
#[derive(Debug)]
pub(super) struct Prompt {
    works: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Prompt {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the machine is out of threads.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let (works, received) = channel::<Work>();
        let thread = spawn(name, move || received.into_iter().for_each(|work| work()))?;
        Ok(Self { works: Some(works), thread: Some(thread) })
    }

    /// Runs `act` on the thread, and returns its result.
    ///
    /// # Panics
    /// If `act` panics, or an earlier one did.
    pub(super) fn run<R: Send + 'static>(&self, act: impl FnOnce() -> R + Send + 'static) -> R {
        let (done, result) = channel();
        let work: Work = Box::new(move || drop(done.send(act())));
        let is_sent = self.works.as_ref().is_some_and(|works| works.send(work).is_ok());
        assert!(is_sent, "the thread runs until it is dropped");
        result.recv().expect("the work panicked")
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        drop(self.works.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// Starts a prompt thread in the machine's own network namespace. Where the machine permits no real-time scheduling, it is an
/// ordinary thread.
///
/// # Errors
/// If the machine is out of threads.
pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    type Order = (String, Work, Sender<io::Result<JoinHandle<()>>>);
    static PARENT: Mutex<Option<Sender<Order>>> = Mutex::new(None);
    // A thread that panicked with the lock has changed nothing.
    let mut parent = PARENT.lock().unwrap_or_else(PoisonError::into_inner);
    if parent.is_none() {
        let (orders, received) = channel::<Order>();
        thread::Builder::new().name("prompt".to_owned()).spawn(move || {
            hurry();
            for (name, body, started) in received {
                // The requester waits for the answer.
                let _ = started.send(thread::Builder::new().name(name).spawn(body));
            }
        })?;
        *parent = Some(orders);
    }
    let (started, is_started) = channel();
    let orders = parent.as_ref().expect("was just started");
    orders.send((name.to_owned(), Box::new(body), started)).expect("the thread runs as long as the process");
    is_started.recv().expect("every order is answered")
}

/// Gives the calling thread, and the threads that it starts, the lowest real-time priority (sched(7)).
fn hurry() {
    let Ok(path) = fs::read_link("/proc/thread-self") else { return };
    let id = path.file_name().unwrap_or_default().to_string_lossy();
    // Refused in a control group without real-time bandwidth, for example.
    let _ = ToolCommand { program: "chrt", args: &["--fifo", "--pid", "1", &id], input: b"" }.run();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_are_run_in_order_on_one_thread() {
        let prompt = Prompt::start("worker").expect("a thread");
        let names: Vec<_> = (0..3)
            .map(|number| prompt.run(move || (number, thread::current().name().map(str::to_owned))))
            .collect();
        let expected: Vec<_> = (0..3).map(|number| (number, Some("worker".to_owned()))).collect();
        assert_eq!(names, expected);
    }

    /// The machine may not permit real-time scheduling, but then to no thread.
    #[test]
    fn threads_have_the_priority_of_the_one_that_starts_them() {
        let policy = || {
            let stat = fs::read_to_string("/proc/thread-self/stat").expect("proc(5)");
            let fields = stat.rsplit_once(") ").expect("a name").1;
            // Field 41, counted from 1; the first after the name is field 3.
            fields.split(' ').nth(41 - 3).expect("a policy").to_owned()
        };
        let permitted = thread::spawn(move || {
            hurry();
            policy()
        });
        let prompt = Prompt::start("worker").expect("a thread");
        assert_eq!(prompt.run(policy), permitted.join().expect("no panic"));
        assert_eq!(policy(), "0", "other threads are ordinary");
    }
}
