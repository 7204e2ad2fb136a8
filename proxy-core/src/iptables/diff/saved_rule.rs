//! One rule in canonical `iptables-save` format, regardless of its origin.

use std::fmt;

use ipnet::IpNet;

use crate::address::{parse_cidr, parse_ip};
use crate::objects::IpFamily;

/// A rule in the format of `iptables-save`, so that equal rules have equal text.
///
/// iptables: `save_rule4`/`save_match_entry`, iptables/iptables.c; `save_rule`, iptables/nft-shared.c.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SavedRule {
    text: String,
    comment: Option<String>,
    target: Option<String>,
}

impl SavedRule {
    /// Parses the words of a rule after `-A CHAIN`.
    pub(crate) fn read(rule: &str, family: IpFamily) -> Self {
        let words = split(rule);
        let mut reader = Reader { family, words: words.iter().map(String::as_str), parts: Parts::default() };
        while reader.read_option().is_some() {}
        let Parts { source, destination, device, protocol, matches, target, comment } = reader.parts;
        let head = [source, destination, device, protocol].into_iter().flatten();
        let text: Vec<String> = head.chain(matches).chain(target.clone()).collect();
        let target = target.and_then(|target| target.split(' ').nth(1).map(str::to_owned));
        Self { text: text.join(" "), comment, target }
    }

    /// The rule's target: a chain or a verdict.
    pub(crate) fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// The service port named in the comment.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.comment.as_deref()?.split(' ').find(|word| word.contains('/'))
    }

    /// The comment.
    pub(crate) fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// The value of an option.
    pub(crate) fn value(&self, word: &str) -> Option<&str> {
        let mut words = self.text.split(' ');
        words.find(|other| *other == word)?;
        words.next()
    }
}

impl fmt::Display for SavedRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The parts of a rule, in print order.
#[derive(Default)]
struct Parts {
    source: Option<String>,
    destination: Option<String>,
    device: Option<String>,
    protocol: Option<String>,
    matches: Vec<String>,
    target: Option<String>,
    comment: Option<String>,
}

struct Reader<'a, I: Iterator<Item = &'a str>> {
    family: IpFamily,
    words: I,
    parts: Parts,
}

impl<'a, I: Iterator<Item = &'a str>> Reader<'a, I> {
    /// Parses one option with its negation and value; `None` at the end.
    fn read_option(&mut self) -> Option<()> {
        let mut word = self.words.next()?;
        let mut not = "";
        if word == "!" {
            not = "! ";
            word = self.words.next()?;
        }
        match word {
            "-s" | "--source" => self.parts.source = self.address("-s", not),
            "-d" | "--destination" => self.parts.destination = self.address("-d", not),
            "-i" => self.parts.device = self.words.next().map(|device| format!("{not}-i {device}")),
            "-p" => self.parts.protocol = self.words.next().map(|protocol| format!("{not}-p {protocol}")),
            "-j" | "-g" => self.read_target(word),
            "-m" => {
                let name = self.words.next()?;
                self.parts.matches.push(format!("-m {name}"));
            }
            "--comment" => {
                let comment = self.words.next()?;
                self.parts.matches.push(format!("--comment \"{comment}\""));
                self.parts.comment = Some(comment.to_owned());
            }
            "--probability" => {
                let probability = probability(self.words.next()?);
                self.parts.matches.push(format!("--probability {probability}"));
            }
            "--mark" => {
                let mark = mark(self.words.next()?);
                self.parts.matches.push(format!("{not}--mark {mark}"));
            }
            "--vproto" => {
                let protocol = protocol_number(self.words.next()?);
                // Printed before the other options of the match.
                let matches = &mut self.parts.matches;
                let ipvs = matches.iter().rposition(|word| word == "-m ipvs");
                matches.insert(ipvs.map_or(matches.len(), |at| at + 1), format!("{not}--vproto {protocol}"));
            }
            "--name" if self.parts.matches.last().is_some_and(|last| last == "-m recent") => {
                self.read_recent()
            }
            other => self.parts.matches.push(format!("{not}{other}")),
        }
        Some(())
    }

    /// An address with prefix length; omitted if it matches any address.
    fn address(&mut self, option: &str, not: &str) -> Option<String> {
        let text = self.words.next()?;
        let net = parse_cidr(text).or_else(|| parse_ip(text).map(IpNet::from));
        match net {
            Some(net) if net.prefix_len() == 0 && not.is_empty() => None,
            Some(net) => Some(format!("{not}{option} {net}")),
            None => Some(format!("{not}{option} {text}")),
        }
    }

    /// `recent` takes its name first, but is printed with the name after the other options.
    fn read_recent(&mut self) {
        let name = self.words.next().unwrap_or_default().to_owned();
        let mask = match self.family {
            IpFamily::V4 => "255.255.255.255",
            IpFamily::V6 => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        };
        let action = match self.words.next() {
            Some("--rcheck") => {
                let seconds = self.words.nth(1).unwrap_or_default().to_owned();
                let reap = self.words.next().unwrap_or_default();
                format!("--rcheck --seconds {seconds} {reap}")
            }
            Some(other) => other.to_owned(),
            None => String::new(),
        };
        self.parts.matches.push(format!("{action} --name {name} --mask {mask} --rsource"));
    }

    fn read_target(&mut self, option: &str) {
        let target = self.words.next().unwrap_or_default();
        let rest: Vec<&str> = self.words.by_ref().collect();
        let arguments = match (target, rest.as_slice()) {
            ("MARK", ["--or-mark", value]) => format!(" --set-xmark {0}/{0}", hex(value)),
            ("MARK", ["--xor-mark", value]) => format!(" --set-xmark {}/0x0", hex(value)),
            ("REJECT", []) => match self.family {
                IpFamily::V4 => " --reject-with icmp-port-unreachable".to_owned(),
                IpFamily::V6 => " --reject-with icmp6-port-unreachable".to_owned(),
            },
            (_, rest) => rest.iter().map(|word| format!(" {word}")).collect(),
        };
        self.parts.target = Some(format!("{option} {target}{arguments}"));
    }
}

