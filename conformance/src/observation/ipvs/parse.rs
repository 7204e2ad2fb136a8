//! Reads listings of ipvsadm and ipset.

use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use super::{IpvsConnection, IpvsServer, IpvsService};

/// The services of `ipvsadm -Ln`, without the three lines of its heading.
pub(super) fn services(listing: &str) -> Result<Vec<IpvsService>, String> {
    const HEADING: usize = 3;
    let mut services: Vec<IpvsService> = Vec::new();
    for line in listing.lines().skip(HEADING) {
        match line.trim_start().strip_prefix("-> ") {
            Some(server) => {
                let service = services.last_mut().ok_or_else(|| unexpected(line))?;
                service.servers.push(read_server(server).ok_or_else(|| unexpected(line))?);
            }
            None => services.push(read_service(line).ok_or_else(|| unexpected(line))?),
        }
    }
    Ok(services)
}

/// `TCP  10.96.0.1:80 rr persistent 10800`
fn read_service(line: &str) -> Option<IpvsService> {
    let mut words = line.split_whitespace();
    let protocol = words.next()?.to_owned();
    let address = number(&mut words)?;
    let scheduling = words.collect::<Vec<_>>().join(" ");
    (!scheduling.is_empty()).then_some(IpvsService { protocol, address, scheduling, servers: Vec::new() })
}

/// `10.244.0.1:8080  Masq    1      0          0`
fn read_server(line: &str) -> Option<IpvsServer> {
    let words = &mut line.split_whitespace();
    let server = IpvsServer {
        address: number(words)?,
        forward: words.next()?.to_owned(),
        weight: number(words)?,
        active: number(words)?,
        inactive: number(words)?,
    };
    words.next().is_none().then_some(server)
}

/// The entries of `ipvsadm -Lnc`, without the two lines of its heading.
pub(super) fn connections(listing: &str) -> Result<Vec<IpvsConnection>, String> {
    const HEADING: usize = 2;
    let lines = listing.lines().skip(HEADING);
    lines.map(|line| read_connection(line).ok_or_else(|| unexpected(line))).collect()
}

/// `TCP 14:59  ESTABLISHED 192.0.2.1:40000    10.96.0.1:80       10.244.0.1:8080`
fn read_connection(line: &str) -> Option<IpvsConnection> {
    let words = &mut line.split_whitespace();
    let protocol = words.next()?.to_owned();
    let (minutes, seconds) = words.next()?.split_once(':')?;
    let seconds = minutes.parse::<u64>().ok()? * 60 + seconds.parse::<u64>().ok()?;
    let connection = IpvsConnection {
        protocol,
        state: words.next()?.to_owned(),
        client: number(words)?,
        virtual_service: number(words)?,
        server: number(words)?,
        expires_in: Duration::from_secs(seconds),
    };
    words.next().is_none().then_some(connection)
}

fn number<T: FromStr>(words: &mut SplitWhitespace<'_>) -> Option<T> {
    words.next()?.parse().ok()
}

/// A line of `ipset save` without what a set's hash table looks like: its size grows with the members of one kernel, and its
/// hash is random.
pub(super) fn set_line(line: &str) -> String {
    line.split(" hashsize ").next().unwrap_or(line).to_owned()
}

fn unexpected(line: &str) -> String {
    format!("unexpected line {line:?} of ipvsadm; please report this version's format")
}
