//! Arcade's contract.

mod authorize;
mod execute;
mod tools;
