//! Virtual services and real servers, as `ipvsadm -Sn` prints them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use crate::finding::DumpError;
use crate::ipvs::services::VirtualService;
use crate::objects::Protocol;

/// The virtual services by their key.
#[derive(Debug, Default)]
pub(super) struct SavedServices(pub(super) BTreeMap<Key, SavedService>);

/// The key of a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Addr(VirtualService),
    Mark { mark: u32, is_ipv6: bool },
}

/// As `ipvsadm` names it.
impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(service) => write!(formatter, "{service}"),
            Self::Mark { mark, is_ipv6: false } => write!(formatter, "-f {mark}"),
            Self::Mark { mark, is_ipv6: true } => write!(formatter, "-f {mark} -6"),
        }
    }
}

/// A virtual service.
#[derive(Debug, Default, Clone)]
pub(super) struct SavedService {
    pub(super) scheduler: String,
    /// Seconds.
    pub(super) persistence: Option<String>,
    /// The options that kube-proxy does not use, and scheduler flags.
    pub(super) others: BTreeSet<String>,
    /// By `ip:port`.
    pub(super) servers: BTreeMap<SocketAddr, SavedServer>,
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedServer {
    /// `-m`, `-g` or `-i`.
    pub(super) method: String,
    pub(super) weight: u32,
}

const A_SERVICE: &str =
    "a service: -t IP:PORT, -u IP:PORT, --sctp-service IP:PORT or -f MARK, with numbers (ipvsadm -Sn)";
const A_SERVER: &str = "a server: -r IP:PORT, with numbers (ipvsadm -Sn)";

impl SavedServices {
    /// # Errors
    /// The first line that `ipvsadm -Sn` does not print.
    pub(super) fn read(text: &str) -> Result<Self, DumpError> {
        let mut services = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            services.read_line(line).map_err(|expected| DumpError::in_line(index, line, expected))?;
        }
        Ok(services)
    }

    fn read_line(&mut self, line: &str) -> Result<(), &'static str> {
        let mut words = line.split_ascii_whitespace().peekable();
        let command = words.next();
        let key = key(&mut words)?;
        if command == Some("-A") {
            return match self.0.insert(key, service(words)?) {
                Some(_) => Err("each virtual service once"),
                None => Ok(()),
            };
        }
        let service = self.0.get_mut(&key).ok_or("a server of a service that an earlier line adds")?;
        let (address, server) = server(words)?;
        match service.servers.insert(address, server) {
            Some(_) => Err("each server of a service once"),
            None => Ok(()),
        }
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitAsciiWhitespace<'a>>;

fn key(words: &mut Words<'_>) -> Result<Key, &'static str> {
    let (option, value) = (words.next(), words.next());
    let protocol = match option {
        Some("-t") => Protocol::Tcp,
        Some("-u") => Protocol::Udp,
        Some("--sctp-service") => Protocol::Sctp,
        Some("-f") => {
            let mark = value.and_then(|value| value.parse().ok()).ok_or(A_SERVICE)?;
            return Ok(Key::Mark { mark, is_ipv6: words.next_if_eq(&"-6").is_some() });
        }
        Some(_) | None => return Err(A_SERVICE),
    };
    let address: SocketAddr = value.and_then(|value| value.parse().ok()).ok_or(A_SERVICE)?;
    Ok(Key::Addr(VirtualService { address: address.ip(), port: address.port(), protocol }))
}

fn service(mut words: Words<'_>) -> Result<SavedService, &'static str> {
    let mut service = SavedService::default();
    while let Some(option) = words.next() {
        let mut value = || words.next().ok_or("a value after the option");
        match option {
            "-s" => service.scheduler = value()?.to_owned(),
            "-p" => service.persistence = Some(value()?.to_owned()),
            "-o" => drop(service.others.insert(option.to_owned())),
            "-b" => {
                // The order of flags has no meaning.
                let mut flags: Vec<&str> = value()?.split(',').collect();
                flags.sort_unstable();
                service.others.insert(format!("-b {}", flags.join(",")));
            }
            "-M" => {
                let netmask = value()?;
                if netmask != "255.255.255.255" && netmask != "128" {
                    service.others.insert(format!("-M {netmask}"));
                }
            }
            "--pe" => drop(service.others.insert(format!("--pe {}", value()?))),
            _ => return Err("an option of a service: -s, -p, -M, -o, -b or --pe"),
        }
    }
    if service.scheduler.is_empty() { Err("a scheduler: -s NAME") } else { Ok(service) }
}

fn server(mut words: Words<'_>) -> Result<(SocketAddr, SavedServer), &'static str> {
    if words.next() != Some("-r") {
        return Err(A_SERVER);
    }
    let address = words.next().and_then(|value| value.parse().ok()).ok_or(A_SERVER)?;
    let mut server = SavedServer { method: "-g".to_owned(), weight: 1 };
    while let Some(option) = words.next() {
        match option {
            "-m" | "-g" | "-i" => server.method = option.to_owned(),
            "-w" => {
                let weight = words.next().and_then(|value| value.parse().ok());
                server.weight = weight.ok_or("a weight after -w")?;
            }
            // Tunnels: the type and its parameters.
            option if option.starts_with("--tun-") => {
                words.next_if(|value| !value.starts_with('-'));
            }
            _ => return Err("an option of a server: -m, -g, -i, -w or --tun-type"),
        }
    }
    Ok((address, server))
}
