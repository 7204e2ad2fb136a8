//! The sysctls `net.ipv4.vs.*` by name (`vs_vars`, net/netfilter/ipvs/ip_vs_ctl.c; ip_vs_lblc.c, ip_vs_lblcr.c).
//!
//! Every netns has them, as on a machine with the module loaded.

use super::settings::{ALWAYS, Settings};
use crate::sysctl::SysctlError;
use crate::text::value::decimal;
use crate::time::Duration;
use std::ops::RangeInclusive;

const PREFIX: &str = "net.ipv4.vs.";
const INT: RangeInclusive<u32> = 0..=0x7fff_ffff;

/// Where a value is kept.
#[derive(Clone, Copy)]
enum Place {
    Number(fn(&mut Settings) -> &mut u32),
    /// Any number but 0 turns it on.
    Switch(fn(&mut Settings) -> &mut bool),
    Seconds(fn(&mut Settings) -> &mut Duration),
    /// Not modelled: only this value is accepted.
    Only(u32),
    /// `sync_threshold`: two numbers, which matter only with a backup.
    Threshold,
}

struct Row {
    name: &'static str,
    range: RangeInclusive<u32>,
    place: Place,
}

const fn row(name: &'static str, range: RangeInclusive<u32>, place: Place) -> Row {
    Row { name, range, place }
}

/// Values of `drop_entry`, `drop_packet` and `secure_tcp` (`proc_do_defense_mode`).
const DEFENSE: RangeInclusive<u32> = 0..=ALWAYS;

const ROWS: [Row; 31] = [
    row("am_droprate", INT, Place::Number(|all| &mut all.am_droprate)),
    row("amemthresh", INT, Place::Number(|all| &mut all.inert.amemthresh)),
    row("backup_only", INT, Place::Number(|all| &mut all.inert.backup_only)),
    // Packets without a server would be sent to their destination.
    row("cache_bypass", INT, Place::Only(0)),
    row("conn_reuse_mode", INT, Place::Number(|all| &mut all.conn_reuse_mode)),
    row("conntrack", INT, Place::Switch(|all| &mut all.conntrack)),
    row("drop_entry", DEFENSE, Place::Number(|all| &mut all.drop_entry)),
    row("drop_packet", DEFENSE, Place::Number(|all| &mut all.drop_packet)),
    // Rates are not estimated. The list of processors is a text; only the default is accepted.
    row("est_cpulist", INT, Place::Only(0)),
    row("est_nice", INT, Place::Number(|all| &mut all.inert.est_nice)),
    row("expire_nodest_conn", INT, Place::Switch(|all| &mut all.expire_nodest_conn)),
    row("expire_quiescent_template", INT, Place::Switch(|all| &mut all.expire_quiescent_template)),
    row("ignore_tunneled", INT, Place::Switch(|all| &mut all.ignore_tunneled)),
    row("lblc_expiration", INT, Place::Seconds(|all| &mut all.lblc_expiration)),
    row("lblcr_expiration", INT, Place::Seconds(|all| &mut all.lblcr_expiration)),
    row("nat_icmp_send", INT, Place::Switch(|all| &mut all.nat_icmp_send)),
    row("pmtu_disc", INT, Place::Switch(|all| &mut all.pmtu_disc)),
    row("run_estimation", INT, Place::Number(|all| &mut all.inert.run_estimation)),
    row("schedule_icmp", INT, Place::Switch(|all| &mut all.schedule_icmp)),
    row("secure_tcp", DEFENSE, Place::Number(|all| &mut all.secure_tcp)),
    row("sloppy_sctp", INT, Place::Switch(|all| &mut all.sloppy_sctp)),
    row("sloppy_tcp", INT, Place::Switch(|all| &mut all.sloppy_tcp)),
    row("snat_reroute", INT, Place::Switch(|all| &mut all.snat_reroute)),
    row("sync_persist_mode", INT, Place::Number(|all| &mut all.inert.sync_persist_mode)),
    row("sync_ports", INT, Place::Number(|all| &mut all.inert.sync_ports)),
    row("sync_qlen_max", INT, Place::Number(|all| &mut all.inert.sync_qlen_max)),
    row("sync_refresh_period", INT, Place::Number(|all| &mut all.inert.sync_refresh_period)),
    row("sync_retries", 0..=3, Place::Number(|all| &mut all.inert.sync_retries)),
    row("sync_sock_size", INT, Place::Number(|all| &mut all.inert.sync_sock_size)),
    row("sync_threshold", INT, Place::Threshold),
    row("sync_version", 0..=1, Place::Number(|all| &mut all.inert.sync_version)),
];

/// The only accepted value of `sync_threshold`.
const THRESHOLD: &str = "3\t50";

impl Settings {
    /// True for names of these sysctls, known or not. The name may be separated by slashes.
    pub fn has(name: &str) -> bool {
        leaf(name).is_some()
    }

    /// Their names, in order.
    pub fn names() -> impl Iterator<Item = String> {
        ROWS.iter().map(|row| format!("{PREFIX}{}", row.name))
    }

    /// Sets a value by name, as `sysctl -w`.
    ///
    /// # Errors
    /// If the name is unknown, or the value invalid or not modelled.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SysctlError> {
        let refuse = |expected: String| SysctlError { name: name.into(), value: value.into(), expected };
        let row = row_of(name).map_err(refuse)?;
        let number = || decimal(value, row.range.clone()).map_err(refuse);
        match row.place {
            Place::Number(place) => *place(self) = number()?,
            Place::Switch(place) => *place(self) = number()? != 0,
            Place::Seconds(place) => *place(self) = Duration::from_secs(number()?.into()),
            Place::Only(only) => {
                if number()? != only {
                    return Err(refuse(format!("{only}: other values are not modelled")));
                }
            }
            Place::Threshold => {
                if !value.split_whitespace().eq(THRESHOLD.split_whitespace()) {
                    return Err(refuse(format!("{THRESHOLD:?}: other values are not modelled")));
                }
            }
        }
        Ok(())
    }

    /// A value by name, as `sysctl -n` prints it.
    ///
    /// # Errors
    /// If the name is unknown.
    pub fn get(&self, name: &str) -> Result<String, SysctlError> {
        let refuse = |expected| SysctlError { name: name.into(), value: String::new(), expected };
        let mut copy = *self;
        Ok(match row_of(name).map_err(refuse)?.place {
            Place::Number(place) => place(&mut copy).to_string(),
            Place::Switch(place) => u32::from(*place(&mut copy)).to_string(),
            Place::Seconds(place) => place(&mut copy).as_secs().to_string(),
            Place::Only(only) => only.to_string(),
            Place::Threshold => THRESHOLD.to_owned(),
        })
    }
}

/// The last part of a name: `conntrack` of `net.ipv4.vs.conntrack`.
fn leaf(name: &str) -> Option<String> {
    name.replace('/', ".").strip_prefix(PREFIX).map(str::to_owned)
}

fn row_of(name: &str) -> Result<&'static Row, String> {
    let leaf = leaf(name).unwrap_or_default();
    ROWS.iter().find(|row| row.name == leaf).ok_or_else(|| {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        format!("one of {} after {PREFIX}", names.join(", "))
    })
}
