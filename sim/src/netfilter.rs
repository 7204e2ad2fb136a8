//! Conntrack and NAT, and what they and rule evaluators see of a netns.

pub mod conntrack;
mod eval_ctx;
#[cfg(test)]
pub(crate) mod fixture;
pub mod nat;
#[cfg(test)]
mod recorded;

pub use eval_ctx::EvalCtx;
