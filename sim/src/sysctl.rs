//! Sysctls of a netns, by the names that `sysctl -a` prints.
//!
//! Defaults are those compiled into Linux 6.12. A real namespace may start with others: if
//! `net.core.devconf_inherit_init_net` is 0 or 1 it copies `net.ipv4.conf.{all,default}` from the initial namespace
//! (`devinet_init_net`, net/ipv4/devinet.c), which distributions change.

mod congestion_control;
mod device;
mod scalar;
mod tcp_rmem;

pub use congestion_control::CongestionControl;
pub use device::{Combine, DeviceSetting};
pub use scalar::Setting;
pub use tcp_rmem::TcpRmem;

use crate::device::Devices;
use crate::ids::DeviceId;
use crate::mutation::Mutation;
use crate::netfilter::conntrack::ConntrackSettings;
use crate::release::Release;
use crate::text::ports::PortRange;
use crate::time::Duration;
use device::DeviceValues;
use scalar::ScalarValues;

/// The sysctls of a netns that the simulator honours.
#[derive(Clone, Debug)]
pub struct Sysctls {
    /// `net.netfilter.nf_conntrack_*`.
    pub conntrack: ConntrackSettings,
    /// `net.ipv4.tcp_rmem`.
    pub tcp_rmem: TcpRmem,
    /// `net.ipv4.tcp_congestion_control`, for connections opened from now on.
    pub tcp_congestion_control: CongestionControl,
    scalars: ScalarValues,
    devices: DeviceValues,
    rmem_max: u32,
    release: Release,
    /// Number of changes.
    generation: u64,
}

/// `net.core.rmem_max` of Linux 6.12 in bytes (`SK_RMEM_MAX`, include/net/sock.h).
const RMEM_MAX: u32 = 212_992;

impl Default for Sysctls {
    fn default() -> Self {
        Self {
            conntrack: ConntrackSettings::default(),
            tcp_rmem: TcpRmem::default(),
            tcp_congestion_control: CongestionControl::default(),
            scalars: ScalarValues::default(),
            devices: DeviceValues::default(),
            rmem_max: RMEM_MAX,
            release: Release::NEWEST,
            generation: 0,
        }
    }
}

/// A rejected sysctl.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sysctl {name} = {value:?}: expected {expected}")]
pub struct SysctlError {
    /// The name as given.
    pub name: String,
    /// The value as given; empty for reads.
    pub value: String,
    /// The expected value or name.
    pub expected: String,
}

/// The meaning of a name.
enum Target {
    Scalar(Setting),
    /// `net.netfilter.NAME`
    Conntrack(String),
    /// `net.ipv4.tcp_rmem`
    TcpRmem,
    /// `net.ipv4.tcp_congestion_control`
    CongestionControl,
    /// `net.ipv4.conf.all.NAME`
    All(DeviceSetting),
    /// `net.ipv4.conf.default.NAME` or `net.ipv4.neigh.default.NAME`
    Default(DeviceSetting),
    /// `net.ipv4.conf.IFACE.NAME` or `net.ipv4.neigh.IFACE.NAME`
    Device(DeviceSetting, DeviceId),
}

