//! Arcade's contract.

mod execute;
mod tools;
