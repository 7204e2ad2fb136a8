//! Virtual machines: the image that they boot.
//!
//! | module | what it is |
//! |---|---|
//! | [`image`] | a kernel and a root file system, made from the machine's package sources |

pub mod image;
