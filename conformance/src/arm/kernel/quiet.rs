//! Waits until the network has processed what was sent.
//!
//! On an idle machine a packet, and what its receiver answers, is processed before its sender goes on. On a busy one,
//! packets may wait in the backlog of a processor for longer than a script waits between two lines, and its next packet
//! overtakes the answer.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::server::Servers;

/// Other labs send as well, so the backlogs of the machine may never be empty at once.
const PATIENCE: Duration = Duration::from_millis(200);

/// The granularity of waiting.
const PAUSE: Duration = Duration::from_micros(50);

/// Waits until no received packet waits to be processed, and the servers have handled what has arrived.
pub(super) fn wait_until_quiet(servers: &Servers) {
    let deadline = Instant::now() + PATIENCE;
    let mut handled = servers.catch_up();
    while Instant::now() < deadline {
        let was_empty = backlog() == 0;
        let now = servers.catch_up();
        if was_empty && now == handled && backlog() == 0 {
            return;
        }
        handled = now;
        thread::sleep(PAUSE);
    }
}

/// The number of packets in the backlogs of all processors, through which a veth pair passes its packets
/// (`enqueue_to_backlog`, net/core/dev.c). Zero if the kernel does not tell: before Linux 5.10.
fn backlog() -> u32 {
    read_backlog(&fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default())
}

/// Linux: `softnet_seq_show`, net/core/net-procfs.c. A line per processor; the twelfth number is the length of its backlog.
fn read_backlog(softnet_stat: &str) -> u32 {
    const BACKLOG: usize = 11;
    let len = |line: &str| u32::from_str_radix(line.split_whitespace().nth(BACKLOG)?, 16).ok();
    softnet_stat.lines().filter_map(len).sum()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::arm::kernel::server::Listener;
    use crate::arm::kernel::testing::{can_run, pair};
    use crate::observation::Transport;

    #[test]
    fn the_backlog_is_that_of_all_processors() {
        let line = |backlog: &str| {
            format!(
                "0031395b 00000000 00000004{} {backlog} 00000000 00000000 00000000\n",
                " 00000000".repeat(8)
            )
        };
        for (text, expected) in [
            (line("00000000"), 0),
            (line("00000002") + &line("0000000a"), 12),
            ("0031395b 00000000 00000004 00000000\n".to_owned(), 0),
            (String::new(), 0),
        ] {
            assert_eq!(read_backlog(&text), expected, "{text}");
        }
    }

    /// Without waiting, the first answer is late once in a while even on an idle machine: another thread writes it.
    #[test]
    fn an_answer_has_come_when_the_network_is_quiet() {
        if !can_run("an_answer_has_come_when_the_network_is_quiet") {
            return;
        }
        let lab = pair();
        let mut servers = Servers::start().expect("a thread");
        let listener = Listener {
            protocol: Transport::Udp,
            address: None,
            port: 53,
            name: "dns".to_owned(),
            zone: None,
            page: None,
        };
        servers.open(lab.netns("b"), &listener).expect("opened");
        let socket =
            lab.netns("a").enter(|| UdpSocket::bind("10.0.0.1:40000")).expect("entered").expect("free");
        socket.set_nonblocking(true).expect("a socket");
        for number in 0..200 {
            socket.send_to(b"?\n", "10.0.0.2:53").expect("sent");
            wait_until_quiet(&servers);
            socket.recv(&mut [0; 100]).unwrap_or_else(|error| panic!("datagram {number}: {error}"));
        }
    }
}
