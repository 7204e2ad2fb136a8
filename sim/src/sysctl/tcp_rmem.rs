//! `net.ipv4.tcp_rmem`: three numbers under one name.

use std::fmt;

/// Sizes of a TCP socket's receive buffer, in bytes. Defaults are those of Linux 6.12 with 1 GiB of memory or more (`tcp_init`,
/// net/ipv4/tcp.c); since 6.16 the largest is 32 MiB.
///
/// Deviation: a socket that listens keeps the buffer that it was made with; here all follow a new default at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpRmem {
    /// What is kept under memory pressure. Nothing here has any, so it has no effect.
    pub min: u32,
    /// With which sockets begin; half of it is the first window.
    pub default: u32,
    /// To which they grow; it decides the window scale.
    pub max: u32,
}

impl Default for TcpRmem {
    fn default() -> Self {
        Self { min: 4_096, default: 131_072, max: 6_291_456 }
    }
}

impl TcpRmem {
    pub(super) const NAME: &str = "net.ipv4.tcp_rmem";

    /// Writes one to three numbers; those that are left out stay. The error says what was expected.
    // Linux: ipv4_net_table, net/ipv4/sysctl_net_ipv4.c.
    pub(super) fn set(&mut self, text: &str) -> Result<(), String> {
        let expected = || "one to three numbers from 1 to 2147483647".to_owned();
        let words: Vec<&str> = text.split_whitespace().collect();
        let places = [&mut self.min, &mut self.default, &mut self.max];
        if words.is_empty() || words.len() > places.len() {
            return Err(expected());
        }
        let number = |word: &&str| super::scalar::parse_number(word, 1, 0x7fff_ffff);
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
