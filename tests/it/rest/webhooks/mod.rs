//! Webhooks: what an application is told of its users' connections, and how it reaches a receiver
//! that fails, is slow or is down.

mod commands;
mod delivery;
mod events;
mod receiver;
