//! The `net.netfilter.nf_conntrack_*` sysctls of a netns (net/netfilter/nf_conntrack_standalone.c).

mod timeouts;

pub use timeouts::ConntrackTimeouts;
pub(super) use timeouts::seconds;

/// Conntrack sysctls of a netns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConntrackSettings {
    /// `nf_conntrack_max`: maximum number of entries, including unconfirmed ones. Zero means unlimited.
    pub max: u32,
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
    /// The kernel's defaults on a machine with more than 4 GiB of memory, which determines `max`
    /// (`nf_conntrack_init_start`).
    fn default() -> Self {
        Self {
            max: 262_144,
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
        LEAVES_BESIDE_TIMEOUTS.into_iter().chain(timeouts).collect()
    }

    /// Sets a sysctl by the last component of its name, such as `nf_conntrack_tcp_timeout_established`; timeouts are in
    /// seconds.
    ///
    /// # Errors
    /// If there is no such sysctl or the kernel would reject the value; the error says what was expected.
    pub fn set(&mut self, leaf: &str, value: &str) -> Result<(), String> {
        match leaf {
            "nf_conntrack_max" => self.max = number(value, INT_MAX)?,
            "nf_conntrack_checksum" => self.checksum = number(value, 1)? == 1,
            "nf_conntrack_tcp_loose" => self.tcp_loose = number(value, 1)? == 1,
            "nf_conntrack_tcp_be_liberal" => self.tcp_be_liberal = number(value, 1)? == 1,
            "nf_conntrack_tcp_ignore_invalid_rst" => self.tcp_ignore_invalid_rst = number(value, 1)? == 1,
            "nf_conntrack_tcp_max_retrans" => {
                self.tcp_max_retrans =
                    u8::try_from(number(value, 255)?).map_err(|error| error.to_string())?;
            }
            _ => {
                let timeout = self.timeouts.by_name(leaf).ok_or("the name of a conntrack sysctl")?;
                *timeout = number(value, INT_MAX)?;
            }
        }
        Ok(())
    }

    /// The value of a sysctl by the last component of its name; `None` if there is no such sysctl.
    pub fn get(&self, leaf: &str) -> Option<u32> {
        Some(match leaf {
            "nf_conntrack_max" => self.max,
            "nf_conntrack_checksum" => self.checksum.into(),
            "nf_conntrack_tcp_loose" => self.tcp_loose.into(),
            "nf_conntrack_tcp_be_liberal" => self.tcp_be_liberal.into(),
            "nf_conntrack_tcp_ignore_invalid_rst" => self.tcp_ignore_invalid_rst.into(),
            "nf_conntrack_tcp_max_retrans" => self.tcp_max_retrans.into(),
            _ => *self.timeouts.clone().by_name(leaf)?,
        })
    }
}

const LEAVES_BESIDE_TIMEOUTS: [&str; 6] = [
    "nf_conntrack_max",
    "nf_conntrack_checksum",
    "nf_conntrack_tcp_loose",
    "nf_conntrack_tcp_be_liberal",
    "nf_conntrack_tcp_ignore_invalid_rst",
    "nf_conntrack_tcp_max_retrans",
];

const INT_MAX: u32 = 0x7fff_ffff;

fn number(value: &str, max: u32) -> Result<u32, String> {
    value
        .trim()
        .parse()
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(|| format!("a number from 0 to {max}"))
}

#[cfg(test)]
mod tests;
