//! Conntrack tables, read from procfs or else from `conntrack -L`.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use super::lab::{LabError, LabNetns};
use super::tool::ToolError;
use crate::observation::{ConntrackObservation, IcmpKey, TcpState, Transport};

/// The table of the current thread's namespace, on kernels with CONFIG_NF_CONNTRACK_PROCFS. All namespaces share one
/// hash table: procfs walks it without locks (`ct_get_next`, net/netfilter/nf_conntrack_standalone.c), whereas netlink
/// locks every bucket (`ctnetlink_dump_table`, net/netfilter/nf_conntrack_netlink.c), which costs ten times as much.
const TABLE: &str = "/proc/thread-self/net/nf_conntrack";

/// The entries of a namespace. Entries of unsupported protocols are omitted.
///
/// # Errors
/// If the table cannot be read or has an unexpected format, or the tool fails.
pub fn list(netns: &LabNetns) -> Result<Vec<ConntrackObservation>, LabError> {
    let listing = match netns.enter(|| fs::read_to_string(TABLE))? {
        Ok(table) => table,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            netns.run("conntrack", &["-L", "-f", "ipv4", "-o", "extended"], b"")?
        }
        Err(source) => return Err(LabError::Netns { netns: netns.name().to_owned(), source }),
    };
    let entry = |line| {
        parse(line).map_err(|expected| LabError::Refused {
            netns: netns.name().to_owned(),
            what: "conntrack -L -f ipv4 -o extended".to_owned(),
            source: io::Error::new(
                io::ErrorKind::InvalidData,
                format!("expected {expected}, found {line:?}; please report this kernel's format"),
            ),
        })
    };
    listing.lines().filter_map(|line| entry(line).transpose()).collect()
}

/// Deletes one entry by its original tuple, if it is still there: IPVS deletes those of connections to a removed server a tick
/// later (`ip_vs_del_dest`, net/netfilter/ipvs/ip_vs_ctl.c).
///
/// # Errors
/// If the tool fails.
pub fn delete(netns: &LabNetns, entry: &ConntrackObservation) -> Result<(), LabError> {
    let (src, dst) = entry.original;
    let args = [
        "-D",
        "-p",
        entry.protocol.name(),
        "-s",
        &src.ip().to_string(),
        "-d",
        &dst.ip().to_string(),
        "--sport",
        &src.port().to_string(),
        "--dport",
        &dst.port().to_string(),
    ]
    .map(ToOwned::to_owned);
    match netns.run("conntrack", &args.each_ref().map(String::as_str), b"") {
        Err(LabError::Tool(ToolError::Failed { message, .. })) if is_gone(&message) => Ok(()),
        result => result.map(drop),
    }
}

/// True if the tool says that there is no such entry, or that it went between listing and deletion.
fn is_gone(message: &str) -> bool {
    ["0 flow entries have been deleted", "such conntrack doesn't exist"]
        .iter()
        .any(|said| message.contains(said))
}

/// Parses a line such as `ipv4 2 tcp 6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… sport=… dport=…
/// [ASSURED] mark=0`; an error names the expected field. `None` for unsupported protocols.
fn parse(line: &str) -> Result<Option<ConntrackObservation>, &'static str> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let protocol = match words[..] {
        ["ipv4", _, "tcp", ..] => Transport::Tcp,
        ["ipv4", _, "udp", ..] => Transport::Udp,
        ["ipv4", _, "sctp", ..] => Transport::Sctp,
        ["ipv4", _, "icmp", ..] => Transport::Icmp,
        _ => return Ok(None),
    };
    let words = Words(words);
    let icmp = match protocol {
        Transport::Icmp => Some((words.icmp_key(0)?, words.icmp_key(1)?)),
        Transport::Tcp | Transport::Udp | Transport::Sctp => None,
    };
    Ok(Some(ConntrackObservation {
        protocol,
        original: words.ends(protocol, 0)?,
        reply: words.ends(protocol, 1)?,
        icmp,
        tcp_state: (protocol == Transport::Tcp).then(|| words.tcp_state()).transpose()?,
        is_replied: !words.has("[UNREPLIED]"),
        is_assured: words.has("[ASSURED]"),
        mark: words.mark()?,
        expires_in: words.expires_in()?,
    }))
}

/// The words of a line.
struct Words<'a>(Vec<&'a str>);

