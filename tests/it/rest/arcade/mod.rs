//! Arcade's contract.

mod authorize;
mod execute;
mod once;
mod tools;
