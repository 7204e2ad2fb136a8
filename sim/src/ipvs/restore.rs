//! Executes `ipvsadm --restore` input, one command per line.
//!
//! As with the tool, the commands of earlier lines have taken effect when one is refused.

use super::Ipvs;
use super::clock::Clock;
use super::config::ConfigError;
use super::scheduler::SchedulerKind;
use super::segment::Protocol;
use super::server::{Forward, ServerSpec, ServiceKey};
use super::service::{Persistence, ServiceFlags, ServiceSpec};
use crate::text::error::{Parse, RuleError, RuleErrorKind};
use crate::text::line::Line;
use crate::text::value::{port, ranged};
use crate::text::words::Value;
use crate::time::Duration;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

const TOOL: &str = "ipvsadm --restore";
/// The scheduler of a service that names none (`DEF_SCHED`, ipvsadm.c).
const DEFAULT_SCHEDULER: SchedulerKind = SchedulerKind::Wlc;
/// The timeout of `-p` alone (`IPVS_SVC_PERSISTENT_TIMEOUT`, libipvs.h of ipvsadm).
const DEFAULT_PERSISTENCE: u32 = 360;
/// The longest timeout: a month (`MAX_TIMEOUT`, ipvsadm.c).
const PERSISTENCE_MAX: u32 = 86_400 * 31;
/// The highest weight, and threshold: both are signed in the kernel.
const INT_MAX: u32 = 0x7fff_ffff;

