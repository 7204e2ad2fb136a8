//! Sets, as `ipset save` prints them.

use std::collections::{BTreeMap, BTreeSet};

use crate::address::{parse_cidr, parse_ip};
use crate::finding::DumpError;

/// The sets by name.
#[derive(Debug, Default)]
pub(super) struct SavedSets(pub(super) BTreeMap<String, SavedSet>);

/// A set.
#[derive(Debug, Default)]
pub(super) struct SavedSet {
    /// `hash:ip,port family inet maxelem 65536`: without what only says how the kernel stores members.
    pub(super) header: String,
    /// In the form of [`canonical`].
    pub(super) members: BTreeSet<String>,
}

impl SavedSets {
    /// # Errors
    /// The first line that `ipset save` does not print.
    pub(super) fn read(text: &str) -> Result<Self, DumpError> {
        let mut sets = Self::default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            sets.read_line(line).map_err(|expected| DumpError::in_line(index, line, expected))?;
        }
        Ok(sets)
    }

    fn read_line(&mut self, line: &str) -> Result<(), &'static str> {
        let mut words = line.split_ascii_whitespace();
        let (command, name) = (words.next(), words.next().ok_or("the name of a set")?);
        if command == Some("create") {
            let set = SavedSet { header: header(words)?, members: BTreeSet::new() };
            return match self.0.insert(name.to_owned(), set) {
                Some(_) => Err("each set once"),
                None => Ok(()),
            };
        }
        let set = self.0.get_mut(name).ok_or("a set that an earlier line creates")?;
        set.members.insert(canonical(words.next().ok_or("a member")?));
        Ok(())
    }
}

/// The type and the options that decide what the set can hold.
fn header<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<String, &'static str> {
    let mut header = words.next().ok_or("the type of the set")?.to_owned();
    while let Some(option) = words.next() {
        match option {
            // How the kernel stores members; it grows with them.
            "hashsize" | "bucketsize" | "initval" => {
                words.next();
            }
            other => header.extend([" ", other]),
        }
    }
    Ok(header)
}

/// A member with addresses in their shortest form, as the kernel prints it: a network with all bits is an address.
pub(super) fn canonical(member: &str) -> String {
    let part = |part: &str| {
        let net = parse_cidr(part).filter(|net| net.prefix_len() < net.max_prefix_len());
        let address = || parse_ip(part.split('/').next()?).map(|address| address.to_string());
        net.map(|net| net.to_string()).or_else(address).unwrap_or_else(|| part.to_owned())
    };
    member.split(',').map(part).collect::<Vec<_>>().join(",")
}
