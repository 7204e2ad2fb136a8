//! The TCP options that windows depend on (RFC 9293 §3.1, RFC 7323, RFC 2018).

/// RFC 7323 §2.3.
const MAX_SCALE: u8 = 14;

/// What a SYN offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SynOptions {
    /// Window scale, as a shift.
    pub(super) scale: Option<u8>,
    /// Selective acknowledgments.
    pub(super) sack_permitted: bool,
}

impl SynOptions {
    /// Reads the options of a SYN. What is malformed ends the list, as in Linux.
    pub(super) fn parse(options: &[u8]) -> Self {
        let mut offered = Self::default();
        for (kind, data) in iter(options) {
            match (kind, data) {
                (3, [scale]) => offered.scale = Some((*scale).min(MAX_SCALE)),
                (4, []) => offered.sack_permitted = true,
                _ => {}
            }
        }
        offered
    }
}

/// Kind and data of each option, up to the end of the list or the first that does not fit.
pub(super) fn iter(options: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = options;
    std::iter::from_fn(move || {
        loop {
            match rest {
                [] | [0, ..] => return None,
                [1, more @ ..] => rest = more,
                [kind, len, ..] => {
                    let data = rest.get(2..usize::from(*len))?;
                    rest = &rest[usize::from(*len)..];
                    return Some((*kind, data));
                }
                [_] => return None,
            }
        }
    })
}
