//! The text of `ipvsadm`: errors with their positions, and what is printed can be read.

use super::{ConfigError, clock};
use crate::ipvs::{Ipvs, ListOrder};
use proptest::prelude::*;

fn restore(text: &str) -> Result<Ipvs, String> {
    let mut ipvs = Ipvs::default();
    ipvs.restore(clock(), "ipvs.rules", text).map_err(|error| error.to_string())?;
    Ok(ipvs)
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let with = |line: &str| format!("-A -t 10.96.0.1:80 -s rr\n{line}\n");
    for (line, at, expected) in [
        ("frobnicate", "2:1", "`-A`, `-E`, `-D`, `-C`, `-a`, `-e`, `-d` or `--set`, found `frobnicate`"),
        ("-L", "2:1", "a command that changes services, found `-L`"),
        ("-A", "2:3", "a service: `-t`, `-u`, `--sctp-service` or `-f`, found the end of the line"),
        ("-A -t", "2:6", "an address and port, found the end of the line"),
        ("-A -t web:80", "2:7", "an address and port, found `web:80` (names are not resolved)"),
        ("-A -t 10.96.0.2:http", "2:17", "a port number from 0 to 65535, found `http`"),
        ("-A -t 10.96.0.2:0", "2:4", "a port, or `-p`, found `-t`"),
        ("-A -t 10.96.0.2:80 -s fastest", "2:23", "one of rr, wrr,"),
        ("-A -t 10.96.0.2:80 -p 0", "2:23", "a number from 1 to 2678400, found `0`"),
        ("-A -t 10.96.0.2:80 -M 255.0.0.0", "2:23", "`-p` before the netmask"),
        ("-A -t 10.96.0.2:80 -p -M 24", "2:26", "a netmask such as 255.255.255.0, found `24`"),
        ("-A -t 10.96.0.2:80 -b sh-prot", "2:23", "`sh-fallback`,"),
        ("-A -t 10.96.0.2:80 -w 1", "2:20", "an option of a service, found `-w`"),
        ("-A -t 10.96.0.2:80 -u 10.96.0.2:53", "2:20", "each option once, and one service, found `-u`"),
        ("-A -t 10.96.0.2:80 -6", "2:20", "`-6` with a mark only, found `-6`"),
        ("-A -t 10.96.0.2:80 --pe sip", "2:20", "an option that is implemented, found `--pe`"),
        ("-A -f 0", "2:7", "a number from 1 to 4294967295, found `0`"),
        (
            "-A -t 10.96.0.1:80",
            "2:1",
            "a service that does not exist, found `-A` (ipvsadm says: Service already exists)",
        ),
        ("-D -t 10.96.0.2:80", "2:1", "a service that exists, found `-D` (ipvsadm says: No such service)"),
        ("-a -t 10.96.0.1:80", "2:19", "a server: `-r`, found the end of the line"),
        ("-a -t 10.96.0.1:80 -r [fd00::1]:80", "2:23", "an IPv4 address, found `[fd00::1]:80`"),
        ("-a -t 10.96.0.1:80 -r 10.244.0.1 -w -1", "2:37", "a number from 0 to 2147483647, found `-1`"),
        ("-a -t 10.96.0.1:80 -r 10.244.0.1 -s rr", "2:34", "an option of a server, found `-s`"),
        (
            "-a -t 10.96.0.1:80 -r 10.244.0.1 -x 1 -y 2",
            "2:1",
            "a lower threshold that is not above the upper one",
        ),
        ("-a -t 10.96.0.1:80 -r 10.244.0.1 -i --tun-type gue", "2:48", "`ipip`, found `gue`"),
        (
            "-d -t 10.96.0.1:80 -r 10.244.0.1",
            "2:1",
            "a server of the service, found `-d` (ipvsadm says: No such destination)",
        ),
        ("-C -t 10.96.0.1:80", "2:4", "the end of the line, found `-t`"),
        ("--set 1 2", "2:10", "the timeout of UDP, found the end of the line"),
        ("--set 1 2 3 4", "2:13", "the end of the line, found `4`"),
        ("-A -t 10.96.0.2:80 --quick", "2:20", "an option of `ipvsadm`, found `--quick`"),
    ] {
        let error = restore(&with(line)).expect_err(line);
        let start = format!("ipvs.rules:{at}: ipvsadm --restore: expected {expected}");
        assert!(error.starts_with(&start), "{line}\n  {error}\n  {start}");
    }
}

