//! `twos`: two servers drawn by weight, and the one with less load.

use super::{Ask, Choice, Pool, RealServer, ServerId, Why};
use crate::draws::Purpose;

/// Linux: ip_vs_twos_schedule, net/netfilter/ipvs/ip_vs_twos.c. Both numbers are drawn up to the sum of weights, which
/// counts for the last server, as 0 counts for the first.
pub(super) fn schedule(pool: Pool<'_>, ask: &mut Ask<'_>) -> Choice {
    let candidates = || pool.iter().filter(|(_, server)| server.accepts());
    let total = candidates().fold(0_u32, |total, (_, server)| total.saturating_add(server.spec.weight));
    if total == 0 {
        return None;
    }
    let mut draw = || i64::from(ask.draws.below(ask.netns, Purpose::IpvsTwos, total.saturating_add(1)));
    let (first, second) = (pick(candidates(), draw())?, pick(candidates(), draw())?);
    let is_better = first.1.overhead() * second.1.weight() > second.1.overhead() * first.1.weight();
    Some((if is_better { second.0 } else { first.0 }, Why::BetterOfTwo))
}

/// The server at which the sum of weights reaches a number.
fn pick<'a>(
    mut servers: impl Iterator<Item = (ServerId, &'a RealServer)>,
    mut number: i64,
) -> Option<(ServerId, &'a RealServer)> {
    servers.find(|(_, server)| {
        number -= server.weight();
        number <= 0
    })
}
