//! The options of a SYN that affect windows.

use crate::wire::TcpOption;
use crate::wire::tcp_option::MAX_WINDOW_SCALE;

/// Options of a SYN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SynOptions {
    /// Window scale, as a shift count.
    pub(super) scale: Option<u8>,
    /// Selective acknowledgments.
    pub(super) sack_permitted: bool,
}

impl SynOptions {
    /// Parses the options of a SYN (`tcp_options`, net/netfilter/nf_conntrack_proto_tcp.c).
    pub(super) fn parse(list: &[u8]) -> Self {
        let mut offered = Self::default();
        for option in TcpOption::iter(list) {
            match option {
                TcpOption::WindowScale(scale) => offered.scale = Some(scale.min(MAX_WINDOW_SCALE)),
                TcpOption::SackPermitted => offered.sack_permitted = true,
                TcpOption::Nop
                | TcpOption::Mss(_)
                | TcpOption::Sack(_)
                | TcpOption::Timestamps(..)
                | TcpOption::Other { .. } => {}
            }
        }
        offered
    }
}
