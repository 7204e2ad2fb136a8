//! Per-device sysctls: `net.ipv4.conf.*` and `net.ipv4.neigh.*`.

use crate::device::Devices;
use crate::ids::DeviceId;
use crate::time::Duration;
use std::collections::BTreeMap;

/// How `all` and a device's own value combine to the effective value (include/linux/inetdevice.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combine {
    /// The larger (`IN_DEV_MAXCONF`).
    Max,
    /// Either (`IN_DEV_ORCONF`).
    Or,
    /// Both (`IN_DEV_ANDCONF`).
    And,
    /// Both if the device forwards, else either (`IN_DEV_RX_REDIRECTS`).
    AndIfForwarding,
    /// The device's own; `all` is ignored (`IN_DEV_CONF_GET`).
    Own,
}

/// Directory of a device setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Group {
    Conf,
    Neigh,
}

impl Group {
    pub(super) const ALL: [Self; 2] = [Self::Conf, Self::Neigh];

    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Conf => "net.ipv4.conf.",
            Self::Neigh => "net.ipv4.neigh.",
        }
    }
}

/// A per-device sysctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table below describes each")]
pub enum DeviceSetting {
    AcceptLocal,
    AcceptRedirects,
    ArpAccept,
    ArpAnnounce,
    ArpFilter,
    ArpIgnore,
    BcForwarding,
    Forwarding,
    LogMartians,
    PromoteSecondaries,
    ProxyArp,
    RouteLocalnet,
    RpFilter,
    SecureRedirects,
    SendRedirects,
    SharedMedia,
    SrcValidMark,
    BaseReachableTimeMs,
    DelayFirstProbeTime,
    Locktime,
    McastResolicit,
    McastSolicit,
    ProxyDelay,
    RetransTimeMs,
    UcastSolicit,
    UnresQlenBytes,
}

struct Row {
    setting: DeviceSetting,
    group: Group,
    name: &'static str,
    default: u32,
    combine: Combine,
    /// The unit of a time; zero if the value is not a time.
    unit: Duration,
    /// A new default applies to existing devices, unless their value is pinned.
    is_followed: bool,
}

const fn conf(setting: DeviceSetting, name: &'static str, default: u32, combine: Combine) -> Row {
    Row { setting, group: Group::Conf, name, default, combine, unit: Duration::ZERO, is_followed: true }
}

/// A sysctl whose default applies to new devices only (`DEVINET_SYSCTL_FLUSHING_ENTRY`, and forwarding).
const fn unfollowed(row: Row) -> Row {
    Row { is_followed: false, ..row }
}

const fn neigh(setting: DeviceSetting, name: &'static str, default: u32, unit: Duration) -> Row {
    Row { setting, group: Group::Neigh, name, default, combine: Combine::Own, unit, is_followed: true }
}

const COUNT: Duration = Duration::ZERO;
const MILLISECOND: Duration = Duration::from_millis(1);
/// `USER_HZ` is 100 on every architecture that runs Kubernetes.
const USER_TICK: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);

// Linux: ipv4_devconf and ipv4_devconf_dflt, net/ipv4/devinet.c; arp_tbl, net/ipv4/arp.c; the macros of
// include/linux/inetdevice.h. Rows are in the order of the enum, so that a setting is its own index.
const ROWS: [Row; 26] = {
    use Combine::{And, AndIfForwarding, Max, Or, Own};
    use DeviceSetting as S;
    [
        // Unless set, a packet with a local address as source is martian.
        conf(S::AcceptLocal, "accept_local", 0, Or),
        // On; but enabling forwarding sets `all` to 0, so that routers follow no redirects.
        conf(S::AcceptRedirects, "accept_redirects", 1, AndIfForwarding),
        // Entries are created for senders of requests to us, not for mere announcements.
        conf(S::ArpAccept, "arp_accept", 0, Max),
        // kube-proxy's ipvs mode sets 2, so that VIPs of kube-ipvs0 are never announced as senders.
        conf(S::ArpAnnounce, "arp_announce", 0, Max),
        conf(S::ArpFilter, "arp_filter", 0, Or),
        // kube-proxy's ipvs mode sets 1, so that requests for VIPs of kube-ipvs0 are ignored.
        conf(S::ArpIgnore, "arp_ignore", 0, Max),
        conf(S::BcForwarding, "bc_forwarding", 0, And),
        // Only the device's own value applies; writing `all` copies it to every device.
        unfollowed(conf(S::Forwarding, "forwarding", 0, Own)),
        // Accepted without effect: the trace contains more than the log would.
        conf(S::LogMartians, "log_martians", 0, Or),
        unfollowed(conf(S::PromoteSecondaries, "promote_secondaries", 0, Or)),
        conf(S::ProxyArp, "proxy_arp", 0, Or),
        // kube-proxy's iptables mode sets it on `all`, for NodePorts on 127.0.0.1.
        unfollowed(conf(S::RouteLocalnet, "route_localnet", 0, Or)),
        // The kernel's default; systemd writes 2 to `default` on most distributions.
        conf(S::RpFilter, "rp_filter", 0, Max),
        // Without shared_media, only gateways of routes are accepted from redirects.
        conf(S::SecureRedirects, "secure_redirects", 1, Or),
        // On, combined with Or: to turn redirects off, both `all` and the device must be 0.
        conf(S::SendRedirects, "send_redirects", 1, Or),
        conf(S::SharedMedia, "shared_media", 1, Or),
        conf(S::SrcValidMark, "src_valid_mark", 0, Or),
        neigh(S::BaseReachableTimeMs, "base_reachable_time_ms", 30_000, MILLISECOND),
        neigh(S::DelayFirstProbeTime, "delay_first_probe_time", 5, SECOND),
        // The first of several replies within this time is used.
        neigh(S::Locktime, "locktime", 100, USER_TICK),
        neigh(S::McastResolicit, "mcast_resolicit", 0, COUNT),
        neigh(S::McastSolicit, "mcast_solicit", 3, COUNT),
        neigh(S::ProxyDelay, "proxy_delay", 80, USER_TICK),
        neigh(S::RetransTimeMs, "retrans_time_ms", 1_000, MILLISECOND),
        neigh(S::UcastSolicit, "ucast_solicit", 3, COUNT),
        // SK_WMEM_MAX (include/net/sock.h); `unres_qlen` prints the same limit as 101 full frames.
        neigh(S::UnresQlenBytes, "unres_qlen_bytes", 212_992, COUNT),
    ]
};

