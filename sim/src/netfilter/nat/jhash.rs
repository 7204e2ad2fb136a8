//! Bob Jenkins' lookup3 hash, with which Linux distributes clients over a range of addresses (include/linux/jhash.h).
//!
//! Its result is visible on the wire, so it must equal the kernel's. The algorithm is in the public domain
//! (<https://burtleburtle.net/bob/c/lookup3.c>).

const INITIAL: u32 = 0xdead_beef;

/// Hashes words, like `jhash2`.
pub(super) fn jhash2(words: &[u32], seed: u32) -> u32 {
    let length = u32::try_from(words.len()).expect("a hash key is short");
    let first = INITIAL.wrapping_add(length << 2).wrapping_add(seed);
    let [mut a, mut b, mut c] = [first; 3];
    let mut rest = words;
    while let [x, y, z, more @ ..] = rest
        && !more.is_empty()
    {
        (a, b, c) = mix(a.wrapping_add(*x), b.wrapping_add(*y), c.wrapping_add(*z));
        rest = more;
    }
    if rest.is_empty() {
        return c;
    }
    let word = |index: usize| rest.get(index).copied().unwrap_or(0);
    finish(a.wrapping_add(word(0)), b.wrapping_add(word(1)), c.wrapping_add(word(2)))
}

const fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    (a, b, c)
}

const fn finish(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

#[cfg(test)]
mod tests {
    use super::jhash2;

    /// Results of `hashword` in lookup3.c for the first words of 1, 2, 3, ... with the seeds 0 and 0x01020304.
    const HASHWORD: [(u32, u32); 8] = [
        (0xdead_beef, 0xdfaf_c1f3),
        (0x72a8_2a9b, 0xaa20_46a8),
        (0x8b4c_7979, 0xb2e9_3ae6),
        (0xa461_58f5, 0xf8e8_bbaa),
        (0x6649_1246, 0xf479_0d87),
        (0x6291_29c0, 0xe30c_4f71),
        (0xe3e3_6b25, 0xb49b_8e96),
        (0x3e60_6a2c, 0x233c_4085),
    ];

    #[test]
    fn hashes_as_lookup3_does() {
        for (length, expected) in HASHWORD.into_iter().enumerate() {
            let words = &[1, 2, 3, 4, 5, 6, 7][..length];
            assert_eq!((jhash2(words, 0), jhash2(words, 0x0102_0304)), expected, "{length} words");
        }
    }
}
