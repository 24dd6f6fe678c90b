//! Tools that are code, as clients see and call them: the example's, and some that misbehave.

mod consents;
mod errors;
mod faces;
mod registration;
mod requests;
mod world;

#[allow(dead_code, reason = "its `main` and its defaults are for the example")]
#[path = "../../../examples/github_tools.rs"]
mod github_tools;
