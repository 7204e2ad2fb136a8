//! The options of `create`.

use super::{Extensions, MAX_TIMEOUT, SetType, Storage};
use crate::hook::Family;
use crate::ipset::address::range_v4;
use crate::ipset::keys;
use crate::ipset::words::once;
use crate::text::error::{Parse, Problem, RuleErrorKind};
use crate::text::line::Line;
use crate::text::value::{port, ranged};
use crate::text::words::Value;

/// `IPSET_DEFAULT_HASHSIZE` and `IPSET_DEFAULT_MAXELEM`, net/netfilter/ipset/ip_set_hash_gen.h.
const DEFAULT_HASH_SIZE: u32 = 1024;
const DEFAULT_MAX_ELEMENTS: u32 = 65_536;
/// `AHASH_INIT_SIZE` and `AHASH_MAX_SIZE`, which is also the default of `bucketsize`.
const MIN_BUCKET_SIZE: u8 = 2;
const MAX_BUCKET_SIZE: u8 = 12;
/// `IPSET_MIMINAL_HASHSIZE`.
const MIN_HASH_SIZE: u32 = 64;
/// `IP_SET_LIST_DEFAULT_SIZE` and `IP_SET_LIST_MIN_SIZE`, net/netfilter/ipset/ip_set_list_set.c.
const DEFAULT_LIST_SIZE: u32 = 8;
const MIN_LIST_SIZE: u32 = 4;
/// `IPSET_BITMAP_MAX_RANGE`.
const MAX_BITMAP: u64 = 0xffff;

/// Options of `create` as written.
#[derive(Default)]
struct Options<'w> {
    family: Option<Family>,
    hash_size: Option<u32>,
    max_elements: Option<u32>,
    netmask: Option<(u8, Value<'w>)>,
    bucket_size: Option<u8>,
    init_value: Option<u32>,
    size: Option<u32>,
    range: Option<Value<'w>>,
    extensions: Extensions,
}

/// Parses the options up to the end of the line. `type_name` is the position of the type.
pub(super) fn read(
    set_type: SetType,
    type_name: Value<'_>,
    line: &mut Line<'_>,
) -> Parse<(Storage, Extensions)> {
    let mut options = Options::default();
    while let Some(name) = line.next() {
        options.take(set_type, name, line)?;
    }
    let storage = match set_type {
        SetType::BitmapIp | SetType::BitmapPort => options.bitmap(set_type, type_name)?,
        SetType::ListSet => {
            Storage::List { size: options.size.unwrap_or(DEFAULT_LIST_SIZE).max(MIN_LIST_SIZE) }
        }
        SetType::HashIp
        | SetType::HashNet
        | SetType::HashIpPort
        | SetType::HashIpPortIp
        | SetType::HashIpPortNet
        | SetType::HashNetPort => options.hash()?,
    };
    Ok((storage, options.extensions))
}

impl<'w> Options<'w> {
    /// Parses one option; options of other types are unknown.
    fn take(&mut self, set_type: SetType, name: Value<'w>, line: &mut Line<'w>) -> Parse<()> {
        let is_bitmap = matches!(set_type, SetType::BitmapIp | SetType::BitmapPort);
        let is_list = set_type == SetType::ListSet;
        let is_hash = !is_bitmap && !is_list;
        match name.text {
            "timeout" => {
                let value = line.value(name)?;
                once(name, &mut self.extensions.timeout, ranged(value, 0..=MAX_TIMEOUT)?)?;
            }
            "counters" => self.extensions.counters = true,
            "comment" => self.extensions.comment = true,
            "forceadd" | "skbinfo" | "bitmask" | "markmask" => {
                return Err(name.expected("a supported option").kind(RuleErrorKind::Unsupported));
            }
            "family" if is_hash => {
                let value = line.value(name)?;
                once(name, &mut self.family, family_of(value)?)?;
            }
            "-4" if is_hash => once(name, &mut self.family, Family::Ipv4)?,
            "-6" if is_hash => once(name, &mut self.family, Family::Ipv6)?,
            "hashsize" if is_hash => once(name, &mut self.hash_size, any_u32(line.value(name)?)?)?,
            "maxelem" if is_hash => once(name, &mut self.max_elements, any_u32(line.value(name)?)?)?,
            "bucketsize" if is_hash => {
                let size = ranged(line.value(name)?, 0..=u32::from(u8::MAX))?;
                once(name, &mut self.bucket_size, u8::try_from(size).unwrap_or(u8::MAX))?;
            }
            "initval" if is_hash => once(name, &mut self.init_value, any_u32(line.value(name)?)?)?,
            "netmask" if matches!(set_type, SetType::HashIp | SetType::BitmapIp) => {
                let value = line.value(name)?;
                let bits = u8::try_from(ranged(value, 1..=128)?).unwrap_or(128);
                once(name, &mut self.netmask, (bits, value))?;
            }
            "range" if is_bitmap => once(name, &mut self.range, line.value(name)?)?,
            "size" if is_list => once(name, &mut self.size, any_u32(line.value(name)?)?)?,
            _ => return Err(name.expected(format!("an option of `create` with type {}", set_type.name()))),
        }
        Ok(())
    }

