//! Common parts of all tools' parsers: errors with positions, words, and values.

pub(crate) mod error;
pub(crate) mod line;
pub(crate) mod ports;
pub(crate) mod value;
pub(crate) mod words;