impl Words<'_> {
    /// The remaining seconds, after the two names and numbers of protocols.
    fn expires_in(&self) -> Result<Duration, &'static str> {
        let seconds = self.0.get(4).and_then(|word| word.parse().ok());
        seconds.map(Duration::from_secs).ok_or("the remaining seconds after the protocol")
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    /// The `index`-th value of a key: first of the original direction, then of the reply.
    fn value<T: FromStr>(&self, key: &str, index: usize) -> Option<T> {
        let mut values = self.0.iter().filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        values.nth(index)?.parse().ok()
    }

    /// Source and destination; ICMP has type and identifier in place of ports.
    fn ends(&self, protocol: Transport, index: usize) -> Result<(SocketAddr, SocketAddr), &'static str> {
        let end = |address: &str, port: &str| -> Result<SocketAddr, &'static str> {
            let address: IpAddr = self.value(address, index).ok_or("src=ADDRESS and dst=ADDRESS, twice")?;
            let port = match protocol {
                Transport::Icmp => 0,
                Transport::Tcp | Transport::Udp | Transport::Sctp => {
                    self.value(port, index).ok_or("sport=PORT and dport=PORT, twice")?
                }
            };
            Ok(SocketAddr::new(address, port))
        };
        Ok((end("src", "sport")?, end("dst", "dport")?))
    }

    fn icmp_key(&self, index: usize) -> Result<IcmpKey, &'static str> {
        let number = |key| self.value(key, index);
        let key = number("type").zip(number("code")).zip(self.value("id", index));
        key.map(|((icmp_type, code), id)| IcmpKey { icmp_type, code, id })
            .ok_or("type=NUMBER, code=NUMBER and id=NUMBER, twice")
    }

    /// The state precedes the addresses.
    fn tcp_state(&self) -> Result<TcpState, &'static str> {
        let mut before = self.0.iter().take_while(|word| !word.starts_with("src="));
        before.find_map(|word| TcpState::by_name(word)).ok_or("a TCP state before the addresses")
    }

    /// Kernels without CONFIG_NF_CONNTRACK_MARK print none.
    fn mark(&self) -> Result<u32, &'static str> {
        match self.0.iter().find_map(|word| word.strip_prefix("mark=")) {
            Some(mark) => mark.parse().map_err(|_| "mark=NUMBER"),
            None => Ok(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_tool_are_read() {
        let cases = [
            (
                "ipv4     2 tcp      6 117 SYN_SENT src=10.244.1.12 dst=10.96.0.10 sport=42338 dport=80 [UNREPLIED] \
                  src=10.244.1.11 dst=10.244.1.12 sport=8080 dport=42338 mark=0 use=1",
                "tcp 117 SYN_SENT 10.244.1.12:42338 -> 10.96.0.10:80 [UNREPLIED], reply 10.244.1.11:8080 -> 10.244.1.12:42338",
            ),
            (
                "ipv4     2 tcp      6 431999 ESTABLISHED src=1.1.1.1 dst=2.2.2.2 sport=1 dport=80 src=2.2.2.2 dst=1.1.1.1 sport=80 dport=1 [ASSURED] mark=16384 zone=0 use=2",
                "tcp 431999 ESTABLISHED 1.1.1.1:1 -> 2.2.2.2:80, reply 2.2.2.2:80 -> 1.1.1.1:1 [ASSURED] mark 0x4000",
            ),
            (
                "ipv4     2 udp      17 29 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=53 src=2.2.2.2 dst=1.1.1.1 sport=53 dport=1 [ASSURED] use=1",
                "udp 29 1.1.1.1:1 -> 2.2.2.2:53, reply 2.2.2.2:53 -> 1.1.1.1:1 [ASSURED]",
            ),
            (
                "ipv4     2 icmp     1 29 src=1.1.1.1 dst=2.2.2.2 type=8 code=0 id=7 src=2.2.2.2 dst=1.1.1.1 type=0 code=0 id=8 mark=0 use=1",
                "icmp 29 1.1.1.1 -> 2.2.2.2 type 8 code 0 id 7, reply 2.2.2.2 -> 1.1.1.1 type 0 code 0 id 8",
            ),
        ];
        for (line, expected) in cases {
            let entry = parse(line).unwrap().unwrap();
            assert_eq!(entry.to_string(), expected);
        }
        for line in [
            "ipv4     2 unknown  47 598 src=1.1.1.1 dst=2.2.2.2 src=2.2.2.2 dst=1.1.1.1 mark=0 use=1",
            "ipv6     10 tcp      6 117 CLOSE src=::1 dst=::1 sport=1 dport=2 src=::1 dst=::1 sport=2 dport=1 use=1",
        ] {
            assert_eq!(parse(line), Ok(None), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_not_as_expected_is_no_entry_less() {
        let line = "ipv4 2 tcp 6 117 CLOSE src=1.1.1.1 dst=2.2.2.2 sport=1 dport=80 src=2.2.2.2 dst=1.1.1.1 sport=80 dport=1 mark=0";
        assert!(matches!(parse(line), Ok(Some(_))));
        let ping = "ipv4 2 icmp 1 29 src=1.1.1.1 dst=2.2.2.2 type=8 code=0 id=7 src=2.2.2.2 dst=1.1.1.1 type=0 code=0 mark=0";
        assert_eq!(parse(ping), Err("type=NUMBER, code=NUMBER and id=NUMBER, twice"));
        for (found, other, expected) in [
            ("CLOSE", "LISTENING", "a TCP state before the addresses"),
            ("dport=1 ", "", "sport=PORT and dport=PORT, twice"),
            ("src=2.2.2.2", "src=nobody", "src=ADDRESS and dst=ADDRESS, twice"),
            ("mark=0", "mark=none", "mark=NUMBER"),
            ("117 ", "", "the remaining seconds after the protocol"),
        ] {
            assert_eq!(parse(&line.replace(found, other)), Err(expected), "{other}");
        }
    }
}
