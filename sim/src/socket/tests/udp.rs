//! UDP exchanges.

use super::pair::*;
use crate::packet::FlowId;
use crate::socket::ClientProtocol;
use crate::trace::Outcome;

#[test]
fn a_request_is_answered_by_the_one_who_was_asked() {
    let mut pair = Pair::with_server(identify());
    pair.connect(client(ClientProtocol::Udp, 1));
    pair.run();
    let result = pair.hosts[CLIENT].flow_result(FlowId(1)).unwrap();
    assert_eq!(result.outcome, Outcome::Connected);
    assert_eq!(result.reply_from, Some((ADDRS[SERVER], PORT)));
}
