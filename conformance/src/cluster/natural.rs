//! Natural order of names: `web-2` before `web-10`.

use std::cmp::Ordering;

/// Compares names with numbers in them compared as numbers. A total order: different names are never equal.
pub fn natural_cmp(left: &str, right: &str) -> Ordering {
    let (mut left_rest, mut right_rest) = (left, right);
    while !left_rest.is_empty() && !right_rest.is_empty() {
        let (left_part, left_after) = split_part(left_rest);
        let (right_part, right_after) = split_part(right_rest);
        let order = match (number(left_part), number(right_part)) {
            (Some(left_number), Some(right_number)) => {
                left_number.len().cmp(&right_number.len()).then_with(|| left_number.cmp(right_number))
            }
            (Some(_), None) | (None, Some(_)) | (None, None) => left_part.cmp(right_part),
        };
        if order != Ordering::Equal {
            return order;
        }
        (left_rest, right_rest) = (left_after, right_after);
    }
    // Equal so far, except for leading zeros.
    left_rest.len().cmp(&right_rest.len()).then_with(|| left.cmp(right))
}

/// The digits without leading zeros, if this part is a number.
fn number(part: &str) -> Option<&str> {
    part.starts_with(|first: char| first.is_ascii_digit()).then(|| part.trim_start_matches('0'))
}

/// Splits off the longest prefix that is all digits or has none.
fn split_part(text: &str) -> (&str, &str) {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit());
    let end = text.find(|one: char| one.is_ascii_digit() != is_number).unwrap_or(text.len());
    text.split_at(end)
}
