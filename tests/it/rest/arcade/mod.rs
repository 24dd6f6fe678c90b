//! Arcade's contract.

mod admin;
mod alias;
mod auth_providers;
mod authorize;
mod deposits;
mod execute;
mod log;
mod once;
mod scheduled;
mod tools;
