//! Dumps for `render --diff`.
#![no_main]

#[path = "../bodies/dump.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
