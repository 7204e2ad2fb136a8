use super::*;
use crate::arm::kernel::testing::can_run;
use crate::topology::NetnsPlan;

/// A lab that consists of a switch only.
fn lab() -> KernelArm {
    let netns = BTreeMap::from([(NetnsName::Switch, NetnsPlan::default())]);
    let mut arm = KernelArm::new(Backend::Nft);
    arm.build(&Topology { netns, veths: Vec::new() }).expect("a lab");
    arm
}

/// Checks that the run fails at every later call.
fn check(spoil: fn(&mut KernelArm), message: &str) {
    let mut arm = lab();
    arm.take_frames().expect("frames with valid time stamps");
    spoil(&mut arm);
    for failed in [arm.take_frames().map(drop), arm.settle(), arm.finish().map(drop)] {
        let Err(ArmError::Failed(told)) = failed else { panic!("{failed:?}") };
        assert!(told.contains(message), "{told}");
    }
}

#[test]
fn a_run_ends_when_what_was_seen_cannot_be_believed() {
    if !can_run("a_run_ends_when_what_was_seen_cannot_be_believed") {
        return;
    }
    lab().finish().expect("nothing has happened");
    check(|arm| arm.clocks.set_by_an_hour(), "the machine's clock was set by 3");
    let stop = |arm: &mut KernelArm| arm.running.as_ref().expect("a lab").servers.stop();
    check(stop, "the server web cannot accept a connection: EMFILE: Too many open files; raise the limit");
}
