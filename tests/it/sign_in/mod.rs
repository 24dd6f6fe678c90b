//! Who sits at a browser that came to the address which everybody reaches.
//!
//! The issuer here signs whatever a test wants it to; its part of the protocol it does like any other.

mod accounts;
mod after;
mod application;
mod callback;
mod forms;
mod issuer;
mod keys;
mod links;
mod session;
mod trip;
mod world;
