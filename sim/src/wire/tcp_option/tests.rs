use super::{TcpOption, aligned_timestamps, kind};
use proptest::prelude::*;

fn shown(list: &[u8]) -> Vec<String> {
    let text = |option| match option {
        TcpOption::Nop => "nop".to_owned(),
        TcpOption::Mss(mss) => format!("mss {mss}"),
        TcpOption::WindowScale(shift) => format!("wscale {shift}"),
        TcpOption::SackPermitted => "sackOK".to_owned(),
        TcpOption::Sack(blocks) => format!("sack {:?}", blocks.iter().collect::<Vec<_>>()),
        TcpOption::Timestamps(value, echo) => format!("TS {value} {echo}"),
        TcpOption::Other { kind, data } => format!("{kind} {data:?}"),
    };
    TcpOption::iter(list).map(text).collect()
}

#[test]
fn lists() {
    let cases: [(&[u8], &[&str]); 14] = [
        (&[], &[]),
        (&[2, 4, 5, 180], &["mss 1460"]),
        // As sent by Linux in a SYN.
        (
            &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9, 1, 3, 3, 7],
            &["mss 1460", "sackOK", "TS 7 9", "nop", "wscale 7"],
        ),
        (&[1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2], &["nop", "nop", "sack [(1, 2)]"]),
        (&[3, 3, 200], &["wscale 200"]),
        // Ends of the list.
        (&[0, 2, 4, 5, 180], &[]),
        (&[4, 2, 0, 3, 3, 7], &["sackOK"]),
        (&[1, 1, 1], &["nop", "nop", "nop"]),
        (&[1, 2], &["nop"]),
        (&[2, 4, 5], &[]),
        (&[2, 1, 5, 180], &[]),
        (&[2, 0, 5, 180], &[]),
        // Unknown, or with an invalid length for the kind.
        (&[254, 4, 1, 2, 4, 2], &["254 [1, 2]", "sackOK"]),
        (&[2, 3, 5, 5, 9, 0, 0, 0, 1, 0, 0, 0, 4, 3, 0], &["2 [5]", "5 [0, 0, 0, 1, 0, 0, 0]", "4 [0]"]),
    ];
    for (list, expected) in cases {
        assert_eq!(shown(list), expected, "{list:?}");
    }
}

#[test]
fn aligned_timestamps_are_the_only_option() {
    let aligned = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];
    assert_eq!(aligned_timestamps(&aligned), Some((7, 9)));
    assert_eq!(shown(&aligned), ["nop", "nop", "TS 7 9"]);
    for other in [&aligned[..11], &aligned[2..], &[&aligned[..], &[1]].concat(), &[5; 12]] {
        assert_eq!(aligned_timestamps(other), None, "{other:?}");
    }
}

proptest! {
    /// Any bytes can be parsed, and options are within the list.
    #[test]
    fn any_bytes(list in prop::collection::vec(any::<u8>(), 0..44)) {
        let mut room = list.len();
        for option in TcpOption::iter(&list) {
            if let TcpOption::Other { kind, data } = option {
                prop_assert!(kind != kind::END && kind != kind::NOP);
                prop_assert!(data.len() + 2 <= room);
            }
            let least = if option == TcpOption::Nop { 1 } else { 2 };
            room = room.checked_sub(least).expect("options lie within the list");
        }
    }
}
