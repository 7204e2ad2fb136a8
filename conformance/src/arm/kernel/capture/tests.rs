use super::*;
use crate::arm::kernel::client::{ClientRequest, End, exchange};
use crate::arm::kernel::prompt::Prompt;
use crate::arm::kernel::testing::{can_run, pair};
use crate::observation::Transport;
use sim::wire::{Ethernet, MacAddr};

#[test]
fn every_frame_is_seen_at_both_ends_in_both_directions() {
    if !can_run("every_frame_is_seen_at_both_ends_in_both_directions") {
        return;
    }
    let lab = pair();
    let mut captures: Vec<_> =
        lab.all_netns().map(|netns| (netns, Capture::open(netns).expect("a capture"))).collect();
    let request = ClientRequest {
        protocol: Transport::Tcp,
        to: "10.0.0.2:80".parse().expect("an address and a port"),
        source_port: None,
        bytes: Vec::new(),
        timeout: Duration::from_secs(1),
        is_kept: false,
    };
    let (report, _) =
        exchange(lab.netns("a"), &request, &Prompt::start("clients").expect("a thread")).expect("a socket");
    assert_eq!(report.end, End::Failed(Errno::ECONNREFUSED));
    let drained = captures.iter_mut().map(|(netns, capture)| capture.drain(netns).expect("frames"));
    let frames = merge(drained.collect());
    // ARP request and reply, SYN, RST.
    let seen: Vec<_> = frames.iter().map(|frame| (&*frame.netns, &*frame.device, frame.direction)).collect();
    let there = [("a", "eth0", FrameDirection::Transmitted), ("b", "eth0", FrameDirection::Received)];
    let back = [("b", "eth0", FrameDirection::Transmitted), ("a", "eth0", FrameDirection::Received)];
    assert_eq!(seen, [there, back, there, back].concat());
    let syn = Ethernet::new_checked(&*frames[4].bytes).expect("a frame");
    assert_eq!((syn.src(), syn.dst()), (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])));
    assert!(frames.windows(2).all(|pair| pair[0].at <= pair[1].at), "in order of time");
}

#[test]
fn merging_keeps_the_order_within_a_namespace() {
    let frame = |netns: &str, at| Frame {
        at: Duration::from_nanos(at),
        netns: netns.to_owned(),
        device: "eth0".to_owned(),
        direction: FrameDirection::Received,
        bytes: Box::default(),
    };
    // The second frame of `a` was stamped before the first, but delivered after it.
    let merged = merge(vec![vec![frame("a", 5), frame("a", 2)], vec![frame("b", 1), frame("b", 6)]]);
    let order: Vec<_> = merged.iter().map(|frame| (&*frame.netns, frame.at.as_nanos())).collect();
    assert_eq!(order, [("b", 1), ("a", 5), ("a", 2), ("b", 6)]);
}
