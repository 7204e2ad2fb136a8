//! The `net.netfilter.nf_conntrack_*` sysctls of a netns (net/netfilter/nf_conntrack_standalone.c).

mod timeouts;

pub use timeouts::ConntrackTimeouts;
pub(super) use timeouts::seconds;

use crate::text::value::decimal;

/// Conntrack sysctls of a netns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConntrackSettings {
    /// `nf_conntrack_max`: maximum number of entries, including unconfirmed ones. Zero means unlimited.
    pub max: u32,
    /// `nf_conntrack_buckets`: number of hash buckets; at least one. Not a sysctl of the model. It decides which entries a full
    /// table may evict.
    pub buckets: u32,
    /// `nf_conntrack_checksum`: packets with a wrong checksum are INVALID at PREROUTING.
    pub checksum: bool,
    /// `nf_conntrack_tcp_loose`: connections are picked up mid-stream.
    pub tcp_loose: bool,
    /// `nf_conntrack_tcp_be_liberal`: packets outside the window are not INVALID.
    pub tcp_be_liberal: bool,
    /// `nf_conntrack_tcp_ignore_invalid_rst`: a RST below the highest acknowledgment is not INVALID.
    pub tcp_ignore_invalid_rst: bool,
    /// `nf_conntrack_tcp_max_retrans`: retransmissions after which a shorter timeout applies.
    pub tcp_max_retrans: u8,
    /// Timeouts by protocol and state.
    pub timeouts: ConntrackTimeouts,
}

impl Default for ConntrackSettings {
    /// The kernel's defaults on a machine with more than 4 GiB of memory, which determines `max` and `buckets`
    /// (`nf_conntrack_init_start`).
    fn default() -> Self {
        Self {
            max: 262_144,
            buckets: 262_144,
            checksum: true,
            tcp_loose: true,
            tcp_be_liberal: false,
            tcp_ignore_invalid_rst: false,
            tcp_max_retrans: 3,
            timeouts: ConntrackTimeouts::default(),
        }
    }
}

impl ConntrackSettings {
    /// The last component of a conntrack sysctl, such as `nf_conntrack_max` of `net.netfilter.nf_conntrack_max`; `None`
    /// if there is no such sysctl, or it has no effect on the model.
    pub fn leaf_of(name: &str) -> Option<&str> {
        let leaf = name.strip_prefix("net.netfilter.").or_else(|| {
            // An older name of the same sysctl.
            name.strip_prefix("net.").filter(|leaf| *leaf == "nf_conntrack_max")
        })?;
        Self::default().get(leaf).is_some().then_some(leaf)
    }

    /// The last components of all names that [`ConntrackSettings::get`] supports.
    pub fn leaves() -> Vec<&'static str> {
        let timeouts = ConntrackTimeouts::default().named().map(|(leaf, _)| leaf);
        ROWS.iter().map(|row| row.leaf).chain(timeouts).collect()
    }

    /// Sets a sysctl by the last component of its name, such as `nf_conntrack_tcp_timeout_established`; timeouts are in
    /// seconds.
    ///
    /// # Errors
    /// If there is no such sysctl or the kernel would reject the value; the error says what was expected.
    pub fn set(&mut self, leaf: &str, value: &str) -> Result<(), String> {
        if let Some(row) = ROWS.iter().find(|row| row.leaf == leaf) {
            (row.set)(self, decimal(value, 0..=row.max)?);
        } else {
            let timeout = self.timeouts.by_name(leaf).ok_or("the name of a conntrack sysctl")?;
            *timeout = decimal(value, 0..=INT_MAX)?;
        }
        Ok(())
    }

    /// The value of a sysctl by the last component of its name; `None` if there is no such sysctl.
    pub fn get(&self, leaf: &str) -> Option<u32> {
        match ROWS.iter().find(|row| row.leaf == leaf) {
            Some(row) => Some((row.get)(self)),
            None => self.timeouts.clone().by_name(leaf).copied(),
        }
    }
}

/// A sysctl that is not a timeout.
struct Row {
    leaf: &'static str,
    max: u32,
    get: fn(&ConntrackSettings) -> u32,
    set: fn(&mut ConntrackSettings, u32),
}

// Linux: nf_ct_sysctl_table, net/netfilter/nf_conntrack_standalone.c. Accessors, because the fields have different types.
const ROWS: [Row; 6] = [
    Row { leaf: "nf_conntrack_max", max: INT_MAX, get: |it| it.max, set: |it, value| it.max = value },
    Row {
        leaf: "nf_conntrack_checksum",
        max: 1,
        get: |it| it.checksum.into(),
        set: |it, value| it.checksum = value == 1,
    },
    Row {
        leaf: "nf_conntrack_tcp_loose",
        max: 1,
        get: |it| it.tcp_loose.into(),
        set: |it, value| it.tcp_loose = value == 1,
    },
    Row {
        leaf: "nf_conntrack_tcp_be_liberal",
        max: 1,
        get: |it| it.tcp_be_liberal.into(),
        set: |it, value| it.tcp_be_liberal = value == 1,
    },
    Row {
        leaf: "nf_conntrack_tcp_ignore_invalid_rst",
        max: 1,
        get: |it| it.tcp_ignore_invalid_rst.into(),
        set: |it, value| it.tcp_ignore_invalid_rst = value == 1,
    },
    Row {
        leaf: "nf_conntrack_tcp_max_retrans",
        max: u8::MAX as u32,
        get: |it| it.tcp_max_retrans.into(),
        set: |it, value| it.tcp_max_retrans = u8::try_from(value).unwrap_or(u8::MAX),
    },
];

const INT_MAX: u32 = 0x7fff_ffff;

#[cfg(test)]
mod tests;
