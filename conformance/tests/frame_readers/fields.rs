//! The fields of a frame as a reader parses them, with the same names for all readers.

use std::collections::BTreeMap;
use std::fmt::Display;

/// Values by name. A field of a packet quoted in an ICMP error has the prefix `icmp quoted`.
pub(crate) type Fields = BTreeMap<String, String>;

/// Collects fields header by header.
pub(crate) struct Reading {
    pub(crate) fields: Fields,
    /// Prefix of field names: `icmp quoted ` inside an ICMP error.
    prefix: &'static str,
}

impl Reading {
    pub(crate) fn new() -> Self {
        Self { fields: Fields::new(), prefix: "" }
    }

    /// True for a quoted packet, which may be truncated.
    pub(crate) fn is_quoted(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Reads the quote of an ICMP error.
    pub(crate) fn quoted(&mut self, read: impl FnOnce(&mut Self)) {
        if !self.is_quoted() {
            self.prefix = "icmp quoted ";
            read(self);
            self.prefix = "";
        }
    }

    pub(crate) fn field(&mut self, name: &str, value: impl Display) {
        let name = format!("{}{name}", self.prefix);
        let before = self.fields.insert(name.clone(), value.to_string());
        assert_eq!(before, None, "{name} is read once");
    }

    pub(crate) fn bytes(&mut self, name: &str, bytes: &[u8]) {
        self.field(name, bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    }

    /// Adds the validity of a checksum, except for quoted packets, whose checksum covers missing bytes.
    pub(crate) fn checksum(&mut self, name: &str, is_valid: bool) {
        if !self.is_quoted() {
            self.field(&format!("{name} checksum is valid"), is_valid);
        }
    }
}

/// False for an invalid checksum.
pub(crate) fn is_valid(name: &str, value: &str) -> bool {
    !name.ends_with("checksum is valid") || value == "true"
}

/// A hardware address.
pub(crate) fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// True if an ICMP message quotes a packet (RFC 792): destination unreachable, source quench, redirect, time exceeded,
/// parameter problem.
pub(crate) const fn is_icmp_error(icmp_type: u8) -> bool {
    matches!(icmp_type, 3 | 4 | 5 | 11 | 12)
}

/// True for an echo request or reply.
pub(crate) const fn is_echo(icmp_type: u8) -> bool {
    matches!(icmp_type, 0 | 8)
}
