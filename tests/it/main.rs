//! What can be shown with nothing but Rust: the library in process, and the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod tidy;
