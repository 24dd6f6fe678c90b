//! Identity of a browser at the public address.
//!
//! The issuer here signs what a test asks for; otherwise it follows the protocol like any other.

mod accounts;
mod after;
mod application;
mod callback;
mod confirm;
mod forms;
mod gallery;
mod issuer;
mod keys;
mod links;
mod session;
mod trip;
mod world;
