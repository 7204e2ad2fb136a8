//! The route of a socket, cached until a route, a device or a setting changes (`sk_dst_cache`, include/net/sock.h).

use super::Endpoint;
use crate::fib::{OutputKey, Routing};
use crate::route::RouteResult;
use std::net::IpAddr;

/// A route and the generation of routing decisions from which it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DstCache(Option<(u64, RouteResult)>);

impl DstCache {
    /// The route, unless it may have changed (`__sk_dst_check`).
    pub(super) fn get(&self, routing: Routing<'_>) -> Option<RouteResult> {
        self.0.filter(|(made, _)| *made == routing.generation()).map(|(_, route)| route)
    }

    /// The route from `local` to `remote`, looked up again if it may have changed (`sk_dst_check`); `None` if there is
    /// no route.
    pub(super) fn check(
        &mut self,
        routing: Routing<'_>,
        local: Endpoint,
        remote: Endpoint,
    ) -> Option<RouteResult> {
        if let Some(route) = self.get(routing) {
            return Some(route);
        }
        // There is no stack for IPv6.
        let (IpAddr::V4(local), IpAddr::V4(remote)) = (local.0, remote.0) else { return None };
        let route = routing.output(&OutputKey::to(remote).from(local)).ok()?;
        self.0 = Some((routing.generation(), route));
        Some(route)
    }
}
