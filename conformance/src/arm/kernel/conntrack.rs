//! Conntrack tables: as the kernel itself writes them, or else as `conntrack -L` does.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};

use super::lab::{LabError, Netns};
use crate::observation::{ConntrackObservation, Transport};

/// The table of the namespace of the thread that looks, where the kernel has CONFIG_NF_CONNTRACK_PROCFS. All namespaces
/// share one hash: this walks it without locks (`ct_get_next`, net/netfilter/nf_conntrack_standalone.c), where a listing by
/// netlink takes one for every bucket (`ctnetlink_dump_table`, net/netfilter/nf_conntrack_netlink.c), which is ten times the
/// work.
const TABLE: &str = "/proc/thread-self/net/nf_conntrack";

/// The entries of a namespace. Of protocols that no observation has a word for there are none.
///
/// # Errors
/// If the table cannot be read; what the tool says where it is asked.
pub fn list(netns: &Netns) -> Result<Vec<ConntrackObservation>, LabError> {
    let listing = match netns.enter(|| fs::read_to_string(TABLE))? {
        Ok(table) => table,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            netns.run("conntrack", &["-L", "-f", "ipv4", "-o", "extended"], b"")?
        }
        Err(source) => return Err(LabError::Netns { netns: netns.name().to_owned(), source }),
    };
    Ok(listing.lines().filter_map(parse).collect())
}

/// Deletes one entry by its original tuple.
///
/// # Errors
/// What the tool says.
pub fn delete(netns: &Netns, entry: &ConntrackObservation) -> Result<(), LabError> {
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
    netns.run("conntrack", &args.each_ref().map(String::as_str), b"").map(drop)
}

/// Reads a line such as `ipv4 2 tcp 6 431999 ESTABLISHED src=… dst=… sport=… dport=… src=… dst=… sport=… dport=… [ASSURED] mark=0`.
fn parse(line: &str) -> Option<ConntrackObservation> {
    let protocol = line.strip_prefix("ipv4")?.split_ascii_whitespace().nth(1)?;
    let protocol = match protocol {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        "sctp" => Transport::Sctp,
        "icmp" => Transport::Icmp,
        _ => return None,
    };
    let values = |key: &str| -> Vec<&str> {
        line.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.strip_prefix('=')).collect()
    };
    let (sources, destinations) = (values("src"), values("dst"));
    let (source_ports, destination_ports) = (values("sport"), values("dport"));
    let end = |addresses: &[&str], ports: &[&str], index: usize| -> Option<SocketAddr> {
        let address: IpAddr = addresses.get(index)?.parse().ok()?;
        // ICMP has a type and an identifier instead.
        let port = ports.get(index).map_or(Some(0), |port| port.parse().ok())?;
        Some(SocketAddr::new(address, port))
    };
    let direction = |index| {
        let source = end(&sources, &source_ports, index)?;
        Some((source, end(&destinations, &destination_ports, index)?))
    };
    Some(ConntrackObservation {
        protocol,
        original: direction(0)?,
        reply: direction(1)?,
        is_replied: !line.contains("[UNREPLIED]"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_tool_are_read() {
        let text = |line| {
            parse(line).map(|entry| {
                let ConntrackObservation { protocol, original, reply, is_replied } = entry;
                format!(
                    "{} {}>{} {}>{} {is_replied}",
                    protocol.name(),
                    original.0,
                    original.1,
                    reply.0,
                    reply.1
                )
            })
        };
        assert_eq!(
            text(
                "ipv4     2 tcp      6 117 SYN_SENT src=10.244.1.12 dst=10.96.0.10 sport=42338 dport=80 [UNREPLIED] \
                  src=10.244.1.11 dst=10.244.1.12 sport=8080 dport=42338 mark=0 use=1"
            )
            .as_deref(),
            Some("tcp 10.244.1.12:42338>10.96.0.10:80 10.244.1.11:8080>10.244.1.12:42338 false")
        );
        assert_eq!(
            text("ipv4     2 udp      17 29 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=53 src=2.2.2.2 dst=1.1.1.1 sport=53 dport=1 [ASSURED] mark=0 use=1").as_deref(),
            Some("udp 1.1.1.1:1>2.2.2.2:53 2.2.2.2:53>1.1.1.1:1 true")
        );
        assert_eq!(
            text("ipv4     2 icmp     1 29 src=1.1.1.1 dst=2.2.2.2 type=8 code=0 id=7 src=2.2.2.2 dst=1.1.1.1 type=0 code=0 id=7 mark=0 use=1").as_deref(),
            Some("icmp 1.1.1.1:0>2.2.2.2:0 2.2.2.2:0>1.1.1.1:0 true")
        );
        assert_eq!(
            text("ipv4     2 unknown  47 598 src=1.1.1.1 dst=2.2.2.2 src=2.2.2.2 dst=1.1.1.1 mark=0 use=1"),
            None
        );
    }
}
