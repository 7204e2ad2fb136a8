//! Prints sets as input for `ipset restore`.

use super::element;
use super::entry::ElementData;
use super::header::Header;
use super::list::Member;
use super::set::Elements;
use super::{Ipset, SetId};
use crate::time::Instant;
use std::fmt::Write as _;

/// All sets with their elements. Lists come last, so that their members exist when they are restored
/// (`IPSET_DUMP_LAST`).
pub(super) fn save(ipset: &Ipset, now: Instant) -> String {
    let mut out = String::new();
    let is_list = |id: &SetId| matches!(ipset.set(*id).elements, Elements::List(_));
    let (lists, others): (Vec<SetId>, Vec<SetId>) = ipset.ids().partition(is_list);
    for id in others.into_iter().chain(lists) {
        save_set(&mut out, ipset, id, now);
    }
    out
}

fn save_set(out: &mut String, ipset: &Ipset, id: SetId, now: Instant) {
    let (name, set) = (ipset.name(id), ipset.set(id));
    _ = write!(out, "create {name}");
    set.header.print(out);
    out.push('\n');
    match &set.elements {
        Elements::Keyed(keyed) => {
            for (key, entry) in keyed.valid(now) {
                _ = write!(out, "add {name} ");
                element::print(out, &set.header, key);
                print_entry(out, &set.header, entry, now);
            }
        }
        Elements::List(members) => {
            for Member { set: member, entry } in members.iter().filter(|member| !member.entry.is_expired(now))
            {
                _ = write!(out, "add {name} {}", ipset.name(*member));
                print_entry(out, &set.header, entry, now);
            }
        }
    }
}

/// The rest of an `add` line.
fn print_entry(out: &mut String, header: &Header, entry: &ElementData, now: Instant) {
    if header.extensions.timeout.is_some() {
        _ = write!(out, " timeout {}", entry.seconds_left(now));
    }
    out.push_str(if entry.is_exception { " nomatch" } else { "" });
    if header.extensions.counters {
        _ = write!(out, " packets {} bytes {}", entry.packets, entry.bytes);
    }
    if let Some(comment) = &entry.comment {
        _ = write!(out, " comment \"{comment}\"");
    }
    out.push('\n');
}
