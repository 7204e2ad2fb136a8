//! Hostile frames for a whole cluster.
#![no_main]

#[path = "../bodies/world.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
