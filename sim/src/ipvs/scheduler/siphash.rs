//! SipHash-1-3 of one 32-bit number, as 64-bit kernels compute `hsiphash` (lib/siphash.c).
//!
//! The algorithm is in the public domain (Aumasson and Bernstein, "SipHash: a fast short-input PRF").

/// The lower half of the hash of four bytes.
pub(super) fn hsiphash(value: u32, key: u64) -> u32 {
    let mut v = [
        0x736f_6d65_7073_6575 ^ key,
        0x646f_7261_6e64_6f6d ^ key,
        0x6c79_6765_6e65_7261 ^ key,
        0x7465_6462_7974_6573 ^ key,
    ];
    let last = 4 << 56 | u64::from(value);
    v[3] ^= last;
    round(&mut v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    let hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    u32::try_from(hash & u64::from(u32::MAX)).expect("32 bits")
}

const fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}
