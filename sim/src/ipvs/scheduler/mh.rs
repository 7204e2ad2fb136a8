//! `mh`: Maglev hashing of the client's address (Eisenbud et al., NSDI 2016).
//!
//! A server that was set to weight 0 keeps its part of the table, because its last weight above 0 counts.

use super::sh::number;
use super::siphash::hsiphash;
use super::wrr::gcd;
use super::{Ask, Choice, Pool, RealServer, ServerId, Why, fold};

/// Size of the table, a prime (`IP_VS_MH_TAB_SIZE` with the default `CONFIG_IP_VS_MH_TAB_INDEX` 12).
const SIZE: u32 = 4_093;
/// Bits of the number of turns that a server may have in a round (`IP_VS_MH_TAB_BITS`).
const TURN_BITS: u32 = 6;
/// Keys of the two hashes (`generate_hash_secret`).
const KEY_OF_OFFSET: u64 = 2_654_435_761;
const KEY_OF_SKIP: u64 = 2_654_446_892;

/// The server of each position; empty if no server ever had a weight.
#[derive(Clone, Debug)]
pub(crate) struct Mh(Box<[ServerId]>);

/// The order in which a server claims positions (`struct ip_vs_mh_dest_setup`).
struct Claims {
    id: ServerId,
    position: u32,
    skip: u32,
    turns: i64,
}

impl Mh {
    /// Linux: ip_vs_mh_reassign and ip_vs_mh_populate, net/netfilter/ipvs/ip_vs_mh.c.
    pub(super) fn new(pool: Pool<'_>) -> Self {
        let mut table: Vec<Option<ServerId>> = vec![None; SIZE as usize];
        let mut claims = claims(pool);
        if claims.is_empty() {
            return Self(Box::default());
        }
        let mut left = SIZE;
        while left > 0 {
            for claim in &mut claims {
                for _ in 0..claim.turns.min(i64::from(left)) {
                    claim.take_next(&mut table);
                    left -= 1;
                }
            }
        }
        Self(table.into_iter().flatten().collect())
    }

    /// Linux: ip_vs_mh_schedule, ip_vs_mh_get and ip_vs_mh_get_fallback, net/netfilter/ipvs/ip_vs_mh.c.
    pub(super) fn schedule(&self, pool: Pool<'_>, ask: &Ask<'_>) -> Choice {
        let accepts = |offset: u32| {
            let position = hsiphash(ask.client().wrapping_add(offset), KEY_OF_OFFSET) % SIZE;
            let id = *self.0.get(position as usize)?;
            Some((position, pool.get(id).accepts().then_some(id)))
        };
        let (first, server) = accepts(0)?;
        if let Some(id) = server {
            return Some((id, Why::Bucket(number(first as usize))));
        }
        if !ask.has_fallback {
            return None;
        }
        (0..SIZE).find_map(|offset| {
            let (position, server) = accepts((offset + first) % SIZE)?;
            server.map(|id| (id, Why::FallbackBucket(number(position as usize))))
        })
    }
}

impl Claims {
    /// Takes the next free position of this server.
    fn take_next(&mut self, table: &mut [Option<ServerId>]) {
        while table[self.position as usize].is_some() {
            self.position = (self.position + self.skip) % SIZE;
        }
        table[self.position as usize] = Some(self.id);
    }
}

/// Linux: ip_vs_mh_gcd_weight, ip_vs_mh_shift_weight and ip_vs_mh_permutate, net/netfilter/ipvs/ip_vs_mh.c.
fn claims(pool: Pool<'_>) -> Vec<Claims> {
    let weights = || pool.iter().map(|(_, server)| i64::from(server.last_weight));
    let divisor = weights().fold(0, gcd);
    if divisor == 0 {
        return Vec::new();
    }
    let highest = weights().max().unwrap_or(0) / divisor;
    let shift = (i64::BITS - highest.leading_zeros()).saturating_sub(TURN_BITS);
    let claims = pool.iter().map(|(id, server)| Claims {
        id,
        position: hash(server, KEY_OF_OFFSET) % SIZE,
        skip: hash(server, KEY_OF_SKIP) % (SIZE - 1) + 1,
        turns: match i64::from(server.last_weight) {
            0 => 0,
            weight => ((weight / divisor) >> shift).max(1),
        },
    });
    claims.filter(|claim| claim.turns > 0).collect()
}

fn hash(server: &RealServer, key: u64) -> u32 {
    hsiphash(fold(server.addr()).wrapping_add(u32::from(server.port())), key)
}
