//! Selects a fault of the simulator. Only tests of the judges build this (`tests/mutations`).

use crate::exit::Stop;
use conformance::mutation::Mutation;
use std::env;

/// Names the mutation to select; empty or unset for none.
const VARIABLE: &str = "HAIRPIN_MUTATION";

pub(crate) fn select() -> Result<(), Stop> {
    let name = env::var(VARIABLE).unwrap_or_default();
    if name.is_empty() {
        return Ok(());
    }
    let Some(mutation) = Mutation::by_name(&name) else {
        return Err(Stop::bad_input(format!("error: {VARIABLE}={name}: there is no such mutation")));
    };
    mutation.select();
    Ok(())
}
