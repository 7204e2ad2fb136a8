//! What runs scenarios.

pub mod kernel;
