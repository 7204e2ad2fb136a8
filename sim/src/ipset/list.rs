//! `list:set`: lists of sets that are tested in order (net/netfilter/ipset/ip_set_list_set.c).

use super::SetId;
use super::entry::{ElementData, IpsetErrno};

/// A set in a list.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) set: SetId,
    pub(super) entry: ElementData,
}

/// A set to add or delete, with an optional neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberSpec {
    pub(super) set: SetId,
    pub(super) neighbour: Option<MemberPlace>,
}

/// The `before` and `after` options.
#[derive(Clone, Copy, Debug)]
pub(super) enum MemberPlace {
    /// Directly before that set.
    Before(SetId),
    /// Directly after that set.
    After(SetId),
}

/// The result of adding a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    New,
    /// It existed, and its options were updated.
    Again,
}

fn position(members: &[Member], set: SetId) -> Option<usize> {
    members.iter().position(|member| member.set == set)
}

// Linux: list_set_uadd
pub(super) fn add(
    members: &mut Vec<Member>,
    place: MemberSpec,
    exist: bool,
    renew: impl FnOnce(&mut ElementData),
) -> Result<Added, IpsetErrno> {
    let at = match place.neighbour {
        None => members.len(),
        Some(MemberPlace::Before(set)) => position(members, set).ok_or(IpsetErrno::NoNeighbour)?,
        Some(MemberPlace::After(set)) => position(members, set).ok_or(IpsetErrno::NoNeighbour)? + 1,
    };
    if let Some(known) = position(members, place.set) {
        if !exist {
            return Err(IpsetErrno::Exists);
        }
        renew(&mut members[known].entry);
        return Ok(Added::Again);
    }
    let mut entry = ElementData::default();
    renew(&mut entry);
    members.insert(at, Member { set: place.set, entry });
    Ok(Added::New)
}

// Linux: list_set_udel
pub(super) fn del(members: &mut Vec<Member>, place: MemberSpec) -> Result<(), IpsetErrno> {
    let missing = if place.neighbour.is_some() { IpsetErrno::NoNeighbour } else { IpsetErrno::Missing };
    let Some(at) = position(members, place.set) else { return Err(missing) };
    if !stands(members, at, place.neighbour) {
        return Err(missing);
    }
    members.remove(at);
    Ok(())
}

/// True if the set at `at` has that neighbour.
fn stands(members: &[Member], at: usize, neighbour: Option<MemberPlace>) -> bool {
    let is =
        |at: Option<usize>, set| at.and_then(|at| members.get(at)).is_some_and(|member| member.set == set);
    match neighbour {
        None => true,
        Some(MemberPlace::Before(set)) => is(Some(at + 1), set),
        Some(MemberPlace::After(set)) => is(at.checked_sub(1), set),
    }
}
