//! Arcade's contract.

mod admin;
mod alias;
mod auth_providers;
mod authorize;
mod deposit_mix_ups;
mod deposits;
mod execute;
mod log;
mod once;
mod scheduled;
mod tools;
