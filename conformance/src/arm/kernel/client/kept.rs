//! Clients that keep their connections open. One thread waits for all of them, so that a client closes as soon as its peer has
//! closed, as an event loop does.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use sim::socket::Sizes;

use super::super::prompt;
use super::super::server::is_going_on;
use super::{End, KeptSocket, Report, UNSPECIFIED, errno, tcp, udp};

/// The id of a connection in [`Keeper`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct KeptId(u32);

/// All connections of a lab that are kept open. Those that are still open on drop are aborted.
#[derive(Debug)]
pub(in super::super) struct Keeper {
    orders: Sender<Order>,
    /// Writing a byte wakes the thread; closing it ends the thread.
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
    count: u32,
}

#[derive(Debug)]
enum Order {
    Keep(KeptId, KeptSocket),
    Send { id: KeptId, bytes: Vec<u8>, deadline: Instant, done: Sender<Report> },
    Close(KeptId, Sender<Option<Report>>),
}

impl Keeper {
    /// Starts the thread, without connections.
    ///
    /// # Errors
    /// If the machine is out of threads or sockets.
    pub(in super::super) fn start() -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        let (orders, received) = channel();
        woken.set_nonblocking(true)?;
        let thread = prompt::spawn("kept clients", move || Desk::default().serve(&woken, &received))?;
        Ok(Self { orders, wake, thread: Some(thread), count: 0 })
    }

    /// Keeps a connection.
    pub(in super::super) fn keep(&mut self, socket: KeptSocket) -> KeptId {
        let id = KeptId(self.count);
        self.count += 1;
        self.order(Order::Keep(id, socket));
        id
    }

    /// Sends a request and waits for the response. If the connection has ended, nothing is sent, and the report is that of
    /// its end.
    pub(in super::super) fn send(&self, id: KeptId, bytes: Vec<u8>, timeout: Duration) -> Report {
        let (done, report) = channel();
        self.order(Order::Send { id, bytes, deadline: Instant::now() + timeout, done });
        report.recv().expect("the thread of kept clients panicked")
    }

    /// Closes a connection. Returns how it had ended before, if it had.
    pub(in super::super) fn close(&self, id: KeptId) -> Option<Report> {
        let (done, ended) = channel();
        self.order(Order::Close(id, done));
        ended.recv().expect("the thread of kept clients panicked")
    }

    fn order(&self, order: Order) {
        // Both fail only if the thread has ended.
        let _ = self.orders.send(order);
        let _ = (&self.wake).write_all(&[1]);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.wake.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

/// A connection.
enum Kept {
    Open(Open),
    /// It has ended; the report says how.
    Ended(Report),
}

struct Open {
    socket: KeptSocket,
    exchange: Option<Pending>,
}

/// A request without a response yet.
struct Pending {
    report: Report,
    /// Length of the response in bytes, if the request says it.
    length: usize,
    deadline: Instant,
    done: Sender<Report>,
}

/// The state of the thread.
#[derive(Default)]
struct Desk {
    connections: BTreeMap<KeptId, Kept>,
}

impl Desk {
    fn serve(mut self, woken: &UnixStream, orders: &Receiver<Order>) {
        // Fails only if the machine is out of memory.
        while let Ok((is_woken, ready)) = self.wait(woken) {
            for id in ready {
                self.act(id, Open::arrived);
            }
            let now = Instant::now();
            let ids: Vec<KeptId> = self.connections.keys().copied().collect();
            for id in ids {
                self.act(id, |open| open.expire(now));
            }
            if is_woken && !is_going_on(woken) {
                break;
            }
            for order in orders.try_iter() {
                self.carry_out(order);
            }
        }
        self.connections.values().for_each(Kept::abort);
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Keep(id, socket) => {
                self.connections.insert(id, Kept::Open(Open { socket, exchange: None }));
            }
            Order::Send { id, bytes, deadline, done } => {
                if let Some(Kept::Ended(report)) = self.connections.get(&id) {
                    // Fails only if the receiver is gone.
                    let _ = done.send(report.clone());
                }
                self.act(id, |open| open.send(&bytes, deadline, done));
            }
            Order::Close(id, done) => {
                let ended = match self.connections.remove(&id) {
                    Some(Kept::Ended(report)) => Some(report),
                    Some(Kept::Open(_)) | None => None,
                };
                let _ = done.send(ended);
            }
        }
    }

    /// Lets an open connection act; it is closed if that ends it.
    fn act(&mut self, id: KeptId, act: impl FnOnce(&mut Open) -> Option<End>) {
        let Some(Kept::Open(open)) = self.connections.get_mut(&id) else { return };
        if let Some(end) = act(open) {
            let report = Report::new(end, open.local());
            self.connections.insert(id, Kept::Ended(report));
        }
    }

    fn wait(&self, woken: &UnixStream) -> nix::Result<(bool, Vec<KeptId>)> {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let open = self.connections.iter().filter_map(|(id, kept)| match kept {
            Kept::Open(open) => Some((*id, open)),
            Kept::Ended(_) => None,
        });
        let (ids, open): (Vec<KeptId>, Vec<&Open>) = open.unzip();
        let mut fds = vec![readable(woken.as_fd())];
        fds.extend(open.iter().map(|open| match &open.socket {
            KeptSocket::Tcp(stream) => readable(stream.as_fd()),
            KeptSocket::Udp(socket) => readable(socket.as_fd()),
        }));
        let deadline = open.iter().filter_map(|open| Some(open.exchange.as_ref()?.deadline)).min();
        loop {
            // Rounded up to milliseconds, otherwise the end of the wait would be a busy loop.
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = left.map_or(PollTimeout::NONE, |left| {
                PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
            });
            match poll(&mut fds, timeout) {
                Err(Errno::EINTR) => {}
                polled => {
                    polled?;
                    break;
                }
            }
        }
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        let ready = ids.into_iter().zip(&fds[1..]).filter(|(_, fd)| is_ready(fd)).map(|(id, _)| id);
        Ok((is_ready(&fds[0]), ready.collect()))
    }
}