impl Sysctls {
    /// Sets a value, like `sysctl -w NAME=VALUE`. The name may be separated by slashes as in /proc/sys; a device name
    /// with dots requires them, or is written with slashes for its dots, as in sysctl(8).
    ///
    /// # Errors
    /// If the name or its device is unknown, or the value is invalid.
    pub fn set(&mut self, devices: &Devices, name: &str, value: &str) -> Result<(), SysctlError> {
        self.generation += 1;
        let refuse = |expected: String| SysctlError { name: name.into(), value: value.into(), expected };
        match resolve(devices, name).map_err(refuse)? {
            Target::Scalar(Setting::IpForward) => {
                let on = DeviceSetting::Forwarding.parse(value).map_err(refuse)?;
                self.devices.set_forwarding(devices, on);
            }
            Target::Scalar(setting) => self.scalars.set(setting, value).map_err(refuse)?,
            Target::Conntrack(setting) => self.conntrack.set(&setting, value).map_err(refuse)?,
            Target::TcpRmem => self.tcp_rmem.set(value).map_err(refuse)?,
            Target::CongestionControl => {
                self.tcp_congestion_control = CongestionControl::parse(value).map_err(refuse)?;
            }
            Target::All(DeviceSetting::Forwarding) => {
                let on = DeviceSetting::Forwarding.parse(value).map_err(refuse)?;
                self.devices.set_forwarding(devices, on);
            }
            Target::All(setting) => self.devices.set_all(setting, setting.parse(value).map_err(refuse)?),
            Target::Default(setting) => {
                self.devices.set_default(devices, setting, setting.parse(value).map_err(refuse)?);
            }
            Target::Device(setting, id) => {
                self.devices.set_device(setting, id, setting.parse(value).map_err(refuse)?);
            }
        }
        Ok(())
    }

    /// The value of a sysctl, as `sysctl -n NAME` prints it.
    ///
    /// # Errors
    /// If the name or its device is unknown.
    pub fn get(&self, devices: &Devices, name: &str) -> Result<String, SysctlError> {
        let target = resolve(devices, name).map_err(|expected| SysctlError {
            name: name.into(),
            value: String::new(),
            expected,
        })?;
        Ok(match target {
            Target::Scalar(Setting::IpForward) => self.devices.all(DeviceSetting::Forwarding).to_string(),
            Target::Scalar(setting) => self.scalars.text(setting),
            Target::Conntrack(setting) => self.conntrack.get(&setting).unwrap_or_default().to_string(),
            Target::TcpRmem => self.tcp_rmem.to_string(),
            Target::CongestionControl => self.tcp_congestion_control.to_string(),
            Target::All(setting) => self.devices.all(setting).to_string(),
            Target::Default(setting) => self.devices.default_of(setting).to_string(),
            Target::Device(setting, id) => self.devices.device(setting, id).to_string(),
        })
    }

    /// All names available in a netns with these devices, as `sysctl -aN` prints them.
    pub fn names(devices: &Devices) -> Vec<String> {
        let conntrack = ConntrackSettings::leaves();
        let mut names: Vec<String> =
            Setting::names().chain([TcpRmem::NAME, CongestionControl::NAME]).map(str::to_owned).collect();
        names.extend(conntrack.into_iter().map(|leaf| format!("net.netfilter.{leaf}")));
        for group in device::Group::ALL {
            let all = (group == device::Group::Conf).then_some("all");
            let own = devices.iter().map(|device| &*device.name);
            for place in all.into_iter().chain(["default"]).chain(own) {
                let place = place.replace('.', "/");
                let leaves = DeviceSetting::names(group);
                names.extend(leaves.map(|leaf| format!("{}{place}.{leaf}", group.prefix())));
            }
        }
        names
    }

    /// `net.core.rmem_max`: the largest receive buffer that an application may request, in bytes. It is a setting of the
    /// machine, which a netns cannot change.
    pub(crate) const fn rmem_max(&self) -> u32 {
        self.rmem_max
    }

    pub(crate) const fn set_rmem_max(&mut self, bytes: u32) {
        self.generation += 1;
        self.rmem_max = bytes;
    }

    /// The release of Linux whose behaviour the netns has.
    pub(crate) const fn release(&self) -> Release {
        self.release
    }

    pub(crate) const fn set_release(&mut self, release: Release) {
        self.generation += 1;
        self.release = release;
    }

    /// The sysctls that a new netns takes from the initial one, with Linux's defaults. `neigh.default` exists in the initial
    /// netns only, but devices of all netns start with its values.
    /// Linux: devinet_init_net, net/ipv4/devinet.c; neigh_parms_alloc, net/core/neighbour.c.
    pub fn inherited() -> Vec<(String, String)> {
        let (devices, defaults) = (Devices::default(), Self::default());
        let groups = device::Group::ALL.map(device::Group::prefix);
        let names = Self::names(&devices)
            .into_iter()
            .filter(|name| groups.iter().any(|group| name.starts_with(group)));
        names
            .filter_map(|name| Some((defaults.get(&devices, &name).ok()?, name)))
            .map(|(value, name)| (name, value))
            .collect()
    }

