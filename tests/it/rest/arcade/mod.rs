//! Arcade's contract.

mod admin;
mod authorize;
mod execute;
mod once;
mod tools;
