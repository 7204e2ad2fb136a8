use super::*;

#[test]
fn known_values() {
    // (counts, shares, G, p), by the closed forms: p = erfc(sqrt(G / 2)) for two categories, exp(-G / 2) for three.
    let cases: [(&[u32], &[f64], f64, f64); 4] = [
        (&[10, 10, 10], &[1.0 / 3.0; 3], 0.0, 1.0),
        (&[20, 10], &[0.5, 0.5], 3.397_981, 0.065_276),
        (&[30, 0], &[0.5, 0.5], 41.588_831, 1.126e-10),
        (&[25, 20, 19], &[1.0 / 3.0; 3], 0.947_102, 0.622_787),
    ];
    for (counts, shares, statistic, p_value) in cases {
        let test = GTest::new(counts, shares).unwrap();
        assert!((test.statistic - statistic).abs() < 1e-6, "{counts:?}: {test:?}");
        assert!((test.p_value - p_value).abs() < 1e-6, "{counts:?}: {test:?}");
    }
}

#[test]
fn what_cannot_be_tested() {
    assert_eq!(GTest::new(&[0, 0], &[0.5, 0.5]), None);
    assert_eq!(GTest::new(&[5, 0], &[1.0, 0.0]), None, "only one category is possible");
    assert_eq!(GTest::new(&[5, 1], &[1.0, 0.0]).map(|test| test.p_value), Some(0.0), "an impossible count");
}

#[test]
fn two_samples() {
    // (counts, counts, G, p): G by hand, p = erfc(sqrt(G / 2)) for two categories.
    let cases: [(&[u32], &[u32], f64, f64); 4] = [
        (&[20, 10], &[40, 20], 0.0, 1.0),
        (&[10, 10], &[20, 0], 17.260_924, 3.258e-5),
        (&[20, 3, 1], &[20, 1, 3], 0.0, 1.0),
        (&[30, 0, 0], &[0, 30, 0], 83.177_662, 7.5e-20),
    ];
    for (first, second, statistic, p_value) in cases {
        let test = GTest::of_two(first, second).unwrap();
        assert!((test.statistic - statistic).abs() < 1e-6, "{first:?} {second:?}: {test:?}");
        assert!((test.p_value - p_value).abs() < 1e-6, "{first:?} {second:?}: {test:?}");
    }
    assert_eq!(GTest::of_two(&[0, 0], &[3, 9]), None);
    assert_eq!(GTest::of_two(&[7, 0], &[9, 0]), None, "only one category occurs");
}