    /// A number that changes whenever a setting changes.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The value of a sysctl that is not per device, in its own unit.
    pub fn value(&self, setting: Setting) -> u32 {
        self.scalars.get(setting)
    }

    /// The effective value for a device: `all` and the device's own value, combined as in include/linux/inetdevice.h
    /// (`IN_DEV_MAXCONF`, `IN_DEV_ORCONF`, `IN_DEV_ANDCONF`, `IN_DEV_CONF_GET`, `IN_DEV_RX_REDIRECTS`).
    pub fn effective(&self, setting: DeviceSetting, device: DeviceId) -> u32 {
        let all = self.devices.all(setting);
        let own = self.devices.device(setting, device);
        match setting.combine() {
            Combine::Max if Mutation::AllSettingUnread.is_on() => own,
            Combine::Max => all.max(own),
            Combine::Or => u32::from(all != 0 || own != 0),
            Combine::And => u32::from(all != 0 && own != 0),
            Combine::AndIfForwarding => u32::from(match self.forwarding(device) {
                true => all != 0 && own != 0,
                false => all != 0 || own != 0,
            }),
            Combine::Own if Mutation::DeviceSettingUnread.is_on() => all,
            Combine::Own => own,
        }
    }

    fn is_on(&self, setting: DeviceSetting, device: DeviceId) -> bool {
        self.effective(setting, device) != 0
    }

    /// Reverse path filter: 0 off, 1 strict, anything else loose (`IN_DEV_RPFILTER`).
    pub fn rp_filter(&self, device: DeviceId) -> u32 {
        self.effective(DeviceSetting::RpFilter, device)
    }

