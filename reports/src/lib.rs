//! Folds over a run: text, JSON and the packet walk.
