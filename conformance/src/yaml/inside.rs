//! Positions inside the value of a scalar, such as a block of rules.

use super::Span;

/// The range in `text` of the word at a line and column of a scalar's value, both from 1; columns count characters. The
/// lines of a block keep their order, whatever its indentation. `None` if the value is not written literally, as with escapes.
pub(crate) fn inside(text: &str, scalar: &Span, value: &str, line: u32, column: u32) -> Option<Span> {
    let end = text.get(scalar.start..)?;
    let index = usize::try_from(line.checked_sub(1)?).ok()?;
    let mut start = 0;
    let mut after = 0;
    for written in value.lines().take(index + 1).map(str::trim) {
        start = after + end.get(after..)?.find(written)?;
        after = start + written.len();
    }
    let whole = value.lines().nth(index)?;
    let indentation = whole.len() - whole.trim_start().len();
    let before = whole.char_indices().nth(usize::try_from(column.checked_sub(1)?).ok()?);
    let offset = before.map_or(whole.trim_end().len(), |(offset, _)| offset).saturating_sub(indentation);
    let from = start + offset;
    let len = end.get(from..after)?.split_whitespace().next().map_or(0, str::len);
    Some(scalar.start + from..scalar.start + from + len.max(1))
}