    /// True if 127.0.0.0/8 is allowed on this device (`IN_DEV_ROUTE_LOCALNET`).
    pub fn route_localnet(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::RouteLocalnet, device)
    }

    /// True if packets received on this device may be forwarded (`IN_DEV_FORWARD`).
    pub fn forwarding(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::Forwarding, device)
    }

    /// True if broadcasts received on this device are forwarded (`IN_DEV_BFORWARD`).
    pub fn bc_forwarding(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::BcForwarding, device)
    }

    /// True if local addresses are accepted as sources (`IN_DEV_ACCEPT_LOCAL`).
    pub fn accept_local(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::AcceptLocal, device)
    }

    /// True if ICMP redirects received on this device are followed (`IN_DEV_RX_REDIRECTS`).
    pub fn accept_redirects(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::AcceptRedirects, device)
    }

    /// True if redirects must name the gateway of a route; applies without `shared_media` (`IN_DEV_SEC_REDIRECTS`).
    pub fn secure_redirects(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::SecureRedirects, device)
    }

    /// True if ICMP redirects are sent (`IN_DEV_TX_REDIRECTS`).
    pub fn send_redirects(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::SendRedirects, device)
    }

    /// True if different subnets on the device are reachable directly (`IN_DEV_SHARED_MEDIA`).
    pub fn shared_media(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::SharedMedia, device)
    }

    /// True if the packet mark is used in the reverse path lookup (`IN_DEV_SRC_VMARK`).
    pub fn src_valid_mark(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::SrcValidMark, device)
    }

    /// Which ARP requests for local addresses are ignored (`IN_DEV_ARP_IGNORE`): 0 none, 1 those for addresses of other
    /// devices, 2 also those from another subnet, 3 those for addresses with scope host, 8 all.
    pub fn arp_ignore(&self, device: DeviceId) -> u32 {
        self.effective(DeviceSetting::ArpIgnore, device)
    }

    /// The source address of ARP requests (`IN_DEV_ARP_ANNOUNCE`): 0 the packet's, 1 the packet's if it is in the
    /// target's subnet, 2 the device's best.
    pub fn arp_announce(&self, device: DeviceId) -> u32 {
        self.effective(DeviceSetting::ArpAnnounce, device)
    }

    /// True if ARP requests are answered only if the route to the sender uses this device (`IN_DEV_ARPFILTER`).
    pub fn arp_filter(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::ArpFilter, device)
    }

    /// Whether unsolicited ARP creates entries (`IN_DEV_ARP_ACCEPT`): 0 no, 1 yes, 2 only for the device's subnets.
    pub fn arp_accept(&self, device: DeviceId) -> u32 {
        self.effective(DeviceSetting::ArpAccept, device)
    }

    /// True if ARP requests are answered for addresses routed to another device (`IN_DEV_PROXY_ARP`).
    pub fn proxy_arp(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::ProxyArp, device)
    }

    /// True if the first secondary address is promoted when its primary is removed (`IN_DEV_PROMOTE_SECONDARIES`).
    pub fn promote_secondaries(&self, device: DeviceId) -> bool {
        self.is_on(DeviceSetting::PromoteSecondaries, device)
    }

    /// A neighbour sysctl of a device that is a count.
    pub fn neigh_count(&self, setting: DeviceSetting, device: DeviceId) -> u32 {
        self.devices.device(setting, device)
    }

    /// A neighbour sysctl of a device that is a time, converted from its unit.
    pub fn neigh_time(&self, setting: DeviceSetting, device: DeviceId) -> Duration {
        setting.unit() * self.devices.device(setting, device)
    }

    /// TTL of locally generated packets.
    pub fn ip_default_ttl(&self) -> u8 {
        if Mutation::DefaultTtlUnread.is_on() {
            return 64;
        }
        u8::try_from(self.value(Setting::IpDefaultTtl)).expect("the table limits it to 255")
    }

    /// First and last ephemeral port.
    pub fn ip_local_port_range(&self) -> (u16, u16) {
        let PortRange { first, last } = self.scalars.local_port_range();
        (first, last)
    }

    /// Duration of FIN_WAIT2.
    pub fn tcp_fin_timeout(&self) -> Duration {
        Duration::from_secs(self.value(Setting::TcpFinTimeout).into())
    }

    /// True if bridged IPv4 traverses the IP hooks (br_netfilter).
    pub fn bridge_nf_call_iptables(&self) -> bool {
        self.value(Setting::BridgeNfCallIptables) != 0
    }
}

/// Resolves a name; the error says what was expected.
fn resolve(devices: &Devices, name: &str) -> Result<Target, String> {
    let dotted = name.replace('/', ".");
    if let Some(setting) = Setting::by_name(&dotted) {
        return Ok(Target::Scalar(setting));
    }
    if dotted == CongestionControl::NAME {
        return Ok(Target::CongestionControl);
    }
    if dotted == TcpRmem::NAME {
        return Ok(Target::TcpRmem);
    }
    if let Some(leaf) = ConntrackSettings::leaf_of(&dotted) {
        return Ok(Target::Conntrack(leaf.to_owned()));
    }
    for group in device::Group::ALL {
        if let Some(rest) = dotted.strip_prefix(group.prefix()) {
            return resolve_device_setting(devices, group, rest);
        }
    }
    Err("a sysctl that the simulator supports".into())
}

fn resolve_device_setting(devices: &Devices, group: device::Group, rest: &str) -> Result<Target, String> {
    let (place, leaf) = rest.rsplit_once('.').ok_or_else(|| format!("{}DEVICE.NAME", group.prefix()))?;
    let setting = DeviceSetting::by_name(group, leaf)
        .ok_or_else(|| format!("one of {}", DeviceSetting::names(group).collect::<Vec<_>>().join(", ")))?;
    match place {
        "all" if group == device::Group::Conf => Ok(Target::All(setting)),
        "default" => Ok(Target::Default(setting)),
        _ => devices
            .iter()
            .find(|device| device.name.replace('/', ".") == place)
            .map(|device| Target::Device(setting, device.id))
            .ok_or_else(|| format!("all, default or a device of this netns in place of {place:?}")),
    }
}

#[cfg(test)]
mod tests;
