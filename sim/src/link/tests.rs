use super::*;

const SENDER: NetnsId = NetnsId(0);

fn percent(parts: u32) -> Probability {
    Probability::per_million(parts * 10_000).unwrap()
}

/// Sends 10,000 frames and counts losses, duplicates and delayed frames.
fn check(
    link: Link,
    never: std::ops::RangeInclusive<usize>,
    twice: std::ops::RangeInclusive<usize>,
    late: std::ops::RangeInclusive<usize>,
) {
    let mut draws = Draws::seeded(0);
    let all: Vec<_> = (0..10_000).map(|_| link.deliveries(&mut draws, SENDER)).collect();
    let count = |wanted| all.iter().filter(|one| one.len() == wanted).count();
    assert!(never.contains(&count(0)), "{} lost by {link:?}", count(0));
    assert!(twice.contains(&count(2)), "{} doubled by {link:?}", count(2));
    let held: Vec<_> = all.iter().flatten().filter(|after| **after != link.latency).collect();
    assert!(late.contains(&held.len()), "{} held back by {link:?}", held.len());
    assert!(held.iter().all(|after| **after > link.latency && **after <= link.latency + link.reorder_by));
}

#[test]
fn faults_come_as_often_as_they_are_set() {
    let clean = Link::default();
    check(clean, 0..=0, 0..=0, 0..=0);
    check(Link { loss: Probability::ALWAYS, ..clean }, 10_000..=10_000, 0..=0, 0..=0);
    check(Link { duplicate: Probability::ALWAYS, ..clean }, 0..=0, 10_000..=10_000, 0..=0);
    check(Link { reorder: Probability::ALWAYS, ..clean }, 0..=0, 0..=0, 10_000..=10_000);
    // Five standard deviations around the mean.
    check(Link { loss: percent(10), ..clean }, 850..=1_150, 0..=0, 0..=0);
    check(Link { duplicate: percent(10), ..clean }, 0..=0, 850..=1_150, 0..=0);
    check(Link { reorder: percent(10), ..clean }, 0..=0, 0..=0, 850..=1_150);
}

#[test]
fn a_fault_that_is_set_moves_no_other() {
    let losses = |link: Link| {
        let mut draws = Draws::seeded(7);
        let lost: Vec<_> = (0..1_000).map(|_| link.deliveries(&mut draws, SENDER).is_empty()).collect();
        lost
    };
    let lossy = Link { loss: percent(30), ..Link::default() };
    assert_eq!(losses(lossy), losses(Link { duplicate: percent(50), reorder: percent(50), ..lossy }));
}

#[test]
fn probabilities_are_parts_of_two_to_the_31() {
    assert_eq!(Probability::per_million(0), Some(Probability::NEVER));
    assert_eq!(Probability::per_million(1_000_000), Some(Probability::ALWAYS));
    assert_eq!(Probability::per_million(500_000).map(Probability::threshold), Some(1 << 30));
    assert_eq!(Probability::per_million(1_000_001), None);
}
