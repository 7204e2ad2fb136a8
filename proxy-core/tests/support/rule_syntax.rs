//! A strict parser of restore input: it knows the words that our rules may contain, and nothing else.
#![allow(dead_code, reason = "each test uses its part of this")]

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Returns what is wrong with restore input, if anything.
pub(crate) fn check(text: &str) -> Result<(), String> {
    if let Some(character) = text.chars().find(|character| character.is_control() && *character != '\n') {
        return Err(format!("control character {character:?}"));
    }
    for line in text.lines() {
        check_line(line).map_err(|reason| format!("{reason} in {line:?}"))?;
    }
    Ok(())
}

fn check_line(line: &str) -> Result<(), String> {
    let mut words = words(line)?.into_iter().peekable();
    match words.next().as_deref() {
        Some("*filter" | "*nat" | "COMMIT") => {
            return words.next().map_or(Ok(()), |word| Err(format!("extra {word}")));
        }
        Some(word) if word.starts_with(':') => {
            chain(&word[1..])?;
            return if words.eq(["-", "[0:0]"]) { Ok(()) } else { Err("a bad declaration".into()) };
        }
        Some("-A" | "-D" | "-I" | "-X") => {}
        word => return Err(format!("no command: {word:?}")),
    }
    chain(&words.next().ok_or("no chain")?)?;
    words.next_if(|word| word.parse::<u32>().is_ok());
    while let Some(word) = words.next() {
        if FLAGS.contains(&word.as_str()) {
            continue;
        }
        let (_, check) =
            OPTIONS.iter().find(|(name, _)| *name == word).ok_or(format!("unknown word {word:?}"))?;
        check(&words.next().ok_or(format!("{word} without value"))?)?;
    }
    Ok(())
}

/// Words without value.
const FLAGS: [&str; 5] = ["!", "--set", "--rcheck", "--reap", "--random-fully"];

type Check = fn(&str) -> Result<(), String>;

/// Options with a value, and a check of the value.
const OPTIONS: [(&str, Check); 20] = [
    ("-m", |word| one_of(word, &MATCHES)),
    ("-p", |word| one_of(word, &["tcp", "udp", "sctp"])),
    ("--comment", comment),
    ("-s", address),
    ("-d", address),
    ("--dport", port),
    ("-i", device),
    ("--src-type", |word| one_of(word, &["LOCAL"])),
    ("--dst-type", |word| one_of(word, &["LOCAL"])),
    ("--ctstate", |word| one_of(word, &STATES)),
    ("--mark", mark),
    ("--or-mark", mark),
    ("--xor-mark", mark),
    ("--mode", |word| one_of(word, &["random"])),
    ("--probability", probability),
    ("--name", chain),
    ("--nfacct-name", |word| one_of(word, &["ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"])),
    ("--seconds", |word| word.parse::<u32>().map(drop).map_err(|error| error.to_string())),
    ("--to-destination", socket),
    ("-j", target),
];

const MATCHES: [&str; 10] =
    ["comment", "tcp", "udp", "sctp", "addrtype", "conntrack", "mark", "recent", "statistic", "nfacct"];

const STATES: [&str; 4] = ["NEW", "INVALID", "RELATED,ESTABLISHED", "RELATED,ESTABLISHED,DNAT"];

fn comment(text: &str) -> Result<(), String> {
    // XT_MAX_COMMENT_LEN, include/uapi/linux/netfilter/xt_comment.h, with the byte that ends it.
    if text.len() < 256 { Ok(()) } else { Err("a comment longer than the kernel takes".into()) }
}

fn device(name: &str) -> Result<(), String> {
    if name.len() <= 15 { Ok(()) } else { Err("a long device name".into()) }
}

fn socket(text: &str) -> Result<(), String> {
    let socket: SocketAddr = text.parse().map_err(|_| format!("no address and port: {text}"))?;
    port(&socket.port().to_string())
}

/// Splits at spaces outside of quotes.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (word, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let (word, after) = quoted.split_once('"').ok_or("an open quote")?;
            (
                word,
                after.strip_prefix(' ').or(after.is_empty().then_some("")).ok_or("no space after a quote")?,
            )
        } else {
            rest.split_once(' ').unwrap_or((rest, ""))
        };
        if word.is_empty() || word.contains(['"', '\\', '\'']) {
            return Err("an empty or quoted word".into());
        }
        words.push(word.to_owned());
        rest = after;
    }
    Ok(words)
}

fn one_of(word: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&word) { Ok(()) } else { Err(format!("{word} is none of {allowed:?}")) }
}

fn chain(name: &str) -> Result<(), String> {
    let is_plain = name.starts_with("KUBE-")
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-');
    if is_plain && name.len() <= 28 { Ok(()) } else { Err(format!("a bad chain {name:?}")) }
}

fn target(name: &str) -> Result<(), String> {
    one_of(name, &["ACCEPT", "DROP", "REJECT", "RETURN", "MARK", "MASQUERADE", "DNAT"])
        .or_else(|_| chain(name))
}

fn address(text: &str) -> Result<(), String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let net: IpNet = text.parse().map_err(|_| format!("no address: {text}"))?;
    if net.trunc() == net { Ok(()) } else { Err(format!("host bits in {text}")) }
}

fn port(text: &str) -> Result<(), String> {
    text.parse::<u16>().ok().filter(|port| *port > 0).map(drop).ok_or(format!("no port: {text}"))
}

fn mark(text: &str) -> Result<(), String> {
    let is_mark = |part: &str| {
        part.len() == 10 && part.strip_prefix("0x").is_some_and(|hex| u32::from_str_radix(hex, 16).is_ok())
    };
    if text.split('/').all(is_mark) { Ok(()) } else { Err(format!("no mark: {text}")) }
}

fn probability(text: &str) -> Result<(), String> {
    text.parse::<f64>()
        .ok()
        .filter(|value| *value > 0.0 && *value < 1.0)
        .map(drop)
        .ok_or(format!("no probability: {text}"))
}
