//! Scenario files.
#![no_main]

#[path = "../bodies/scenario.rs"]
mod body;
#[path = "../bodies/places.rs"]
mod places;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