/// True if every opening quotation mark has a closing one.
pub(crate) fn is_closed(rule: &str) -> bool {
    let mut rest = rule.trim_start();
    while let Some((_, after)) = next_word(rest) {
        rest = after;
    }
    rest.is_empty()
}

/// Splits at spaces outside of quotes, and removes the quotes. Text after an unclosed quote is omitted.
fn split(rule: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = rule.trim_start();
    while let Some((word, after)) = next_word(rest) {
        words.push(word);
        rest = after;
    }
    words
}

/// The first word and the rest; `None` at the end and at an unclosed quote. In quotes, a backslash escapes quotes and
/// backslashes (`xtables_save_string`, libxtables/xtables.c).
fn next_word(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, after) = text.split_once(' ').unwrap_or((text, ""));
        return (!word.is_empty()).then(|| (word.to_owned(), after.trim_start()));
    };
    let mut word = String::new();
    let mut characters = quoted.char_indices();
    loop {
        match characters.next()? {
            (end, '"') => return Some((word, quoted[end + 1..].trim_start())),
            (_, '\\') => word.push(characters.next()?.1),
            (_, character) => word.push(character),
        }
    }
}

/// Linux stores round(p * 2^31); iptables prints that fraction with 11 digits.
///
/// iptables: `statistic_mt_parse`, `print_match`, extensions/libxt_statistic.c.
fn probability(text: &str) -> String {
    const ONE: f64 = 2_147_483_648.0;
    match text.parse::<f64>() {
        Ok(value) => format!("{:.11}", (value * ONE).round() / ONE),
        Err(_) => text.to_owned(),
    }
}

/// The match `ipvs` prints the protocol as a number: `ipvs_mt_save`, extensions/libxt_ipvs.c.
fn protocol_number(text: &str) -> &str {
    match text {
        "tcp" => "6",
        "udp" => "17",
        "sctp" => "132",
        other => other,
    }
}

/// A mark with an optional mask, without leading zeros.
fn mark(text: &str) -> String {
    match text.split_once('/') {
        Some((value, mask)) => format!("{}/{}", hex(value), hex(mask)),
        None => hex(text),
    }
}

fn hex(text: &str) -> String {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u32::from_str_radix(digits, 16).map_or_else(|_| text.to_owned(), |value| format!("{value:#x}"))
}
