//! The value of an element, and reasons why a change to a set is rejected.

use super::header::Extensions;
use crate::mutation::Mutation;
use crate::time::{Duration, Instant};

/// The extensions of an element.
#[derive(Clone, Debug, Default)]
pub(super) struct ElementData {
    /// Expiry time; `None` if permanent.
    expires: Option<Instant>,
    /// An exception: addresses it covers are not in the set.
    pub(super) is_exception: bool,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) comment: Option<Box<str>>,
}

/// Options of an `add`.
#[derive(Clone, Debug, Default)]
pub(super) struct Additions {
    pub(super) timeout: Option<u32>,
    pub(super) packets: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) comment: Option<Box<str>>,
    pub(super) is_exception: bool,
}

impl ElementData {
    pub(super) fn new(additions: &Additions, extensions: &Extensions, now: Instant) -> Self {
        let mut entry = Self::default();
        entry.renew(additions, extensions, now);
        entry
    }

    /// Applies the options of an `add -exist`; counters are kept unless given.
    pub(super) fn renew(&mut self, additions: &Additions, extensions: &Extensions, now: Instant) {
        let seconds = extensions.timeout.map_or(0, |default| additions.timeout.unwrap_or(default));
        self.expires = (seconds > 0).then(|| now + Duration::from_secs(seconds.into()));
        self.is_exception = additions.is_exception;
        self.packets = additions.packets.unwrap_or(self.packets);
        self.bytes = additions.bytes.unwrap_or(self.bytes);
        self.comment.clone_from(&additions.comment);
    }

    /// Linux: `ip_set_timeout_expired`, include/linux/netfilter/ipset/ip_set.h.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        !Mutation::IpsetTimeoutIgnored.is_on() && self.expires.is_some_and(|expires| expires < now)
    }

    /// Remaining seconds as listed: zero means permanent, and less than one is shown as one (`ip_set_timeout_get`).
    pub(super) fn seconds_left(&self, now: Instant) -> u64 {
        self.expires.map_or(0, |expires| (expires - now).as_secs().max(1))
    }
}

/// Why the kernel rejected an operation (`enum ipset_errno`, include/uapi/linux/netfilter/ipset/ip_set.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IpsetErrno {
    /// `IPSET_ERR_EXIST` of an `add`.
    Exists,
    /// `IPSET_ERR_EXIST` of a `del`.
    Missing,
    /// `IPSET_ERR_HASH_FULL`.
    Full,
    /// `IPSET_ERR_HASH_ELEM`, and `EINVAL` of `hash:ip,port`.
    ZeroAddress,
    /// `IPSET_ERR_INVALID_CIDR` and `IPSET_ERR_HASH_RANGE`.
    Everything,
    /// `IPSET_ERR_NAME`.
    NoSuchSet,
    /// `IPSET_ERR_LOOP`.
    IsList,
    /// `IPSET_ERR_BITMAP_RANGE`.
    OutOfRange,
    /// `IPSET_ERR_TIMEOUT`, `IPSET_ERR_COUNTER`, `IPSET_ERR_COMMENT`: the set was created without this extension.
    NoExtension(&'static str),
    /// `IPSET_ERR_NAMEREF` and `IPSET_ERR_REF_EXIST`: the set after `before` or `after` is not in the list.
    NoNeighbour,
    /// Too many elements in one line for this simulator.
    TooMany,
}
