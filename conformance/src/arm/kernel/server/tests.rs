use std::thread;

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::*;

/// A socket that polls ready but cannot accept: it is not listening.
fn broken() -> Service {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, SockProtocol::Tcp).expect("a socket");
    Service {
        name: "web".to_owned(),
        zone: None,
        page: None,
        socket: Socket::Tcp(socket.into()),
        is_stopped: false,
    }
}

impl Servers {
    /// Simulates this error.
    pub(crate) fn stop(&self) {
        let (who, what) = ("the server web".to_owned(), "accept a connection");
        let _ = self.fault.set(ServerFault { who, what, errno: Errno::EMFILE });
    }
}

#[test]
fn a_server_that_cannot_accept_is_left_alone_and_told() {
    let (mut wake, woken) = UnixStream::pair().expect("a pair");
    wake.write_all(&[1]).expect("written");
    let mut desk = Desk::default();
    let (stopped, other) = (ServerId(0), ServerId(1));
    desk.services = BTreeMap::from([(stopped, broken()), (other, broken())]);
    let ready = |desk: &Desk| desk.wait(&woken).expect("polled").services;
    assert_eq!(ready(&desk), [stopped, other]);
    desk.serve(stopped);
    assert_eq!(ready(&desk), [other], "a failed server is not polled");
    desk.note("the other".to_owned(), "do something else", Errno::EIO);
    let fault = desk.fault.get().expect("told");
    assert_eq!(fault.to_string(), "the server web cannot accept a connection: EINVAL: Invalid argument");
}

#[test]
fn what_the_thread_met_is_told_by_check_and_close() {
    let mut servers = Servers::start().expect("a thread");
    servers.check().expect("no request was made");
    let id = ServerId(0);
    servers.order(Order::Open(id, broken()));
    let deadline = Instant::now() + Duration::from_secs(10);
    while servers.check().is_ok() && Instant::now() < deadline {
        sleep(Duration::from_millis(1));
    }
    let told = "the server web cannot accept a connection: EINVAL: Invalid argument";
    assert_eq!(servers.check().expect_err("it failed").to_string(), told);
    assert_eq!(servers.close(id).expect_err("it failed").to_string(), told);
}

#[test]
fn a_port_may_become_free_a_moment_later() {
    let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let SocketAddr::V4(address) = held.local_addr().expect("bound") else { panic!("an IPv4 address") };
    let refused = when_free(|| open_udp(address)).map(drop).expect_err("in use all the time");
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    let closing = thread::spawn(move || {
        sleep(Duration::from_millis(20));
        drop(held);
    });
    when_free(|| open_udp(address)).expect("free after a moment");
    closing.join().expect("closed");
}
