//! Input of `ipvsadm --restore`.
#![no_main]

#[path = "../bodies/ipvs.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
