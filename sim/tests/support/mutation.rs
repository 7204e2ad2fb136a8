//! Selects the fault that `tests/mutations` asks for; see `sim::mutation`.

/// Selects the mutation named by `HAIRPIN_MUTATION`, if the feature is on.
pub(crate) fn select() {
    #[cfg(feature = "mutations")]
    if let Some(name) = std::env::var("HAIRPIN_MUTATION").ok().filter(|name| !name.is_empty()) {
        sim::mutation::Mutation::by_name(&name).expect("the name of a mutation").select();
    }
}