#[test]
fn every_option_is_read_and_printed() {
    let text = "\
# A comment, and an empty line.

--set 0 60 0
-A -t 10.96.0.1:80            # the scheduler is wlc
-A --tcp-service [fd00::1]:80 --scheduler rr --persistent
-E -t [fd00::1]:80 -s wrr -p 60 -M 64
-a -t [fd00::1]:80 -r [fd01::1] -m
-A -f 7 --ipv6 -s mh -b mh-port,mh-fallback
-A -u 10.96.0.1:53 -o -s sh -b flag-3
-a -u 10.96.0.1:53 -r 10.244.0.1 -w 0 -x 9 -y 3
-a -u 10.96.0.1:53 -r 10.244.0.2:9 -m
-e -u 10.96.0.1:53 -r 10.244.0.2:9 -i
-e -u 10.96.0.1:53 -r 10.244.0.2:9 -m -w 5
-A -t 10.96.0.9:80
-a -t 10.96.0.9:80 -r 10.244.0.9:80
-d -t 10.96.0.9:80 -r 10.244.0.9:80
-D -t 10.96.0.9:80
";
    // The edit with `-i` names the port of the service, where no server is.
    let error = restore(text).expect_err("no such server");
    assert!(error.contains("No such destination") && error.contains("ipvs.rules:12:1"), "{error}");
    let ipvs = restore(&text.replace("-e -u 10.96.0.1:53 -r 10.244.0.2:9 -i\n", "")).unwrap();
    assert_eq!(
        ipvs.save(),
        "\
-A -t 10.96.0.1:80 -s wlc
-A -u 10.96.0.1:53 -s sh -o -b flag-3
-a -u 10.96.0.1:53 -r 10.244.0.1:53 -g -w 0
-a -u 10.96.0.1:53 -r 10.244.0.2:9 -m -w 5
-A -t [fd00::1]:80 -s wrr -p 60 -M 64
-a -t [fd00::1]:80 -r [fd01::1]:80 -m -w 1
-A -f 7 -6 -s mh -b mh-fallback,mh-port
"
    );
    assert_eq!(
        ipvs.list(ListOrder::Sorted),
        "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.1:80 wlc
UDP  10.96.0.1:53 sh (flag-3) ops
  -> 10.244.0.1:53                Route   0      0          0         
  -> 10.244.0.2:9                 Masq    5      0          0         
TCP  [fd00::1]:80 wrr persistent 60 mask 64
  -> [fd01::1]:80                 Masq    1      0          0         
FWM  7 IPv6 mh (mh-fallback,mh-port)
"
    );
    let seconds = [ipvs.timeouts.tcp, ipvs.timeouts.tcp_fin, ipvs.timeouts.udp].map(|time| time.as_secs());
    assert_eq!(seconds, [900, 60, 300]);
}

#[test]
fn earlier_lines_have_taken_effect_when_one_is_refused() {
    let mut ipvs = Ipvs::default();
    let error = ipvs.restore(clock(), "text", "-A -f 1\n-A -f 1\n-A -f 2\n").expect_err("it exists");
    assert_eq!((error.line, error.column), (2, 1));
    assert!(error.to_string().contains(&ConfigError::ServiceExists.to_string()));
    assert_eq!(ipvs.save(), "-A -f 1 -s wlc\n");
}

proptest! {
    /// Any line is accepted or refused with a position inside the text.
    #[test]
    fn no_text_panics(words in prop::collection::vec(
        prop::sample::select(vec![
            "-A", "-a", "-e", "-d", "-D", "-E", "-C", "-t", "-u", "-f", "-6", "-s", "rr", "mh", "-p", "-M", "-b", "-r", "-m",
            "-w", "-x", "-y", "--set", "0", "7", "10.0.0.1:80", "[::1]:80", "10.0.0.1", "[", "]:", ":", "flag-1", "64", "\n", "#",
        ]), 0..14)
    ) {
        let text = words.join(" ");
        match restore(&text) {
            Ok(ipvs) => prop_assert_eq!(restore(&ipvs.save()).unwrap().save(), ipvs.save()),
            Err(error) => prop_assert!(error.starts_with("ipvs.rules:"), "{}", error),
        }
    }
}

/// A server is deleted by the port that is written, whatever its forwarding method; it is added with the port of its service if
/// it is not translated and the service has one.
#[test]
fn servers_have_the_port_that_the_tool_gives_them() {
    for (service, server, shown) in [
        ("-t 10.96.0.1:80", "10.244.0.1:8080 -m", "10.244.0.1:8080"),
        ("-t 10.96.0.1:80", "10.244.0.1 -m", "10.244.0.1:80"),
        ("-t 10.96.0.1:80", "10.244.0.1:8080 -g", "10.244.0.1:80"),
        ("-f 7", "10.244.0.1:8080 -g", "10.244.0.1:8080"),
        ("-f 7", "10.244.0.1 -g", "10.244.0.1:0"),
    ] {
        let text = format!("-A {service}\n-a {service} -r {server}\n");
        let saved = restore(&text).unwrap().save();
        assert!(saved.contains(&format!(" -r {shown} ")), "{saved}");
        let ipvs = restore(&format!("{text}-d {service} -r {shown}\n")).unwrap();
        assert!(!ipvs.save().contains(" -r "), "{}", ipvs.save());
    }
}
