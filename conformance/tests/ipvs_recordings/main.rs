//! The simulator's IPVS against recordings of a real kernel's: every row of each file.
//!
//! `tests/ipvs-recordings` has an excerpt of them. `IPVS_RECORDINGS=DIR` compares another folder of this form.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod arp;
mod fates;
mod lab;
mod lives;
mod network;
mod path;
mod recording;
mod schedulers;
mod settings;
mod states;
mod templates;
mod texts;
