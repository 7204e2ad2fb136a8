//! Effects of texts and time on sets.

use crate::ipset::set::Elements;
use crate::ipset::{Ipset, IpsetOptions};
use crate::time::{Duration, Instant};

fn at(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

fn restore(ipset: &mut Ipset, now: Instant, text: &str) {
    if let Err(error) = ipset.restore(now, "f", text, IpsetOptions::default()) {
        panic!("{error}");
    }
}

/// The saved elements, without `add` and `create` lines.
fn elements(ipset: &Ipset, now: Instant) -> String {
    let saved = ipset.save(now);
    saved.lines().filter_map(|line| line.strip_prefix("add ")).collect::<Vec<_>>().join("; ")
}

#[test]
fn elements_go_when_their_time_is_over() {
    let mut ipset = Ipset::default();
    restore(
        &mut ipset,
        at(0),
        "create a hash:ip timeout 10\nadd a 10.0.0.1\nadd a 10.0.0.2 timeout 20\nadd a 10.0.0.3 timeout 0\n",
    );
    let left = |ipset: &Ipset, seconds| elements(ipset, at(seconds));
    assert_eq!(left(&ipset, 4), "a 10.0.0.1 timeout 6; a 10.0.0.2 timeout 16; a 10.0.0.3 timeout 0");
    assert_eq!(left(&ipset, 10), "a 10.0.0.1 timeout 1; a 10.0.0.2 timeout 10; a 10.0.0.3 timeout 0");
    assert_eq!(left(&ipset, 11), "a 10.0.0.2 timeout 9; a 10.0.0.3 timeout 0");
    // Expired elements can be added again, but not deleted.
    restore(&mut ipset, at(12), "add a 10.0.0.1 timeout 5\n");
    assert_eq!(left(&ipset, 12), "a 10.0.0.1 timeout 5; a 10.0.0.2 timeout 8; a 10.0.0.3 timeout 0");
    ipset.restore(at(30), "f", "del a 10.0.0.1\n", IpsetOptions::default()).unwrap_err();
    restore(&mut ipset, at(30), "add a 10.0.0.4 -exist\nadd a 10.0.0.3\n");
    assert_eq!(left(&ipset, 30), "a 10.0.0.3 timeout 10; a 10.0.0.4 timeout 10");
}

#[test]
fn a_full_set_forgets_what_has_expired_first() {
    let mut ipset = Ipset::default();
    restore(&mut ipset, at(0), "create a hash:ip timeout 10 maxelem 2\nadd a 10.0.0.1\nadd a 10.0.0.2\n");
    ipset.restore(at(5), "f", "add a 10.0.0.3\n", IpsetOptions::default()).unwrap_err();
    restore(&mut ipset, at(11), "add a 10.0.0.3\n");
    assert_eq!(elements(&ipset, at(11)), "a 10.0.0.3 timeout 10");
}

#[test]
fn a_set_that_leaves_a_list_by_time_can_be_destroyed() {
    let mut ipset = Ipset::default();
    restore(
        &mut ipset,
        at(0),
        "create a hash:ip\ncreate b hash:ip\ncreate l list:set timeout 5\nadd l a\nadd l b timeout 0\n",
    );
    for seconds in [1, 5] {
        ipset.restore(at(seconds), "f", "destroy a\n", IpsetOptions::default()).unwrap_err();
    }
    restore(&mut ipset, at(6), "destroy a\n");
    assert_eq!(elements(&ipset, at(6)), "l b timeout 0");
    ipset.restore(at(6), "f", "destroy b\n", IpsetOptions::default()).unwrap_err();
}

#[test]
fn names_stay_where_they_are_when_sets_are_swapped() {
    let mut ipset = Ipset::default();
    restore(
        &mut ipset,
        at(0),
        "create a hash:ip\ncreate b hash:ip counters\ncreate l list:set\nadd l a\nadd a 10.0.0.1\nadd b 10.0.0.2\nswap a b\n",
    );
    assert_eq!(elements(&ipset, at(0)), "a 10.0.0.2 packets 0 bytes 0; b 10.0.0.1; l a");
}

#[test]
fn places_of_destroyed_sets_are_taken_again() {
    let mut ipset = Ipset::default();
    restore(
        &mut ipset,
        at(0),
        "create a hash:ip\ncreate l list:set\ncreate b hash:ip\ncreate c hash:ip\ndestroy b\nrename c z\ncreate d hash:ip\n",
    );
    let saved = ipset.save(at(0));
    let names: Vec<&str> = saved.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(names, ["a", "d", "z", "l"], "by place, lists last");
}

#[test]
fn a_fork_changes_for_itself() {
    let mut ipset = Ipset::default();
    restore(&mut ipset, at(0), "create a hash:ip\nadd a 10.0.0.1\n");
    let mut fork = ipset.clone();
    restore(&mut fork, at(0), "add a 10.0.0.2\n");
    assert_eq!(elements(&ipset, at(0)), "a 10.0.0.1");
    assert_eq!(elements(&fork, at(0)), "a 10.0.0.1; a 10.0.0.2");
}

/// Sweeps happen at whole periods after the creation of a set; the first one of a hash after a second.
#[test]
fn what_has_expired_is_there_until_it_is_swept() {
    // The set, when its only element expires, and the seconds at which it is still visible and no longer.
    for (set, expires, there, gone) in [
        ("list:set timeout 5", 5, 5, 6),
        ("list:set timeout 0", 5, 5, 6),
        ("list:set timeout 60", 5, 19, 20),
        ("list:set timeout 9000", 181, 359, 360),
        ("hash:net timeout 60", 5, 20, 21),
        ("bitmap:ip range 10.0.0.0/24 timeout 60", 5, 19, 20),
    ] {
        let element = if set.starts_with("list") { "a" } else { "10.0.0.1" };
        let text = format!("create a hash:ip\ncreate x {set}\nadd x {element} timeout {expires}\n");
        for (seconds, is_there) in [(there, true), (gone, false)] {
            let mut ipset = Ipset::default();
            restore(&mut ipset, at(0), &text);
            let x = ipset.find("x").unwrap();
            ipset.collect(x, at(seconds));
            let count = match &ipset.set(x).elements {
                Elements::Keyed(keyed) => keyed.longest_prefix().into_iter().count(),
                Elements::List(members) => members.len(),
            };
            assert_eq!(count, usize::from(is_there), "{set} after {seconds} s");
        }
    }
}