impl Open {
    fn local(&self) -> std::net::SocketAddrV4 {
        match &self.socket {
            KeptSocket::Tcp(stream) => tcp::local(stream),
            KeptSocket::Udp(socket) => udp::local(socket),
        }
    }

    /// Sends a request. These functions return how the connection ends, if it does.
    fn send(&mut self, bytes: &[u8], deadline: Instant, done: Sender<Report>) -> Option<End> {
        let report = Report::new(End::TimedOut, self.local());
        let length = Sizes::of(bytes).map_or(0, |sizes| usize::from(sizes.receive));
        self.exchange = Some(Pending { report, length, deadline, done });
        let sent = match &mut self.socket {
            KeptSocket::Tcp(stream) => stream.write_all(bytes),
            KeptSocket::Udp(socket) => socket.send(bytes).map(drop),
        };
        match sent {
            Ok(()) => None,
            Err(error) => self.finish(End::Failed(errno(&error))),
        }
    }

    /// Reads what has arrived.
    fn arrived(&mut self) -> Option<End> {
        let mut unasked = Report::new(End::Answered, UNSPECIFIED);
        let (report, length) = match &mut self.exchange {
            Some(exchange) => (&mut exchange.report, exchange.length),
            None => (&mut unasked, 0),
        };
        let end = match &mut self.socket {
            KeptSocket::Tcp(stream) => read(stream, report, length),
            // Of a socket, only a failure of the machine.
            KeptSocket::Udp(socket) => {
                udp::received(socket, report).unwrap_or_else(|errno| Some(End::Failed(errno)))
            }
        };
        self.finish(end?)
    }

    fn expire(&mut self, now: Instant) -> Option<End> {
        let is_over = self.exchange.as_ref().is_some_and(|exchange| exchange.deadline <= now);
        if is_over { self.finish(End::TimedOut) } else { None }
    }

    /// Ends the exchange. A stream without a response in time ends too: a late response could be taken for that of the next
    /// request. A datagram socket has no end of its own.
    fn finish(&mut self, end: End) -> Option<End> {
        if let Some(Pending { mut report, done, .. }) = self.exchange.take() {
            report.end = end;
            // Fails only if the receiver is gone.
            let _ = done.send(report);
        }
        match (&self.socket, end) {
            (KeptSocket::Udp(_), _) | (KeptSocket::Tcp(_), End::Answered) => None,
            (KeptSocket::Tcp(_), End::Failed(_) | End::Closed | End::TimedOut) => Some(end),
        }
    }
}

/// Reads from a stream that is ready; `None` if the response is not complete.
fn read(stream: &mut std::net::TcpStream, report: &mut Report, length: usize) -> Option<End> {
    if report.reply.is_empty() {
        tcp::await_all(stream, length);
    }
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => Some(End::Closed),
        Ok(count) => {
            report.reply.extend_from_slice(&buffer[..count]);
            report.reply_from = tcp::peer(stream);
            report.reply.ends_with(b"\n").then_some(End::Answered)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => Some(End::Failed(errno(&error))),
    }
}

impl Kept {
    /// Lets close(2) send a RST and forget the connection: one that retransmits its FIN would keep the namespace alive.
    fn abort(&self) {
        if let Self::Open(Open { socket: KeptSocket::Tcp(stream), .. }) = self {
            // Fails only on a socket that is closed.
            let _ = setsockopt(stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
        }
    }
}
