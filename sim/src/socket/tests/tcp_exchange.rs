//! Whole TCP exchanges, frame by frame.

use super::pair::*;
use crate::packet::FlowId;
use crate::socket::ClientProtocol;
use crate::trace::Outcome;

/// The frames of one exchange between two namespaces of a real kernel, as `tcpdump -S -v` on the client's veth shows them:
/// client and server are a few lines of Python (connect, send, recv, close; accept, recv, send, recv, close), the machine runs
/// Linux 6.18 with `tcp_rmem[2]` set to what 6.12 has, 6291456. Sequence numbers are counted from each SYN, and the
/// timestamps are left out.
const REAL_EXCHANGE: &str = "\
c>s Flags [S], seq 0, win 64240, options [mss 1460,sackOK,TS,nop,wscale 7], length 0
s>c Flags [S.], seq 0, ack 1, win 65160, options [mss 1460,sackOK,TS,nop,wscale 7], length 0
c>s Flags [.], ack 1, win 502, options [nop,nop,TS], length 0
c>s Flags [P.], seq 1:9, ack 1, win 502, options [nop,nop,TS], length 8
s>c Flags [.], ack 9, win 509, options [nop,nop,TS], length 0
s>c Flags [P.], seq 1:36, ack 9, win 509, options [nop,nop,TS], length 35
c>s Flags [.], ack 36, win 502, options [nop,nop,TS], length 0
c>s Flags [F.], seq 9, ack 36, win 502, options [nop,nop,TS], length 0
s>c Flags [F.], seq 36, ack 10, win 509, options [nop,nop,TS], length 0
c>s Flags [.], ack 37, win 502, options [nop,nop,TS], length 0
";

/// Takes times and timestamp values out of a dump.
fn without_times(dump: &str) -> String {
    let line = |line: &str| {
        let line = line.split_once(' ').unwrap().1;
        let Some((head, tail)) = line.split_once("TS val ") else { return line.to_owned() };
        let end = tail.find([',', ']']).unwrap();
        format!("{head}TS{}", &tail[end..])
    };
    dump.lines().map(|one| line(one) + "\n").collect()
}

#[test]
fn an_exchange_has_the_frames_of_a_real_kernel() {
    let mut pair = Pair::with_server(identify());
    pair.connect(client(ClientProtocol::Tcp, 1));
    pair.run();
    assert_eq!(without_times(&pair.tcpdump()), REAL_EXCHANGE);
    let result = pair.hosts[CLIENT].flow_result(FlowId(1)).unwrap();
    assert_eq!(result.outcome, Outcome::Connected);
    let text = String::from_utf8(result.reply.clone().unwrap()).unwrap();
    assert_eq!(text, format!("web-0 10.1.0.1:{} 10.1.0.2:8080\n", result.local.1));
}