impl DeviceSetting {
    /// How `all` and the device's own value combine.
    pub const fn combine(self) -> Combine {
        ROWS[self as usize].combine
    }

    /// The last component of the name, such as `rp_filter`.
    pub const fn name(self) -> &'static str {
        ROWS[self as usize].name
    }

    /// The unit of a time; zero for counts and switches.
    pub(super) const fn unit(self) -> Duration {
        ROWS[self as usize].unit
    }

    pub(super) fn by_name(group: Group, name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.group == group && row.name == name).map(|row| row.setting)
    }

    pub(super) fn names(group: Group) -> impl Iterator<Item = &'static str> {
        ROWS.iter().filter(move |row| row.group == group).map(|row| row.name)
    }

    /// Deviation: the kernel accepts any `int`, including negative values, which have no meaning here.
    #[expect(
        clippy::unused_self,
        reason = "every row has the same range; a row with another range will need it"
    )]
    pub(super) fn parse(self, value: &str) -> Result<u32, String> {
        crate::text::value::decimal(value, 0..=i32::MAX.unsigned_abs())
    }
}

/// Values of `all`, `default` and every device.
#[derive(Clone, Debug)]
pub(super) struct DeviceValues {
    all: [u32; ROWS.len()],
    default: [u32; ROWS.len()],
    /// Values set for a device, by device and setting; others follow `default`.
    own: Vec<[Option<u32>; ROWS.len()]>,
    /// Number of devices when a default was first written.
    followers: BTreeMap<DeviceSetting, usize>,
}

impl Default for DeviceValues {
    fn default() -> Self {
        let mut values = [0; ROWS.len()];
        for row in &ROWS {
            values[row.setting as usize] = row.default;
        }
        Self { all: values, default: values, own: Vec::new(), followers: BTreeMap::new() }
    }
}

impl DeviceValues {
    pub(super) fn all(&self, setting: DeviceSetting) -> u32 {
        self.all[setting as usize]
    }

    pub(super) fn default_of(&self, setting: DeviceSetting) -> u32 {
        self.default[setting as usize]
    }

    pub(super) fn device(&self, setting: DeviceSetting, device: DeviceId) -> u32 {
        let own = self.own.get(usize::from(device.0)).and_then(|own| own[setting as usize]);
        own.unwrap_or(self.default[setting as usize])
    }

    pub(super) fn set_all(&mut self, setting: DeviceSetting, value: u32) {
        self.all[setting as usize] = value;
    }

    pub(super) fn set_device(&mut self, setting: DeviceSetting, device: DeviceId, value: u32) {
        *self.own_mut(setting, device) = Some(value);
    }

    fn own_mut(&mut self, setting: DeviceSetting, device: DeviceId) -> &mut Option<u32> {
        let index = usize::from(device.0);
        if self.own.len() <= index {
            self.own.resize(index + 1, [None; ROWS.len()]);
        }
        &mut self.own[index][setting as usize]
    }

    /// A new default applies to devices created later. Among existing devices, it applies only to those whose value was
    /// never written, that never had an address, and that existed before the default was first written.
    /// Linux: devinet_copy_dflt_conf, ipv4_devconf_setall and inetdev_init, net/ipv4/devinet.c; neigh_copy_dflt_parms,
    /// net/core/neighbour.c. The fact that a value was written is itself part of the default, which new devices copy.
    pub(super) fn set_default(&mut self, devices: &Devices, setting: DeviceSetting, value: u32) {
        let old = self.default[setting as usize];
        let followers = if ROWS[setting as usize].is_followed {
            *self.followers.entry(setting).or_insert_with(|| devices.iter().count())
        } else {
            0
        };
        for device in devices.iter() {
            if device.had_addr || usize::from(device.id.0) > followers {
                self.own_mut(setting, device.id).get_or_insert(old);
            }
        }
        self.default[setting as usize] = value;
    }

    /// Sets forwarding everywhere at once, unless `all` already has this value. Routers do not follow redirects, so it also
    /// sets `all` of `accept_redirects`.
    /// Linux: devinet_sysctl_forward and inet_forward_change, net/ipv4/devinet.c. It does not count as writing the
    /// default.
    pub(super) fn set_forwarding(&mut self, devices: &Devices, value: u32) {
        if self.all(DeviceSetting::Forwarding) == value {
            return;
        }
        self.set_all(DeviceSetting::Forwarding, value);
        self.set_all(DeviceSetting::AcceptRedirects, u32::from(value == 0));
        self.default[DeviceSetting::Forwarding as usize] = value;
        for device in devices.iter() {
            self.set_device(DeviceSetting::Forwarding, device.id, value);
        }
    }
}

#[cfg(test)]
pub(super) fn assert_order() {
    for (index, row) in ROWS.iter().enumerate() {
        assert_eq!(row.setting as usize, index, "{}", row.name);
    }
}
