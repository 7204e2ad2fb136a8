//! What each mutation breaks.

use super::Mutation;
use Mutation as M;

/// A mutation, and the code of the kernel that it contradicts.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The mutation.
    pub mutation: Mutation,
    /// The file that asks for it, below `sim/src`.
    pub place: &'static str,
    /// What is wrong while it is on.
    pub breaks: &'static str,
    /// Function and file of the kernel that behave otherwise.
    pub kernel: &'static str,
}

const fn row(mutation: Mutation, place: &'static str, breaks: &'static str, kernel: &'static str) -> Row {
    Row { mutation, place, breaks, kernel }
}

/// All mutations, in the order of the enum.
pub const ROWS: [Row; 72] = [
    // NAT and masquerade
    row(
        M::NatReplyUntranslated,
        "netfilter/nat/manip.rs",
        "replies are not translated back",
        "nf_nat_packet, net/netfilter/nf_nat_core.c",
    ),
    row(
        M::NatChecksumStale,
        "wire/rewrite.rs",
        "translation leaves the TCP or UDP checksum as it was",
        "l4proto_manip_pkt, net/netfilter/nf_nat_proto.c",
    ),
    row(
        M::NatQuoteUntranslated,
        "netfilter/nat/manip.rs",
        "the packet quoted by an ICMP error stays translated",
        "nf_nat_icmp_reply_translation, net/netfilter/nf_nat_proto.c",
    ),
    row(
        M::NatRedirectPasses,
        "netfilter/nat/manip.rs",
        "a redirect about a translated flow is sent",
        "nf_nat_icmp_reply_translation, net/netfilter/nf_nat_proto.c",
    ),
    row(
        M::NatClashIgnored,
        "netfilter/nat/unique.rs",
        "two flows may get the same reply tuple",
        "nf_nat_used_tuple, net/netfilter/nf_nat_core.c",
    ),
    row(
        M::NatLowPortsIgnored,
        "netfilter/nat/unique.rs",
        "a source port below 512 is mapped above 1023",
        "nf_nat_l4proto_unique_tuple, net/netfilter/nf_nat_core.c",
    ),
    row(
        M::NatAsksEveryPacket,
        "netfilter/nat.rs",
        "rules are asked again for a flow that has a binding",
        "nf_nat_inet_fn, net/netfilter/nf_nat_core.c",
    ),
    row(
        M::MasqueradeKeepsPort,
        "netfilter/nat.rs",
        "`--random-fully` keeps the source port",
        "get_unique_tuple, net/netfilter/nf_nat_core.c",
    ),
    row(
        M::MasqueradeTakesFirstDevice,
        "netfilter/nat/bind.rs",
        "the new source is an address of another device",
        "nf_nat_masquerade_ipv4, net/netfilter/nf_nat_masquerade.c",
    ),
    // Conntrack
    row(
        M::LocalFlowsUnconfirmed,
        "netfilter/conntrack/confirm.rs",
        "flows to the node itself never enter the table",
        "nf_confirm at LOCAL_IN, net/netfilter/nf_conntrack_proto.c",
    ),
    row(
        M::ErrorsInvalid,
        "netfilter/conntrack/icmp.rs",
        "ICMP errors are INVALID instead of RELATED",
        "nf_conntrack_inet_error, net/netfilter/nf_conntrack_proto_icmp.c",
    ),
    row(
        M::MidstreamRefused,
        "netfilter/conntrack/tcp.rs",
        "a connection is not picked up in the middle",
        "tcp_new, net/netfilter/nf_conntrack_proto_tcp.c",
    ),
    row(
        M::WindowUnchecked,
        "netfilter/conntrack/tcp/window.rs",
        "segments outside the window are valid",
        "tcp_in_window, net/netfilter/nf_conntrack_proto_tcp.c",
    ),
    row(
        M::ResetUnchecked,
        "netfilter/conntrack/tcp/judge.rs",
        "any RST closes the connection",
        "nf_conntrack_tcp_packet, net/netfilter/nf_conntrack_proto_tcp.c",
    ),
    row(
        M::ResetKeepsEntry,
        "netfilter/conntrack/tcp/judge.rs",
        "a RST as the only reply leaves the entry",
        "nf_conntrack_tcp_packet, net/netfilter/nf_conntrack_proto_tcp.c",
    ),
    row(
        M::SynRetryRefreshes,
        "netfilter/conntrack/tcp/judge.rs",
        "a retransmitted SYN renews the timeout",
        "nf_conntrack_tcp_packet, net/netfilter/nf_conntrack_proto_tcp.c",
    ),
    row(
        M::ReopenRefused,
        "netfilter/conntrack/tcp/judge.rs",
        "a SYN for a closed connection keeps the old entry",
        "nf_conntrack_tcp_packet, net/netfilter/nf_conntrack_proto_tcp.c",
    ),
    row(
        M::UdpNeverAssured,
        "netfilter/conntrack/udp.rs",
        "a UDP stream is not ASSURED",
        "nf_conntrack_udp_packet, net/netfilter/nf_conntrack_proto_udp.c",
    ),
    // Timeouts
    row(
        M::UdpTimeoutShort,
        "netfilter/conntrack/settings/timeouts.rs",
        "UDP entries live 20 s instead of 30 s",
        "udp_timeouts, net/netfilter/nf_conntrack_proto_udp.c",
    ),
    row(
        M::UdpStreamTimeoutLong,
        "netfilter/conntrack/settings/timeouts.rs",
        "UDP streams live 180 s instead of 120 s",
        "udp_timeouts, net/netfilter/nf_conntrack_proto_udp.c",
    ),
    row(
        M::UdpStreamAtOnce,
        "netfilter/conntrack/udp.rs",
        "the second datagram of the client makes a stream, whatever the age",
        "nf_conntrack_udp_packet, net/netfilter/nf_conntrack_proto_udp.c",
    ),
    row(
        M::SynSentTimeoutShort,
        "netfilter/conntrack/settings/timeouts.rs",
        "SYN_SENT lasts 60 s instead of 120 s",
        "tcp_timeouts, net/netfilter/nf_conntrack_proto_tcp.c",
    ),
    row(
        M::EstablishedTimeoutShort,
        "netfilter/conntrack/settings/timeouts.rs",
        "ESTABLISHED lasts half as long as its sysctl says",
        "tcp_timeouts, net/netfilter/nf_conntrack_proto_tcp.c",
    ),
    row(
        M::TimeWaitTimeoutShort,
        "netfilter/conntrack/settings/timeouts.rs",
        "TIME_WAIT lasts 60 s instead of 120 s",
        "tcp_timeouts, net/netfilter/nf_conntrack_proto_tcp.c",
    ),
    row(
        M::CloseTimeoutLong,
        "netfilter/conntrack/settings/timeouts.rs",
        "CLOSE lasts 20 s instead of 10 s",
        "tcp_timeouts, net/netfilter/nf_conntrack_proto_tcp.c",
    ),
    row(
        M::IcmpTimeoutShort,
        "netfilter/conntrack/settings/timeouts.rs",
        "echo entries live 10 s instead of 30 s",
        "nf_ct_icmp_timeout, net/netfilter/nf_conntrack_proto_icmp.c",
    ),
    // Routing and source validation
    row(
        M::SourceUnvalidated,
        "fib/input.rs",
        "any source address is accepted",
        "fib_validate_source, net/ipv4/fib_frontend.c",
    ),
    row(
        M::StrictFilterLoose,
        "fib/input.rs",
        "rp_filter 1 acts like 2",
        "__fib_validate_source, net/ipv4/fib_frontend.c",
    ),
    row(
        M::LoopbackRouted,
        "fib/input.rs",
        "127.0.0.0/8 is accepted from the network without route_localnet",
        "ip_route_input_slow, net/ipv4/route.c",
    ),
    row(
        M::ForwardingAlwaysOn,
        "fib/input.rs",
        "packets are forwarded with forwarding off",
        "ip_route_input_slow, net/ipv4/route.c",
    ),
    row(
        M::RedirectsUnsent,
        "fib/input.rs",
        "a router sends no redirects",
        "__mkroute_input, net/ipv4/route.c",
    ),
    row(
        M::RedirectPauseLong,
        "icmp_limit.rs",
        "a router pauses ten times as long between redirects",
        "ip_rt_send_redirect, net/ipv4/route.c",
    ),
    row(
        M::RouteErrorsUnsent,
        "stack/ip_input.rs",
        "a router does not report that it has no route",
        "ip_error, net/ipv4/route.c",
    ),
    row(
        M::TtlKept,
        "stack/ip_forward.rs",
        "forwarding does not decrement the TTL",
        "ip_forward, net/ipv4/ip_forward.c",
    ),
    row(
        M::TtlZeroForwarded,
        "stack/ip_forward.rs",
        "a packet with TTL 1 is forwarded",
        "ip_forward, net/ipv4/ip_forward.c",
    ),
    // ARP
    row(M::ArpIgnoreUnread, "neigh/arp.rs", "arp_ignore has no effect", "arp_ignore, net/ipv4/arp.c"),
    row(
        M::ArpAnnounceUnread,
        "neigh/solicit.rs",
        "arp_announce has no effect",
        "arp_solicit, net/ipv4/arp.c",
    ),
    row(
        M::ArpAnswersForOwnDevice,
        "neigh/arp.rs",
        "only requests for an address of the receiving device are answered",
        "arp_process, net/ipv4/arp.c",
    ),
    row(
        M::ArpAskersUnlearned,
        "neigh/arp.rs",
        "a request does not create an entry for its sender",
        "arp_process, net/ipv4/arp.c",
    ),
    row(
        M::ArpFailureSilent,
        "neigh/queue.rs",
        "no ICMP error when the next hop does not answer",
        "arp_error_report, net/ipv4/arp.c",
    ),
    row(
        M::ArpQueueHoldsOne,
        "neigh/queue.rs",
        "only the last packet waits for the next hop",
        "__neigh_event_send, net/core/neighbour.c",
    ),
    // Bridge
    row(
        M::HairpinAlwaysOn,
        "bridge.rs",
        "frames may leave by the port by which they came",
        "should_deliver, net/bridge/br_forward.c",
    ),
    row(M::BridgeNeverLearns, "bridge.rs", "every frame is flooded", "br_fdb_update, net/bridge/br_fdb.c"),
    row(
        M::BridgeSkipsIptables,
        "bridge/netfilter.rs",
        "bridged packets do not traverse iptables",
        "br_nf_pre_routing, net/bridge/br_netfilter_hooks.c",
    ),
    row(
        M::BridgedDnatPassedUp,
        "bridge/netfilter.rs",
        "a packet that stays on its bridge after DNAT is routed",
        "br_nf_pre_routing_finish, net/bridge/br_netfilter_hooks.c",
    ),
    row(
        M::BridgedDnatTakesOwnMac,
        "bridge/netfilter.rs",
        "a packet bridged after DNAT has the bridge as source",
        "br_nf_pre_routing_finish_bridge_slow, net/bridge/br_netfilter_hooks.c",
    ),
    // Matches and targets of iptables
    row(
        M::RecentSecondsIgnored,
        "xtables/matches/recent.rs",
        "`recent --seconds` matches forever",
        "recent_mt, net/netfilter/xt_recent.c",
    ),
    row(
        M::RecentSetOnce,
        "xtables/matches/recent.rs",
        "`recent --set` does not renew the time stamp",
        "recent_mt, net/netfilter/xt_recent.c",
    ),
    row(
        M::RecentListShared,
        "xtables/recent_lists.rs",
        "all rules with `recent` use one list",
        "recent_table_lookup, net/netfilter/xt_recent.c",
    ),
    row(
        M::StatisticHalved,
        "xtables/matches/statistic.rs",
        "`--probability` is halved",
        "statistic_mt, net/netfilter/xt_statistic.c",
    ),
    // REJECT
    row(
        M::RejectWithHostUnreachable,
        "xtables/targets/reject.rs",
        "REJECT answers with host unreachable",
        "reject_tg, net/ipv4/netfilter/ipt_REJECT.c",
    ),
    row(
        M::RejectResetTtl,
        "stack/reject.rs",
        "the RST has the TTL of the rejected segment",
        "nf_reject_iphdr_put, net/ipv4/netfilter/nf_reject_ipv4.c",
    ),
    row(
        M::RejectResetAcksShort,
        "stack/reject.rs",
        "the RST does not acknowledge the SYN",
        "nf_reject_ip_tcphdr_put, net/ipv4/netfilter/nf_reject_ipv4.c",
    ),
    row(
        M::RejectResetLeavesOpen,
        "stack/reject.rs",
        "the RST does not close the conntrack entry",
        "nf_ct_set_closing, net/ipv4/netfilter/nf_reject_ipv4.c",
    ),
    // TCP endpoints
    row(
        M::SynTimeoutLong,
        "socket/tcp/rtt.rs",
        "a SYN is retransmitted after 2 s instead of 1 s",
        "TCP_TIMEOUT_INIT, include/net/tcp.h",
    ),
    // ICMP
    row(
        M::ErrorFromRouteSource,
        "stack/icmp.rs",
        "an error comes from another address than the contacted one",
        "__icmp_send, net/ipv4/icmp.c",
    ),
    row(
        M::ErrorQuotesEightBytes,
        "stack/icmp.rs",
        "an error quotes the header and eight bytes",
        "__icmp_send, net/ipv4/icmp.c",
    ),
    row(
        M::ErrorPrecedenceMissing,
        "stack/icmp.rs",
        "an error has the TOS of the packet",
        "__icmp_send, net/ipv4/icmp.c",
    ),
    row(
        M::ErrorUntracked,
        "stack/icmp.rs",
        "an error does not belong to the flow of the packet",
        "icmp_glue_bits, net/ipv4/icmp.c",
    ),
    row(
        M::ErrorsAboutGroups,
        "stack/icmp.rs",
        "errors are sent about broadcasts",
        "__icmp_send, net/ipv4/icmp.c",
    ),
    row(
        M::ErrorsUnlimited,
        "icmp_limit.rs",
        "the rate of errors is not limited",
        "icmpv4_xrlim_allow, net/ipv4/icmp.c",
    ),
    row(
        M::ErrorTokensSlow,
        "icmp_limit.rs",
        "a peer that got too many errors waits ten times as long for the next",
        "inet_peer_xrlim_allow, net/ipv4/inetpeer.c",
    ),
    // Reassembly
    row(
        M::FragmentsUnassembled,
        "stack/defrag.rs",
        "conntrack sees fragments",
        "ipv4_conntrack_defrag, net/ipv4/netfilter/nf_defrag_ipv4.c",
    ),
    row(
        M::FragmentSizesForgotten,
        "stack/fragment.rs",
        "a reassembled packet is cut by the MTU",
        "ip_do_fragment, net/ipv4/ip_output.c",
    ),
    row(
        M::FragmentOverlapKept,
        "defrag/queue.rs",
        "an overlapping fragment is dropped alone",
        "inet_frag_queue_insert, net/ipv4/inet_fragment.c",
    ),
    // ipset
    row(
        M::IpsetTimeoutIgnored,
        "ipset/entry.rs",
        "elements never expire",
        "ip_set_timeout_expired, include/linux/netfilter/ipset/ip_set.h",
    ),
    row(
        M::IpsetNomatchIgnored,
        "ipset/lookup.rs",
        "exceptions match",
        "mtype_do_data_match, net/netfilter/ipset/ip_set_hash_gen.h",
    ),
    row(
        M::IpsetPortOfSource,
        "ipset/lookup.rs",
        "`dst` compares the source port",
        "ip_set_get_ip4_port, net/netfilter/ipset/ip_set_getport.c",
    ),
    // Sysctls
    row(
        M::AllSettingUnread,
        "sysctl.rs",
        "`conf.all` has no effect where the maximum applies",
        "IN_DEV_MAXCONF, include/linux/inetdevice.h",
    ),
    row(
        M::DeviceSettingUnread,
        "sysctl.rs",
        "`forwarding` of a device has no effect",
        "IN_DEV_FORWARD, include/linux/inetdevice.h",
    ),
    row(
        M::DefaultTtlUnread,
        "sysctl.rs",
        "ip_default_ttl has no effect",
        "ip4_dst_hoplimit, include/net/route.h",
    ),
    row(
        M::EchoIgnoreUnread,
        "stack/icmp.rs",
        "icmp_echo_ignore_all has no effect",
        "icmp_echo, net/ipv4/icmp.c",
    ),
];

// A mutation is the index of its row.
const _: () = {
    let mut index = 0;
    while index < ROWS.len() {
        assert!(ROWS[index].mutation as usize == index);
        index += 1;
    }
};
