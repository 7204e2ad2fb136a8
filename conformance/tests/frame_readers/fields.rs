//! What a reader says about a frame: field by field, in words that are the same for all readers.

use std::collections::BTreeMap;
use std::fmt::Display;

/// Values by name. A field of a packet that is quoted in an ICMP error has `icmp quoted` before its name.
pub(crate) type Fields = BTreeMap<String, String>;

/// Fields of one header after the other.
pub(crate) struct Reading {
    pub(crate) fields: Fields,
    /// What stands before the names of fields: `icmp quoted ` inside an ICMP error.
    prefix: &'static str,
}

impl Reading {
    pub(crate) fn new() -> Self {
        Self { fields: Fields::new(), prefix: "" }
    }

    /// Whether it reads a packet that is quoted, whose end may be cut off.
    pub(crate) fn is_quoted(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Reads what an ICMP error quotes.
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

    /// Whether a checksum is right; one of a packet that is quoted covers bytes that are not there.
    pub(crate) fn checksum(&mut self, name: &str, is_valid: bool) {
        if !self.is_quoted() {
            self.field(&format!("{name} checksum is valid"), is_valid);
        }
    }
}

/// False for the field of a checksum that is wrong.
pub(crate) fn is_valid(name: &str, value: &str) -> bool {
    !name.ends_with("checksum is valid") || value == "true"
}

/// A hardware address.
pub(crate) fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// Whether an ICMP message quotes a packet (RFC 792): destination unreachable, source quench, redirect, time exceeded, parameter
/// problem.
pub(crate) const fn is_icmp_error(icmp_type: u8) -> bool {
    matches!(icmp_type, 3 | 4 | 5 | 11 | 12)
}

/// Whether an ICMP message is an echo request or reply.
pub(crate) const fn is_echo(icmp_type: u8) -> bool {
    matches!(icmp_type, 0 | 8)
}
