//! Input of `ipset restore`.
#![no_main]

#[path = "../bodies/ipset.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
