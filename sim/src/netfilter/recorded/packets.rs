//! The packets of a recording.

use crate::netfilter::fixture::{Seg, end, ipv4};
use crate::wire::{build, checksum, protocol};

pub(super) fn number_of(name: &str) -> u8 {
    match name {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "sctp" => protocol::SCTP,
        "icmp" => protocol::ICMP,
        other => panic!("no protocol {other}"),
    }
}

pub(super) fn packet(number: &str, [src, dst]: [&str; 2], words: &[&str]) -> Vec<u8> {
    let (from, to) = (end(src), end(dst));
    match number {
        "tcp" => tcp(src, dst, words),
        "udp" => {
            let data = vec![b'x'; words[0].parse().unwrap()];
            ipv4(from.0, to.0, protocol::UDP, &build::udp(from, to, &data))
        }
        "sctp" => ipv4(from.0, to.0, protocol::SCTP, &sctp(from.1, to.1, words)),
        "icmp" => icmp(src, dst, words),
        other => panic!("no protocol {other}"),
    }
}

fn tcp(src: &str, dst: &str, words: &[&str]) -> Vec<u8> {
    let flags = if words[0] == "-" { "" } else { words[0] };
    let mut options = Vec::new();
    for option in words.get(5).into_iter().flat_map(|list| list.split(',')) {
        if let Some(scale) = option.strip_prefix("ws") {
            options.extend([1, 3, 3, scale.parse().unwrap()]);
        } else if option == "sok" {
            options.extend([1, 1, 4, 2]);
        } else if let Some((left, right)) =
            option.strip_prefix("sack").and_then(|block| block.split_once('-'))
        {
            options.extend([1, 1, 5, 10]);
            options.extend(left.parse::<u32>().unwrap().to_be_bytes());
            options.extend(right.parse::<u32>().unwrap().to_be_bytes());
        } else {
            panic!("no option {option}");
        }
    }
    Seg::new(src, dst, flags)
        .seq(words[1].parse().unwrap(), words[2].parse().unwrap())
        .window(words[3].parse().unwrap())
        .len(words[4].parse().unwrap())
        .options(&options)
        .bytes()
}

fn sctp(src: u16, dst: u16, words: &[&str]) -> Vec<u8> {
    let mut l4 = Vec::new();
    l4.extend(src.to_be_bytes());
    l4.extend(dst.to_be_bytes());
    l4.extend(words[0].parse::<u32>().unwrap().to_be_bytes());
    l4.extend([0; 4]);
    for word in &words[1..] {
        let (kind, tag) = word.split_once(':').map_or((*word, None), |(kind, tag)| (kind, Some(tag)));
        let (kind, is_reflected) = kind.strip_suffix("+T").map_or((kind, 0), |kind| (kind, 1));
        let mut body = vec![0; 4];
        if let Some(tag) = tag {
            body = tag.parse::<u32>().unwrap().to_be_bytes().to_vec();
            body.extend([0, 0, 5, 220, 0, 1, 0, 1, 0, 0, 0, 1]);
        }
        l4.extend([kind.parse().unwrap(), is_reflected, 0, u8::try_from(4 + body.len()).unwrap()]);
        l4.extend(body);
    }
    checksum::fill_sctp(&mut l4);
    l4
}

fn icmp(src: &str, dst: &str, words: &[&str]) -> Vec<u8> {
    let [icmp_type, code] = [words[0], words[1]].map(|word| word.parse().unwrap());
    let (from, to) = (end(src), end(dst));
    let (rest, body) = if let Some(quoted) = words.get(3) {
        let ports = [to.1.to_be_bytes(), from.1.to_be_bytes(), [0; 2], [0; 2]].concat();
        ([0; 4], ipv4(to.0, from.0, number_of(quoted), &ports))
    } else {
        let [high, low] = words[2].parse::<u16>().unwrap().to_be_bytes();
        ([high, low, 0, 0], b"ping".to_vec())
    };
    ipv4(from.0, to.0, protocol::ICMP, &build::icmpv4(icmp_type, code, rest, &body))
}
