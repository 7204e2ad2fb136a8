//! Settings of a netns.

/// The sysctls of a netns that the simulator honours.
#[derive(Clone, Debug, Default)]
pub struct Sysctls;
