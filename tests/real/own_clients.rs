//! Our own clients, as they are installed: each method of the Python client, of its asynchronous form
//! and of the TypeScript client, and the examples for agent frameworks.

mod answers;
mod client;
mod consents;
mod errors;
mod examples;
mod packages;
mod published;
mod relay;
