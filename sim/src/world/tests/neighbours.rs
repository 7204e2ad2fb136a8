//! Which packets confirm the next hops of a router.

use super::*;

/// Requests of the router for an address that it has learned, while a client has 15 exchanges within three seconds, and up to
/// five seconds later.
fn probes(protocol: ClientProtocol) -> usize {
    let Line { mut world, client, router, server } = line();
    world.tcp_listen(server, None, 80, Server::Echo).expect("a free port");
    world.udp_bind(server, None, 80, Server::Echo).expect("a free port");
    let flow =
        world.connect(client, ConnectSpec { is_kept_open: true, ..spec(protocol, "10.0.2.2", 80) }).unwrap();
    world.run_until(world.now() + Duration::from_millis(200));
    let socket = world.flow_result(flow).expect("a reply").socket;
    for _ in 0..14 {
        world.send_again(client, socket, b"again\n".to_vec(), Duration::from_secs(1)).expect("it is open");
        world.run_until(world.now() + Duration::from_millis(200));
    }
    world.set_kept(Kept::All);
    world.take_events();
    world.run_until(world.now() + Duration::from_secs(5));
    let is_request = |frame: &[u8]| frame[12..14] == [8, 6] && frame[ETHERNET_HEADER_LEN + 7] == 1;
    let events = world.trace().events().iter().filter(|event| event.netns == router);
    events
        .filter(|event| {
            matches!(&event.event, Event::Device(DeviceEvent::Transmitted { frame, .. }) if is_request(frame))
        })
        .count()
}

/// The router has learned the client's address from its request, so it must be confirmed after five seconds. A TCP segment
/// does so on all routers that it crosses by veth pairs, because `skb_scrub_packet` (net/core/skbuff.c) leaves
/// `dst_pending_confirm` as it is. Tried with two namespaces and a router between them on Linux 6.18.
#[test]
fn tcp_confirms_the_neighbours_of_routers_and_udp_does_not() {
    assert_eq!(probes(ClientProtocol::Tcp), 0);
    assert_eq!(probes(ClientProtocol::Udp), 1);
}
