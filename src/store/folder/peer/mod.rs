//! Sharing of one data folder between processes: its owner serves the three methods of a
//! [`Backend`](crate::store::Backend) over a local socket, and every other process is its peer.
//!
//! Records on the socket are sealed already. Still, only the same user can connect: the folder and
//! the socket are private, and both sides ask the operating system which user is at the other end.

pub(super) mod client;
pub(super) mod error;
pub(super) mod frame;
pub(super) mod serve;
pub(super) mod socket;

#[cfg(test)]
mod tests;
