use super::*;
use std::collections::BTreeMap;

const NODE: NetnsId = NetnsId(1);

/// Runs `program` along every path and returns the exact weight of each result.
fn distribution(program: impl Fn(&mut Draws) -> u32) -> BTreeMap<u32, Weight> {
    let mut shares = BTreeMap::new();
    let mut next = Some(Enumerate::first());
    while let Some(path) = next {
        let mut draws = Draws::seeded(0);
        draws.enumerate(path);
        let result = program(&mut draws);
        let path = draws.enumerated().expect("the enumerate driver is at work");
        *shares.entry(result).or_insert(Weight::ZERO) += &path.weight().expect("no fault was drawn");
        next = path.next_path();
    }
    shares
}

fn ratio(numerator: u64, denominator: u64) -> Weight {
    assert!(denominator.is_power_of_two());
    Weight::new(numerator, denominator.ilog2())
}

#[test]
fn chained_statistic_rules_have_the_weights_of_the_kernel() {
    // Three endpoints: 0.3333333333 and 0.5000000000, as the kernel stores them.
    let shares = distribution(|draws| {
        if draws.chance(NODE, Purpose::Statistic, 715_827_883) {
            0
        } else if draws.chance(NODE, Purpose::Statistic, 1 << 30) {
            1
        } else {
            2
        }
    });
    let rest = ratio((1 << 31) - 715_827_883, 1 << 32);
    assert_eq!(shares, BTreeMap::from([(0, ratio(715_827_883, 1 << 31)), (1, rest.clone()), (2, rest)]));
}

#[test]
fn a_certain_match_leaves_one_path() {
    let shares = distribution(|draws| u32::from(draws.chance(NODE, Purpose::Statistic, 1 << 31)));
    assert_eq!(shares, BTreeMap::from([(1, ratio(1, 1))]));
}

#[test]
fn numgen_weights_sum_to_one_and_differ_by_one_unit_at_most() {
    let shares = distribution(|draws| draws.below(NODE, Purpose::Numgen, 3));
    assert_eq!(shares.values().sum::<Weight>(), ratio(1, 1));
    assert_eq!(shares[&0], ratio(1_431_655_766, 1 << 32));
    assert_eq!(shares[&1], ratio(1_431_655_765, 1 << 32));
}

#[test]
fn a_path_on_which_a_fault_is_open_has_no_exact_weight() {
    type Program = fn(&mut Draws);
    let weight = |program: Program| {
        let mut draws = Draws::seeded(0);
        draws.enumerate(Enumerate::first());
        draws.below(NODE, Purpose::Numgen, 2);
        program(&mut draws);
        draws.enumerated().and_then(Enumerate::weight)
    };
    // (other draws, whether there is a weight)
    let cases: [(Program, bool); 9] = [
        (|_| {}, true),
        (|draws| _ = draws.u32(NODE, Purpose::Isn), true),
        (|draws| _ = draws.below(NODE, Purpose::NatPort, 9), true),
        (|draws| _ = draws.chance(NODE, Purpose::LinkLoss, 0), true),
        (|draws| _ = draws.chance(NODE, Purpose::LinkLoss, 1 << 31), true),
        (|draws| _ = draws.chance(NODE, Purpose::LinkLoss, 1), false),
        (|draws| _ = draws.chance(NODE, Purpose::LinkDuplicate, (1 << 31) - 1), false),
        (|draws| _ = draws.below(NODE, Purpose::LinkReorder, 1), true),
        (|draws| _ = draws.below(NODE, Purpose::LinkReorder, 2), false),
    ];
    for (index, (program, has_weight)) in cases.into_iter().enumerate() {
        assert_eq!(weight(program), has_weight.then(|| ratio(1, 2)), "case {index}");
    }
}

#[test]
fn one_more_draw_moves_no_other_stream() {
    let draw_ports = |extra: bool| {
        let mut draws = Draws::seeded(7);
        if extra {
            draws.u32(NODE, Purpose::Isn);
            draws.u32(NetnsId(2), Purpose::EphemeralPort);
        }
        [draws.u32(NODE, Purpose::EphemeralPort), draws.u32(NODE, Purpose::EphemeralPort)]
    };
    assert_eq!(draw_ports(false), draw_ports(true));
}

#[test]
fn another_series_changes_deliveries_alone() {
    let draw = |series: Option<u32>| {
        let mut draws = Draws::seeded(7);
        draws.u32(NODE, Purpose::LinkLoss);
        series.into_iter().for_each(|series| draws.redraw_deliveries(series));
        [draws.u32(NODE, Purpose::LinkLoss), draws.u32(NODE, Purpose::Isn)]
    };
    let (none, first, second) = (draw(None), draw(Some(1)), draw(Some(2)));
    assert_eq!(draw(Some(1)), first);
    assert_eq!([none[1]; 2], [first[1], second[1]]);
    assert!(none[0] != first[0] && none[0] != second[0] && first[0] != second[0]);
}

#[test]
fn replay_takes_what_was_recorded_and_then_the_seed() {
    let mut draws = Draws::seeded(3);
    let recorded = Recorded { owner: NODE, purpose: Purpose::Statistic, source: None, value: 1 };
    draws.replay([recorded]);
    let from_seed = Draws::seeded(3).u32(NODE, Purpose::Isn);
    assert_eq!(draws.u32(NODE, Purpose::Isn), from_seed);
    assert_eq!(draws.left_over(), [recorded]);
    assert!(draws.chance(NODE, Purpose::Statistic, 0), "the capture shows a match, whatever the threshold");
    assert!(draws.left_over().is_empty());
}

#[test]
fn following_takes_the_path_and_what_was_recorded() {
    let mut draws = Draws::seeded(3);
    let recorded = Recorded { owner: NODE, purpose: Purpose::NatPort, source: None, value: 77 };
    let second = {
        draws.enumerate(Enumerate::first());
        draws.below(NODE, Purpose::Numgen, 2);
        draws.enumerated().and_then(Enumerate::next_path)
    };
    draws.follow(second.expect("there are two alternatives"), [recorded]);
    assert_eq!(draws.below(NODE, Purpose::NatPort, 100), 77);
    assert_eq!(draws.below(NODE, Purpose::Numgen, 2), 1);
    assert!(draws.left_over().is_empty());
}

#[test]
fn what_was_recorded_for_a_flow_is_for_that_flow_only() {
    let source = |last| (IpAddr::from([10, 0, 0, last]), 40_000);
    let recorded = |source, value| Recorded { owner: NODE, purpose: Purpose::NatPort, source, value };
    let mut draws = Draws::seeded(3);
    draws.replay([
        recorded(Some(source(1)), 11),
        recorded(Some(source(2)), 22),
        recorded(Some(source(2)), 23),
    ]);
    let mut draw = |last| draws.below_for(NODE, Purpose::NatPort, source(last), 100);
    // The second flow draws first, and again after its entry is gone.
    assert_eq!([draw(2), draw(1), draw(2)], [22, 11, 23]);
    draws.replay([recorded(None, 44)]);
    assert_eq!(draws.below_for(NODE, Purpose::NatPort, source(3), 100), 44, "recorded for any flow");
}