/// A command with its options. What a command does not use is refused.
#[derive(Default)]
struct Options<'t> {
    service: Option<(Value<'t>, Service)>,
    server: Option<Value<'t>>,
    is_ipv6: Option<Value<'t>>,
    scheduler: Option<(Value<'t>, SchedulerKind)>,
    persistence: Option<(Value<'t>, u32)>,
    netmask: Option<Value<'t>>,
    flags: Option<(Value<'t>, ServiceFlags)>,
    one_packet: Option<Value<'t>>,
    forward: Option<(Value<'t>, Forward)>,
    weight: Option<(Value<'t>, u32)>,
    upper: Option<(Value<'t>, u32)>,
    lower: Option<(Value<'t>, u32)>,
}

/// A service as it is written.
#[derive(Clone, Copy)]
enum Service {
    Addr { protocol: Protocol, addr: SocketAddr },
    Mark(u32),
}

impl Ipvs {
    /// Loads text in the format of `ipvsadm --restore` or `ipvsadm -Sn`. `source` names the text in errors.
    ///
    /// # Errors
    /// The first line that the tool or the kernel refuses, with its position.
    pub fn restore(&mut self, clock: Clock, source: &str, text: &str) -> Result<(), RuleError> {
        let file: Arc<str> = source.into();
        for (number, line) in (1..).zip(text.lines()) {
            self.command(clock, line).map_err(|problem| problem.in_line(TOOL, &file, number, line))?;
        }
        Ok(())
    }

    /// Executes one line (`process_options`, ipvsadm.c).
    fn command(&mut self, clock: Clock, line: &str) -> Parse<()> {
        let mut line = Line::split(without_comment(line));
        if line.is_empty() {
            return Ok(());
        }
        let command = line.required("a command")?;
        match command.text {
            "-A" | "--add-service" | "-E" | "--edit-service" => {
                let spec = Options::read(&mut line)?.service_spec(&line)?;
                let is_edit = matches!(command.text, "-E" | "--edit-service");
                let done =
                    if is_edit { self.edit_service(clock, spec) } else { self.add_service(clock, spec) };
                done.map_err(|error| refused(command, error))
            }
            "-D" | "--delete-service" => {
                let options = Options::read(&mut line)?;
                options.only_service()?;
                let key = options.key(&line)?;
                self.delete_service(clock, key).map_err(|error| refused(command, error))
            }
            "-C" | "--clear" => {
                Options::read(&mut line)?.nothing()?;
                self.flush(clock);
                Ok(())
            }
            "-a" | "--add-server" | "-e" | "--edit-server" => {
                let options = Options::read(&mut line)?;
                let (key, mut spec) = options.server_spec(&line)?;
                // A server that is not translated has the port of its service, whatever was written. Only a service by mark
                // has none.
                if spec.forward != Forward::Masquerade && matches!(key, ServiceKey::Addr { .. }) {
                    spec.addr.set_port(key.port());
                }
                let is_edit = matches!(command.text, "-e" | "--edit-server");
                let done = if is_edit {
                    self.edit_server(clock, key, spec)
                } else {
                    self.add_server(clock, key, spec)
                };
                done.map_err(|error| refused(command, error))
            }
            "-d" | "--delete-server" => {
                let options = Options::read(&mut line)?;
                let (key, spec) = options.server_spec(&line)?;
                self.delete_server(clock, key, spec.addr).map_err(|error| refused(command, error))
            }
            "--set" => self.set(&mut line),
            "-L" | "-l" | "--list" | "-S" | "--save" | "-R" | "--restore" | "-Z" | "--zero"
            | "--start-daemon" | "--stop-daemon" | "-h" | "--help" => {
                Err(command.expected("a command that changes services").kind(RuleErrorKind::Unsupported))
            }
            _ => Err(command.expected("`-A`, `-E`, `-D`, `-C`, `-a`, `-e`, `-d` or `--set`")),
        }
    }

    /// `--set TCP TCPFIN UDP`; 0 leaves a timeout as it is (`ip_vs_set_timeout`, net/netfilter/ipvs/ip_vs_ctl.c).
    fn set(&mut self, line: &mut Line<'_>) -> Parse<()> {
        let mut seconds = |expected| -> Parse<Option<Duration>> {
            let read = ranged(line.required(expected)?, 0..=PERSISTENCE_MAX)?;
            Ok((read > 0).then(|| Duration::from_secs(read.into())))
        };
        let tcp = seconds("the timeout of established TCP connections")?;
        let tcp_fin = seconds("the timeout of closing TCP connections")?;
        let udp = seconds("the timeout of UDP")?;
        let timeouts = &mut self.timeouts;
        timeouts.tcp = tcp.unwrap_or(timeouts.tcp);
        timeouts.tcp_fin = tcp_fin.unwrap_or(timeouts.tcp_fin);
        timeouts.udp = udp.unwrap_or(timeouts.udp);
        line.nothing_more()
    }
}

/// A line up to its comment, which `#` begins (`config_stream_read`, config_stream.c of ipvsadm).
fn without_comment(line: &str) -> &str {
    line.find('#').map_or(line, |comment| &line[..comment])
}

fn refused(command: Value<'_>, error: ConfigError) -> Box<crate::text::error::Problem> {
    let expected = match error {
        ConfigError::ServiceExists => "a service that does not exist",
        ConfigError::NoSuchService => "a service that exists",
        ConfigError::ServerExists => "a server that the service does not have",
        ConfigError::NoSuchServer => "a server of the service",
        ConfigError::OutOfRange => "a lower threshold that is not above the upper one",
    };
    command.expected(expected).kind(RuleErrorKind::Refused).help(format!("ipvsadm says: {error}"))
}

impl<'t> Options<'t> {
    /// Reads the options of a command (`parse_options`, ipvsadm.c).
    fn read(line: &mut Line<'t>) -> Parse<Self> {
        let mut options = Self::default();
        while let Some(option) = line.next() {
            options.option(option, line)?;
        }
        Ok(options)
    }

    fn option(&mut self, option: Value<'t>, line: &mut Line<'t>) -> Parse<()> {
        match option.text {
            "-t" | "--tcp-service" => self.set_service(option, Protocol::Tcp, line),
            "-u" | "--udp-service" => self.set_service(option, Protocol::Udp, line),
            "--sctp-service" => self.set_service(option, Protocol::Sctp, line),
            "-f" | "--fwmark-service" => {
                let mark = ranged(line.required("a mark")?, 1..=u32::MAX)?;
                once(&mut self.service, option, (option, Service::Mark(mark)))
            }
            "-6" | "--ipv6" => once(&mut self.is_ipv6, option, option),
            "-s" | "--scheduler" => {
                let name = line.required("a scheduler")?;
                let kind = SchedulerKind::by_name(name.text).ok_or_else(|| no_scheduler(name))?;
                once(&mut self.scheduler, option, (option, kind))
            }
            "-p" | "--persistent" => {
                let seconds = line.argument().map(|seconds| ranged(seconds, 1..=PERSISTENCE_MAX));
                let seconds = seconds.transpose()?.unwrap_or(DEFAULT_PERSISTENCE);
                once(&mut self.persistence, option, (option, seconds))
            }
            "-M" | "--netmask" => {
                let mask = line.required("a netmask or prefix length")?;
                once(&mut self.netmask, option, mask)
            }
            "-b" | "--sched-flags" => {
                let flags = sched_flags(line.required("scheduler flags")?)?;
                once(&mut self.flags, option, (option, flags))
            }
            "-o" | "--ops" => once(&mut self.one_packet, option, option),
            "-r" | "--real-server" => {
                let server = line.required("a server")?;
                once(&mut self.server, option, server)
            }
            "-m" | "--masquerading" => once(&mut self.forward, option, (option, Forward::Masquerade)),
            "-g" | "--gatewaying" => once(&mut self.forward, option, (option, Forward::Route)),
            "-i" | "--ipip" => once(&mut self.forward, option, (option, Forward::Tunnel)),
            "-w" | "--weight" => number(&mut self.weight, option, line),
            "-x" | "--u-threshold" => number(&mut self.upper, option, line),
            "-y" | "--l-threshold" => number(&mut self.lower, option, line),
            "--tun-type" => tunnel_type(line.required("the type of a tunnel")?),
            "-n" | "--numeric" => Ok(()),
            "--pe" | "--tun-port" | "--tun-nocsum" | "--tun-csum" | "--tun-remcsum" => {
                Err(option.expected("an option that is implemented").kind(RuleErrorKind::Unsupported))
            }
            _ => Err(option.expected("an option of `ipvsadm`")),
        }
    }

    fn set_service(&mut self, option: Value<'t>, protocol: Protocol, line: &mut Line<'t>) -> Parse<()> {
        let addr = socket_addr(line.required("an address and port")?)?.0;
        once(&mut self.service, option, (option, Service::Addr { protocol, addr }))
    }

    /// The key of the service.
    fn key(&self, line: &Line<'t>) -> Parse<ServiceKey> {
        match &self.service {
            Some((_, Service::Addr { protocol, addr })) => {
                if let Some(option) = self.is_ipv6 {
                    return Err(option.expected("`-6` with a mark only"));
                }
                Ok(ServiceKey::Addr { protocol: *protocol, addr: *addr })
            }
            Some((_, Service::Mark(mark))) => {
                Ok(ServiceKey::Mark { is_ipv6: self.is_ipv6.is_some(), mark: *mark })
            }
            None => Err(line.missing("a service: `-t`, `-u`, `--sctp-service` or `-f`")),
        }
    }

    /// The parameters of a service.
    fn service_spec(&self, line: &Line<'t>) -> Parse<ServiceSpec> {
        self.no_server_options()?;
        let key = self.key(line)?;
        let persistence = self.persistence(key)?;
        if let (Some((option, Service::Addr { addr, .. })), None) = (&self.service, persistence)
            && addr.port() == 0
        {
            let problem = option.expected("a port, or `-p`").kind(RuleErrorKind::Refused);
            return Err(problem.help("ipvsadm says: Zero port specified for non-persistent service"));
        }
        let flags = self.flags.map_or_else(ServiceFlags::default, |(_, flags)| flags);
        Ok(ServiceSpec {
            key,
            scheduler: self.scheduler.map_or(DEFAULT_SCHEDULER, |(_, kind)| kind),
            flags: ServiceFlags { one_packet: self.one_packet.is_some(), ..flags },
            persistence,
        })
    }

    fn persistence(&self, key: ServiceKey) -> Parse<Option<Persistence>> {
        let Some((_, seconds)) = self.persistence else {
            return match self.netmask {
                Some(mask) => Err(mask.expected("`-p` before the netmask")),
                None => Ok(None),
            };
        };
        let netmask = match self.netmask {
            Some(mask) => netmask(mask, key.is_ipv6())?,
            None => host_mask(key.is_ipv6()),
        };
        Ok(Some(Persistence { timeout: Duration::from_secs(seconds.into()), netmask }))
    }

    /// The service and the parameters of a server. Without a port, and for servers that get the packet as it is, it is the
    /// port of the service.
    fn server_spec(&self, line: &Line<'t>) -> Parse<(ServiceKey, ServerSpec)> {
        self.no_service_options()?;
        let key = self.key(line)?;
        let server = self.server.ok_or_else(|| line.missing("a server: `-r`"))?;
        let (mut addr, has_port) = socket_addr(server)?;
        if addr.is_ipv6() != key.is_ipv6() {
            let family = if key.is_ipv6() { "an IPv6 address" } else { "an IPv4 address" };
            return Err(server.expected(family).kind(RuleErrorKind::Unsupported));
        }
        let forward = self.forward.map_or(Forward::Route, |(_, forward)| forward);
        if !has_port {
            addr.set_port(key.port());
        }
        let value = |option: &Option<(Value<'_>, u32)>, default| option.map_or(default, |(_, value)| value);
        let (upper, lower) = (value(&self.upper, 0), value(&self.lower, 0));
        Ok((key, ServerSpec { addr, forward, weight: value(&self.weight, 1), upper, lower }))
    }

    fn no_server_options(&self) -> Parse<()> {
        let options = [
            self.server,
            self.forward.map(|(option, _)| option),
            self.weight.map(|(option, _)| option),
            self.upper.map(|(option, _)| option),
            self.lower.map(|(option, _)| option),
        ];
        unused(options, "an option of a service")
    }

    fn no_service_options(&self) -> Parse<()> {
        let options = [
            self.scheduler.map(|(option, _)| option),
            self.persistence.map(|(option, _)| option),
            self.netmask,
            self.flags.map(|(option, _)| option),
            self.one_packet,
        ];
        unused(options, "an option of a server")
    }

    fn only_service(&self) -> Parse<()> {
        self.no_server_options().and_then(|()| self.no_service_options())
    }

    fn nothing(&self) -> Parse<()> {
        self.only_service()?;
        unused([self.service.map(|(option, _)| option), self.is_ipv6], "the end of the line")
    }
}

/// Refuses the first option that is given.
fn unused<const N: usize>(options: [Option<Value<'_>>; N], expected: &'static str) -> Parse<()> {
    options.into_iter().flatten().next().map_or(Ok(()), |option| Err(option.expected(expected)))
}

/// Sets an option that may be given once.
fn once<T>(place: &mut Option<T>, option: Value<'_>, value: T) -> Parse<()> {
    if place.is_some() {
        return Err(option.expected("each option once, and one service"));
    }
    *place = Some(value);
    Ok(())
}

fn number<'t>(place: &mut Option<(Value<'t>, u32)>, option: Value<'t>, line: &mut Line<'t>) -> Parse<()> {
    let value = ranged(line.required("a number")?, 0..=INT_MAX)?;
    once(place, option, (option, value))
}

fn no_scheduler(name: Value<'_>) -> Box<crate::text::error::Problem> {
    let names: Vec<&str> = SchedulerKind::ALL.into_iter().map(SchedulerKind::name).collect();
    name.expected(format!("one of {}", names.join(", ")))
        .kind(RuleErrorKind::Refused)
        .help("ipvsadm says: Scheduler or persistence engine not found")
}

fn tunnel_type(kind: Value<'_>) -> Parse<()> {
    match kind.text {
        "ipip" => Ok(()),
        "gue" | "gre" => Err(kind.expected("`ipip`").kind(RuleErrorKind::Unsupported)),
        _ => Err(kind.expected("`ipip`, `gue` or `gre`")),
    }
}

/// Flags by number, or by the name that a scheduler gives them (`parse_sched_flags`, ipvsadm.c).
fn sched_flags(value: Value<'_>) -> Parse<ServiceFlags> {
    let mut flags = ServiceFlags::default();
    for flag in value.split_commas() {
        match flag.text {
            "flag-1" | "sh-fallback" | "mh-fallback" => flags.flag1 = true,
            "flag-2" | "sh-port" | "mh-port" => flags.flag2 = true,
            "flag-3" => flags.flag3 = true,
            _ => {
                return Err(flag
                    .expected("`sh-fallback`, `sh-port`, `mh-fallback`, `mh-port` or `flag-1` to `flag-3`"));
            }
        }
    }
    Ok(flags)
}

/// An address with an optional port: `10.96.0.1:80`, `[fd00::1]:80`; true if there is a port.
fn socket_addr(value: Value<'_>) -> Parse<(SocketAddr, bool)> {
    let expected = || value.expected("an address and port").help("names are not resolved");
    let (addr, rest) = match value.text.strip_prefix('[') {
        Some(text) => text.split_once(']').ok_or_else(expected)?,
        None => value.text.find(':').map_or((value.text, ""), |colon| value.text.split_at(colon)),
    };
    let addr: IpAddr = addr.parse().map_err(|_| expected())?;
    if rest.is_empty() {
        return Ok((SocketAddr::new(addr, 0), false));
    }
    let number = rest.strip_prefix(':').ok_or_else(expected)?;
    Ok((SocketAddr::new(addr, port(value.part(number))?), true))
}

/// An IPv4 netmask, or an IPv6 prefix length.
fn netmask(value: Value<'_>, is_ipv6: bool) -> Parse<IpAddr> {
    if is_ipv6 {
        let length = ranged(value, 1..=128)?;
        return Ok(Ipv6Addr::from_bits(u128::MAX << (128 - length)).into());
    }
    let mask: Ipv4Addr = value.text.parse().map_err(|_| value.expected("a netmask such as 255.255.255.0"))?;
    Ok(mask.into())
}

/// The netmask of single clients.
pub(super) const fn host_mask(is_ipv6: bool) -> IpAddr {
    if is_ipv6 { IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)) } else { IpAddr::V4(Ipv4Addr::BROADCAST) }
}
