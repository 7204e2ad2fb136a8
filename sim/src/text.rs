//! What the texts of all tools have in common: errors that say where and what, words with their places, and values.

pub(crate) mod error;
pub(crate) mod value;
pub(crate) mod words;
