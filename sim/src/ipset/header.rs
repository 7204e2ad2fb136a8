//! Set types and the options of `create`.

mod options;

use super::address::family_name;
use super::keys::{self, Key};
use crate::hook::Family;
use crate::text::error::{Parse, RuleErrorKind};
use crate::text::line::Line;
use crate::text::value::number;
use crate::text::words::Value;
use std::fmt::Write as _;

/// A type of set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetType {
    BitmapIp,
    BitmapPort,
    HashIp,
    HashNet,
    HashIpPort,
    HashIpPortIp,
    HashIpPortNet,
    HashNetPort,
    ListSet,
}

/// Types that the real tool supports and this simulator does not; those without a colon are older names.
const UNSUPPORTED: &[&str] = &[
    "bitmap:ip,mac",
    "hash:ip,mac",
    "hash:ip,mark",
    "hash:mac",
    "hash:net,iface",
    "hash:net,net",
    "hash:net,port,net",
    "iphash",
    "ipmap",
    "ipporthash",
    "ipportiphash",
    "ipportnethash",
    "iptree",
    "iptreemap",
    "macipmap",
    "nethash",
    "portmap",
    "setlist",
];

impl SetType {
    const ALL: [Self; 9] = [
        Self::BitmapIp,
        Self::BitmapPort,
        Self::HashIp,
        Self::HashNet,
        Self::HashIpPort,
        Self::HashIpPortIp,
        Self::HashIpPortNet,
        Self::HashNetPort,
        Self::ListSet,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::BitmapIp => "bitmap:ip",
            Self::BitmapPort => "bitmap:port",
            Self::HashIp => "hash:ip",
            Self::HashNet => "hash:net",
            Self::HashIpPort => "hash:ip,port",
            Self::HashIpPortIp => "hash:ip,port,ip",
            Self::HashIpPortNet => "hash:ip,port,net",
            Self::HashNetPort => "hash:net,port",
            Self::ListSet => "list:set",
        }
    }

    fn read(name: Value<'_>) -> Parse<Self> {
        if let Some(known) = Self::ALL.into_iter().find(|known| known.name() == name.text) {
            return Ok(known);
        }
        if UNSUPPORTED.contains(&name.text) {
            return Err(name
                .expected("a supported set type")
                .kind(RuleErrorKind::Unsupported)
                .help("bitmap:ip, bitmap:port, hash:ip, hash:net, hash:ip,port, hash:ip,port,ip, hash:ip,port,net, hash:net,port, list:set"));
        }
        Err(name.expected("a set type such as `hash:ip,port`"))
    }

    /// The number of directions that a rule must specify (`.dimension` of `struct ip_set_type`).
    pub(super) const fn dimension(self) -> u8 {
        match self {
            Self::BitmapIp | Self::BitmapPort | Self::HashIp | Self::HashNet | Self::ListSet => 1,
            Self::HashIpPort | Self::HashNetPort => 2,
            Self::HashIpPortIp | Self::HashIpPortNet => 3,
        }
    }

    /// True if elements contain a network, and can be exceptions (`IPSET_TYPE_NOMATCH`).
    pub(super) const fn has_networks(self) -> bool {
        match self {
            Self::HashNet | Self::HashIpPortNet | Self::HashNetPort => true,
            Self::BitmapIp
            | Self::BitmapPort
            | Self::HashIp
            | Self::HashIpPort
            | Self::HashIpPortIp
            | Self::ListSet => false,
        }
    }

    /// Types with the same result can be swapped (`.features` of `struct ip_set_type`).
    pub(super) const fn contents(self) -> &'static str {
        match self {
            Self::BitmapIp | Self::HashIp => "addresses",
            Self::BitmapPort
            | Self::HashNet
            | Self::HashIpPort
            | Self::HashIpPortIp
            | Self::HashIpPortNet
            | Self::HashNetPort
            | Self::ListSet => self.name(),
        }
    }
}

/// How a set stores its elements, with the options specific to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    Bitmap {
        /// First and last address or port.
        range: (u32, u32),
        netmask: u8,
    },
    Hash {
        family: Family,
        hash_size: u32,
        max_elements: u32,
        netmask: u8,
        bucket_size: u8,
        init_value: Option<u32>,
    },
    List {
        size: u32,
    },
}

/// Extensions of elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    /// Default timeout of elements in seconds; zero means permanent.
    pub(super) timeout: Option<u32>,
    pub(super) counters: bool,
    pub(super) comment: bool,
}

