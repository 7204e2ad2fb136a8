//! `net.ipv4.tcp_rmem`: three numbers in one sysctl.

use std::fmt;

/// Sizes of a TCP socket's receive buffer, in bytes. Defaults are those of Linux 6.12 with at least 1 GiB of memory
/// (`tcp_init`, net/ipv4/tcp.c); since 6.16 the maximum is 32 MiB. A new default applies to sockets created afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpRmem {
    /// Minimum under memory pressure. There is none here, so it has no effect.
    pub min: u32,
    /// The initial size; half of it is the initial window.
    pub default: u32,
    /// The maximum size, which determines the window scale.
    pub max: u32,
}

impl Default for TcpRmem {
    fn default() -> Self {
        Self { min: 4_096, default: 131_072, max: 6_291_456 }
    }
}

impl TcpRmem {
    pub(super) const NAME: &str = "net.ipv4.tcp_rmem";

    /// Writes one to three numbers; the others are unchanged. The error says what was expected.
    /// Linux: ipv4_net_table, net/ipv4/sysctl_net_ipv4.c.
    pub(super) fn set(&mut self, text: &str) -> Result<(), String> {
        let expected = || "one to three numbers from 1 to 2147483647".to_owned();
        let words: Vec<&str> = text.split_whitespace().collect();
        let places = [&mut self.min, &mut self.default, &mut self.max];
        if words.is_empty() || words.len() > places.len() {
            return Err(expected());
        }
        let number = |word: &&str| crate::text::value::decimal(word, 1..=0x7fff_ffff);
        let numbers = words.iter().map(number).collect::<Result<Vec<_>, _>>().map_err(|_| expected())?;
        places.into_iter().zip(numbers).for_each(|(place, number)| *place = number);
        Ok(())
    }
}

impl fmt::Display for TcpRmem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}\t{}\t{}", self.min, self.default, self.max)
    }
}
