//! The real binary behind its port: access, refusals and shutdown.

mod accept;
mod addressing;
mod crowd;
mod direct;
mod ending;
mod gate;
mod gateways;
mod log;
mod operator;
mod requests;
mod routes;
mod sessions;
mod starts;
mod streams;
pub(crate) mod wire;