/// Type and options of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) set_type: SetType,
    pub(super) storage: Storage,
    pub(super) extensions: Extensions,
}

/// Maximum timeout in seconds: milliseconds must fit an `int` (`IPSET_MAX_TIMEOUT`,
/// include/linux/netfilter/ipset/ip_set.h).
pub(crate) const MAX_TIMEOUT: u32 = i32::MAX as u32 / 1000;

impl Header {
    /// Parses the rest of a `create` line, from the type on.
    pub(super) fn read(line: &mut Line<'_>) -> Parse<Self> {
        let type_name = line.required("a set type")?;
        let set_type = SetType::read(type_name)?;
        let (storage, extensions) = options::read(set_type, type_name, line)?;
        Ok(Self { set_type, storage, extensions })
    }

    /// The family of packets that the set matches; `None` for both.
    pub(super) const fn family(&self) -> Option<Family> {
        match (self.storage, self.set_type) {
            (Storage::Hash { family, .. }, _) => Some(family),
            (Storage::Bitmap { .. }, SetType::BitmapIp) => Some(Family::Ipv4),
            (Storage::Bitmap { .. } | Storage::List { .. }, _) => None,
        }
    }

    /// Number of significant address bits.
    pub(super) const fn netmask(&self) -> u8 {
        match self.storage {
            Storage::Bitmap { netmask, .. } | Storage::Hash { netmask, .. } => netmask,
            Storage::List { .. } => 0,
        }
    }

    /// The key with its address masked to a network.
    pub(super) const fn in_network(&self, key: Key, prefix: u8) -> Key {
        let family = match self.family() {
            Some(family) => family,
            None => return key,
        };
        let mask = keys::mask(family, prefix);
        match self.set_type {
            SetType::HashIpPortNet => Key { prefix, second: key.second & mask, ..key },
            SetType::HashNet | SetType::HashNetPort => Key { prefix, addr: key.addr & mask, ..key },
            SetType::BitmapIp
            | SetType::BitmapPort
            | SetType::HashIp
            | SetType::HashIpPort
            | SetType::HashIpPortIp
            | SetType::ListSet => key,
        }
    }

    /// True if `create -exist` considers the sets equal (`same_set` of the types).
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let comparable = |header: &Self| {
            let mut header = *header;
            if let Storage::Hash { hash_size, bucket_size, init_value, .. } = &mut header.storage {
                (*hash_size, *bucket_size, *init_value) = (0, 0, None);
            }
            header
        };
        comparable(self) == comparable(other)
    }

    /// Appends the part of `ipset save` output after the name.
    pub(super) fn print(&self, out: &mut String) {
        _ = write!(out, " {}", self.set_type.name());
        match self.storage {
            Storage::Bitmap { range, netmask } => {
                out.push_str(" range ");
                self.print_bound(out, range.0);
                out.push('-');
                self.print_bound(out, range.1);
                if netmask != 32 {
                    _ = write!(out, " netmask {netmask}");
                }
            }
            Storage::Hash { family, hash_size, max_elements, netmask, .. } => {
                let family_name = family_name(family);
                _ = write!(out, " family {family_name} hashsize {hash_size} maxelem {max_elements}");
                if netmask != keys::bits(family) {
                    _ = write!(out, " netmask {netmask}");
                }
            }
            Storage::List { size } => _ = write!(out, " size {size}"),
        }
        let Extensions { timeout, counters, comment } = self.extensions;
        if let Some(timeout) = timeout {
            _ = write!(out, " timeout {timeout}");
        }
        out.push_str(if counters { " counters" } else { "" });
        out.push_str(if comment { " comment" } else { "" });
        if let Storage::Hash { bucket_size, init_value, .. } = self.storage {
            _ = write!(out, " bucketsize {bucket_size}");
            if let Some(init_value) = init_value {
                _ = write!(out, " initval 0x{init_value:08x}");
            }
        }
    }

    fn print_bound(&self, out: &mut String, bound: u32) {
        if self.set_type == SetType::BitmapIp {
            keys::print_addr(out, Family::Ipv4, bound.into());
        } else {
            _ = write!(out, "{bound}");
        }
    }
}

/// A 64-bit counter; the largest value means none.
pub(super) fn counter(value: Value<'_>) -> Parse<u64> {
    number(value.text)
        .filter(|count| *count < u64::MAX)
        .ok_or_else(|| value.expected("a number from 0 to 18446744073709551614"))
}