    /// Linux: `hash_*_create`, made from net/netfilter/ipset/ip_set_hash_gen.h.
    fn hash(&self) -> Parse<Storage> {
        let family = self.family.unwrap_or(Family::Ipv4);
        let netmask = match self.netmask {
            Some((netmask, value)) if netmask > keys::bits(family) => {
                return Err(value.expected(format!("a number from 1 to {}", keys::bits(family))));
            }
            Some((netmask, _)) => netmask,
            None => keys::bits(family),
        };
        let hash_size = self.hash_size.unwrap_or(DEFAULT_HASH_SIZE).max(MIN_HASH_SIZE);
        Ok(Storage::Hash {
            family,
            // `htable_bits`: values above the largest power of two are clamped to it.
            hash_size: hash_size.checked_next_power_of_two().unwrap_or(1 << 31),
            max_elements: self.max_elements.unwrap_or(DEFAULT_MAX_ELEMENTS),
            netmask,
            bucket_size: self.bucket_size.map_or(MAX_BUCKET_SIZE, |size| {
                size.clamp(MIN_BUCKET_SIZE, MAX_BUCKET_SIZE).next_multiple_of(2)
            }),
            init_value: self.init_value,
        })
    }

    /// Linux: `bitmap_ip_create`, net/netfilter/ipset/ip_set_bitmap_ip.c, and `bitmap_port_create`, ip_set_bitmap_port.c.
    fn bitmap(&self, set_type: SetType, type_name: Value<'_>) -> Parse<Storage> {
        let Some(range) = self.range else {
            return Err(Problem::new(RuleErrorKind::Syntax, type_name.at, "`range`", "none"));
        };
        if set_type == SetType::BitmapPort {
            let Some((first, last)) = range.text.split_once('-') else {
                return Err(range.expected("a range of ports such as `0-65535`"));
            };
            let (first, last) = (u32::from(port(range.part(first))?), u32::from(port(range.part(last))?));
            return Ok(Storage::Bitmap { range: (first.min(last), first.max(last)), netmask: 32 });
        }
        let (first, last) = range_v4(range)?
            .ok_or_else(|| range.expected("a range such as `10.0.0.0/24` or `10.0.0.0-10.0.0.255`"))?;
        let netmask = match self.netmask {
            Some((netmask, value)) if netmask > 32 => return Err(value.expected("a number from 1 to 32")),
            Some((netmask, _)) => netmask,
            None => 32,
        };
        if range.text.contains('/') && first == last {
            return Err(range.expected("a prefix length below 32").kind(RuleErrorKind::Refused));
        }
        let hosts = u32::MAX.checked_shr(netmask.into()).unwrap_or(0);
        let (first, last) = (first & !hosts, last | hosts);
        let elements = if netmask == 32 {
            u64::from(last - first) + 1
        } else {
            let prefix = prefix_of(first, last).filter(|prefix| *prefix < netmask);
            let prefix = prefix.ok_or_else(|| {
                let expected = format!("a network larger than those of `netmask {netmask}`");
                range.expected(expected).kind(RuleErrorKind::Refused)
            })?;
            1 << (netmask - prefix)
        };
        if elements > MAX_BITMAP + 1 {
            return Err(range.expected("a range of 65536 elements at most").kind(RuleErrorKind::Refused));
        }
        Ok(Storage::Bitmap { range: (first, last), netmask })
    }
}

/// The length of the longest prefix, at most 31, that maps a range's last address to its first one. The range need not
/// fill that network (`range_to_mask`, net/netfilter/ipset/ip_set_bitmap_ip.c).
fn prefix_of(first: u32, last: u32) -> Option<u8> {
    let is_prefix = |prefix: &u8| last & u32::MAX << (32 - prefix) == first;
    let is_everything = (first, last) == (0, u32::MAX);
    (1..=31).rev().find(is_prefix).or_else(|| is_everything.then_some(0))
}

fn family_of(value: Value<'_>) -> Parse<Family> {
    match value.text {
        "inet" | "ipv4" | "-4" => Ok(Family::Ipv4),
        "inet6" | "ipv6" | "-6" => Ok(Family::Ipv6),
        _ => Err(value.expected("`inet` or `inet6`")),
    }
}

fn any_u32(value: Value<'_>) -> Parse<u32> {
    ranged(value, 0..=u32::MAX)
}
