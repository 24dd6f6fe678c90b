//! The integration tests that need nothing but Rust, as one binary.

mod upstream;
