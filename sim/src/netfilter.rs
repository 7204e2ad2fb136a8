//! Conntrack and NAT, and the part of a netns that they and rule evaluators use.

pub mod conntrack;
mod eval_ctx;
#[cfg(test)]
pub(crate) mod fixture;
pub mod nat;
#[cfg(test)]
mod recorded;

pub use eval_ctx::EvalCtx;
