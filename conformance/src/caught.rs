//! Catches failed assertions: they end the run concerned, and no other.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the result of `run`, or its panic message. The location was printed by the panic hook. Values that `run` was
/// modifying must not be used afterwards.
///
/// # Errors
/// The panic message.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| message(&*panic))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_what_is_left_of_a_panic() {
        fn check(run: impl FnOnce() -> u8, expected: Result<u8, &str>) {
            assert_eq!(caught(run), expected.map_err(str::to_owned));
        }
        check(|| 7, Ok(7));
        check(|| panic!("as it stands"), Err("as it stands"));
        check(|| panic!("with {}", 7), Err("with 7"));
        check(|| std::panic::panic_any(7), Err("a panic without a message"));
    }
}
